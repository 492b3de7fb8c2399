#!/usr/bin/python3
"""make_keys: known answers for the formats of docs/FORMAT.keys.md, made without any code of Basalt.

Written from the document, with python3-nacl and python3-cryptography. What is random in life is fixed here, so that
running it again gives the same bytes. It writes tests/vectors/keys.h and the seeds of tests/fuzz/corpus/.

    tests/vectors/make_keys.py          # from the top of the tree
"""
import hashlib
import hmac
import pathlib
import struct

import nacl.bindings as sodium
import nacl.pwhash
import nacl.signing
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
PASSWORD, APP, RECOVERY, MEMBER = 1, 2, 3, 4


def fixed(name, length):
    """Bytes that stand for random ones."""
    return hashlib.shake_256(b"basalt key vectors: " + name.encode()).digest(length)


def hkdf(ikm, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(ikm)


def str16(data):
    return struct.pack(">H", len(data)) + data


def key_id(public):
    return hashlib.sha256(b"basalt key id v1" + b"\x01" + public).digest()[:16]


def record(site, name, account, public, generation, created, flags):
    body = b"BSR1" + struct.pack(">BBIQQ", 1, 1, flags, generation, created)
    body += account + key_id(public) + public + str16(name.encode())
    return body + site.sign(b"basalt record v1" + body).signature


def seed_of(kind, secret, salt, memory_kib, passes):
    if kind == PASSWORD:
        return nacl.pwhash.argon2id.kdf(32, secret, salt, opslimit=passes, memlimit=memory_kib * 1024)
    return hkdf(secret, salt, b"basalt slot secret v1")


def slot(label, account, kind, generation, secret, amk, memory_kib=0, passes=0):
    slot_id, salt, eph = fixed(label + " id", 16), fixed(label + " salt", 16), fixed(label + " eph", 32)
    seed = seed_of(kind, secret, salt, memory_kib, passes)
    public, eph_public = sodium.crypto_scalarmult_base(seed), sodium.crypto_scalarmult_base(eph)
    head = slot_id + struct.pack(">BBQII", kind, 1, generation, memory_kib, passes) + salt
    kek = hkdf(sodium.crypto_scalarmult(eph, public), slot_id, b"basalt slot v1" + account + head + eph_public + public)
    return head + public + eph_public + AESGCM(kek).encrypt(bytes(12), amk, None), seed


def ring_bytes(keys):
    plain = struct.pack(">BH", 1, len(keys))
    for secret, created, active in keys:
        plain += key_id(sodium.crypto_scalarmult_base(secret)) + struct.pack(">QB", created, active) + secret
    return plain


def ring(account, generation, keys, amk, nonce):
    aad = account + struct.pack(">Q", generation)
    key = hkdf(amk, account, b"basalt ring v1")
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(ring_bytes(keys), aad, nonce, key)


def keyset(rec, account, generation, slots, sealed_ring, amk):
    digests = hashlib.sha256(rec).digest() + hashlib.sha256(sealed_ring).digest()
    text = account + struct.pack(">Q", generation) + digests + struct.pack(">H", len(slots))
    text += hashlib.sha256(b"".join(slots)).digest()
    manifest = hmac.new(hkdf(amk, account, b"basalt manifest v1"), text, hashlib.sha256).digest()
    blob = b"BSK1\x01" + str16(rec) + struct.pack(">H", len(slots)) + b"".join(str16(s) for s in slots)
    return blob + struct.pack(">I", len(sealed_ring)) + sealed_ring + manifest


def frame(opcode, status, request_id, payload):
    return struct.pack(">IBBHI", 8 + len(payload), 1, opcode, status, request_id) + payload


def c_array(name, data):
    lines = [", ".join(f"0x{b:02x}" for b in data[i:i + 16]) for i in range(0, len(data), 16)]
    return f"static const uint8_t {name}[{len(data)}] = {{\n\t" + ",\n\t".join(lines) + ",\n};\n"


def main():
    site = nacl.signing.SigningKey(fixed("site", 32))
    account, amk = fixed("account", 16), fixed("amk", 32)
    active, older = fixed("active", 32), fixed("older", 32)
    public = sodium.crypto_scalarmult_base(active)
    rec = record(site, "alice@example.org", account, public, 7, 1700000000, 0x01)
    password, code = b"correct horse battery staple", b"0123456789ABCDEFGHJKMNPQRS"
    first, seed = slot("first", account, PASSWORD, 3, password, amk, 8192, 1)
    second, code_seed = slot("second", account, RECOVERY, 7, code, amk)
    slots = [first, second]
    sealed_ring = ring(account, 7, [(older, 1600000000, 0), (active, 1700000000, 1)], amk, fixed("nonce", 24))
    blob = keyset(rec, account, 7, slots, sealed_ring, amk)
    guid = fixed("guid", 16)

    arrays = {
        "kv_site_pub": bytes(site.verify_key), "kv_account": account, "kv_amk": amk, "kv_active_sec": active,
        "kv_active_pub": public, "kv_active_id": key_id(public), "kv_older_sec": older, "kv_record": rec,
        "kv_seed": seed, "kv_code_seed": code_seed, "kv_guid": guid, "kv_blob": blob,
        "kv_subkey_cache_0": hkdf(amk, guid, b"basalt subkey v1" + struct.pack(">BQ", 1, 0)),
        "kv_subkey_search_5": hkdf(amk, guid, b"basalt subkey v1" + struct.pack(">BQ", 2, 5)),
        "kv_frame": frame(6, 0, 0x01020304, str16(b"alice@example.org")),
    }
    text = "/* Made by tests/vectors/make_keys.py: do not edit. */\n#ifndef KEYS_VECTORS_H\n#define KEYS_VECTORS_H\n\n"
    text += "#include <stdint.h>\n\n"
    text += f'#define KV_NAME "alice@example.org"\n#define KV_PASSWORD "{password.decode()}"\n'
    text += f'#define KV_CODE "{code.decode()}"\n#define KV_GENERATION 7\n#define KV_CREATED 1700000000\n\n'
    text += "\n".join(c_array(name, data) for name, data in arrays.items()) + "\n#endif\n"
    (TOP / "tests/vectors/keys.h").write_text(text)

    seeds = {
        "fuzz_record/plain": record(site, "bob@example.org", account, public, 1, 0, 0), "fuzz_record/sealed": rec,
        "fuzz_keyset/two-slots": blob,
        "fuzz_keyset/one-slot": keyset(rec, account, 7, slots[:1], ring(account, 7, [(active, 0, 1)], amk, bytes(24)), amk),
        "fuzz_keyset/ring": ring_bytes([(older, 1600000000, 0), (active, 1700000000, 1)]),
        "fuzz_keyproto/record": arrays["kv_frame"],
        "fuzz_keyproto/denied": frame(1, 14, 1, b""),
        "fuzz_keyproto/two": frame(5, 0, 2, b"\x01" + guid + bytes(8)) + frame(19, 0, 3, b"")[:9],
    }
    for name, data in seeds.items():
        path = TOP / "tests/fuzz/corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
