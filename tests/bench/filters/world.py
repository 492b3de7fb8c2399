"""world: what all contenders share: a name server, signed messages, a place where mail ends. In a network of its own.

Twenty sender domains with SPF, a DKIM key and a DMARC record each; three block lists, on which nobody is but LISTED.
"""
import base64
import pathlib
import random
import socket
import subprocess
import sys
import time

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import words  # noqa: E402

DOMAINS = [f"s{i}.example" for i in range(20)]
LISTS = ["bl1.example", "bl2.example", "bl3.example"]
LISTED = "192.0.2.250"
MESSAGES = 60
# name of a set of messages: (bytes of one, the client's address: of sixty, or, "10.*", another one for each message sent)
SETS = {"4 KB": (4096, "192.0.2.{}"), "50 KB": (51200, "192.0.2.{}"), "4 KB, new clients": (4096, "10.*")}


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain for {what.__name__}")
        time.sleep(0.05)


def make_key():
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def txt(text):
    """A TXT record's strings, at most 250 bytes each."""
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


def zone(public):
    """Local data of unbound. public: of each domain."""
    records = []
    for n, d in enumerate(DOMAINS):
        key = "v=DKIM1; k=rsa; p=" + base64.b64encode(public[d]).decode()
        records += [f"{d}. 300 IN MX 10 mx.{d}.", f"mx.{d}. 300 IN A 192.0.2.{n + 1}", f"{d}. 300 IN A 192.0.2.{n + 1}",
                    f"{d}. 300 IN TXT {txt('v=spf1 ip4:192.0.2.0/24 ip4:10.0.0.0/8 -all')}", f"k1._domainkey.{d}. 300 IN TXT {txt(key)}",
                    f"_dmarc.{d}. 300 IN TXT {txt(f'v=DMARC1; p=quarantine; rua=mailto:r@{d}')}"]
    for bl in LISTS:
        records += [f"{bl}. 300 IN SOA ns.{bl}. hostmaster.{bl}. 1 3600 600 86400 300", f"2.0.0.127.{bl}. 300 IN A 127.0.0.2",
                    f"{'.'.join(reversed(LISTED.split('.')))}.{bl}. 300 IN A 127.0.0.2"]
    return [f"local-data: '{r}'" for r in records]


class Dns:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        keys = {d: make_key() for d in DOMAINS}
        self.private, public = ({d: pair[i] for d, pair in keys.items()} for i in (0, 1))
        zones = "".join(f'local-zone: "{z}." static\n' for z in [*DOMAINS, *LISTS, "2.0.192.in-addr.arpa"])
        local = "\n".join(zone(public))
        (folder / "unbound.conf").write_text(f"""server:
 interface: 127.0.0.1
 port: 53
 username: ""
 chroot: ""
 pidfile: ""
 directory: "{folder}"
 use-syslog: no
 do-daemonize: no
 module-config: "iterator"
 local-zone: "." static
{zones}{local}
""")
        self.log = open(folder / "log", "wb")
        self.proc = subprocess.Popen(["unbound", "-d", "-c", folder / "unbound.conf"], stdout=self.log, stderr=self.log)
        wait_for(self.answers)

    def answers(self):
        if self.proc.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            try:
                s.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\2s0\7example\0\0\20\0\1", ("127.0.0.1", 53))
                return s.recv(512)[7] > 0
            except OSError:
                return False

    def stop(self):
        self.proc.terminate()
        self.proc.wait()


def messages(folder, private, size, client):
    """Signed messages of about size bytes, in a form that smtp_load reads. private: of each domain."""
    folder.mkdir()
    rng = random.Random(size)
    vocabulary = words.FREQUENT * 4 + words.STEMS
    for n in range(MESSAGES):
        d = DOMAINS[n % len(DOMAINS)]
        body = b""
        while len(body) < size - 900:
            body += " ".join(rng.choices(vocabulary, k=12)).encode()[:74] + b"\r\n"
        head = (f"From: Sender {n} <u{n}@{d}>\r\nTo: Someone <u1@bench.example>\r\nSubject: Number {n} of these\r\n"
                f"Date: Sat, 28 Nov 2026 10:00:{n % 60:02d} +0000\r\nMessage-ID: <m{n}.{size}@{d}>\r\nMIME-Version: 1.0\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n").encode()
        signature = dkim.sign(head + b"\r\n" + body, b"k1", d.encode(), private[d], canonicalize=(b"relaxed", b"relaxed"),
                              include_headers=[b"from", b"to", b"subject", b"date", b"message-id"])
        (folder / f"m{n}").write_bytes(f"X-Envelope: {client.format(n % 200 + 1)} u{n}@{d}\r\n".encode() + signature + head + b"\r\n" + body)
    return folder


def one_message(folder, of, client=None):
    """A folder with one of the messages of another one, from client if that is given."""
    folder.mkdir()
    envelope, rest = (of / "m0").read_bytes().split(b"\r\n", 1)
    words = envelope.split()
    words[1] = client.encode() if client else words[1]
    (folder / "m0").write_bytes(b" ".join(words) + b"\r\n" + rest)
    return folder


class Sink:
    """Where mail ends: Postfix's own test server, speaking LMTP; in a file, one after the other, if one is given."""

    def __init__(self, port, file=None):
        self.port, self.file = port, file
        options = ["-D", file] if file else []
        if file:
            file.parent.mkdir()
            file.parent.chmod(0o777)
        self.proc = subprocess.Popen(["smtp-sink", "-L", "-u", "nobody", *options, f"inet:127.0.0.1:{self.port}", "200"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.listens)

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.proc.terminate()
        self.proc.wait()
