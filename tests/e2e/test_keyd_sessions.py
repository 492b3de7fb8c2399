"""Who is logged in, and how that ends: SESSIONS and END_SESSIONS of a keyd alone, `basaltctl session` and the limits with Dovecot."""
import json
import os
import time

import clients
import keyproto as kp
import probes
import pytest
from keydserver import Keyd, sealed_prefix

PASSWORD = "a good password"
ALICE, BOB = "alice@example.org", "bob@example.org"


@pytest.fixture(scope="module")
def keyd():
    with Keyd(session={"linger_s": 300}) as k:
        for name in ALICE, BOB:
            k.enrol(name)
        yield k


@pytest.fixture(autouse=True)
def nobody(request):
    """Each test begins with all keys shut."""
    if "keyd" in request.fixturenames:
        k = request.getfixturevalue("keyd")
        for name in ALICE, BOB:
            k.change("end_sessions", name)


def test_list(keyd):
    start = int(time.time())
    with keyd.session(ALICE), keyd.session(ALICE, service="pop3"), keyd.client("auth") as a, keyd.client("control") as c:
        a.login(ALICE, PASSWORD)
        a.login(BOB, PASSWORD, flags=0)
        found = c.all_sessions()
        assert set(found) == {ALICE, BOB}
        assert (found[ALICE]["sessions"], found[ALICE]["tokens"], found[BOB]["sessions"], found[BOB]["tokens"]) == (2, 1, 0, 1)
        assert sorted(s["service"] for s in found[ALICE]["list"]) == ["imap", "pop3"]
        assert {s["pid"] for s in found[ALICE]["list"]} == {os.getpid()}
        for at in (found[ALICE]["since"], found[ALICE]["used"], *(s["since"] for s in found[ALICE]["list"])):
            assert start - 1 <= at <= time.time() + 1
        assert found[ALICE]["linger_left"] == 300
        assert c.sessions(BOB) == ([found[BOB]], 0)
        assert c.sessions("nobody@example.org") == ([], 0)


def test_linger_is_counted_down(keyd):
    with keyd.session(ALICE):
        pass
    with keyd.client("control") as c:
        assert probes.wait_for(lambda: (one := c.sessions(ALICE)[0][0])["sessions"] == 0 and one["linger_left"] < 300)
        assert c.sessions(ALICE)[0][0]["linger_left"] > 250


def test_use_is_noted(keyd):
    with keyd.session(ALICE) as m, keyd.client("control") as c:
        first = c.sessions(ALICE)[0][0]
        probes.wait_for(lambda: time.time() > first["used"] + 2.5)
        m.subkey(1, bytes(16), 1)
        now = c.sessions(ALICE)[0][0]
        assert now["used"] > first["used"] + 1 and abs(now["since"] - first["since"]) <= 1


def test_end(keyd):
    """Sessions, tokens and keys are gone at once; another account's are not; who has the password comes back, by Argon2id."""
    key = os.urandom(32)
    with keyd.session(ALICE) as m, keyd.session(BOB) as other, keyd.client("auth") as a, keyd.client("mail") as late:
        prefix = sealed_prefix(m.record(ALICE), key)
        token = a.login(ALICE, PASSWORD)[1]
        before = keyd.status()
        assert keyd.change("end_sessions", ALICE) == (1, 1)
        assert m.ends() == kp.BY_ADMIN
        with pytest.raises(kp.KeydError) as caught:
            late.attach(token, ALICE)
        assert caught.value.status == kp.TOKEN
        after = keyd.status()
        assert after["unlocked_accounts"] == before["unlocked_accounts"] - 1
        assert after["cells_used"] == before["cells_used"] - 2 and after["tokens"] == before["tokens"] - 1
        assert other.subkey(1, bytes(16), 1)
        with keyd.session(ALICE) as again:
            assert again.unwrap([prefix]) == [key]
        assert keyd.status()["warm_logins"] == after["warm_logins"], "nothing of it was left"
    assert keyd.change("end_sessions", ALICE) == (0, 0), "its keys lingered"
    assert keyd.change("end_sessions", ALICE) == (0, 0)
    assert keyd.change("end_sessions", "nobody@example.org") == (0, 0)


def test_a_request_under_way_when_the_session_ends(keyd):
    """Its answer has nobody to go to, and nobody dies of it."""
    pids = keyd.processes()
    with keyd.session(ALICE) as m, keyd.client("control") as c:
        for _ in range(8):
            m.send(kp.KEYSET)
        c.end_sessions(ALICE)
        try:
            while m.read_frame():
                pass
        except kp.Closed:
            pass
    assert keyd.login_status(ALICE, PASSWORD) == kp.OK and keyd.processes() == pids


def test_pages():
    """A list that is longer than one reply: every account once."""
    names = [f"{'x' * 60}{i}@{'y' * 60}.example.org" for i in range(150)]
    with Keyd() as keyd, keyd.client("control") as c, keyd.client("auth") as a:
        for name in names:
            c.enrol(name, PASSWORD)
            a.login(name, PASSWORD)
        first, following = c.sessions()
        assert following > 0 and 0 < len(first) < 150
        assert set(c.all_sessions()) == set(names)


# --- with Dovecot ---

def listed(system, *words):
    return json.loads(system.ctl("session", "list", *words, "--json").stdout)


def test_basaltctl(system):
    alice, bob = system.account(), system.account()
    for letter in "one", "two":
        assert probes.lmtp(system, alice, probes.marked(letter)) == 250
    with system.imap(alice) as mail, system.imap(bob):
        assert mail.select() == 2
        mail.part(mail.uids()[0])
        one, = listed(system, alice.address)
        assert one["address"] == alice.address and one["sessions"] == 1 and one["list"][0]["service"] == "imap"
        assert one["list"][0]["pid"] in system.pids("dovecot", "imap")
        assert {alice.address, bob.address} <= {a["address"] for a in listed(system)}
        text = system.ctl("session", "list").stdout.decode()
        assert f"{alice.address} unlocked 20" in text and ": imap 1" in text
        assert system.ctl("session", "end", alice.address).stdout == b"1 ended\n"
        assert listed(system, alice.address) == []
        with pytest.raises(clients.imaplib.IMAP4.abort):  # test_bye.py has what she is told
            probes.wait_for(lambda: mail.c.noop()[0] != "OK")
        assert [a["sessions"] for a in listed(system, bob.address)] == [1]
    assert len(probes.shown(system, alice)) == 2, "she logs in again"


def test_linger_by_plan(system):
    """What `plan set` says, or a panel by SQL, is what `session list` counts down; `default` is keyd.conf's."""
    brief, plain = system.account(), system.account()
    system.ctl("plan", "set", "brief", "linger_s=100")
    system.ctl("account", "plan", brief.address, "brief")
    for account in brief, plain:
        with system.imap(account) as mail:
            assert mail.select() == 0
    left = {account: probes.wait_for(lambda a=account: next((one["linger_left_s"] for one in listed(system, a.address)
                                                             if not one["sessions"]), None)) for account in (brief, plain)}
    assert 60 < left[brief] <= 100 and 800 < left[plain] <= 900
    text = system.ctl("session", "list", brief.address).stdout.decode()
    assert ": no session, keys stay " in text and 60 < int(text.split("keys stay ")[1].split()[0]) <= 100
    assert b"linger_s=default" in system.ctl("plan", "list").stdout


def test_limits(own_system):
    """Logins beyond an account's places, and beyond all places, are "try again later", not "wrong"; a free place is found."""
    system = own_system("--set", "kdf.memory_kib=8192", "--set", "kdf.passes=1", "--set", "session.per_account_max=2",
                        "--set", "session.max=100")
    alice, bob = system.account(), system.account()
    with system.imap(alice) as one, system.imap(alice):
        assert "[UNAVAILABLE]" in probes.imap_refusal(system, alice)
        with system.imap(bob):
            pass
        one.close()
        with system.imap(alice) as three:
            assert three.select() == 0


def test_no_linger(own_system):
    """session.linger_s = 0: no keys are open a moment after the last session."""
    system = own_system("--set", "kdf.memory_kib=8192", "--set", "kdf.passes=1", "--set", "session.linger_s=0")
    alice = system.account()
    with system.imap(alice) as mail:
        assert mail.select() == 0
        assert listed(system)[0]["sessions"] == 1
    probes.wait_for(lambda: listed(system) == [])
    with system.imap(alice) as mail:
        assert mail.select() == 0
