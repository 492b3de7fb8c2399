"""A mail server's side of the milter protocol (version 6), a socketmap client and a control client, for tests.

Written from the protocol's description, not from libmilter. Each class says what came back, and asserts nothing.
"""
import json
import socket
import struct

# Answers.
CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD, REPLY = b"c", b"a", b"r", b"t", b"d", b"y"
CHANGES = {b"h": "add", b"i": "insert", b"m": "change", b"+": "rcpt+", b"-": "rcpt-", b"b": "body", b"p": "progress", b"q": "quarantine"}
# "Do not wait for a reply" and "do not send" bits, by stage.
NO_REPLY = {"connect": 0x1000, "helo": 0x2000, "mail": 0x4000, "rcpt": 0x8000, "header": 0x80, "eoh": 0x40000,
            "body": 0x80000, "data": 0x10000}
NO_SEND = {"connect": 0x1, "helo": 0x2, "mail": 0x4, "rcpt": 0x8, "body": 0x10, "header": 0x20, "eoh": 0x40,
           "unknown": 0x100, "data": 0x200}
ALL_STEPS, ALL_ACTIONS = 0x1FFFFF, 0x1FF


class Closed(Exception):
    """The filter closed the connection."""


class Milter:
    def __init__(self, path, timeout=15, steps=ALL_STEPS):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(str(path))
        self.waited = 0  # replies that were waited for
        self.send(b"O", struct.pack(">III", 6, ALL_ACTIONS, steps))
        code, data = self.receive()
        assert code == b"O", code
        self.version, self.actions, self.steps = struct.unpack(">III", data[:12])

    def send(self, code, data=b""):
        self.s.sendall(struct.pack(">I", len(data) + 1) + code + data)

    def receive(self):
        n = struct.unpack(">I", self.read(4))[0]
        packet = self.read(n)
        return packet[:1], packet[1:]

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise Closed
            data += more
        return data

    def stage(self, name, code, data):
        """Sends what the filter wants to see; its reply, or CONTINUE where it gives none."""
        if self.steps & NO_SEND.get(name, 0):
            return CONTINUE, b""
        self.send(code, data)
        if self.steps & NO_REPLY.get(name, 0):
            return CONTINUE, b""
        self.waited += 1
        return self.receive()

    def macros(self, code, **values):
        data = b"".join(k.encode() + b"\0" + v.encode("utf-8", "surrogateescape") + b"\0" for k, v in values.items())
        self.send(b"D", code + data)

    def connect(self, name="client.example.net", addr="192.0.2.7", family=b"4"):
        return self.stage("connect", b"C", name.encode() + b"\0" + family + struct.pack(">H", 12345) + addr.encode() + b"\0")

    def helo(self, name="client.example.net"):
        return self.stage("helo", b"H", name.encode() + b"\0")

    def mail(self, sender="<sender@example.net>", *args, login=None, method="PLAIN"):
        if login is not None:
            self.macros(b"M", **{"{auth_authen}": login, "{auth_type}": method})
        return self.stage("mail", b"M", b"".join(a.encode("utf-8", "surrogateescape") + b"\0" for a in (sender, *args)))

    def rcpt(self, address, queue_id=None, refused=None):
        macros = {"i": queue_id} if queue_id else {}
        if refused is not None:
            macros.update({"{rcpt_mailer}": "error", "{rcpt_host}": "5.1.1", "{rcpt_addr}": refused})
        else:
            macros.update({"{rcpt_mailer}": "lmtp", "{rcpt_addr}": address.strip("<>")})
        self.macros(b"R", **macros)
        return self.stage("rcpt", b"R", address.encode("utf-8", "surrogateescape") + b"\0")

    def header(self, name, value):
        name, value = (v if isinstance(v, bytes) else v.encode() for v in (name, value))
        return self.stage("header", b"L", name + b"\0" + value + b"\0")

    def body(self, data):
        return self.stage("body", b"B", data)

    def end(self, queue_id="4ABC"):
        """(answer, data, [(kind, ...)]) of the end of a message."""
        self.macros(b"E", i=queue_id)
        self.send(b"E")
        changes = []
        while True:
            code, data = self.receive()
            if code not in CHANGES:
                return code, data, changes
            changes.append((CHANGES[code], data))

    def message(self, rcpts, headers=(("From", " a@b.example"),), sender="<sender@example.net>"):
        """A whole message; the answer of each recipient, then end()'s."""
        self.mail(sender)
        answers = [self.rcpt(r, "4ABC") for r in rcpts]
        for name, value in headers:
            self.header(name, value)
        self.body(b"Hello\r\n")
        return answers, self.end()

    def abort(self):
        self.send(b"A")

    def quit(self):
        self.send(b"Q")
        self.s.close()


def inserted(changes):
    """[(index, name, value)] of insert changes."""
    out = []
    for kind, data in changes:
        if kind == "insert":
            name, value, _ = data[4:].split(b"\0")
            out.append((struct.unpack(">I", data[:4])[0], name.decode(), value.decode()))
    return out


def deleted(changes):
    """[(name, index)] of header deletions, in their order."""
    out = []
    for kind, data in changes:
        if kind == "change":
            name, value, _ = data[4:].split(b"\0")
            if value == b"":
                out.append((name.decode(), struct.unpack(">I", data[:4])[0]))
    return out


class Socketmap:
    def __init__(self, path, timeout=15):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(str(path))
        self.buffer = b""

    def send_raw(self, data):
        self.s.sendall(data)

    def ask(self, name, key):
        payload = f"{name} {key}".encode("utf-8", "surrogateescape")
        self.send_raw(str(len(payload)).encode() + b":" + payload + b",")
        return self.answer()

    def answer(self):
        """The next reply's payload as text."""
        while True:
            head, colon, rest = self.buffer.partition(b":")
            if colon and len(rest) > int(head):
                n = int(head)
                assert rest[n:n + 1] == b",", self.buffer
                self.buffer = rest[n + 1:]
                return rest[:n].decode()
            more = self.s.recv(65536)
            if not more:
                raise Closed
            self.buffer += more

    def close(self):
        self.s.close()


def control(path, request, timeout=15):
    """The answer to one request on the control socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(path))
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        s.sendall(line + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            more = s.recv(65536)
            if not more:
                raise Closed
            data += more
    return json.loads(data)
