"""clients: mail clients for tests, each with a time limit on every wait."""
import imaplib
import poplib
import re
import smtplib
import socket

TIMEOUT_S = 60


def smtp(port):
    return smtplib.SMTP("127.0.0.1", port, local_hostname="client.out.example", timeout=TIMEOUT_S)


def pop3(port, user, password):
    """poplib, logged in; closed again when the login fails."""
    p = poplib.POP3("127.0.0.1", port, timeout=TIMEOUT_S)
    poplib._MAXLINE = 4 << 20
    try:
        p.user(user)
        p.pass_(password)
    except poplib.error_proto:
        p.close()
        raise
    return p


def retr(p, number):
    """One message by POP3, with its CRLFs."""
    return b"".join(line + b"\r\n" for line in p.retr(number)[1])


class Imap:
    """imaplib, logged in, with the few commands of a test in one line each. no() is what the server said to a refusal."""

    def __init__(self, port, user, password, login=True):
        self.c = imaplib.IMAP4("127.0.0.1", port, timeout=TIMEOUT_S)
        if login:
            try:
                self.c.login(user, password)
            except imaplib.IMAP4.error:
                self.c.shutdown()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.c.logout()
        except (imaplib.IMAP4.error, OSError):
            pass

    def ok(self, method, *args):
        status, data = getattr(self.c, method)(*args)
        assert status == "OK", (method, args[:2], status, data)
        return data

    def select(self, folder="INBOX"):
        """How many messages there are."""
        return int(self.ok("select", folder)[0])

    def uids(self, criteria="ALL"):
        return [int(u) for u in self.ok("uid", "SEARCH", criteria)[0].split()]

    def fetch(self, uid, items):
        """[(what stands before, literal)] and the lines of one UID FETCH."""
        return self.ok("uid", "FETCH", str(uid), items)

    def part(self, uid, section=""):
        """The bytes of BODY.PEEK[section], section as in 'HEADER' or '1.2'; '<0.10>' at its end is a partial."""
        m = re.fullmatch(r"([^<]*)(<[\d.]+>)?", section)
        data = self.fetch(uid, f"(BODY.PEEK[{m[1]}]{m[2] or ''})")
        for item in data:
            if isinstance(item, tuple):
                return item[1]
        text = b"".join(d for d in data if isinstance(d, bytes))
        quoted = re.search(rb'BODY\[[^]]*\](?:<\d+>)? "(.*)"', text)
        return quoted[1] if quoted else b""

    def size(self, uid):
        return int(re.search(rb"RFC822.SIZE (\d+)", self.fetch(uid, "(RFC822.SIZE)")[0])[1])

    def append(self, message, folder="INBOX", flags=None):
        """The new UID (APPENDUID)."""
        data = self.ok("append", folder, flags, None, message)
        return int(re.search(rb"APPENDUID \d+ (\d+)", b" ".join(d for d in data if d))[1])

    def copy(self, uid, folder, verb="COPY"):
        """COPY or MOVE; the new UID (COPYUID)."""
        data = self.ok("uid", verb, str(uid), folder)
        code = self.c.response("COPYUID")[1]
        text = b" ".join(d for d in [*data, *(code or [])] if d)
        return int(re.search(rb"(?:COPYUID )?\d+ [\d:,]+ (\d+)", text)[1])


class Lmtp:
    """LMTP with the reply of each recipient: smtplib shows only the first after DATA."""

    def __init__(self, port, source="127.0.0.1"):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S, source_address=(source, 0))
        self.f = self.s.makefile("rb")
        self.greeting = self.reply()
        self.command("LHLO client.out.example")

    def reply(self):
        """(code, text) of one reply; (None, '') when the server hung up."""
        text = []
        while True:
            line = self.f.readline()
            if not line:
                return None, ""
            text.append(line[4:].decode(errors="replace").rstrip())
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(text)

    def command(self, line):
        self.s.sendall(line.encode() + b"\r\n")
        return self.reply()

    def deliver(self, sender, recipients, message):
        """{recipient: [(code, text)]}: refused ones at RCPT, the others after DATA, one reply for each RCPT accepted."""
        replies, accepted = {}, []
        self.command(f"MAIL FROM:<{sender}>")
        for r in recipients:
            reply = self.command(f"RCPT TO:<{r}>")
            if reply[0] is not None and reply[0] < 300:
                accepted.append(r)
            else:
                replies.setdefault(r, []).append(reply)
        if not accepted:
            self.command("RSET")
            return replies
        self.command("DATA")
        self.s.sendall(dot_stuffed(message) + b".\r\n")
        for r in accepted:
            replies.setdefault(r, []).append(self.reply())
        return replies

    def close(self):
        try:
            self.s.sendall(b"QUIT\r\n")
        except OSError:
            pass
        self.f.close()
        self.s.close()

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.close()


def dot_stuffed(message):
    """As it goes over the wire; it ends with a line end."""
    text = re.sub(rb"(?m)^\.", b"..", message)
    return text if text.endswith(b"\n") or not text else text + b"\r\n"
