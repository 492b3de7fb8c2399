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
PASSWORD, APP, RECOVERY, MEMBER, ESCROW = 1, 2, 3, 4, 5
PENDING = 1
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


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


def slot(label, account, kind, generation, secret, amk, memory_kib=0, passes=0, extra=None, salt=None, to=None, slot_id=None):
    """A slot and its seed. extra: what version 2 has between salt and keys. to: the public key it is sealed to."""
    slot_id = slot_id or fixed(label + " id", 16)
    salt, eph = salt or fixed(label + " salt", 16), fixed(label + " eph", 32)
    seed = None if to else seed_of(kind, secret, salt, memory_kib, passes)
    public, eph_public = to or sodium.crypto_scalarmult_base(seed), sodium.crypto_scalarmult_base(eph)
    head = slot_id + struct.pack(">BBQII", kind, 1, generation, memory_kib, passes) + salt + (extra or b"")
    tag = b"basalt slot v1" if extra is None else b"basalt slot v2"
    kek = hkdf(sodium.crypto_scalarmult(eph, public), slot_id, tag + account + head + eph_public + public)
    return head + public + eph_public + AESGCM(kek).encrypt(bytes(12), amk, None), seed


def extra(label="", created=0, flags=0):
    return struct.pack(">BQB", flags, created, len(label.encode())) + label.encode()


def gf_times(a, b):
    """The product in GF(32), modulo x^5 + x^2 + 1: bit by bit, then a long division."""
    product = 0
    for i in range(5):
        product ^= (a << i) if b >> i & 1 else 0
    for i in (8, 7, 6, 5):
        product ^= (0b100101 << (i - 5)) if product >> i & 1 else 0
    return product


def code_text(letter, slot_id, numbers):
    """An app password or recovery code: kind, 15 bits of the slot's id, 28 random numbers; with its checks and dashes."""
    hint = int.from_bytes(slot_id[:2], "big") >> 1
    carried = [ALPHABET.index(letter), hint >> 10, hint >> 5 & 31, hint & 31, *numbers]
    weights, groups = (16, 8, 4, 2), []  # x^4, x^3, x^2, x
    for g in range(8):
        four, check = carried[4 * g:4 * g + 4], g + 1
        for w, n in zip(weights, four):
            check ^= gf_times(w, n)
        groups.append("".join(ALPHABET[n] for n in [*four, check]))
    return "-".join(groups)


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


def kept_section(cores):
    return bytes([len(cores)]) + b"".join(struct.pack(">I", len(c)) + c for c in cores)


def keyset2(rec, account, generation, slots, sealed_ring, amk, cores=()):
    """Version 2: the keyset proper, and with the section of those that it keeps."""
    kept = kept_section(cores)
    digest = hashlib.sha256(kept).digest()
    text = account + struct.pack(">Q", generation) + hashlib.sha256(rec).digest() + hashlib.sha256(sealed_ring).digest()
    text += struct.pack(">H", len(slots)) + hashlib.sha256(b"".join(slots)).digest() + digest
    manifest = hmac.new(hkdf(amk, account, b"basalt manifest v2"), text, hashlib.sha256).digest()
    core = b"BSK1\x02" + str16(rec) + struct.pack(">H", len(slots)) + b"".join(str16(s) for s in slots)
    core += struct.pack(">I", len(sealed_ring)) + sealed_ring + digest + manifest
    return core, core + kept


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

    # Version 2: all kinds of slots, and version 1 kept beside. The code's text is the recovery slot's secret.
    numbers = [b & 31 for b in fixed("code", 28)]
    code_id = fixed("code id", 16)
    written = code_text("R", code_id, numbers)
    amk2, new = fixed("amk 2", 32), fixed("new active", 32)
    member_sec, escrow_sec = fixed("member", 32), fixed("escrow", 32)
    base = sodium.crypto_scalarmult_base
    rec2 = record(site, "alice@example.org", account, base(new), 8, 1700000000, 0x01)
    first2, seed2 = slot("first 2", account, PASSWORD, 8, password, amk2, 8192, 1, extra("", 1700000800))
    pending, pending_seed = slot("pending", account, PASSWORD, 8, b"a newer password", amk2, 8192, 1,
                                 extra("", 1700000801, PENDING))
    code2, code2_seed = slot("code", account, RECOVERY, 8, written.replace("-", "").encode(), amk2,
                             extra=extra("in the safe", 1700000802), slot_id=code_id)
    member, _ = slot("member", account, MEMBER, 8, None, amk2, extra=extra("bob@example.org", 1700000803),
                     salt=fixed("bob", 16), to=base(member_sec))
    escrow, _ = slot("escrow", account, ESCROW, 8, None, amk2, extra=extra("Example Ltd, b\u00fcro", 1700000804),
                     to=base(escrow_sec))
    slots2 = [first2, pending, code2, member, escrow]
    ring2 = ring(account, 8, [(active, 1700000000, 0), (new, 1700000800, 1)], amk2, fixed("nonce 2", 24))
    core2, blob2 = keyset2(rec2, account, 8, slots2, ring2, amk2, [blob])
    plain2 = keyset2(rec2, account, 8, slots2[:1], ring2, amk2)[1]

    arrays = {
        "kv2_blob": blob2, "kv2_amk": amk2, "kv2_seed": seed2, "kv2_pending_seed": pending_seed,
        "kv2_code_seed": code2_seed, "kv2_member_sec": member_sec, "kv2_escrow_sec": escrow_sec, "kv2_code_id": code_id,
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
    text += f'#define KV_CODE "{code.decode()}"\n#define KV_GENERATION 7\n#define KV_CREATED 1700000000\n'
    text += f'#define KV2_CODE "{written}"\n#define KV2_APP "{code_text("A", code_id, numbers[::-1])}"\n\n'
    text += "\n".join(c_array(name, data) for name, data in arrays.items()) + "\n#endif\n"
    (TOP / "tests/vectors/keys.h").write_text(text)

    seeds = {
        "fuzz_record/plain": record(site, "bob@example.org", account, public, 1, 0, 0), "fuzz_record/sealed": rec,
        "fuzz_keyset/two-slots": blob,
        "fuzz_keyset/one-slot": keyset(rec, account, 7, slots[:1], ring(account, 7, [(active, 0, 1)], amk, bytes(24)), amk),
        "fuzz_keyset/ring": ring_bytes([(older, 1600000000, 0), (active, 1700000000, 1)]),
        "fuzz_keyset/version-2": blob2, "fuzz_keyset/version-2-plain": plain2, "fuzz_keyset/kept-core": core2,
        "fuzz_secretcode/recovery": written.encode(), "fuzz_secretcode/blanks": written.lower().replace("-", " ").encode(),
        "fuzz_secretcode/app": code_text("A", code_id, numbers).encode(), "fuzz_secretcode/short": written[:-1].encode(),
        "fuzz_secretcode/escrow": b"BASALT-ESCROW-" + escrow_sec.hex().encode(),
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
