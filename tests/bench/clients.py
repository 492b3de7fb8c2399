"""clients: LMTP, IMAP and POP3 as cheap as can be, since they share the machine with what they measure."""
import re
import socket

TIMEOUT_S = 120
DRAIN_LEN = 1 << 20


class Refused(Exception):
    """The server answered something else than what the measurement needs."""


def expect(line, start):
    if not line.startswith(start):
        raise Refused(f"wanted {start!r}, got {line[:200]!r}")
    return line


class Lmtp:
    """One connection; MAIL, RCPT and DATA go out in one packet."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.sock.makefile("rb")
        self.reply(b"220")
        self.sock.sendall(b"LHLO bench.example\r\n")
        while self.reply(b"250")[3:4] == b"-":
            pass

    def reply(self, code):
        return expect(self.lines.readline(), code)

    def deliver(self, recipient, mail):
        """mail: CRLF lines, none of which begins with a dot."""
        envelope = b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient.encode()
        self.sock.sendall(envelope)
        for code in (b"250", b"250", b"354"):
            self.reply(code)
        self.sock.sendall(mail + b".\r\n")
        self.reply(b"250")

    def close(self):
        self.sock.sendall(b"QUIT\r\n")
        self.reply(b"221")
        self.sock.close()


class Imap:
    """Logs in when it is made. Answers are drained, not parsed: only the tag at their end is looked for."""

    def __init__(self, port, user, password):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.room = bytearray(DRAIN_LEN)
        self.tag = 0
        self.drain(b"* OK", b"\r\n")
        self.command(b"LOGIN %s %s" % (user.encode(), password.encode()))

    def send(self, text):
        self.tag += 1
        tag = b"zq%dx" % self.tag
        self.sock.sendall(tag + b" " + text + b"\r\n")
        return tag

    def command(self, text):
        """Bytes that came back, the tagged OK included."""
        return self.drain(self.send(text) + b" OK", b"\r\n")

    def drain(self, final, end):
        """Reads up to a last line that begins with final; a tagged NO or BAD is the last line too."""
        total, tail, view = 0, b"", memoryview(self.room)
        tag = final.split(b" ")[0]
        while True:
            n = self.sock.recv_into(self.room)
            if n == 0:
                raise Refused(f"closed after {tail!r}")
            total += n
            tail = (tail + bytes(view[max(0, n - 512):n]))[-512:]
            if not tail.endswith(end):
                continue
            last = tail[:-len(end)].rpartition(b"\r\n")[2]
            if last.startswith(tag + b" "):
                expect(last, final)
                return total

    def literals(self, text):
        """The literals of an answer, one after the other: for checks, not for measurements."""
        tag = self.send(text)
        with self.sock.makefile("rb") as lines:
            while True:
                line = lines.readline()
                if line.startswith(tag):
                    expect(line, tag + b" OK")
                    return
                size = re.search(rb"\{(\d+)\}\r\n$", line)
                if size:
                    yield lines.read(int(size[1]))

    def close(self):
        self.command(b"LOGOUT")
        self.sock.close()


class Pop3:
    """Logs in when it is made."""

    def __init__(self, port, user, password):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.room = bytearray(DRAIN_LEN)
        self.line()
        self.command(b"USER " + user.encode())
        self.command(b"PASS " + password.encode())

    def line(self):
        return expect(self.sock.recv(4096), b"+OK")

    def command(self, text):
        self.sock.sendall(text + b"\r\n")
        return self.line()

    def retrieve(self, number):
        """Drains one message."""
        self.sock.sendall(b"RETR %d\r\n" % number)
        tail, first = b"", True
        while not tail.endswith(b"\r\n.\r\n"):
            n = self.sock.recv_into(self.room)
            got = bytes(memoryview(self.room)[max(0, n - 8):n])
            if n == 0 or (first and self.room[:1] != b"+"):
                raise Refused(f"RETR {number}: {bytes(self.room[:n])[:200]!r}")
            tail, first = (tail + got)[-8:], False

    def close(self):
        self.command(b"QUIT")
        self.sock.close()
