#!/usr/bin/python3
"""make_message: the frozen mailboxes tests/data/frozen (format 1) and frozen-2 (format 2; DIR's name says which), from
nothing but a seed and docs/FORMAT.message.md. Of a Zstandard frame only the compressor that made it would make the same bytes
again: they are frozen too, as DIR/NAME.CHUNK.zst.

    make_message.py DIR            writes it (only ever once: what lies there is frozen)
    make_message.py --check DIR    makes it again and compares, byte for byte
    make_message.py --fuzz-seeds DIR
                                   writes what tests/fuzz/fuzz_msgfmt.c starts from
    make_message.py --open SECRET-FILE SEALED-FILE
                                   opens a file that Basalt's encoder made, plaintext to standard output
"""
import hashlib
import pathlib
import sys

from nacl.bindings import crypto_scalarmult_base

import message
import zstandard


class Bytes:
    """Deterministic bytes: SHA-256 in counter mode."""

    def __init__(self, seed):
        self.seed, self.count = seed, 0

    def take(self, n):
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self.seed + self.count.to_bytes(8, "big")).digest()
            self.count += 1
        return out[:n]


def text(rng, n, eol):
    """Lines of words, some bytes above 127 among them, no empty line."""
    words = [b"basalt", b"mail", b"the", b"of", b"sealed", b"and", b"gr\xc3\xbc\xc3\x9fe", b"key", b"=3D", b"\xff"]
    out, line = bytearray(), 0
    for b in rng.take(n // 3 + 1):
        out += words[b % len(words)] + b" "
        line += 1
        if line > 3 + b % 11:
            out += eol
            line = 0
    return bytes(out[:n - 1]).rstrip(b"\r\n").ljust(n - 1, b".") + b"\n" if n else b""


def messages(rng):
    """name, suite, plaintext, compress(index, text)"""
    head = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: frozen\r\n"
    always, never = (lambda i, t: True), (lambda i, t: False)
    yield "empty", 1, b"", never
    yield "one-lf", 1, b"\n", never
    yield "header-only", 1, head, never
    yield "header-crlf", 1, head + b"\r\n", always
    yield "small", 1, head + b"\r\n" + text(rng, 4000, b"\r\n"), always
    yield "small-stored", 1, head + b"\r\n" + text(rng, 3000, b"\r\n"), never
    yield "bare-lf", 1, head.replace(b"\r", b"") + b"\n" + text(rng, 1500, b"\n") + text(rng, 1500, b"\r\n"), always
    yield "odd-line-ends", 1, b"a: b\r\r\nc: d\n\rx\r\n\r\nbody\r\r\n\n\r\n\r", never
    yield "nul-and-8bit", 1, head + b"\r\n" + bytes(range(256)) * 4, always
    yield "plain", 0, head + b"\r\n" + text(rng, 5000, b"\r\n"), always
    yield "plain-empty", 0, b"", never
    long_header = head + b"X-Long: " + text(rng, 70000, b"\r\n ") + b"\r\n"
    yield "long-header", 1, long_header + text(rng, 3000, b"\r\n"), always
    yield "two-full-chunks", 1, head + b"\n" + text(rng, 2 * message.CHUNK, b"\r\n"), lambda i, t: i != 1
    yield "mixed-chunks", 1, head + b"\r\n" + text(rng, 70000, b"\r\n") + rng.take(66000), lambda i, t: i == 1
    yield "plain-mixed", 0, head + b"\r\n" + text(rng, 70000, b"\n") + rng.take(2000), lambda i, t: i != 2


def frame(level, **options):
    """A compress() of message.seal(): its frames are those that lie in the folder, or new ones."""
    def pack(text):
        params = zstandard.ZstdCompressionParameters.from_level(level, source_size=len(text), **options)
        return zstandard.ZstdCompressor(compression_params=params).compress(text)
    return pack


def messages_2(rng):
    """name, suite, plaintext, {chunk: how}"""
    head = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: frozen\r\n\r\n"
    quick, best, summed = frame(1), frame(19), frame(3, write_checksum=True)
    yield "empty", 1, b"", {}
    yield "stored", 1, head + text(rng, 3000, b"\r\n"), {}
    yield "small", 1, head * 3 + text(rng, 4000, b"\r\n"), {0: True, 1: quick}
    yield "lzo", 1, head * 3 + text(rng, 4000, b"\r\n"), {0: True, 1: True}
    yield "best", 1, head + text(rng, 60000, b"\r\n"), {1: best}
    yield "header", 1, b"X: " + text(rng, 70000, b"\r\n ") + b"\r\n" + b"short\n", {0: quick, 1: summed}
    yield "three-chunks", 1, head + text(rng, 70000, b"\r\n") + rng.take(66000) + b"a" * 50000, {1: quick, 3: best}
    yield "one-byte", 1, head + b"\n" * 65536, {1: quick}
    yield "plain", 0, head + text(rng, 70000, b"\n"), {1: quick, 2: True}


def frozen_frames(folder, name, how):
    """compress() for message.seal(), and the files it used."""
    used = {}

    def compress(n, plain):
        if not callable(how.get(n)):
            return how.get(n, False)
        path = folder / f"{name}.{n}.zst"
        used[path.name] = path.read_bytes() if path.exists() else how[n](plain)
        return used[path.name]
    return compress, used


def make(folder):
    version = 2 if folder.name.endswith("-2") else 1
    rng = Bytes(b"basalt frozen mailbox v%d" % version)
    account_id, sec = rng.take(16), rng.take(32)
    pub = crypto_scalarmult_base(sec)
    files = {"account": f"{account_id.hex()} {pub.hex()} {sec.hex()}\n".encode()}
    index = ["# name suite data-key physical virtual header header-virtual lines header-lines chunks header-chunks"]
    for name, suite, plain, compress in messages(rng) if version == 1 else messages_2(rng):
        frames = {}
        if version == 2:
            compress, frames = frozen_frames(folder, name, compress)
        message_id, eph, data_key = rng.take(16), rng.take(32), rng.take(32)
        sealed, chunks, headers = message.seal(plain, suite, account_id, message_id, pub, eph, data_key, compress,
                                               version=version)
        if message.open_sealed(sealed, sec) != plain:
            raise SystemExit(f"{name}: does not open again")
        files.update(frames)
        files[name + ".sealed"], files[name + ".eml"] = sealed, plain
        index.append(" ".join(map(str, (name, suite, data_key.hex() if suite else "-", *message.sizes(plain), chunks, headers))))
    files["index"] = ("\n".join(index) + "\n").encode()
    return files


def fuzz_seeds():
    """Small files whose stored bytes lie in the clear: the fuzzer seals them itself. Big plaintexts squeeze well."""
    rng = Bytes(b"basalt fuzz seeds v1")
    pub = crypto_scalarmult_base(rng.take(32))
    head, big = b"a: b\r\nc: d\r\n\r\n", b"so much mail\r\n" * 12000
    plains = [b"", b"\n", head, head + b"hello\n", head + text(rng, 300, b"\r\n"), head + big, b"x: " + big + b"\r\n" + big]
    for n, plain in enumerate(plains):
        yield f"plaintext-{n}", b"\x05" + plain[:2000]
        for suite in (0, 1):
            for squeeze in (False, True):
                if len(plain) > 3000 and not squeeze:
                    continue
                ids = [rng.take(k) for k in (16, 16)] + [pub] + [rng.take(k) for k in (32, 32)]
                sealed = message.seal(plain, suite, *ids, lambda i, t: squeeze, in_the_clear=True)[0]
                yield f"suite{suite}-{n}{'-lzo' if squeeze else ''}", b"\x03" + sealed
                if squeeze:
                    sealed = message.seal(plain, suite, *ids, lambda i, t: frame(1)(t), in_the_clear=True, version=2)[0]
                    yield f"suite{suite}-{n}-zstd", b"\x03" + sealed


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--fuzz-seeds":
        for name, data in fuzz_seeds():
            (pathlib.Path(sys.argv[2]) / name).write_bytes(data)
        return 0
    if len(sys.argv) == 4 and sys.argv[1] == "--open":
        sec, sealed = (pathlib.Path(p).read_bytes() for p in sys.argv[2:])
        sys.stdout.buffer.write(message.open_sealed(sealed, sec))
        return 0
    check = sys.argv[1:2] == ["--check"]
    if len(sys.argv) != 2 + check:
        sys.stderr.write(__doc__)
        return 2
    folder = pathlib.Path(sys.argv[-1])
    files = make(folder)
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return 0
    there = {p.name for p in folder.iterdir()} - {"README.md", ".gitattributes"}
    bad = [n for n in sorted(there | set(files)) if n not in there or n not in files
           or (folder / n).read_bytes() != files[n]]
    print("\n".join(f"{n}: differs" for n in bad) if bad else f"{len(files)} files, all equal")
    return 1 if bad else 0


sys.exit(main())
