"""Somebody who may write to the keys database surrounds an account's signed record with keys of his own."""
import os
import struct

import nacl.bindings as sodium
import pytest

import keyproto
from keydserver import Keyd  # puts tests/vectors on the path
import make_keys

NO_SESSION = 1
VICTIM, THEIRS, MINE = "alice@example.org", "a good password", "the forger's own"


def forge(blob):
    """The keyset with its true record, and slot, ring and manifest under an AMK of the forger's."""
    length, = struct.unpack_from(">H", blob, 5)
    record = blob[7:7 + length]
    generation, account = struct.unpack_from(">Q", record, 10)[0], record[26:42]
    amk, secret = os.urandom(32), os.urandom(32)
    slot, _ = make_keys.slot("forged", account, make_keys.PASSWORD, generation, MINE.encode(), amk, 8192, 1)
    ring = make_keys.ring(account, generation, [(secret, 0, 1)], amk, os.urandom(24))
    assert sodium.crypto_scalarmult_base(secret) != record[58:90]
    return make_keys.keyset(record, account, generation, [slot], ring, amk)


@pytest.mark.parametrize("flags", [0, NO_SESSION])
def test_forged_around_a_true_record(flags):
    with Keyd() as keyd:
        keyd.enrol(VICTIM, THEIRS)
        with keyd.client("auth") as c:
            c.login(VICTIM, THEIRS, flags=flags)
        blob = keyd.rows(VICTIM)[0][1]
        keyd.replace_keyset(VICTIM, forge(blob))
        with keyd.client("auth") as c, pytest.raises(keyproto.KeydError) as caught:
            c.login(VICTIM, MINE, flags=flags)
        assert caught.value.status == keyproto.AUTH
        assert keyd.alarms()


def test_a_thousand_slots_do_not_cost_a_thousand_argon2id():
    """A writer of the database can't make one wrong password keep a kdf worker busy."""
    with Keyd() as keyd:
        keyd.enrol(VICTIM, THEIRS)
        blob = keyd.rows(VICTIM)[0][1]
        length, = struct.unpack_from(">H", blob, 5)
        record = blob[7:7 + length]
        generation, account = struct.unpack_from(">Q", record, 10)[0], record[26:42]
        amk = os.urandom(32)
        slots = [make_keys.slot(f"slot {i}", account, make_keys.PASSWORD, generation, MINE.encode(), amk, 8192, 1)[0]
                 for i in range(60)]
        ring = make_keys.ring(account, generation, [(os.urandom(32), 0, 1)], amk, os.urandom(24))
        keyd.replace_keyset(VICTIM, make_keys.keyset(record, account, generation, slots, ring, amk))
        with keyd.client("auth") as c, pytest.raises(keyproto.KeydError) as caught:
            c.login(VICTIM, "not one of them")
        assert caught.value.status == keyproto.AUTH
        assert any("more password slots" in line for line in keyd.alarms())
