#!/usr/bin/python3
"""make_verdict: known answers for docs/FORMAT.verdict.md, made without any code of Basalt.

Written from the document, with python3-nacl and python3-cryptography. What is random in life is fixed here, so that running it
again gives the same bytes. It writes tests/vectors/verdict.h and the seeds of tests/fuzz/corpus/fuzz_verdict.

    tests/vectors/make_verdict.py          # from the top of the tree
"""
import base64
import hashlib
import hmac
import pathlib
import struct

import nacl.bindings as sodium
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
NAME = b"X-Basalt-Verdict"
DELIVER, DROP, REJECT = 1, 2, 3
SUBJECT, DETAIL = 1, 2
CLASSES = (512, 1024, 2048, 4096, 8192, 16384, 23549)
NOW = 1_800_000_000


def fixed(name, length):
    """Bytes that stand for random ones."""
    return hashlib.shake_256(b"basalt verdict vectors: " + name.encode()).digest(length)


def derive(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, b"basalt verdict v1 " + info).derive(key)


def outcome(what, flags=0, folder="", label="", note="", code="", status="", text=""):
    return what, flags, (folder, label, note, code, status, text)


def plaintext(key, message_id, time, outcomes, entries):
    """entries: [(address in its one form, number of outcome)]"""
    strings = []
    for _, _, texts in outcomes:
        strings += [t for t in texts if t and t not in strings]
    hash_key = derive(key, message_id, b"recipients")
    out = message_id + struct.pack(">QH", time, len(strings))
    out += b"".join(struct.pack("B", len(s.encode())) + s.encode() for s in strings)
    out += struct.pack(">H", len(outcomes))
    for what, flags, texts in outcomes:
        out += struct.pack(">BB6H", what, flags, *(strings.index(t) + 1 if t else 0 for t in texts))
    out += struct.pack(">H", len(entries))
    for address, number in entries:
        out += hmac.new(hash_key, address.encode(), hashlib.sha256).digest()[:16] + struct.pack(">H", number)
    return out + bytes(next(c for c in CLASSES if c >= len(out)) - len(out))


def seal(key_id, key, nonce, plain):
    aad = NAME + b"\x01" + key_id
    sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce, derive(key, key_id, b"seal"))
    text = base64.b64encode(b"\x01" + key_id + nonce + sealed).decode()
    return " " + "\r\n\t".join(text[i:i + 76] for i in range(0, len(text), 76))


def c_string(name, text):
    lines = [text[i:i + 100].replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
             for i in range(0, len(text), 100)]
    return f"static const char {name}[] =\n\t" + "\n\t".join(f'"{line}"' for line in lines) + ";\n"


def main():
    key_id, key, message_id = fixed("key id", 8), fixed("key", 32), fixed("message", 16)
    outcomes = [
        outcome(DELIVER, SUBJECT, folder="Junk/Maybe", label="[SPAM?]", note="score 7.1"),
        outcome(DROP),
        outcome(REJECT, code="550", status="5.7.1", text="Refused by this account's policy"),
        outcome(DELIVER, DETAIL),
        outcome(DELIVER, label="\u00dcbel", note="score 7.1"),
    ]
    entries = [("alice@example.org", 0), ("bob@example.org", 1), ("carol@example.org", 2), ("dave@example.net", 3),
               ("eve@example.net", 4), ("frank@example.org", 1)]
    good = plaintext(key, message_id, NOW, outcomes, entries)
    many = plaintext(key, message_id, NOW, outcomes[1:2], [(f"u{i}@example.org", 0) for i in range(40)])
    broken = {
        "bad_outcome": plaintext(key, message_id, NOW, outcomes, [("alice@example.org", 9)]),
        "bad_what": plaintext(key, message_id, NOW, [outcome(4)], [("alice@example.org", 0)]),
        "bad_flags": plaintext(key, message_id, NOW, [outcome(DELIVER, 4)], [("alice@example.org", 0)]),
        "bad_code": plaintext(key, message_id, NOW, [outcome(REJECT, code="250", status="5.7.1", text="x")], []),
        "bad_folder": plaintext(key, message_id, NOW, [outcome(DELIVER, folder="a\r\nb")], []),
        "bad_padding": good[:-1] + b"\1",
    }
    out = "/* Made by tests/vectors/make_verdict.py from docs/FORMAT.verdict.md: do not edit. */\n"
    out += f"#define VV_NOW {NOW}\n"
    out += c_string("vv_keyfile", f"# made for tests\n{key_id.hex()} {key.hex()} {NOW - 1000}\n")
    out += c_string("vv_id", message_id.hex())
    out += c_string("vv_good", seal(key_id, key, fixed("nonce", 24), good))
    out += c_string("vv_many", seal(key_id, key, fixed("nonce many", 24), many))
    for name, plain in broken.items():
        out += c_string(f"vv_{name}", seal(key_id, key, fixed(name, 24), plain))
    (TOP / "tests" / "vectors" / "verdict.h").write_text(out)
    seeds = TOP / "tests" / "fuzz" / "corpus" / "fuzz_verdict"
    seeds.mkdir(parents=True, exist_ok=True)
    (seeds / "good").write_bytes(good)
    (seeds / "many").write_bytes(many)
    for name, plain in broken.items():
        (seeds / name).write_bytes(plain)


main()
