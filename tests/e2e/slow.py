"""Sources that answer, each in so many seconds: what adds up where silence would be given up on.

    with slow.Quota(0.4) as quota, slow.Dns(1.1) as dns:
        quota.port; quota.said["full@example.org"] = "552 5.2.2 Mailbox is full"; dns.port
"""
import contextlib
import socketserver
import struct
import threading
import time


class Quota(socketserver.ThreadingTCPServer):
    """A quota-status service that takes its time: {address: what it says}, and room for all others."""
    daemon_threads = allow_reuse_address = True

    class Client(socketserver.StreamRequestHandler):
        def handle(self):
            address = ""
            for line in self.rfile:
                if line.startswith(b"recipient="):
                    address = line[10:].strip().decode()
                if line == b"\n":
                    time.sleep(self.server.seconds)
                    self.wfile.write(f"action={self.server.said.get(address, 'OK')}\n\n".encode())

    def __init__(self, seconds=0.0):
        super().__init__(("127.0.0.1", 0), self.Client)
        self.said, self.seconds = {}, seconds
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Dns(socketserver.ThreadingUDPServer):
    """A name server with an SPF record for every name h7.slow.example that includes h8.slow.example, and so on; all else is not there.
    It takes longer with each record, up to so many seconds: one that were slow at once would be taken for dead."""
    daemon_threads = True

    class Client(socketserver.BaseRequestHandler):
        def handle(self):
            data, sock = self.request
            end = data.index(b"\0", 12) + 5
            first = data[13:13 + data[12]].decode().lower()
            text = b""
            if data[end - 4:end - 2] == b"\0\x10" and first[1:].isdigit():
                text = f"v=spf1 include:{first[0]}{int(first[1:]) + 1}.slow.example -all".encode()
                self.server.records += 1
            time.sleep(min(self.server.seconds, 0.2 + 0.15 * self.server.records))
            answer = struct.pack(">HHHIHB", 0xc00c, 16, 1, 300, len(text) + 1, len(text)) + text if text else b""
            flags = b"\x85\x80" if text else b"\x85\x83"
            head = data[:2] + flags + struct.pack(">HHHH", 1, 1 if text else 0, 0, 0)
            with contextlib.suppress(OSError):  # closed by now
                sock.sendto(head + data[12:end] + answer, self.client_address)

    def __init__(self, seconds):
        super().__init__(("127.0.0.1", 0), self.Client)
        self.seconds, self.records, self.port = seconds, 0, self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
