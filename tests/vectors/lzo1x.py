"""lzo1x: the LZO1X stream in plain Python, written from its description, sharing no line with liblzo2.

compress() finds 4-byte repetitions within 16 KiB and writes literal runs and M3 matches; decompress() knows them all.
"""

END = b"\x11\x00\x00"


def _long(first, bits, n):
    """An instruction whose length n does not fit its low bits: zero bits there, then 255s as zero bytes."""
    if n <= bits:
        return bytes([first | n])
    n -= bits
    out = bytearray([first])
    while n > 255:
        out.append(0)
        n -= 255
    return bytes(out) + bytes([n])


def _literals(out, run, at_start):
    """A literal run. One to three bytes after a match travel in the low bits of that match's distance."""
    if not run:
        return
    if at_start and len(run) <= 238:
        out.append(17 + len(run))
    elif len(run) <= 3:
        out[-2] |= len(run)
    else:
        out += _long(0, 15, len(run) - 3)
    out += run


def compress(data):
    out, seen, pos, start = bytearray(), {}, 0, 0
    while pos + 4 <= len(data):
        key = data[pos:pos + 4]
        before = seen.get(key)
        seen[key] = pos
        if before is None or pos - before > 16384:
            pos += 1
            continue
        length = 4
        while pos + length < len(data) and data[before + length] == data[pos + length]:
            length += 1
        _literals(out, data[start:pos], not out)
        out += _long(32, 31, length - 2)
        out += ((pos - before - 1) << 2).to_bytes(2, "little")
        pos += length
        start = pos
    _literals(out, data[start:], not out)
    return bytes(out) + END


def decompress(data, length):
    out, pos, state = bytearray(), 0, 0

    def more(n, bits):
        nonlocal pos
        if n:
            return n
        while data[pos] == 0:
            n += 255
            pos += 1
        pos += 1
        return n + bits + data[pos - 1]

    def literals(n):
        nonlocal pos
        out.extend(data[pos:pos + n])
        pos += n

    if data[0] > 17:
        pos = 1
        literals(data[0] - 17)
        state = min(data[0] - 17, 4)
    while True:
        t = data[pos]
        pos += 1
        if t < 16 and state == 0:
            literals(more(t, 15) + 3)
            state = 4
            continue
        if t < 16:
            n, dist, state = (2, 1, t & 3) if state < 4 else (3, 2049, t & 3)
            dist += (t >> 2) + (data[pos] << 2)
            pos += 1
        elif t >= 64:
            n, dist, state = (t >> 5) + 1, ((t >> 2) & 7) + (data[pos] << 3) + 1, t & 3
            pos += 1
        else:
            n = more(t & 31, 31) + 2 if t >= 32 else more(t & 7, 7) + 2
            word = int.from_bytes(data[pos:pos + 2], "little")
            pos += 2
            state = word & 3
            dist = (word >> 2) + 1
            if t < 32:
                dist = ((t & 8) << 11) + (word >> 2)
                if dist == 0:
                    break
                dist += 16384
        for _ in range(n):
            out.append(out[-dist])
        literals(state)
    if pos != len(data) or len(out) != length:
        raise ValueError("not one whole LZO1X block")
    return bytes(out)
