"""Resume tokens of a keyd alone: whose they are, how often and how long they are good, and what kills them."""
import contextlib
import json

import keyproto as kp
import pytest
from keydserver import Keyd, wait_for

PASSWORD = "a good password"
ALICE, BOB = "alice@example.org", "bob@example.org"


@contextlib.contextmanager
def started(**session):
    with Keyd(session={"linger_s": 0, **session}) as k:
        for name in ALICE, BOB:
            k.enrol(name)
        yield k


@pytest.fixture(scope="module")
def keyd():
    """Keys do not linger: what is open is held by a session or a token."""
    with started(resume_s=3600, per_account_max=4) as k:
        yield k


@pytest.fixture(autouse=True)
def nobody(request):
    if "keyd" in request.fixturenames:
        for name in ALICE, BOB:
            request.getfixturevalue("keyd").change("end_sessions", name)


def token_of(keyd, user=ALICE, service="imap"):
    with keyd.session(user, service=service) as m:
        return m.resume_token()


def refused(keyd, token, user=ALICE, service="imap"):
    with keyd.client("mail") as m, pytest.raises(kp.KeydError) as caught:
        m.attach(token, user, service)
    return caught.value.status == kp.TOKEN


def held(keyd, user=ALICE):
    with keyd.client("control") as c:
        found = c.sessions(user)[0]
    return (found[0]["sessions"], found[0]["tokens"]) if found else None


def resumes(keyd, token, user=ALICE, service="imap"):
    with keyd.client("mail") as m:
        m.attach(token, user, service)
        return len(m.subkey(1, bytes(16), 1)) == 32


def test_once(keyd):
    """The keys are open as long as it lives, and no longer; the session that it begins can sleep again."""
    token = token_of(keyd)
    assert wait_for(lambda: held(keyd) == (0, 1))
    with keyd.client("mail") as m:
        m.attach(token, ALICE)
        assert held(keyd) == (1, 0) and len(m.subkey(1, bytes(16), 1)) == 32
        assert refused(keyd, token)
        again = m.resume_token()
    assert again != token and wait_for(lambda: held(keyd) == (0, 1)) and resumes(keyd, again)
    assert wait_for(lambda: held(keyd) is None)
    assert refused(keyd, again)


@pytest.mark.parametrize("user, service", [(BOB, "imap"), (ALICE, "pop3")])
def test_of_another(keyd, user, service):
    """The try alone uses it up, and is an alarm."""
    token, alarms = token_of(keyd), len(keyd.alarms())
    assert refused(keyd, token, user, service) and refused(keyd, token)
    assert len(keyd.alarms()) == alarms + 1
    assert wait_for(lambda: held(keyd) is None)


def test_given_back(keyd):
    with keyd.session(ALICE) as m, keyd.session(BOB) as other:
        token, second = m.resume_token(), m.resume_token()
        m.drop_token(token)
        assert held(keyd) == (1, 1) and refused(keyd, token)
        assert m.call(kp.DROP_TOKEN, token) == (kp.TOKEN, b"")
        assert other.call(kp.DROP_TOKEN, second) == (kp.TOKEN, b"")
        assert refused(keyd, second), "whoever tries another's uses it up"
        assert len(m.subkey(1, bytes(16), 1)) == 32


@pytest.mark.parametrize("payload", [b"", b"x" * 31, b"x" * 33])
def test_malformed(keyd, payload):
    with keyd.session(ALICE) as m:
        assert m.call(kp.DROP_TOKEN, payload)[0] == kp.FORMAT and m.closes()
    with keyd.session(ALICE) as m:
        assert m.call(kp.RESUME_TOKEN, payload + b"x")[0] == kp.FORMAT and m.closes()


@pytest.mark.parametrize("end", [lambda c: c.end_sessions(ALICE), lambda c: c.rotate(ALICE, PASSWORD, 1)], ids=["ended", "keys"])
def test_killed(keyd, end):
    token, bobs = token_of(keyd), token_of(keyd, BOB)
    with keyd.client("control") as c:
        end(c)
    assert held(keyd) is None and refused(keyd, token) and resumes(keyd, bobs, BOB)


def sleepers(keyd):
    """Three of an account's four places; one more would have no place while it is still awake."""
    tokens = []
    for n in 1, 2, 3:
        tokens.append(token_of(keyd))
        assert wait_for(lambda n=n: held(keyd) == (0, n))
    return tokens


def test_counted(keyd):
    """Sleepers count. Of an account that is full the one that slept longest gives way to a login, a login's token never."""
    tokens = sleepers(keyd)
    with keyd.session(ALICE) as m, keyd.client("auth") as a:
        assert held(keyd) == (1, 3)
        logins = [a.login(ALICE, PASSWORD)[1] for _ in range(3)]
        assert held(keyd) == (1, 3)
        with pytest.raises(kp.KeydError) as caught:
            a.login(ALICE, PASSWORD)
        assert caught.value.status == kp.BUSY and m.call(kp.RESUME_TOKEN) == (kp.BUSY, b"")
    assert all(refused(keyd, t) for t in tokens) and all(resumes(keyd, t) for t in logins)


def test_the_oldest_gives_way(keyd):
    tokens = sleepers(keyd)
    assert resumes(keyd, token_of(keyd))
    assert refused(keyd, tokens[0]) and all(resumes(keyd, t) for t in tokens[1:])


def test_off():
    with started() as keyd, keyd.session(ALICE) as m:
        assert m.call(kp.RESUME_TOKEN) == (kp.CONF, b"")
        assert held(keyd) == (1, 0) and len(m.subkey(1, bytes(16), 1)) == 32


def test_lives_its_time():
    """A short life behind long ones, and a login's behind both."""
    with started(resume_s=2, token_s=1) as keyd, keyd.client("auth") as a:
        token = token_of(keyd)
        a.login(BOB, PASSWORD)
        assert held(keyd) == (0, 1) and held(keyd, BOB) == (0, 1)
        assert wait_for(lambda: held(keyd, BOB) is None), "the login's is gone"
        assert wait_for(lambda: held(keyd) is None), "the keys go with it"
        assert refused(keyd, token)


def test_a_restart_ends_it():
    with started(resume_s=3600) as keyd:
        token = token_of(keyd)
        keyd.stop()
        keyd.start()
        assert refused(keyd, token) and json.loads(keyd.client("control").status())["tokens"] == 0
