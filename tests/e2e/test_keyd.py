"""basalt-keyd's operations, asked of a real daemon over its sockets. Attacks on it are in test_keyd_attacks.py."""
import itertools
import os
import statistics
import time

import keyproto as kp
import pytest
from keydserver import Keyd, record_fields, sealed_prefix, wait_for

PASSWORD = "a good password"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def keyd():
    with Keyd() as k:
        yield k


@pytest.fixture
def user(keyd):
    """An account that was just enrolled."""
    name = f"user{next(NUMBERS)}@example.org"
    keyd.enrol(name)
    return name


class refused:  # noqa: N801, reads as a word of the sentence
    """with refused(kp.DENIED): ... passes when keyd answers that status."""

    def __init__(self, status):
        self.status = status

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _trace):
        if kind is None:
            pytest.fail(f"keyd said yes, not {self.status}")
        if kind is kp.KeydError:
            assert value.status == self.status
            return True
        return False


# --- a session ---

def test_enrol_login_attach(keyd):
    name = f"user{next(NUMBERS)}@example.org"
    with keyd.client("control") as c:
        account, generation = c.enrol(name, PASSWORD)
    assert generation == 1
    with keyd.client("auth") as a, keyd.client("mail") as m:
        sealed, token, same = a.login(name, PASSWORD)
        assert (sealed, same) == (1, account)
        attached, sealed, record = m.attach(token, name)
        assert (attached, sealed) == (account, 1)
        assert record == m.record(name) and record_fields(record)[0] == account
        assert m.keyset() == keyd.rows(name)[0][1]
    with keyd.client("delivery") as d:
        assert d.keyset_of(name) == keyd.rows(name)[0][1] and d.record(name) == record


def test_unwrap(keyd, user):
    keys = [os.urandom(32) for _ in range(256)]
    with keyd.session(user) as m:
        record = m.record(user)
        assert m.unwrap([sealed_prefix(record, keys[0])]) == [keys[0]]
        assert m.unwrap([sealed_prefix(record, key) for key in keys]) == keys


def test_unwrap_names_what_is_wrong_with_each(keyd, user):
    other = f"user{next(NUMBERS)}@example.org"
    keyd.enrol(other)
    key = os.urandom(32)
    with keyd.session(user) as m:
        mine, its = m.record(user), m.record(other)
        good = sealed_prefix(mine, key)
        damaged = bytearray(good)
        damaged[100] ^= 1
        answers = m.unwrap([
            good, sealed_prefix(its, key), sealed_prefix(its, key, account=record_fields(mine)[0]), bytes(damaged),
            b"not a message", b"", good + b"x", good[:-1], good])
    assert answers[0] == answers[-1] == key
    assert answers[1:4] == [kp.ACCOUNT, kp.NOKEY, kp.AUTH]
    assert all(isinstance(a, int) and a != kp.OK for a in answers[4:-1])


def test_every_byte_of_a_prefix_counts(keyd, user):
    """Up to the sealed key; the commitment behind it is the reader's to check."""
    key = os.urandom(32)
    with keyd.session(user) as m:
        good = sealed_prefix(m.record(user), key)
        flipped = [good[:i] + bytes([good[i] ^ 0x20]) + good[i + 1:] for i in range(len(good) - 32)]
        assert all(isinstance(a, int) and a != kp.OK for a in m.unwrap(flipped))


def test_subkeys_differ_by_everything(keyd, user):
    guid, other = os.urandom(16), os.urandom(16)
    with keyd.session(user) as m:
        asked = [(1, guid, 1), (2, guid, 1), (1, other, 1), (1, guid, 2)]
        keys = [m.subkey(*a) for a in asked]
        assert len(set(keys)) == len(keys)
        with refused(kp.ARG):
            m.subkey(3, guid, 1)
    with keyd.session(user) as m:
        assert [m.subkey(*a) for a in asked] == keys


def test_close_ends_the_session(keyd, user):
    with keyd.session(user) as m:
        assert m.call(kp.CLOSE) == (kp.OK, b"")
        assert m.closes()


def test_plain_account(keyd):
    name = f"user{next(NUMBERS)}@example.org"
    keyd.enrol(name, flags=0)
    with keyd.client("auth") as a, keyd.client("mail") as m:
        sealed, token, _account = a.login(name, PASSWORD)
        assert sealed == 0 and m.attach(token, name)[1] == 0


def test_judging_without_a_session(keyd, user):
    before = keyd.status()["unlocked_accounts"]
    with keyd.client("auth") as a:
        assert a.login(user, PASSWORD, "smtp", kp.NO_SESSION)[1] is None
        with refused(kp.DENIED):
            a.login(user, "wrong password", "smtp", kp.NO_SESSION)
    assert keyd.status()["unlocked_accounts"] == before


# --- logins ---

def test_wrong_password_and_no_such_user_look_alike():
    """The same status, the same bytes, about the same time."""
    with Keyd(kdf={"memory_kib": 65536, "passes": 1}) as keyd:
        keyd.enrol("here@example.org")
        times = {"here@example.org": [], "gone@example.org": []}
        with keyd.client("auth") as a:
            for name in [n for _ in range(9) for n in times]:
                start = time.monotonic()
                assert a.call(kp.LOGIN, kp.str16(name) + kp.str16("wrong password") + kp.str16("imap") + b"\0") == (
                    kp.DENIED, b"")
                times[name].append(time.monotonic() - start)
        here, gone = (statistics.median(t) for t in times.values())
        assert 0.5 < here / gone < 2, times


def test_exists(keyd, user):
    for socket in "auth", "delivery":
        with keyd.client(socket) as c:
            c.exists(user)
            with refused(kp.NOENT):
                c.exists("nobody@example.org")


def test_warm_login_costs_no_argon2():
    with Keyd(kdf={"memory_kib": 65536, "passes": 2}) as keyd:
        keyd.enrol("a@example.org")
        with keyd.client("auth") as a:
            times = []
            for _ in range(4):
                start = time.monotonic()
                a.login("a@example.org", PASSWORD)
                times.append(time.monotonic() - start)
            assert min(times[1:]) < times[0] / 4, times
            assert keyd.login_status("a@example.org", "another password") == kp.DENIED
        assert keyd.status()["warm_logins"] == 3


def test_a_token_works_once(keyd, user):
    with keyd.client("auth") as a, keyd.client("mail") as m, keyd.client("mail") as second:
        token = a.login(user, PASSWORD)[1]
        m.attach(token, user)
        with refused(kp.TOKEN):
            second.attach(token, user)
        with refused(kp.TOKEN):
            second.attach(os.urandom(32), user)


@pytest.mark.parametrize("wrong", ["account", "service"])
def test_a_token_is_bound_and_burns(keyd, user, wrong):
    other = f"user{next(NUMBERS)}@example.org"
    keyd.enrol(other)
    alarms = len(keyd.alarms())
    with keyd.client("auth") as a, keyd.client("mail") as m:
        token = a.login(user, PASSWORD)[1]
        with refused(kp.TOKEN):
            m.attach(token, other if wrong == "account" else user, "pop3" if wrong == "service" else "imap")
        with refused(kp.TOKEN):
            m.attach(token, user)
    assert len(keyd.alarms()) == alarms + 1


def test_a_token_expires():
    with Keyd(session={"token_s": 1}) as keyd:
        keyd.enrol("a@example.org")
        with keyd.client("auth") as a, keyd.client("mail") as m:
            token = a.login("a@example.org", PASSWORD)[1]
            time.sleep(1.1)
            with refused(kp.TOKEN):
                m.attach(token, "a@example.org")
        assert wait_for(lambda: keyd.status()["tokens"] == 0)


@pytest.mark.parametrize("linger_s", [0, 1])
def test_keys_go_after_the_last_session(linger_s):
    with Keyd(session={"linger_s": linger_s}) as keyd:
        keyd.enrol("a@example.org")
        with keyd.session("a@example.org"), keyd.session("a@example.org"):
            status = keyd.status()
            assert (status["unlocked_accounts"], status["sessions"]) == (1, 2)
            assert status["cells_used"] == 2
        assert wait_for(lambda: keyd.status()["sessions"] == 0)
        if linger_s:
            assert keyd.status()["unlocked_accounts"] == 1
        assert wait_for(lambda: keyd.status()["unlocked_accounts"] == 0, linger_s + 3)
        assert keyd.status()["cells_used"] == 0


def test_sessions_of_one_account_are_limited():
    with Keyd(session={"per_account_max": 3}) as keyd:
        for name in "a@example.org", "b@example.org":
            keyd.enrol(name)
        with keyd.client("auth") as a:
            for _ in range(3):
                a.login("a@example.org", PASSWORD)
            with refused(kp.BUSY):
                a.login("a@example.org", PASSWORD)
            a.login("b@example.org", PASSWORD)


def test_one_account_cannot_fill_the_kdf_queue():
    with Keyd(kdf={"memory_kib": 65536, "passes": 3, "workers": 1}) as keyd:
        keyd.enrol("busy@example.org")
        keyd.enrol("quiet@example.org")
        with keyd.client("auth") as a:
            for i in range(12):
                a.send(kp.LOGIN, kp.str16("busy@example.org") + kp.str16(f"guess number {i}") + kp.str16("imap") + b"\0")
            start = time.monotonic()
            assert keyd.login_status("quiet@example.org", PASSWORD) == kp.OK
            waited = time.monotonic() - start
            answers = [a.read_frame()[1] for _ in range(12)]
        assert set(answers) == {kp.BUSY, kp.DENIED} and answers.count(kp.BUSY) >= 6
        assert waited < 4


# --- changes ---

def test_passwd(keyd, user):
    key = os.urandom(32)
    with keyd.session(user) as m, keyd.client("control") as c:
        prefix = sealed_prefix(m.record(user), key)
        with refused(kp.DENIED):
            c.passwd(user, "not the old one", "a new password")
        with refused(kp.WEAK):
            c.passwd(user, PASSWORD, "short")
        with refused(kp.WEAK):
            c.passwd(user, PASSWORD, user)
        assert c.passwd(user, PASSWORD, "a new password") == 2
        assert [g for g, _blob in keyd.rows(user)] == [2, 1], "the old one stays until the new one was used"
        assert m.unwrap([prefix]) == [key], "an open session goes on"
        before = keyd.status()["warm_logins"]
        assert keyd.login_status(user, "a new password") == kp.OK
        assert keyd.status()["warm_logins"] == before + 1, "its ring knows the new password at once"
    assert keyd.login_status(user, PASSWORD) == kp.DENIED
    with keyd.session(user, "a new password") as m:
        assert m.unwrap([prefix]) == [key]
        assert record_fields(m.record(user))[3] == 2
    assert wait_for(lambda: [g for g, _blob in keyd.rows(user)] == [2])
    with keyd.client("control") as c, refused(kp.DENIED):
        c.passwd("nobody@example.org", PASSWORD, "a new password")


def test_set_flags_needs_the_secret(keyd, user):
    with keyd.client("control") as c, keyd.client("delivery") as d:
        with refused(kp.DENIED):
            c.set_flags(user, "wrong password", 0)
        assert record_fields(d.record(user))[4] == kp.SEALED
        assert c.set_flags(user, PASSWORD, 0) == 2
        assert record_fields(d.record(user))[3:] == (2, 0)
        assert c.set_flags(user, PASSWORD, kp.SEALED) == 3
        with refused(kp.ARG):
            c.set_flags(user, PASSWORD, 0x80)
    with keyd.client("auth") as a:
        assert a.login(user, PASSWORD)[0] == 1


def test_enrol_refuses(keyd, user):
    with keyd.client("control") as c:
        for name, password, status in (
                (user, PASSWORD, kp.EXISTS_ALREADY), ("new@example.org", "seven77", kp.WEAK),
                ("new@example.org", "password", kp.WEAK), ("new@example.org", "a bell \a here", kp.WEAK),
                ("Upper@example.org", PASSWORD, kp.ARG), ("nodomain", PASSWORD, kp.ARG), ("", PASSWORD, kp.ARG),
                ("a b@example.org", PASSWORD, kp.ARG), ("a\n@example.org", PASSWORD, kp.ARG)):
            with refused(status):
                c.enrol(name, password)


def test_enrolled_twice_at_once_is_enrolled_once(keyd):
    name = f"user{next(NUMBERS)}@example.org"
    payload = kp.str16(name) + kp.str16(PASSWORD) + b"\0\0\0\1"
    with keyd.client("control") as one, keyd.client("control") as two:
        for c in one, two:
            c.send(kp.ENROL, payload)
        assert sorted(c.read_frame()[1] for c in (one, two)) == [kp.OK, kp.EXISTS_ALREADY]
    assert keyd.login_status(name, PASSWORD) == kp.OK


def test_remove_ends_everything(keyd, user):
    with keyd.session(user) as m, keyd.client("auth") as a, keyd.client("control") as c, keyd.client("mail") as late:
        token = a.login(user, PASSWORD)[1]
        account = late.record(user)[26:42]
        c.remove(user)
        assert m.ends() == kp.REMOVED
        with refused(kp.TOKEN):
            late.attach(token, user)
        with refused(kp.NOENT):
            c.remove(user)
        with refused(kp.NOENT):
            late.record(user)
        with refused(kp.DENIED):
            a.login(user, PASSWORD)
        assert c.enrol(user, PASSWORD)[0] != account
        a.login(user, PASSWORD)
    assert keyd.alarms() == [line for line in keyd.alarms() if user not in line]


def test_status(keyd, user):
    before = keyd.status()
    with keyd.session(user) as m:
        m.unwrap([sealed_prefix(m.record(user), os.urandom(32))] * 3)
        now = keyd.status()
    assert now["database"] == "ok" and now["accounts"] >= 1
    assert now["sessions"] == before["sessions"] + 1
    assert now["unwrapped"] == before["unwrapped"] + 3
    assert now["clients"]["mail"] >= 1 and now["locked_kib"] > 0


def test_many_requests_on_one_connection(keyd, user):
    """More than are let through at once: each gets its own answer."""
    with keyd.client("delivery") as d:
        sent = {d.send(kp.EXISTS, kp.str16(user if i % 2 else "nobody@example.org")): i % 2 for i in range(300)}
        for _ in range(300):
            opcode, status, request_id, _payload = d.read_frame()
            assert opcode == kp.EXISTS and status == (kp.OK if sent.pop(request_id) else kp.NOENT)
    assert not sent
