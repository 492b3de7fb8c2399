"""Blobs that somebody sealed who can write the index cache: the account's public key is all that it takes (docs/FORMAT.cache.md).

What such a blob says is shown, as a forged mail in its place would be; it must never cost the mail that is there, get out of
its own answer, or outlive the moment when the file is opened.
"""
import hashlib
import os
import struct
import sys

import nacl.bindings as sodium
import pytest

import databases
import messages
import sealedfiles
import systems
from test_cache import account_with, asked, blob_spans, caches, session, system  # noqa: F401

sys.path.insert(0, str(systems.ROOT / "tests" / "vectors"))
import message as vectors  # noqa: E402

ENVELOPE = b'NIL "FORGED" NIL NIL NIL NIL NIL NIL NIL "<x@y.example>"'
HEADER = b"Subject: FORGED\r\n\r\n"
NUMBERS, TEXT, DIGEST, ITEM_HEADER, PADDING = 1, 2, 7, 16, (15, 99)  # items; the last two are unknown ones


def item(number, data):
    return bytes([number]) + vectors.u24(len(data)) + data


def numbers(received):
    return struct.pack(">QQQQIiB", 2**64 - 1, 2**64 - 1, received, received, 2**32 - 1, 0, 0)


def forge(system, account, items, message_id=None):
    """Puts one of our own in the place of the only mail's blob."""
    (cache,) = caches(system, account)
    raw = bytearray(cache.read_bytes())
    (start, end), = [s for s in blob_spans(raw) if raw[s[0] + 1] == 1]
    blob, stored = bytes(raw[start:end]), sealedfiles.messages(system, account)[0].read()
    _, out = system.doveadm("-f", "flow", "mailbox", "status", "-u", account.address, "guid uidvalidity", "INBOX")
    status = dict(word.split("=") for word in out.split() if "=" in word)
    public = databases.record(databases.Keys(system).newest(account)[1])[databases.PUBLIC_KEY]
    data_key = os.urandom(32)
    hashed = vectors.make_prefix(2, 1, stored[12:28], message_id or stored[28:44], public, os.urandom(32), data_key)
    prefix = hashed + vectors.Keys(1, hashed, data_key).commitment
    key = vectors.hkdf(data_key, hashlib.sha256(hashed).digest(), b"basalt cache v1")
    lengths = [int.from_bytes(blob[at:at + 3], "big") for at in (205, 208)]
    assert blob[29:29 + 176] == stored[:176] and 211 + sum(lengths) == len(blob)
    parts = [items + item(DIGEST, stored[-32:]), item(ITEM_HEADER, b"\0" + vectors.u24(len(HEADER)) + HEADER)]
    nonce = os.urandom(23)
    forged = bytes([1, 1, 0, 0]) + nonce + struct.pack(">H", 176) + prefix + b"".join(map(vectors.u24, lengths))
    for n, (plain, length) in enumerate(zip(parts, lengths)):
        plain += item(PADDING[n], b"p" * (length - 16 - 4 - len(plain)))
        place = struct.pack(">IIQ", int(status["uidvalidity"]), 1, 0)
        aad = b"basalt cache v1" + bytes([1, n]) + stored[12:28] + bytes.fromhex(status["guid"]) + place
        forged += sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce + bytes([n]), key)
    assert len(forged) == len(blob)
    raw[start:end] = forged
    cache.write_bytes(raw)


@pytest.fixture
def account(system):  # noqa: F811
    header = ["X-Pad: " + os.urandom(400).hex()]
    return account_with(system, "sdbox", [messages.make(b"the true body\r\n", subject="true " + "x" * 300, header=header)])


def listing(c):
    return b"".join(asked(c, b"FETCH 1 (ENVELOPE)") + asked(c, b"FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))


@pytest.mark.parametrize("own_id", [False, True])
def test_it_lasts_until_the_file_is_opened(system, account, own_id):  # noqa: F811
    """Of the mail's own id too, under which its key is remembered: the body is shown, and the log has the alarm."""
    since = len(system.log("dovecot"))
    forge(system, account, item(TEXT, ENVELOPE), os.urandom(16) if own_id else None)
    for n in range(2):
        with session(system, account) as c:
            assert (b"FORGED" in listing(c)) == (n == 0), "the control: it does open"
            assert b"the true body" in b"".join(asked(c, b"FETCH 1 (BODY.PEEK[TEXT])"))
            assert b"true x" in listing(c)
    assert system.logged("dovecot", "ALARM: the file is not the one", since)


INJECTED = ENVELOPE + b')\r\n* OK [ALERT] injected\r\n* 1 FETCH (X-Y (NIL'


@pytest.mark.parametrize("items", [item(NUMBERS, numbers(2**62)), item(TEXT, INJECTED), item(TEXT, b'"open')], ids=["date", "injected", "open"])
def test_what_dovecot_could_not_bear_is_not_believed(system, account, items):  # noqa: F811
    forge(system, account, items)
    for _ in range(2):
        with session(system, account) as c:
            said = listing(c) + b"".join(asked(c, b"FETCH 1 (INTERNALDATE RFC822.SIZE)"))
            assert b"injected" not in said and b"INTERNALDATE" in said and said.count(b"x OK") == 3, said
            assert b"the true body" in b"".join(asked(c, b"FETCH 1 (BODY.PEEK[TEXT])"))
            assert b"true x" in listing(c)
