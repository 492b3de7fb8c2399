"""message: docs/FORMAT.message.md in Python, on python3-nacl and python3-cryptography. Shares nothing with common/."""
import hashlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

import lzo1x
import zstandard

MAGIC = b"\x89BSL\r\n\x1a\n"
CHUNK = 65536
HEADER, BODY, TRAILER = 1, 2, 3
FINAL, LZO, ZSTD = 1, 2, 4
INDEX_BITS = {0: 0, LZO: 0x800000, ZSTD: 0x400000}


def sha256(data):
    return hashlib.sha256(data).digest()


def hkdf(ikm, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(ikm)


def u24(n):
    return n.to_bytes(3, "big")


def key_id(suite, pub):
    return sha256(b"basalt key id v1" + bytes([suite]) + pub)[:16]


def kem_kek(shared, message_id, fields, eph_pub, pub):
    return hkdf(shared, message_id, b"basalt message key v1" + fields + eph_pub + pub)


def header_len(plain):
    """Up to and with the first empty line (LF or CRLF); all of it when there is none."""
    at = 0
    while at < len(plain):
        end = plain.find(b"\n", at) + 1
        if end == 0:
            return len(plain)
        if plain[at:end] in (b"\n", b"\r\n"):
            return end
        at = end
    return len(plain)


def sizes(plain):
    """physical, virtual, header, header virtual, lines, header lines"""
    def virtual(part):
        return len(part.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) if part else 0
    header = plain[:header_len(plain)]
    return (len(plain), virtual(header) + virtual(plain[len(header):]), len(header), virtual(header),
            plain.count(b"\n"), header.count(b"\n"))


def unzstd(stored, plain_len):
    """One frame that says how much it holds, no dictionary, nothing behind it."""
    frame = zstandard.get_frame_parameters(stored)
    if frame.content_size != plain_len or frame.dict_id or stored[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("frame")
    one = zstandard.ZstdDecompressor().decompressobj()
    plain = one.decompress(stored)
    if len(plain) != plain_len or one.unused_data or not one.eof:
        raise ValueError("frame's length")
    return plain


def unpack(flags, stored, plain_len):
    if flags & LZO:
        return lzo1x.decompress(stored, plain_len)
    return unzstd(stored, plain_len) if flags & ZSTD else stored


class Keys:
    def __init__(self, suite, hashed, data_key):
        self.suite, self.h = suite, sha256(hashed)
        if suite:
            self.chunk = AESGCM(hkdf(data_key, self.h, b"basalt chunk v1"))
            self.trailer = AESGCM(hkdf(data_key, self.h, b"basalt trailer v1"))
            self.commitment = hkdf(data_key, self.h, b"basalt commitment v1")

    def aad(self, kind, index, flags, plain_len, stored_len):
        return self.h + bytes([kind]) + struct.pack(">Q", index) + bytes([flags]) + u24(plain_len) + u24(stored_len)

    def seal(self, kind, index, flags, plain_len, stored):
        aad = self.aad(kind, index, flags, plain_len, len(stored))
        head = bytes([kind, flags]) + u24(plain_len) + u24(len(stored))
        if not self.suite:
            return head + stored + sha256(aad + stored)[:16]
        cipher = self.trailer if kind == TRAILER else self.chunk
        return head + cipher.encrypt(struct.pack(">IQ", kind, index), stored, aad)

    def open(self, kind, index, chunk):
        flags, plain_len, stored_len = chunk[1], int.from_bytes(chunk[2:5], "big"), int.from_bytes(chunk[5:8], "big")
        if chunk[0] != kind or len(chunk) != 8 + stored_len + 16:
            raise ValueError("chunk frame")
        aad, stored = self.aad(kind, index, flags, plain_len, stored_len), chunk[8:-16]
        if not self.suite:
            if sha256(aad + stored)[:16] != chunk[-16:]:
                raise ValueError("chunk digest")
        else:
            cipher = self.trailer if kind == TRAILER else self.chunk
            stored = cipher.decrypt(struct.pack(">IQ", kind, index), chunk[8:], aad)
        return flags, unpack(flags, stored, plain_len)


def make_prefix(version, suite, account_id, message_id, pub, eph_sec, data_key):
    """All but the commitment."""
    prefix = MAGIC + bytes([version, suite]) + b"\0\0" + account_id + message_id
    if not suite:
        return prefix + bytes(16) + b"\0\0" + b"\0\0"
    prefix += key_id(suite, pub) + struct.pack(">H", 32)
    eph_pub = crypto_scalarmult_base(eph_sec)
    kek = kem_kek(crypto_scalarmult(eph_sec, pub), message_id, prefix, eph_pub, pub)
    return prefix + eph_pub + struct.pack(">H", 48) + AESGCM(kek).encrypt(bytes(12), data_key, None)


def seal(plain, suite, account_id, message_id, pub, eph_sec, data_key, compress, in_the_clear=False, version=1):
    """compress: a function of a chunk's index and plaintext: true for LZO1X, or the bytes of a Zstandard frame."""
    prefix = make_prefix(version, suite, account_id, message_id, pub, eph_sec, data_key)
    keys = Keys(suite, prefix, data_key)
    if in_the_clear:
        keys.suite = 0
    split = header_len(plain)
    parts = [(HEADER, plain[i:min(i + CHUNK, split)]) for i in range(0, split, CHUNK)]
    headers = len(parts)
    parts += [(BODY, plain[i:i + CHUNK]) for i in range(split, len(plain), CHUNK)] or [(BODY, b"")]
    out, index = prefix + (keys.commitment if suite else b""), b""
    for n, (kind, text) in enumerate(parts):
        frame = compress(n, text)
        how = ZSTD if isinstance(frame, bytes) else LZO if frame else 0
        packed = frame if how == ZSTD else lzo1x.compress(text) if how else text
        if len(packed) >= len(text):
            packed, how = text, 0
        flags = (FINAL if n + 1 == len(parts) else 0) | how
        out += keys.seal(kind, n, flags, len(text), packed)
        index += u24(len(packed) | INDEX_BITS[how])
    trailer = struct.pack(">6Q2I", *sizes(plain), len(parts), headers) + index
    sealed_trailer = keys.seal(TRAILER, 0, 0, len(trailer), trailer)
    end = struct.pack(">QI", len(out), len(sealed_trailer)) + b"BSLe"
    out += sealed_trailer + end
    return out + sha256(out), len(parts), headers


def unwrap(prefix, sec):
    pub = crypto_scalarmult_base(sec)
    if prefix[44:60] != key_id(1, pub):
        raise ValueError("another key")
    eph = prefix[62:94]
    kek = kem_kek(crypto_scalarmult(sec, eph), prefix[28:44], prefix[:62], eph, pub)
    return AESGCM(kek).decrypt(bytes(12), prefix[96:144], None)


def open_sealed(data, sec):
    """Everything of a sealed file is checked; the plaintext comes back."""
    version, suite = data[8], data[9]
    if data[:12] != MAGIC + bytes([version, suite, 0, 0]) or version not in (1, 2) or suite > 1 or sha256(data[:-32]) != data[-32:]:
        raise ValueError("prefix or digest")
    keys = Keys(suite, data[:144] if suite else data[:64], unwrap(data, sec) if suite else None)
    at = 176 if suite else 64
    if suite and data[144:176] != keys.commitment:
        raise ValueError("commitment")
    off, length = struct.unpack(">QI", data[-48:-36])
    if data[-36:-32] != b"BSLe" or off + length + 48 != len(data):
        raise ValueError("footer")
    trailer = keys.open(TRAILER, 0, data[off:off + length])[1]
    chunks, headers = struct.unpack(">2I", trailer[48:56])
    plain = b""
    for n in range(chunks):
        entry = int.from_bytes(trailer[56 + 3 * n:59 + 3 * n], "big")
        how = LZO if entry & INDEX_BITS[LZO] else ZSTD if version > 1 and entry & INDEX_BITS[ZSTD] else 0
        stored = entry & ~INDEX_BITS[how]
        flags, text = keys.open(HEADER if n < headers else BODY, n, data[at:at + 24 + stored])
        if flags != (FINAL if n + 1 == chunks else 0) | how:
            raise ValueError("flags")
        if (n >= headers or n + 1 < headers) and n + 1 < chunks and len(text) != CHUNK:
            raise ValueError("a chunk that is not full")
        plain += text
        at += 24 + stored
        if n + 1 == headers and len(plain) != header_len(plain):
            raise ValueError("header chunks")
    if at != off or trailer[:48] != struct.pack(">6Q", *sizes(plain)) or len(trailer) != 56 + 3 * chunks:
        raise ValueError("trailer")
    return plain
