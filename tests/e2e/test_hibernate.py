"""Sessions that Dovecot hibernates: the imap process goes, a resume token waits, and whatever happens meanwhile is told on waking."""
import json
import pathlib
import re

import pytest

import idlers
import probes
import systems

SLEEPERS = """service imap {
  unix_listener imap-master {
    user = $default_internal_user
  }
}
mail_debug = yes
auth_debug = yes
"""
NOBODY_TO_SLEEP_WITH = """service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0600
    group = root
  }
}
"""
OVER = b"* BYE The session ended while it was idle, log in again"
AWAY = b"* BYE [UNAVAILABLE] The key service was restarted or does not answer, log in again"
SECRET = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")  # a token; public records are longer


def options(folder, resume_s, more=""):
    conf = folder / "hibernate.conf"
    conf.write_text(SLEEPERS + more)
    return [*systems.CHEAP_KDF, "--set", f"dovecot.include={conf}", "--set", "dovecot.imap_hibernate_timeout=1s",
            "--set", f"session.resume_s={resume_s}"]


@pytest.fixture(params=["sdbox", "maildir"], scope="module")
def sleepers(request, tmp_path_factory):
    """A system of whose clients the idle ones sleep."""
    s = systems.System(options(tmp_path_factory.mktemp("conf"), 3600), storage=request.param)
    yield s.start()
    s.remove()


@pytest.fixture
def system_of(own_system, tmp_path):
    return lambda *args: own_system(*options(tmp_path, *args))


def held(system, account):
    """(sessions, tokens) of an account, as keyd has them."""
    one = json.loads(system.ctl("session", "list", account.address, "--json").stdout)
    return (one[0]["sessions"], one[0]["tokens"]) if one else (0, 0)


def falls_asleep(system, account):
    return probes.wait_for(lambda: held(system, account) == (0, 1) and not system.pids("dovecot", "imap"))


def asleep(system, account):
    c = idlers.raw(system, account)
    c.ok("SELECT INBOX")
    idlers.idle(c)
    assert falls_asleep(system, account)
    return c


def done(c):
    c.send("DONE")
    return c.until(b"x ")[-1]


def marks(c, numbers):
    """The marks of mails; each has one."""
    return [re.search(rb"canary-[0-9a-f]{16}", b"".join(c.ok(f"FETCH {n} (BODY.PEEK[])")))[0] for n in numbers]


def sound(system, since):
    idlers.quiet(system, since)
    assert "ALARM" not in system.log("dovecot")[since:] and ": alarm: " not in system.log("keyd")


def nothing_shown(system):
    """No token in a log or an environment."""
    for log in system.path("log").glob("*.log"):
        assert not SECRET.search(log.read_text(errors="replace")), log
    for pid in [*system.pids("dovecot", "imap-hibernate"), *system.pids("dovecot", "imap")]:
        assert not SECRET.search(pathlib.Path(f"/proc/{pid}/environ").read_text(errors="replace"))


def test_sleeps_and_wakes(sleepers):
    """Nothing of it is left but a token; new mail wakes it, and so does its client; no login is needed, and no key is lost."""
    alice, mails = sleepers.account(), [probes.marked(n) for n in ("one", "two", "three", "four")]
    for mail in mails[:2]:
        assert probes.lmtp(sleepers, alice, mail) == 250
    since, of_keyd = len(sleepers.log("dovecot")), len(sleepers.log("keyd"))
    with asleep(sleepers, alice) as c:
        assert b": no session, 1 hibernated or on their way\n" in sleepers.ctl("session", "list", alice.address).stdout
        assert sleepers.pids("dovecot", "imap-hibernate")
        nothing_shown(sleepers)
        assert probes.lmtp(sleepers, alice, mails[2]) == 250
        assert c.until(b"* 3 EXISTS")
        assert done(c).startswith(b"x OK")
        assert marks(c, (1, 2, 3)) == [probes.word(m) for m in mails[:3]]
        assert held(sleepers, alice) == (1, 0)
        idlers.idle(c)
        assert falls_asleep(sleepers, alice)
        assert done(c).startswith(b"x OK"), "its client wakes it, too"
        listed = b"".join(c.ok("FETCH 1:* (ENVELOPE)"))
        assert all(probes.word(m) in listed for m in mails[:3]), "the sealed index cache opens"
        assert probes.lmtp(sleepers, alice, mails[3]) == 250
        idlers.idle(c)
        assert falls_asleep(sleepers, alice)
        assert done(c).startswith(b"x OK")
        assert c.ok(b"UID SEARCH BODY " + probes.word(mails[3]))[0].split()[-1] == b"4"
        assert c.command("LOGOUT")[-1].startswith(b"* BYE Logging out")
    assert probes.wait_for(lambda: held(sleepers, alice) == (0, 0))
    assert len(sleepers.logged("keyd", f"login of {alice.address}", of_keyd)) == 1
    nothing_shown(sleepers)
    assert probes.sealed_only(sleepers, alice) == 4 and not probes.traces(sleepers, alice, mails[2])
    assert len(probes.shown(sleepers, alice)) == 4
    sound(sleepers, since)


def test_a_plain_account_sleeps(sleepers):
    plain = sleepers.account("plain")
    with asleep(sleepers, plain) as c:
        mail = probes.marked("plain")
        assert probes.lmtp(sleepers, plain, mail) == 250
        assert c.until(b"* 1 EXISTS") and done(c).startswith(b"x OK")
        assert marks(c, [1]) == [probes.word(mail)]


def ended(system, account):
    idlers.session_end(system, account)


def keys_changed(system, account):
    system.ctl("account", "passwd", account.address, "--compromised", "--old-password-stdin", "--password-stdin",
               stdin=f"{account.password}\n{account.password}-new\n".encode())
    account.password += "-new"


def restarted(system, _account):
    probes.restart_keyd(system)


@pytest.mark.parametrize("how", ["mail", "client"])
@pytest.mark.parametrize("end", [ended, keys_changed, restarted])
def test_over_when_it_wakes(sleepers, end, how):
    """The session ended while it slept: its client is told when it wakes, gets nothing of its mail, and logs in again."""
    alice, bob = sleepers.account(), sleepers.account()
    assert probes.lmtp(sleepers, alice, probes.marked("old")) == 250
    since = len(sleepers.log("dovecot"))
    with asleep(sleepers, alice) as c:
        end(sleepers, alice)
        assert held(sleepers, alice) == (0, 0)
        if how == "mail":
            assert probes.lmtp(sleepers, alice, probes.marked("new")) == 250
        else:
            c.send("DONE")
            c.send("y FETCH 1 (BODY.PEEK[])")
        answer = c.until(b"* BYE")
        assert answer[-1].startswith(OVER) and idlers.hung_up(c)
        assert b"canary-" not in b"".join(answer)
    assert sleepers.logged("dovecot", "Disconnected: basalt: the session ended while it was hibernated", since)
    assert idlers.back(sleepers, alice) and idlers.back(sleepers, bob)
    assert len(probes.shown(sleepers, alice)) == (2 if how == "mail" else 1)
    sound(sleepers, since)


def test_wakes_while_keyd_is_away(sleepers):
    """A sealed account's client is told that it may pass; a plain one needs no key."""
    alice, plain = sleepers.account(), sleepers.account("plain")
    since = len(sleepers.log("dovecot"))
    with asleep(sleepers, alice) as c, asleep(sleepers, plain) as other:
        sleepers.stop("keyd")
        for one in c, other:
            one.send("DONE")
        assert c.until(b"* BYE")[-1].startswith(AWAY) and idlers.hung_up(c)
        assert other.until(b"x ")[-1].startswith(b"x OK") and other.ok("NOOP")
        sleepers.start()
    assert idlers.back(sleepers, alice)
    sound(sleepers, since)


def stays_awake(system, account, why, each=True):
    """Its imap process goes on, with its session. How many lines in the log say why: one each time that it would have slept?"""
    since = len(system.log("dovecot"))
    with idlers.raw(system, account) as c:
        c.ok("SELECT INBOX")
        imap = system.pids("dovecot", "imap")
        for n in 1, 2:
            idlers.idle(c)
            assert len(system.logged("dovecot", why, since, count=n if each else 1)) >= (n if each else 1)
            mail = probes.marked("new")
            assert probes.lmtp(system, account, mail) == 250
            assert c.until(b"* %d EXISTS" % n) and done(c).startswith(b"x OK")
            assert marks(c, [n]) == [probes.word(mail)]
            assert probes.wait_for(lambda: held(system, account) == (1, 0))
        assert system.pids("dovecot", "imap") == imap
    idlers.quiet(system, since)
    return len(system.logged("dovecot", why, since))


def test_off(system_of):
    """resume_s = 0, the default: Dovecot would like to hibernate, and does not."""
    system = system_of(0)
    assert stays_awake(system, system.account(), "session.resume_s of keyd.conf is 0", each=False) == 1
    assert not system.pids("dovecot", "imap-hibernate")


def test_imap_hibernate_does_not_take_it(system_of):
    """The token is given back, each time."""
    system = system_of(3600, NOBODY_TO_SLEEP_WITH)
    assert stays_awake(system, system.account(), "Couldn't hibernate imap client") == 2
    assert json.loads(system.ctl("status", "--json").stdout)["keyd"]["bad_tokens"] == 0


def test_slept_too_long(system_of):
    system = system_of(2)
    alice = system.account()
    since = len(system.log("dovecot"))
    with idlers.raw(system, alice) as c:
        c.ok("SELECT INBOX")
        idlers.idle(c)
        assert probes.wait_for(lambda: not system.pids("dovecot", "imap") and held(system, alice) == (0, 0))
        assert done(c).startswith((b"x OK", b"* BYE"))
        assert c.until(b"* BYE")[-1].startswith(OVER)
    assert idlers.back(system, alice)
    sound(system, since)
