"""Bits that rot in a row of the keys database: a copy and a secret that opens it bring everything back, and no key that the row holds is lost."""
import contextlib
import hashlib
import struct

import keyproto as kp
import pytest
from keydserver import Keyd
from test_keyd_slots import ESCROW, PASSWORD, Account

NEW, THIRD = "quite another one", "a third one by now"


@pytest.fixture
def keyd():
    with Keyd(escrow=ESCROW) as k:
        yield k


def sections(blob):
    """[(name, where)] of a keyset behind its record, as docs/FORMAT.keys.md says."""
    at = 7 + struct.unpack_from(">H", blob, 5)[0]
    n, = struct.unpack_from(">H", blob, at)
    found, at = [("count", slice(at, at + 2))], at + 2
    for i in range(n):
        end = at + 2 + struct.unpack_from(">H", blob, at)[0]
        found.append((f"slot {i}", slice(at, end)))
        at = end
    end = at + 4 + struct.unpack_from(">I", blob, at)[0]
    found += [("ring", slice(at, end)), ("digest", slice(end, end + 32)), ("manifest", slice(end + 32, end + 64)), ("kept", slice(end + 64, len(blob)))]
    return found


def where(blob, name):
    return dict(sections(blob))[name]


def flipped(blob, at, bit=0):
    return blob[:at] + bytes([blob[at] ^ 1 << bit]) + blob[at + 1:]


class Rotten(Account):
    """One reset ago: a password, a recovery code and an app password, mail of both times, and a copy of it all."""

    def __init__(self, keyd):
        super().__init__(keyd)
        self.earlier, self.mail = self.mail, []
        assert self.do("reset", secret=NEW)
        self.password = NEW
        self.mail.append(self.deliver())
        self.code = self.do("add_slot", kp.SLOT_RECOVERY)[1]
        self.app = self.do("add_slot", kp.SLOT_APP, "phone")[1]
        self.copy = self.keyset()

    def keyset(self, password=None):
        with self.keyd.session(self.name, password or self.password) as m:
            return m.keyset()

    def row(self):
        return self.keyd.rows(self.name)[0]

    def rot(self, at, bit=0):
        generation, blob = self.row()
        self.keyd.sql("UPDATE keysets SET keyset = ? WHERE account = ? AND generation = ?", flipped(blob, at, bit), self.name, generation)

    def is_whole(self, password=None):
        """All mail opens, by the password and by what else there is; older mail once its password is there."""
        password = password or self.password
        assert self.reads_all(password) and self.reads_all(self.app)
        assert self.do("rotate", secret=self.code)
        assert self.do("heal", PASSWORD, secret=password)[1] == 0
        return self.reads_all(password, self.mail + self.earlier)


def test_any_bit(keyd):
    alice = Rotten(keyd)
    start, visited = where(alice.copy, "count").start, {}
    for step, at in enumerate(range(start, len(alice.copy), 13)):
        assert alice.copy == alice.row()[1]
        keyd.change("end_sessions", alice.name)  # open keys ask no row
        alice.rot(at, step % 8)
        name = next(name for name, place in sections(alice.copy) if place.start <= at < place.stop)
        visited[name] = visited.get(name, 0) + 1
        assert alice.login(NEW) != kp.OK, (name, at)
        assert alice.do("restore", alice.copy, secret="wrong secret") in (kp.DENIED, kp.AUTH), (name, at)
        generation, lost = alice.do("restore_keyset", alice.copy)
        assert generation > 1 and lost == 0, (name, at)
        assert alice.reads_all(), (name, at)
        alice.copy = alice.keyset()
    assert set(visited) == {name for name, _ in sections(alice.copy)}
    assert keyd.change("slots", alice.name)[1] == 1 and alice.is_whole()


@pytest.mark.parametrize("section", ["slot 0", "slot 1", "slot 2", "ring", "manifest", "kept"])
def test_by_a_recovery_code(keyd, section):
    alice = Rotten(keyd)
    place = where(alice.copy, section)
    alice.rot(place.stop - 5 if section != "slot 0" else place.start + 2 + 70)
    if section == "slot 1":
        assert alice.do("restore", alice.copy, secret=alice.code) > 1 and alice.login(NEW) == kp.OK
    else:
        assert alice.do("restore_keyset", alice.copy, secret=alice.code)[1] == 0
    assert alice.is_whole()


def test_a_sound_row_stays(keyd):
    """A damaged copy, and a secret of neither, change nothing."""
    alice = Rotten(keyd)
    before = keyd.rows(alice.name)
    for name, place in sections(alice.copy):
        assert alice.do("restore", flipped(alice.copy, place.stop - 1, 3)) in (kp.AUTH, kp.EXISTS_ALREADY, kp.E_VERSION, kp.LIMIT), name
    assert alice.do("restore", alice.copy) == kp.EXISTS_ALREADY and alice.do("restore", alice.copy, secret="wrong") == kp.DENIED
    assert keyd.rows(alice.name) == before


@pytest.mark.parametrize("section, readable, kept", [("slot 2", True, 1), ("manifest", True, 1), ("digest", True, 1), ("ring", False, 2)])
def test_a_row_that_was_newer(keyd, section, readable, kept):
    """Its own key is taken out of it by the secret, where its ring is whole; what is lost is told."""
    alice = Rotten(keyd)
    assert alice.do("rotate")
    newer = alice.deliver()
    alice.rot(where(alice.row()[1], section).stop - 3)
    damaged = alice.row()[0]
    generation, lost = alice.do("restore_keyset", alice.copy)
    assert generation > damaged == lost
    assert alice.reads_all() and alice.reads_all(mail=[newer]) == readable
    assert keyd.change("slots", alice.name)[1] == kept


def test_kept_keysets_of_a_newer_row(keyd):
    """They alone are damaged: today's password still counts, and the copy stands in for what was kept."""
    alice = Account(keyd)
    with keyd.session(alice.name, PASSWORD) as m:
        copy = m.keyset()
    assert alice.do("reset", secret=NEW)
    later = alice.deliver()
    generation, blob = keyd.rows(alice.name)[0]
    keyd.replace_keyset(alice.name, flipped(blob, len(blob) - 60))
    assert alice.login(NEW) == kp.AUTH
    assert alice.do("restore_keyset", copy, secret=PASSWORD) == kp.DENIED
    assert alice.do("restore_keyset", copy, secret=NEW) == (generation + 1, generation)
    assert alice.reads_all(NEW, [later])
    assert alice.do("heal", PASSWORD, secret=NEW)[1] == 0 and alice.reads_all(NEW, [*alice.mail, later])


@pytest.mark.parametrize("at", [70, 40])
def test_a_reset_over_a_damaged_row(keyd, at):
    """What the reset kept is not the copy: that is kept as well, and heals."""
    alice = Rotten(keyd)
    alice.rot(where(alice.copy, "slot 0").start + 2 + at)
    assert alice.do("reset", secret=THIRD) > alice.row()[0] - 1
    alice.mail.append(alice.deliver())
    assert alice.do("heal", NEW, secret=THIRD) == kp.DENIED
    assert alice.do("restore", alice.copy, secret=THIRD) > 1
    assert alice.do("restore", alice.copy, secret=THIRD) == kp.EXISTS_ALREADY
    assert alice.do("heal", NEW, secret=THIRD)
    assert alice.do("heal", PASSWORD, secret=THIRD)
    assert alice.reads_all(THIRD, alice.mail + alice.earlier)


def test_a_damaged_row_goes_to_no_mail_home(keyd):
    """A session that is open, or begins while the keys still are, must not carry it over the copy."""
    alice = Rotten(keyd)
    with keyd.session(alice.name, NEW) as m:
        assert m.keyset() == alice.copy
        alice.rot(where(alice.copy, "slot 2").stop - 1)
        with pytest.raises(kp.KeydError) as refused:
            m.keyset()
        assert refused.value.status == kp.ROLLBACK
        assert alice.do("restore", alice.copy)
    assert alice.is_whole()


def test_digest(keyd):
    alice = Rotten(keyd)
    generation, blob = alice.row()
    assert keyd.change("keyset_digest", alice.name) == (generation, hashlib.sha256(blob).digest())
    assert keyd.change("keyset_digest", "nobody@example.org") == kp.NOENT


# --- another account of this name ---

class Twice(Account):
    """Enrolled, lost, and enrolled again: the copy is the first one's."""

    def __init__(self, keyd):
        super().__init__(keyd)
        with keyd.session(self.name, PASSWORD) as m:
            self.copy = m.keyset()
        keyd.sql("DELETE FROM keysets WHERE account = ?", self.name)
        assert keyd.stop() == 0
        keyd.start()
        keyd.enrol(self.name, NEW)

    def replace(self, flags=kp.OTHER_ACCOUNT, secret=PASSWORD):
        return self.do("restore_keyset", self.copy, flags, secret=secret)


def test_another_account_gives_way(keyd):
    alice, bob = Twice(keyd), Account(keyd)
    before = keyd.rows(alice.name)
    assert alice.do("restore", alice.copy) == alice.replace(0) == alice.replace(kp.OLDER) == kp.ACCOUNT
    assert alice.replace(secret="wrong") == alice.replace(secret=NEW) == kp.DENIED
    assert keyd.change("restore_keyset", bob.name, PASSWORD, alice.copy, kp.OTHER_ACCOUNT) == kp.AUTH
    assert keyd.change("restore_keyset", alice.name, PASSWORD, alice.copy, 4) == kp.ARG
    assert keyd.rows(alice.name) == before and alice.login(NEW) == kp.OK and bob.reads_all()
    with keyd.session(alice.name, NEW) as m:
        generation, lost = alice.replace()
        assert generation > before[0][0] and lost == 0 and m.ends() == kp.KEYS_CHANGED
    assert alice.reads_all() and alice.login(NEW) == kp.DENIED
    assert len(keyd.rows(alice.name)) == 1, "the login took what was there away"
    assert keyd.stop() == 0
    keyd.start()
    assert alice.reads_all() and alice.replace(0) == kp.EXISTS_ALREADY


def test_killed_while_it_gives_way(keyd):
    """Whenever that is, one of the two stands."""
    alice, seen = Twice(keyd), set()
    second = keyd.rows(alice.name)
    for delay in (0.001, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.2):
        with keyd.client("control", delay) as c, contextlib.suppress(TimeoutError):
            c.restore_keyset(alice.name, PASSWORD, alice.copy, kp.OTHER_ACCOUNT)
        assert keyd.kill()
        rows = keyd.rows(alice.name)
        assert second[0] in rows
        keyd.start()
        stands = [alice.login(PASSWORD), alice.login(NEW)]
        assert sorted(stands) == [kp.OK, kp.DENIED], (delay, stands)
        seen.add(stands[0] == kp.OK)
        keyd.stop()
        keyd.sql("DELETE FROM keysets WHERE account = ?", alice.name)
        keyd.sql("INSERT INTO keysets (account, generation, keyset, created) VALUES (?, ?, ?, 1)", alice.name, *second[0])
        keyd.start()
    assert True in seen


@pytest.mark.parametrize("section", ["slot 1", "ring", "manifest", "kept"])
@pytest.mark.parametrize("secret", ["password", "code"])
def test_a_secret_of_after_the_copy(keyd, section, secret):
    """It opens the damaged row's slot, and by the master key in it the copy: it is what opens from then on."""
    alice = Rotten(keyd)
    if secret == "password":
        assert alice.do("change_password", THIRD)
        alice.password = new = THIRD
    else:
        new = alice.do("add_slot", kp.SLOT_RECOVERY)[1]
    generation, blob = alice.row()
    alice.rot(where(blob, section).stop - 5)
    assert alice.do("restore", alice.copy, secret="of nobody") == kp.DENIED and alice.row()[0] == generation
    written, lost = alice.do("restore_keyset", alice.copy, secret=new)
    assert written > lost == generation
    assert (alice.login(NEW) == kp.OK) == (secret == "code")
    assert alice.do("rotate", secret=new) and alice.is_whole()
