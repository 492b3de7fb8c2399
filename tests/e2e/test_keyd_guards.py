"""basalt-keyd's second lines: each holds when the one before it does not, so that no other test notices when it is gone."""
import contextlib
import os
import struct

import nacl.bindings as sodium
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import keyproto as kp
from keydserver import Keyd, sealed_prefix, wait_for  # puts tests/vectors on the path
import make_keys
from test_keyd_slots import ESCROW, ESCROW_SECRET, PASSWORD, Account, keyd  # noqa: F401 (a fixture)

NEW = "quite another one"


def parsed(blob):
    """(record, generation, account id, slots) of a keyset"""
    fields = kp.Fields(blob[5:])
    record = fields.str16()
    slots = [fields.str16() for _ in range(fields.number(2))]
    return record, struct.unpack_from(">Q", record, 10)[0], record[26:42], slots


def amk_by_escrow(blob):
    """The account master key, opened from the escrow slot as FORMAT.keys.md says."""
    _, _, account, slots = parsed(blob)
    slot, = (s for s in slots if s[16] == kp.SLOT_ESCROW)
    head, public, eph_public, sealed = slot[:-112], slot[-112:-80], slot[-80:-48], slot[-48:]
    assert public == sodium.crypto_scalarmult_base(ESCROW_SECRET)
    shared = sodium.crypto_scalarmult(ESCROW_SECRET, eph_public)
    kek = make_keys.hkdf(shared, slot[:16], b"basalt slot v2" + account + head + eph_public + public)
    return AESGCM(kek).decrypt(bytes(12), sealed, None)


@pytest.mark.parametrize("way", ["slot", "compromised"])
def test_a_new_master_key(keyd, way):  # noqa: F811
    """Who opened a slot that is removed, or knew the password, has the master key of that time; it must be worth nothing afterwards."""
    erin = Account(keyd, "escrow.example")
    app, _ = erin.do("add_slot", kp.SLOT_APP)
    before = amk_by_escrow(keyd.rows(erin.name)[0][1])
    erin.do("rotate")
    assert amk_by_escrow(keyd.rows(erin.name)[0][1]) == before, "nobody left"
    if way == "slot":
        erin.do("remove_slot", app)
    else:
        erin.do("change_password", NEW, kp.COMPROMISED)
        erin.password = NEW
    assert amk_by_escrow(keyd.rows(erin.name)[0][1]) != before
    assert erin.reads_all()


def test_all_places_are_taken():
    """session.max counts sessions and tokens of everybody; a place that is given back is found."""
    with Keyd(session={"max": 16, "per_account_max": 12}) as keyd, contextlib.ExitStack() as stack:  # noqa: F811
        alice, bob = Account(keyd), Account(keyd)
        for _ in range(12):
            stack.enter_context(keyd.session(alice.name, PASSWORD))
        three = [stack.enter_context(contextlib.ExitStack()) for _ in range(3)]
        for place in three:
            place.enter_context(keyd.session(bob.name, PASSWORD))
        with keyd.client("auth") as a:
            a.login(bob.name, PASSWORD)  # a token is a place, too
        assert bob.login(PASSWORD) == kp.BUSY
        assert keyd.login_status(alice.name, PASSWORD) == kp.BUSY
        three[0].close()
        assert wait_for(lambda: bob.login(PASSWORD) == kp.OK)


def test_another_node_changed_the_keys():
    """A password that an open ring remembers opens no ring of another generation: the keys may be others, under the same slot."""
    with Keyd(session={"linger_s": 600}) as here:
        with Keyd(keyd={"database": f"sqlite:{here.db}", "site_key": str(here.dir / "site.key")}) as there:
            alice = Account(here)
            assert alice.reads_all()
            assert there.change("rotate", alice.name, PASSWORD) > 1
            with there.client("delivery") as d:
                record = d.record(alice.name)
            key = os.urandom(32)
            assert here.opens(alice.name, PASSWORD, [sealed_prefix(record, key)]) == [key]
            assert here.log_text().count(f"login of {alice.name} for imap, warm") == 0


def test_many_slots_that_claim_one_code():
    with Keyd() as keyd:  # noqa: F811
        alice = Account(keyd)
        record, generation, account, _ = parsed(keyd.rows(alice.name)[0][1])
        amk, hint = os.urandom(32), os.urandom(2)
        slots = [make_keys.slot(f"s{i}", account, make_keys.APP, generation, os.urandom(20), amk, slot_id=hint + os.urandom(14))[0]
                 for i in range(60)]
        ring = make_keys.ring(account, generation, [(os.urandom(32), 0, 1)], amk, os.urandom(24))
        keyd.replace_keyset(alice.name, make_keys.keyset(record, account, generation, slots, ring, amk))
        assert alice.login(make_keys.code_text("A", hint + bytes(14), [n % 32 for n in os.urandom(28)])) == kp.AUTH
        assert any("too many slots claim one code" in line for line in keyd.alarms())


def test_restore_is_not_for_another_account_of_the_name():
    """Enrolled again, the account is another one: what a home kept of the first does not take its place unasked."""
    with Keyd() as keyd:  # noqa: F811
        alice = Account(keyd)
        for _ in range(3):
            alice.do("rotate")
        with keyd.session(alice.name, PASSWORD) as m:
            home = m.keyset()
        assert keyd.change("remove", alice.name) is None
        keyd.enrol(alice.name, NEW)
        again = [alice.deliver()]
        assert alice.do("restore", home) == kp.ACCOUNT
        assert alice.do("restore", home, secret=NEW) == kp.DENIED
        assert alice.reads_all(NEW, again)
