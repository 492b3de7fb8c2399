"""messages: the samples of tests/data/messages, and messages made to measure."""
import pathlib
import random

SAMPLES = pathlib.Path(__file__).resolve().parent.parent / "data" / "messages"


def samples():
    return sorted(SAMPLES.glob("*.eml"))


def make(body, subject="made to measure", header=(), ident=None):
    """A message with a complete header, so that no server adds to it. body: bytes with CRLF."""
    ident = ident or f"{random.randrange(1 << 62):x}"
    lines = ["From: Tester <tester@out.example>", "To: somebody@example.org", f"Subject: {subject}",
             "Date: Mon, 02 Mar 2026 08:00:00 +0000", f"Message-ID: <{ident}@out.example>", *header]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def text(length, seed=0):
    """length bytes of words in CRLF lines of at most 78 bytes: compresses as prose does."""
    if length == 0:
        return b""
    rng = random.Random(seed)
    words = ["".join(rng.choice("aeiounrstlmdkp") for _ in range(rng.randrange(2, 10))) for _ in range(3000)]
    block = bytearray()
    while len(block) < min(length, 1 << 20):
        line = []
        while sum(map(len, line)) + len(line) < 66:
            line.append(rng.choice(words))
        block += " ".join(line).encode() + b"\r\n"
    data = bytes(block * (length // len(block) + 1))[:length]
    if length >= 2:
        data = data[:-2].rstrip(b"\r") + b"\r\n"
        data = b"x" * (length - len(data)) + data
    return data


def noise(length, seed=0):
    """length bytes of base64-like lines that hardly compress."""
    rng = random.Random(seed)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    raw = rng.randbytes(length).translate(bytes(alphabet[i % 64] for i in range(256)))
    return b"".join(raw[i:i + 76] + b"\r\n" for i in range(0, length, 78))[:length - 2] + b"\r\n"


def many_parts(n):
    """A multipart message with n leaves."""
    parts = b"".join(b"--edge\r\nContent-Type: text/plain; name=part%d\r\n\r\nleaf number %d\r\n" % (i, i)
                     for i in range(1, n + 1))
    return make(parts + b"--edge--\r\n", header=["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=edge"])
