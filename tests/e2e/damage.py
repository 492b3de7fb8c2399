"""damage: where the parts of a sealed message lie in a mail file (docs/FORMAT.message.md), and ways to break them.

    m = damage.Sealed(file)                  # its first message; number=2 the third one (mdbox)
    m.flip(m.chunks[0].start + 30)
"""
import os
import struct

import systems

PREFIX_LEN, FOOTER_LEN, FRAME = 176, 48, 8 + 16
TRAILER = 3


class Sealed:
    def __init__(self, file, number=0):
        self.file, raw = file, file.read_bytes()
        at = -1
        for _ in range(number + 1):
            at = raw.index(systems.MAGIC, at + 1)
        self.start, self.chunks = at, []
        at += PREFIX_LEN
        while raw[at] != TRAILER:
            self.chunks.append(self.part(raw, at))
            at = self.chunks[-1].stop
        self.trailer = self.part(raw, at)
        self.footer = range(self.trailer.stop, self.trailer.stop + FOOTER_LEN)
        offset, length = struct.unpack_from(">QI", raw, self.footer.start)
        assert (offset, length) == (self.trailer.start - self.start, len(self.trailer))

    @staticmethod
    def part(raw, at):
        return range(at, at + FRAME + int.from_bytes(raw[at + 5:at + 8], "big"))

    def write(self, at, data):
        with open(self.file, "r+b") as f:
            f.seek(at)
            f.write(data)

    def read(self, where):
        return self.file.read_bytes()[where.start:where.stop]

    def flip(self, at, bit=0):
        self.write(at, bytes([self.file.read_bytes()[at] ^ 1 << bit]))

    def zero(self, at, length):
        self.write(at, bytes(length))

    def cut(self, at):
        os.truncate(self.file, at)

    def swap_chunks(self, i, j):
        a, b = self.chunks[i], self.chunks[j]
        first, second = self.read(a), self.read(b)
        assert len(first) == len(second) and first != second
        self.write(a.start, second)
        self.write(b.start, first)


# Each takes a Sealed and breaks it. The length of the file stays.
IN_PLACE = {
    "magic": lambda m: m.flip(m.start + 5),
    "version": lambda m: m.flip(m.start + 8, 6),
    "suite-0": lambda m: m.write(m.start + 9, b"\0"),
    "account-id": lambda m: m.flip(m.start + 12),
    "message-id": lambda m: m.flip(m.start + 30),
    "key-id": lambda m: m.flip(m.start + 50),
    "kem-length": lambda m: m.flip(m.start + 60),
    "kem": lambda m: m.flip(m.start + 70),
    "sealed-key": lambda m: m.flip(m.start + 100),
    "commitment": lambda m: m.flip(m.start + 150),
    "header-frame": lambda m: m.flip(m.chunks[0].start + 4),
    "header-text": lambda m: m.flip(m.chunks[0].start + 20),
    "body-frame": lambda m: m.flip(m.chunks[1].start + 7),
    "body-text": lambda m: m.flip(m.chunks[1].start + 40),
    "tag": lambda m: m.flip(m.chunks[-1].stop - 1),
    "chunks-swapped": lambda m: m.swap_chunks(1, 2),
    "trailer-frame": lambda m: m.flip(m.trailer.start + 6),
    "trailer-sizes": lambda m: m.flip(m.trailer.start + 12),
    "trailer-tag": lambda m: m.flip(m.trailer.stop - 1),
    "footer-offset": lambda m: m.flip(m.footer.start + 7),
    "footer-huge": lambda m: m.write(m.footer.start, b"\xff" * 12),
    "footer-magic": lambda m: m.flip(m.footer.start + 12),
    "block-zeroed": lambda m: m.zero(m.chunks[1].start + 4096, 4096),
    "all-zeroed": lambda m: m.zero(m.start + 12, m.footer.stop - m.start - 12),
}

# The file ends earlier.
CUT = {
    "in-the-magic": lambda m: m.cut(m.start + 6),
    "in-the-prefix": lambda m: m.cut(m.start + 20),
    "in-the-kem": lambda m: m.cut(m.start + 80),
    "before-the-chunks": lambda m: m.cut(m.chunks[0].start),
    "in-a-chunk-frame": lambda m: m.cut(m.chunks[1].start + 3),
    "in-a-chunk": lambda m: m.cut(m.chunks[1].start + 100),
    "in-a-tag": lambda m: m.cut(m.chunks[-1].stop - 8),
    "before-the-trailer": lambda m: m.cut(m.trailer.start),
    "in-the-trailer": lambda m: m.cut(m.trailer.start + 30),
    "in-the-footer": lambda m: m.cut(m.footer.stop - 40),
    "in-the-digest": lambda m: m.cut(m.footer.stop - 1),
}
