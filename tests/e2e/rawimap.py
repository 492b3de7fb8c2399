"""rawimap: IMAP as it goes over the wire, for comparing two servers byte for byte.

    c = Raw(port); c.login(user, password)
    answer = c.command("FETCH 1:* (ENVELOPE)")      # [untagged response with its literals, ..., the tagged one]
    same(answer) == same(other.command(...))
"""
import re
import socket

TIMEOUT_S = 60
TAG = b"x"
# What no two servers or mailboxes have in common: how long it took, numbers drawn when a mailbox was made, and the hint whether
# a folder had mail since, which Dovecot takes from times of files.
VARYING = [
    (re.compile(rb" \(\d+\.\d+ \+ \d+\.\d+(?: \+ \d+\.\d+)? secs\)"), b""),
    (re.compile(rb"^(\* LIST \([^)]*?) ?\\(?:Un)?Marked"), rb"\1"),
    (re.compile(rb"(UIDVALIDITY|APPENDUID|COPYUID) \d+"), rb"\1 V"),
]
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Gone(Exception):
    """The server hung up."""


class Raw:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.f = self.s.makefile("rb", buffering=1 << 16)
        self.greeting = self.response()

    def response(self):
        """One response: a line with the literals in it."""
        text = b""
        while True:
            line = self.f.readline()
            if not line.endswith(b"\n"):
                raise Gone(text + line)
            text += line
            m = LITERAL.search(line)
            if not m:
                return text
            literal = self.f.read(int(m[1]))
            if len(literal) != int(m[1]):
                raise Gone(text)
            text += literal

    def send(self, line):
        self.s.sendall((line if isinstance(line, bytes) else line.encode()) + b"\r\n")

    def until(self, *starts):
        """Responses up to the first that begins with one of starts."""
        found = []
        while True:
            found.append(self.response())
            if found[-1].startswith(starts):
                return found

    def command(self, line):
        """line: without its tag; literals in it as {N+}."""
        self.send(TAG + b" " + (line if isinstance(line, bytes) else line.encode()))
        return self.until(TAG + b" ", b"* BYE")

    def ok(self, line):
        answer = self.command(line)
        assert answer[-1].startswith(TAG + b" OK"), (line[:200], answer[-1])
        return answer

    def login(self, user, password):
        return self.ok(f'LOGIN "{user}" "{password}"')

    def append(self, folder, *batch):
        """The whole answer. batch: (message, flags, date) each; a message with NUL goes as a binary literal."""
        text = b'APPEND "%s"' % folder.encode()
        for message, flags, date in batch:
            binary = b"~" if b"\0" in message else b""
            text += f' ({flags}) "{date}" '.encode() + binary + b"{%d+}\r\n" % len(message) + message
        return self.command(text)

    def close(self):
        self.f.close()
        self.s.close()

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.close()


def same(answer):
    """An answer without what no two servers have in common. Literals with message text are left as they are."""
    return [response if response.startswith(b"* ") and b" FETCH " in response[:40] else mask(response) for response in answer]


def mask(response):
    for pattern, instead in VARYING:
        response = pattern.sub(instead, response)
    return response
