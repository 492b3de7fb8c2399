"""damage: where the parts of a sealed message lie in a mail file (docs/FORMAT.message.md), and two hundred ways to break them.

    m = damage.Sealed(file)                  # its first message; number=2 the third one (mdbox)
    m.flip(m.chunks[0].start + 30)
    for name, kind in damage.KINDS.items(): kind.do(m)
"""
import os
import re
import struct

import systems

PREFIX_LEN, FOOTER_LEN, FRAME = 176, 48, 8 + 16
TRAILER = 3
DBOX_HEAD = 30  # of a message in sdbox and mdbox
DBOX_END = b"\n\x01\x03\n"


class Sealed:
    def __init__(self, file, number=0, other=None, foreign=None):
        """other, foreign: messages of the same layout, of this account and of another one."""
        self.file, self.other, self.foreign, raw = file, other, foreign, file.read_bytes()
        at = -1
        for _ in range(number + 1):
            at = raw.index(systems.MAGIC, at + 1)
        self.start, self.chunks = at, []
        at += PREFIX_LEN
        while raw[at] != TRAILER:
            self.chunks.append(self.part(raw, at))
            at = self.chunks[-1].stop
        self.trailer = self.part(raw, at)
        self.footer = range(self.trailer.stop, self.trailer.stop + FOOTER_LEN)
        offset, length = struct.unpack_from(">QI", raw, self.footer.start)
        assert (offset, length) == (self.trailer.start - self.start, len(self.trailer))

    @staticmethod
    def part(raw, at):
        return range(at, at + FRAME + int.from_bytes(raw[at + 5:at + 8], "big"))

    def write(self, at, data):
        with open(self.file, "r+b") as f:
            f.seek(at)
            f.write(data)

    def read(self, where):
        return self.file.read_bytes()[where.start:where.stop]

    def whole(self):
        return range(self.start, self.footer.stop)

    def flip(self, at, bit=0):
        self.write(at, bytes([self.file.read_bytes()[at] ^ 1 << bit]))

    def zero(self, at, length):
        self.write(at, bytes(length))

    def cut(self, at):
        os.truncate(self.file, at)

    def insert(self, at, data):
        raw = self.file.read_bytes()
        self.write(0, raw[:at] + data + raw[at:])

    def remove(self, at, length):
        raw = self.file.read_bytes()
        self.write(0, raw[:at] + raw[at + length:])
        self.cut(len(raw) - length)

    def swap(self, a, b):
        first, second = self.read(a), self.read(b)
        assert len(first) == len(second) and first != second
        self.write(a.start, second)
        self.write(b.start, first)

    def take(self, source, part):
        """The same part of another message of the same layout."""
        mine, its = part(self), part(source)
        data = source.read(its)
        assert len(mine) == len(its) and self.read(mine) != data
        self.write(mine.start, data)

    def become(self, source):
        self.file.write_bytes(source.file.read_bytes())

    def unlink_and(self, make):
        self.file.unlink()
        make(self.file)

    def rename(self, old, new):
        """maildir: another name for the file, which Dovecot's list of UIDs knows, too."""
        name = re.sub(old, new, self.file.name)
        uidlist = self.file.parent.parent / "dovecot-uidlist"
        uidlist.write_text(uidlist.read_text().replace(self.file.name.split(":")[0], name.split(":")[0]))
        self.file = self.file.rename(self.file.with_name(name))

    def replace(self, old, new, behind=True):
        """In the dbox frame that follows the message, or precedes it."""
        raw = self.file.read_bytes()
        at = raw.index(old, self.footer.stop) if behind else raw.rindex(old, 0, self.start)
        assert len(old) == len(new)
        self.write(at, new)

    def metadata(self, key, value):
        """sdbox: another value for one line of the metadata, padded to the old one's length."""
        raw = self.file.read_bytes()
        m = re.compile(rb"\n" + key + rb"([0-9a-f]+)\n").search(raw, self.footer.stop - 1)
        self.write(m.start(1), value.rjust(len(m[1]), b"0")[:len(m[1])])


class Kind:
    """
    do(m): breaks it. shows: what is left to see: "header" (a listing shows the mail's own, the body is refused), "nothing" (a
    listing shows a substitute), "all" (damage that no reader needs to notice). word: the substitute's X-Basalt-Unreadable.
    in_place: the file keeps its length. only: the storages that it makes sense for. opens: something can be read there.
    """

    def __init__(self, do, shows="nothing", word="damaged", in_place=True, only=("sdbox", "mdbox", "maildir"), opens=True):
        self.do, self.shows, self.word, self.in_place, self.opens = do, shows, word, in_place, opens
        self.only = only if in_place else tuple(s for s in only if s != "mdbox")


KINDS = {}
CHUNKS = ("header", "body1", "body2", "body3")  # of a message of 140 KB that does not compress
FIELDS = {"magic": 0, "version": 8, "suite": 9, "flags": 10, "account-id": 12, "message-id": 28, "key-id": 44, "kem-length": 60,
          "kem": 62, "key-length": 94, "key": 96, "key-tag": 128, "commitment": 144}
FRAME_FIELDS = {"kind": 0, "flags": 1, "plain-length": 2, "stored-length": 5, "data": 8}
SIZES = {"physical": 8, "virtual": 16, "header": 24, "header-virtual": 32, "lines": 40, "header-lines": 48, "chunks": 56,
         "header-chunks": 60, "index": 64}


def kind(name, do, **more):
    assert name not in KINDS
    KINDS[name] = Kind(do, **more)


def cut(name, where, **more):
    """The file ends there."""
    kind(f"cut-{name}", lambda m: m.cut(where(m)), in_place=False, **more)


def flip(name, where, bit=0, **more):
    kind(f"flip-{name}", lambda m: m.flip(where(m), bit), **more)


def cuts():
    for name, at in FIELDS.items():
        if at:
            cut(f"at-{name}", lambda m, at=at: m.start + at)
    for i in (1, 3):
        cut(f"in-magic-{i}", lambda m, i=i: m.start + i)
    for name, at in {"account-id": 20, "message-id": 36, "kem": 80, "key": 112, "commitment": 160}.items():
        cut(f"in-{name}", lambda m, at=at: m.start + at)
    for i, chunk in enumerate(CHUNKS):
        for name, at in FRAME_FIELDS.items():
            cut(f"{chunk}-at-{name}", lambda m, i=i, at=at: m.chunks[i].start + at)
        cut(f"{chunk}-in-data", lambda m, i=i: m.chunks[i].start + len(m.chunks[i]) // 2)
        cut(f"{chunk}-at-tag", lambda m, i=i: m.chunks[i].stop - 16)
        cut(f"{chunk}-in-tag", lambda m, i=i: m.chunks[i].stop - 1)
    for name, at in {**FRAME_FIELDS, **SIZES}.items():
        cut(f"trailer-at-{name}", lambda m, at=at: m.trailer.start + at)
    cut("trailer-at-tag", lambda m: m.trailer.stop - 16)
    cut("trailer-in-tag", lambda m: m.trailer.stop - 1)
    for name, at in {"at-offset": 0, "in-offset": 4, "at-length": 8, "at-magic": 12, "at-digest": 16, "in-digest": 32, "at-last-byte": 47}.items():
        cut(f"footer-{name}", lambda m, at=at: m.footer.start + at)


def flips():
    words = {"version": "newer-version", "flags": "newer-version", "account-id": "other-account", "key-id": "no-key"}
    for i in range(8):
        flip(f"magic-{i}", lambda m, i=i: m.start + i, 6)
    for name, at in list(FIELDS.items())[1:]:
        flip(name, lambda m, at=at: m.start + at, 1 if name == "suite" else 0,
             word="newer-version" if name == "suite" else words.get(name, "damaged"))
    flip("suite-to-0", lambda m: m.start + 9)
    flip("kem-last", lambda m: m.start + 93, 7)
    for name, at in {"account-id": 27, "message-id": 43, "key-id": 59, "key-tag": 143, "commitment": 175}.items():
        flip(f"{name}-last", lambda m, at=at: m.start + at, 7, word=words.get(name, "damaged"))
    for i, chunk in enumerate(CHUNKS):
        shows = "header" if i else "nothing"
        for name, at in FRAME_FIELDS.items():
            flip(f"{chunk}-{name}", lambda m, i=i, at=at: m.chunks[i].start + at, shows=shows)
        flip(f"{chunk}-compressed", lambda m, i=i: m.chunks[i].start + 1, 1, shows=shows)
        flip(f"{chunk}-compressed-otherwise", lambda m, i=i: m.chunks[i].start + 1, 2, shows=shows)
        flip(f"{chunk}-unknown-flag", lambda m, i=i: m.chunks[i].start + 1, 7, shows=shows)
        flip(f"{chunk}-in-data", lambda m, i=i: m.chunks[i].start + len(m.chunks[i]) // 2, 3, shows=shows)
        flip(f"{chunk}-tag", lambda m, i=i: m.chunks[i].stop - 16, shows=shows)
        flip(f"{chunk}-tag-last", lambda m, i=i: m.chunks[i].stop - 1, 7, shows=shows)
    for name, at in {**FRAME_FIELDS, **SIZES}.items():
        if name != "data":
            flip(f"trailer-{name}", lambda m, at=at: m.trailer.start + at)
    flip("trailer-tag", lambda m: m.trailer.stop - 1)
    for name, at in {"offset": 0, "offset-last": 7, "length": 8, "length-last": 11, "magic": 12, "magic-last": 15}.items():
        flip(f"footer-{name}", lambda m, at=at: m.footer.start + at)
    flip("digest", lambda m: m.footer.start + 16, shows="all")
    flip("digest-last", lambda m: m.footer.stop - 1, shows="all")


def blocks():
    """4 KiB of zeros, as a disk or a crash leaves them, where a block of the file or of the message lies."""
    kind("zeros-beginning", lambda m: m.zero(m.start, 4096))
    kind("zeros-behind-the-prefix", lambda m: m.zero(m.start + PREFIX_LEN, 4096))
    for block in (2, 5, 15, 20, 32):
        kind(f"zeros-block-{block}", lambda m, b=block: m.zero((m.start // 4096 + b) * 4096, 4096), shows="header")
    kind("zeros-end", lambda m: m.zero(m.footer.stop - 4096, 4096))
    kind("zeros-footer", lambda m: m.zero(m.footer.start, FOOTER_LEN))
    kind("zeros-trailer", lambda m: m.zero(m.trailer.start, len(m.trailer)))
    kind("zeros-last-chunk", lambda m: m.zero(m.chunks[3].start, len(m.chunks[3])), shows="header")
    for name, at, length, word in (("account-id", 12, 16, "other-account"), ("key-id", 44, 16, "no-key"), ("kem", 62, 32, "damaged"),
                                   ("key", 96, 48, "damaged")):
        kind(f"zeros-{name}", lambda m, at=at, length=length: m.zero(m.start + at, length), word=word)
    kind("zeros-all", lambda m: m.zero(m.start, len(m.whole())))
    kind("zeros-all-but-the-prefix", lambda m: m.zero(m.start + PREFIX_LEN, len(m.whole()) - PREFIX_LEN))
    kind("ones-all", lambda m: m.write(m.start + 8, b"\xff" * (len(m.whole()) - 8)), word="newer-version")
    kind("footer-huge", lambda m: m.write(m.footer.start, b"\xff" * 12))


def moved():
    kind("chunks-swapped", lambda m: m.swap(m.chunks[1], m.chunks[2]), shows="header")
    kind("blocks-swapped", lambda m: m.swap(range(m.chunks[1].start + 4096, m.chunks[1].start + 8192),
                                            range(m.chunks[2].start + 4096, m.chunks[2].start + 8192)), shows="header")
    kind("chunk-repeated", lambda m: m.write(m.chunks[2].start, m.read(m.chunks[1])), shows="header")
    kind("byte-inserted", lambda m: m.insert(m.chunks[1].start + 9, b"x"), in_place=False)
    kind("byte-removed", lambda m: m.remove(m.chunks[1].start + 9, 1), in_place=False)
    kind("line-ends-converted", lambda m: m.remove(m.start + 4, 1), in_place=False)
    kind("chunk-removed", lambda m: m.remove(m.chunks[2].start, len(m.chunks[2])), in_place=False)
    kind("garbage-before", lambda m: m.insert(m.start, b"\0garbage"), in_place=False, only=("sdbox",))
    kind("garbage-in-between", lambda m: m.insert(m.trailer.start, b"garbage" * 9), in_place=False)
    kind("garbage-appended", lambda m: m.insert(m.footer.stop, b"garbage" * 9), in_place=False, only=("maildir",))


def lies():
    """What Dovecot's own records say of a message that is whole, or of its frame."""
    sdbox = ("sdbox",)
    kind("says-virtual-size", lambda m: m.metadata(b"V", b"7"), shows="all", only=sdbox)
    kind("says-virtual-size-huge", lambda m: m.metadata(b"V", b"fffff"), shows="all", only=sdbox)
    kind("says-physical-size", lambda m: m.metadata(b"Z", b"7"), shows="all", only=sdbox)
    kind("says-received", lambda m: m.metadata(b"R", b"1"), shows="all", only=sdbox)
    kind("says-another-guid", lambda m: m.metadata(b"G", b"1"), shows="all", only=sdbox)
    for letter, name in ("S", "physical"), ("W", "virtual"):
        for size in ("7", "9" * 15):
            kind(f"says-{name}-in-its-name-{size[:3]}", lambda m, a=letter, size=size: m.rename(f",{a}=\\d+", f",{a}={size}"),
                 shows="all", in_place=False, only=("maildir",))
    kind("says-nothing", lambda m: m.replace(DBOX_END, b"XXXX"), shows="all", only=sdbox)
    kind("frame-too-long", lambda m: m.write(m.start - 17, b"%016X" % (len(m.whole()) + 240)), only=sdbox)
    kind("frame-too-short", lambda m: m.write(m.start - 17, b"%016X" % (len(m.whole()) - 100)), only=sdbox)
    kind("appended-to-the-message", lambda m: m.insert(m.footer.stop, b"garbage" * 9), shows="all", in_place=False, only=sdbox)
    kind("appended-behind-the-frame", lambda m: m.insert(os.path.getsize(m.file), b"garbage" * 9), shows="all", in_place=False,
         only=sdbox)


def foreign():
    """Parts of another message of the account, or of another account's."""
    for name, part, shows in (("chunk", lambda m: m.chunks[1], "header"), ("last-chunk", lambda m: m.chunks[3], "header"),
                              ("trailer", lambda m: m.trailer, "nothing"),
                              ("digest", lambda m: range(m.footer.stop - 32, m.footer.stop), "all"),
                              ("prefix", lambda m: range(m.start, m.start + PREFIX_LEN), "nothing")):
        kind(f"{name}-of-another", lambda m, part=part: m.take(m.other, part), shows=shows)
    kind("key-of-another", lambda m: m.take(m.other, lambda x: range(x.start + 62, x.start + 176)))
    kind("prefix-of-another-account", lambda m: m.take(m.foreign, lambda x: range(x.start, x.start + PREFIX_LEN)),
         word="other-account")
    kind("file-of-another-account", lambda m: m.become(m.foreign.next), word="other-account", in_place=False)


def files():
    """No file, or one that is not to be read. What Dovecot itself makes good is in test_damaged.py."""
    kind("file-links-to-itself", lambda m: m.unlink_and(lambda f: f.symlink_to(f.name)), in_place=False, opens=False,
         only=("sdbox",))
    kind("file-is-a-folder", lambda m: m.unlink_and(lambda f: f.mkdir()), in_place=False, opens=False, only=("sdbox",))
    kind("file-is-empty", lambda m: m.cut(0), in_place=False, only=("maildir",))
    kind("file-of-zeros", lambda m: m.zero(0, os.path.getsize(m.file)), only=("maildir",))
    kind("file-of-one-byte", lambda m: m.cut(1), in_place=False, only=("maildir",))


cuts()
flips()
foreign()
files()
blocks()
moved()
lies()
