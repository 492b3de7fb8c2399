"""Lost and changed passwords at basalt-keyd: two passwords during a change, resets and what heals them."""
import keyproto as kp
import pytest
from keydserver import wait_for
from test_keyd_slots import ESCROW_CODE, PASSWORD, Account, keyd  # noqa: F401 (a fixture)

OLD, NEW = PASSWORD, "quite another one"


@pytest.fixture
def alice(keyd):  # noqa: F811
    return Account(keyd)


# --- three steps: the new slot, the site's password, the old slot ---

def test_both_passwords_until_the_new_one_logs_in(keyd, alice):  # noqa: F811
    assert alice.login(OLD) == kp.OK
    assert alice.do("change_password", NEW, kp.CHANGE_PENDING)[1] == 0
    assert [s["flags"] for s in alice.slots()] == [0, kp.PENDING]
    for _ in range(2):
        assert alice.reads_all(OLD), "the site still has the old one"
    assert alice.reads_all(NEW)
    assert settles(alice), "the old slot goes at the first login by the new password"
    assert alice.login(OLD) == kp.DENIED and alice.reads_all(NEW)
    assert [s["flags"] for s in alice.slots()] == [0]


def settles(account):
    return wait_for(lambda: len(account.slots()) == 1)


def test_a_change_that_was_given_up(alice):
    """Undone, the newest first: it opens nothing any more."""
    assert alice.do("change_password", "first try", kp.CHANGE_PENDING)
    assert alice.do("change_password", "second try", kp.CHANGE_PENDING)
    for left in 2, 1:
        assert alice.do("change_password", "", kp.UNDO) and len(alice.slots()) == left and alice.login("second try") == kp.DENIED
    assert alice.login("first try") == kp.DENIED and alice.reads_all()
    assert alice.do("change_password", "", kp.UNDO) == kp.NOENT, "nothing is pending"


def test_the_pending_password_takes_nothing_back(alice):
    """It would become the only one, and the site has the old one."""
    assert alice.do("change_password", NEW, kp.CHANGE_PENDING)
    assert alice.do("change_password", "", kp.UNDO, secret=NEW) == kp.DENIED
    assert [s["flags"] for s in alice.slots()] == [0, kp.PENDING] and alice.reads_all()
    assert alice.do("change_password", "", kp.UNDO) and alice.login(NEW) == kp.DENIED and alice.reads_all()


def test_a_second_change_by_a_recovery_code(alice):
    """The site may have the first pending password already: that one, the one before and the new one open all mail, wherever it stops."""
    _, code = alice.do("add_slot", kp.SLOT_RECOVERY)
    assert alice.do("change_password", "the first", kp.CHANGE_PENDING)
    assert alice.do("change_password", "the second", kp.CHANGE_PENDING, secret=code)
    assert alice.do("change_password", "the third", kp.CHANGE_PENDING, secret=code) == kp.LIMIT, "each costs a wrong password an Argon2id"
    assert alice.login(OLD) == kp.OK and alice.login("wrong password") == kp.DENIED
    assert alice.do("change_password", "", kp.UNDO, secret=code), "the site's change failed"
    assert alice.login("the second") == kp.DENIED and len(alice.slots(kp.SLOT_PASSWORD)) == 2
    assert alice.do("change_password", "a second", kp.CHANGE_PENDING, secret=code)
    assert alice.reads_all("the first") and wait_for(lambda: len(alice.slots(kp.SLOT_PASSWORD)) == 2), "the one before is gone, the one under way is not"
    assert alice.login(OLD) == kp.DENIED and alice.reads_all("a second")
    assert wait_for(lambda: len(alice.slots(kp.SLOT_PASSWORD)) == 1) and alice.login("the first") == kp.DENIED and alice.reads_all("a second")


def test_the_pending_password_may_change_keys(alice):
    assert alice.do("change_password", NEW, kp.CHANGE_PENDING)
    assert alice.do("change_password", "a third password", kp.CHANGE_PENDING, secret=NEW)
    assert len(alice.slots()) == 2 and alice.login(OLD) == kp.DENIED
    assert alice.reads_all(NEW) and alice.reads_all("a third password")


# --- reset and heal ---

def test_reset_and_heal_by_the_old_password(keyd, alice):  # noqa: F811
    """After a reset new mail opens, old mail does not; the old password, remembered, brings it back. No secret is lost."""
    with keyd.session(alice.name, OLD) as m:
        assert alice.do("reset", secret=NEW) > 1
        assert m.ends() == kp.KEYS_CHANGED
    old, new = alice.mail, [alice.deliver()]
    assert alice.login(OLD) == kp.DENIED and alice.reads_all(NEW, new)
    assert keyd.opens(alice.name, NEW, [old[0][0]]) == [kp.NOKEY]
    assert keyd.change("slots", alice.name)[1] == 1
    assert alice.do("heal", "not it either", secret=NEW) == kp.DENIED
    assert alice.do("heal", OLD, secret="wrong") == kp.DENIED
    assert alice.do("heal", OLD, secret=OLD) == kp.DENIED, "today's password is asked for as well"
    assert alice.do("heal", OLD, secret=NEW)[1] == 0
    assert alice.reads_all(NEW, old + new) and alice.login(OLD) == kp.DENIED
    assert alice.do("heal", OLD, secret=NEW) == kp.NOENT


def test_reset_twice_and_heal_by_code(keyd, alice):  # noqa: F811
    _, code = alice.do("add_slot", kp.SLOT_RECOVERY)
    _, app = alice.do("add_slot", kp.SLOT_APP)
    assert alice.do("reset", secret="reset once") and alice.login(app) == kp.DENIED
    alice.mail.append(alice.deliver())
    assert alice.do("change_password", "and changed", secret="reset once")
    assert alice.do("reset", secret="reset twice")
    alice.mail.append(alice.deliver())
    assert keyd.change("slots", alice.name)[1] == 2
    assert alice.do("heal", code, secret="reset twice")[1] == 1
    assert alice.do("heal", "reset once", secret="reset twice") == kp.DENIED, "that was no password of what is kept"
    assert alice.do("heal", "and changed", secret="reset twice")[1] == 0
    assert alice.reads_all("reset twice")


def test_a_reset_brings_no_slots_along(keyd, alice):  # noqa: F811
    """Whoever writes to the database can't have a slot of his own taken over by a reset, nor the one of an escrow."""
    alice.do("add_slot", kp.SLOT_RECOVERY)
    assert alice.do("reset", secret=NEW)
    assert [s["kind"] for s in alice.slots()] == [kp.SLOT_PASSWORD]
    erin = Account(keyd, "escrow.example")
    assert erin.do("reset", secret=NEW)
    assert [s["kind"] for s in erin.slots()] == [kp.SLOT_PASSWORD, kp.SLOT_ESCROW]
    assert erin.do("heal", ESCROW_CODE, secret=NEW)[1] == 0 and erin.reads_all(NEW)


def test_eight_resets_are_all(keyd, alice):  # noqa: F811
    for i in range(8):
        assert alice.do("reset", secret=f"password number {i}") > 0
    assert alice.do("reset", secret=NEW) == kp.LIMIT
    assert alice.do("heal", OLD, secret="password number 7")[1] == 7, "the oldest, after the others were tried"
    assert alice.reads_all("password number 7") and alice.do("reset", secret=NEW) > 0
    assert keyd.change("reset", "nobody@example.org", NEW) == kp.NOENT
    assert alice.do("reset", secret="short") == kp.WEAK


def test_a_full_ring_can_be_healed(keyd, alice):  # noqa: F811
    """However many keys there are: what is reset opens again, or it is not reset."""
    for _ in range(55):
        alice.do("rotate")
        alice.mail.append(alice.deliver())
    assert alice.do("rotate") == kp.LIMIT
    for i in range(8):
        assert alice.do("reset", secret=f"password number {i}") > 0
        alice.mail.append(alice.deliver())
    alice.password = "password number 7"
    assert alice.do("rotate") == alice.do("change_password", "another one", kp.COMPROMISED) == kp.LIMIT, "each would be one too many"
    for i in range(6, -1, -1):
        assert alice.do("heal", f"password number {i}") != kp.LIMIT
        assert i > 0 or alice.do("reset", secret=NEW) == kp.LIMIT, "that one could not be healed"
    assert alice.do("heal", OLD)[1] == 0
    assert len(alice.mail) == 64 and alice.reads_all()
