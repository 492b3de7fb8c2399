"""sealedfiles: where sealed messages lie inside Dovecot's mail files, to look at them and to damage them.

    for m in sealedfiles.messages(system, account): m.damage("body")
"""
import os
import re

import systems

PREFIX = 176  # docs/FORMAT.message.md: the prefix of suite 1
FOOTER = 48
# Where one bit is turned over: the offset from the start, or from the end of the message.
FLIPS = {"magic": 6, "version": 8, "suite": 9, "account": 20, "message-id": 30, "key-id": 50, "sealed-key": 100, "commitment": 150,
         "header": PREFIX + 20, "trailer": -FOOTER - 8}


class Message:
    def __init__(self, path, start, length):
        self.path, self.start, self.length = path, start, length

    def read(self):
        with open(self.path, "rb") as f:
            f.seek(self.start)
            return f.read(self.length)

    def write(self, offset, data):
        """Writes in place, owner, times and size stay."""
        assert 0 <= offset and offset + len(data) <= self.length
        st = os.stat(self.path)
        with open(self.path, "r+b") as f:
            f.seek(self.start + offset)
            f.write(data)
        os.utime(self.path, ns=(st.st_atime_ns, st.st_mtime_ns))

    def flip(self, offset):
        offset %= self.length
        self.write(offset, bytes([self.read()[offset] ^ 0x10]))

    def damage(self, how):
        if how == "body":
            self.flip(self.length // 2)
        elif how == "zeros":
            self.write(self.length // 2, bytes(self.length - self.length // 2))
        else:
            self.flip(FLIPS[how])


def messages(system, account, folder=None):
    """Every message of our format, in the order of the files and of their offsets."""
    return in_files(system.mail_files(account, folder))


def in_files(paths):
    """The same in any mail files; a dbox header says how long each message is."""
    found = []
    for path in sorted(paths, key=by_age):
        raw = path.read_bytes()
        if raw.startswith(systems.MAGIC):
            found.append(Message(path, 0, len(raw)))
        for m in re.finditer(rb"\x01\x02N .{8} ([0-9A-F]{16})\n" + re.escape(systems.MAGIC), raw, re.S):
            found.append(Message(path, m.end() - len(systems.MAGIC), int(m[1], 16)))
    return found


def by_age(path):
    """u.N and m.N by number; maildir's SECONDS.MmicrosecondsP... by time."""
    m = re.match(r"(\d+)\.M(\d+)", path.name)
    return (int(m[1]), int(m[2])) if m else (0, int(path.name[2:]) if path.name[2:].isdigit() else 0)
