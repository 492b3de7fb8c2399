#!/usr/bin/python3
"""make_cache: known answers for docs/FORMAT.cache.md, made without any code of Basalt.

Written from the document, with python3-nacl and python3-cryptography. What is random in life is fixed here, so that running it
again gives the same bytes. It writes tests/vectors/cache.h and the seeds of tests/fuzz/corpus/fuzz_cacheblob.

    tests/vectors/make_cache.py          # from the top of the tree
"""
import hashlib
import pathlib
import struct

import nacl.bindings as sodium
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MESSAGE, ACCOUNT = 1, 2
NUMBERS, ENVELOPE, STRUCTURE, SNIPPET, GUID, MESSAGE_ID, DIGEST, DATA_KEY, BLOB_KEY, HEADER, PARTS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17


def fixed(name, length):
    """Bytes that stand for random ones."""
    return hashlib.shake_256(b"basalt cache vectors: " + name.encode()).digest(length)


def u24(n):
    return struct.pack(">I", n)[1:]


def item(number, data):
    return bytes([number]) + u24(len(data)) + data


def seal(kind, key, where, epoch, items, nonce, prefix=b""):
    account, mailbox, uid_validity, uid = where
    parts = [b"".join(item(n, d) for n, d in sorted(items.items()) if (n >= HEADER) == bool(part)) for part in (0, 1)]
    sealed = []
    for part, plain in enumerate(parts):
        aad = b"basalt cache v1" + bytes([kind, part]) + account + mailbox
        aad += struct.pack(">IIQ", uid_validity, uid, epoch if kind == ACCOUNT else 0)
        sealed.append(sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce + bytes([part]), key) if plain else b"")
    head = bytes([1, kind, 0, 0]) + nonce + (struct.pack(">H", len(prefix)) + prefix if kind == MESSAGE else b"")
    return head + b"".join(u24(len(s)) for s in sealed) + b"".join(sealed)


def prefix_of(account):
    """As in docs/FORMAT.message.md: suite 1, 176 bytes. What is sealed in it does not matter here."""
    head = b"\x89BSL\r\n\x1a\n" + bytes([1, 1, 0, 0]) + account + fixed("message", 16) + fixed("key id", 16)
    return head + b"\0\x20" + fixed("kem", 32) + b"\0\x30" + fixed("sealed key", 48) + fixed("commitment", 32)


def c_bytes(name, data):
    lines = [", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16)]
    return f"static const uint8_t {name}[{len(data)}] = {{\n\t" + ",\n\t".join(lines) + ",\n};\n"


def main():
    account, mailbox = fixed("account", 16), fixed("mailbox", 16)
    where = (account, mailbox, 1700000000, 42)
    numbers = struct.pack(">QQQQIiB", 1234, 1270, 1700000001, (1 << 64) - 1, 1699999999, -90, 1)
    text = b"Subject: known answer\n\n"
    envelope = b'"Mon, 02 Mar 2026 08:00:00 +0000" "known answer" NIL NIL NIL NIL NIL NIL NIL NIL'
    stored = {NUMBERS: numbers, ENVELOPE: envelope, STRUCTURE: b'"text" "plain" NIL NIL NIL "7bit" 10 1 NIL NIL NIL NIL',
              DIGEST: fixed("digest", 32), HEADER: b"\0" + u24(len(text)) + text, PARTS: fixed("parts", 20)}
    prefix, data_key, subkey = prefix_of(account), fixed("data key", 32), fixed("subkey", 32)
    message_key = HKDF(hashes.SHA256(), 32, hashlib.sha256(prefix[:144]).digest(), b"basalt cache v1").derive(data_key)
    kept = {MESSAGE_ID: fixed("message", 16), DATA_KEY: data_key, BLOB_KEY: message_key, GUID: b"0123456789abcdef"}
    blobs = {
        "message": seal(MESSAGE, message_key, where, 1, stored, fixed("nonce m", 23), prefix),
        "account": seal(ACCOUNT, subkey, where, 1, kept, fixed("nonce a", 23)),
        "later": seal(ACCOUNT, subkey, where, 2, kept, fixed("nonce l", 23)),
    }
    out = "/* Made by tests/vectors/make_cache.py from docs/FORMAT.cache.md: do not edit. */\n#include <stdint.h>\n\n"
    for name, data in [("account_id", account), ("mailbox_guid", mailbox), ("prefix", prefix), ("data_key", data_key),
                       ("message_key", message_key), ("subkey", subkey), ("numbers", numbers), ("envelope", envelope),
                       ("header", text), *((f"blob_{n}", b) for n, b in blobs.items())]:
        out += c_bytes(f"cv_{name}", data)
    out += "#define CV_UID_VALIDITY 1700000000u\n#define CV_UID 42u\n"
    (TOP / "tests/vectors/cache.h").write_text(out)
    corpus = TOP / "tests/fuzz/corpus/fuzz_cacheblob"
    corpus.mkdir(parents=True, exist_ok=True)
    plain = b"".join(item(n, d) for n, d in sorted(stored.items()) if n < HEADER)
    seeds = {**blobs, "list": plain, "headers": item(HEADER, stored[HEADER]) + item(PARTS, stored[PARTS])}
    for name, data in seeds.items():
        (corpus / name).write_bytes(data)


main()
