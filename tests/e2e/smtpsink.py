"""smtpsink: an SMTP server on loopback that takes all mail, for what leaves the house.

    with smtpsink.SmtpSink() as sink:
        ...
        sink.mails                  # the messages as they came over the wire, dots unstuffed
        sink.taken                  # the same with their envelopes: sender, recipients, data
"""
import collections
import re
import socketserver
import threading

Taken = collections.namedtuple("Taken", "sender recipients data")


def address(line):
    return re.search(rb"<(.*?)>", line)[1].decode(errors="replace")


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        sender, recipients = "", []
        self.wfile.write(b"220 sink\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"MAIL":
                sender, recipients = address(line), []
            elif word == b"RCPT":
                recipients.append(address(line))
            elif word == b"DATA":
                self.wfile.write(b"354 go\r\n")
                self.server.taken.append(Taken(sender, recipients, self.message()))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return

    def message(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


class Sink:
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address):
        super().__init__(address, Handler)
        self.taken = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def mails(self):
        return [t.data for t in self.taken]

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class SmtpSink(Sink, socketserver.ThreadingTCPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0))
        self.port = self.server_address[1]


class LmtpSink(Sink, socketserver.ThreadingUnixStreamServer):
    """One that Postfix's lmtp(8) talks to, on a socket that anybody may open; for messages with one recipient."""

    def __init__(self, path):
        super().__init__(str(path))
        path.chmod(0o666)
