"""corpus: a mailbox that is the same at every run.

Sizes are log-uniform in three ranges, in exact proportions: 70% text of 2-20 KB, 25% of 30-300 KB (text, HTML and a
base64 attachment), 5% of 1-5 MB (text and a big base64 attachment); about 159 KB a message on average. The set "small"
has the first range only. Text is drawn from words.py by a Zipf law: it compresses as English prose does. Seven of ten
attachments are incompressible before base64 (pictures, archives), the others are tables of text.

    mails = make("mixed", 1000)        # list of bytes, CRLF lines, no line begins with a dot
"""
import base64
import itertools
import math
import random

import words

SEED = "basalt bench 1"
POOL_LEN = 6 << 20
TOPIC_PHRASES, TOPIC_SHARE = 70, 0.36  # 8 KB: lz4 to 0.64, deflate to 0.41 of it, like English prose
KINDS = {  # low, high, share of twenty
    "small": (2_000, 20_000, 14),
    "medium": (30_000, 300_000, 5),
    "large": (1_000_000, 5_000_000, 1),
}


def make(name, count):
    """The set `name` ("small" or "mixed") of `count` messages."""
    writer = Writer()
    return [writer.message(i, kind) for i, kind in enumerate(kinds(name, count))]


def kinds(name, count):
    """Which kind each message is: exact proportions for each twenty, order shuffled within them."""
    if name == "small":
        return ["small"] * count
    rng, out = random.Random(SEED + name), []
    while len(out) < count:
        block = [kind for kind, (_, _, share) in KINDS.items() for _ in range(share)]
        rng.shuffle(block)
        out += block
    return out[:count]


def big(size):
    """One message with a large attachment."""
    writer, rng = Writer(), random.Random(f"{SEED} big")
    head = writer.header(rng, 0)
    return head + writer.multipart(rng, size - len(head), "large")


class Writer:
    """Writes single messages; holds one pool of prose that all of them quote from at random places."""

    def __init__(self):
        rng = random.Random(SEED)
        self.words, weights = words.vocabulary()
        self.sums = list(itertools.accumulate(weights))
        self.prose = prose(rng, self.words, self.sums, POOL_LEN)

    def message(self, i, kind):
        rng = random.Random(f"{SEED} {kind} {i}")
        low, high, _ = KINDS[kind]
        size = int(math.exp(rng.uniform(math.log(low), math.log(high))))
        head = self.header(rng, i)
        if kind == "small":
            return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + self.text(rng, size - len(head) - 43)
        return head + self.multipart(rng, size - len(head), kind)

    def header(self, rng, i):
        """About 1 KB: trace, signature and the usual fields."""
        who, to = rng.sample(words.NAMES, 2)
        date = f"Mon, {1 + i % 28:02d} Jan 2024 {i % 24:02d}:{i % 60:02d}:{i * 7 % 60:02d} +0000"
        subject = " ".join(rng.choices(self.words, cum_weights=self.sums, k=6)).capitalize()
        sig = base64.encodebytes(rng.randbytes(256)).decode().split()
        hops = "".join(
            f"Received: from mx{n}.example.net (mx{n}.example.net [192.0.2.{rng.randrange(256)}])\r\n"
            f"\tby relay{n}.example.org (Postfix) with ESMTPS id {rng.randbytes(6).hex().upper()}\r\n"
            f"\tfor <{to.lower()}@example.org>; {date}\r\n" for n in range(2))
        return (
            f"{hops}DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\r\n"
            f"\th=from:to:subject:date:message-id; bh={sig[0][:43]}=;\r\n\tb={f'{chr(13)}{chr(10)} '.join(sig)}\r\nFrom: {who} <{who.lower()}@example.net>\r\nTo: {to} <{to.lower()}@example.org>\r\n"
            f"Subject: {subject}\r\nDate: {date}\r\nMessage-ID: <{rng.randbytes(12).hex()}@example.net>\r\n"
            f"User-Agent: Mozilla Thunderbird\r\nMIME-Version: 1.0\r\n").encode()

    def text(self, rng, size):
        """`size` bytes of prose, from the start of a line to the end of one."""
        size = max(size, 80)
        start = self.prose.index(b"\n", rng.randrange(len(self.prose) - size - 200)) + 1
        return self.prose[start:start + size - 2].rstrip(b"\r\n") + b"\r\n"

    def multipart(self, rng, size, kind):
        mark = rng.randbytes(12).hex()
        plain_len, html_len = (size // 8, size // 5) if kind == "medium" else (4_000, 9_000)
        file_len = (size - plain_len - html_len - 700) * 57 // 78
        parts = [
            b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + self.text(rng, plain_len),
            b"Content-Type: text/html; charset=utf-8\r\n\r\n" + self.html(rng, html_len),
            self.attachment(rng, file_len),
        ]
        boundary = f"--{mark}\r\n".encode()
        return (f'Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\n'.encode() + boundary
                + (b"\r\n" + boundary).join(parts) + f"\r\n--{mark}--\r\n".encode())

    def html(self, rng, size):
        """Prose with the mark-up of a mail client, about a third of it tags."""
        out, used = [b'<html><head><meta charset="utf-8"></head><body>\r\n'], 0
        while used < size:
            text = self.text(rng, rng.randrange(150, 700))
            out.append(b'<p class="MsoNormal" style="margin:0 0 8px 0;font-family:Calibri,sans-serif">'
                       b'<span lang="EN-GB">' + text + b"</span></p>\r\n")
            used += len(out[-1])
        return b"".join(out) + b"</body></html>\r\n"

    def attachment(self, rng, size):
        if rng.random() < 0.7:
            name, data = "photo.jpg", rng.randbytes(size)
        else:
            start = rng.randrange(len(self.prose) - 1)
            data = (self.prose[start:] + self.prose)[:size].replace(b" ", b";")
            name = "table.csv"
        return (f'Content-Type: application/octet-stream; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
                f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'.encode()
                + base64.encodebytes(data).replace(b"\n", b"\r\n"))


def prose(rng, vocabulary, sums, size):
    """Letters and articles: paragraphs of sentences wrapped at 72 columns."""
    out, used = [], 0
    while used < size:
        phrases = topic(rng, vocabulary, sums)
        for _ in range(rng.randrange(4, 20)):
            text = " ".join(sentence(rng, vocabulary, sums, phrases) for _ in range(rng.randrange(2, 9)))
            out.append("\r\n".join(wrap(text)) + "\r\n\r\n")
            used += len(out[-1])
    return "".join(out).encode()


def topic(rng, vocabulary, sums):
    """What one letter is about: phrases that come back in it, the reason why prose compresses."""
    return [" ".join(rng.choices(vocabulary, cum_weights=sums, k=rng.randrange(2, 5))) for _ in range(TOPIC_PHRASES)]


def sentence(rng, vocabulary, sums, phrases):
    chosen = rng.choices(vocabulary, cum_weights=sums, k=rng.randrange(4, 16))
    for i in range(len(chosen) - 1):
        roll = rng.random()
        if roll < TOPIC_SHARE:
            chosen[i] = rng.choice(phrases)
        elif roll < TOPIC_SHARE + 0.06:
            chosen[i] += ","
        elif roll > 0.985:
            chosen[i] = str(rng.randrange(10_000))
    chosen[0] = chosen[0].capitalize()
    return " ".join(chosen) + "."


def wrap(text, width=72):
    """What textwrap does, many times faster."""
    lines, start = [], 0
    while len(text) - start > width:
        end = text.rfind(" ", start, start + width)
        lines.append(text[start:end])
        start = end + 1
    return lines + [text[start:]]
