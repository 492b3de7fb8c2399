"""Changes whose client was told TIMEOUT, and which the database made all the same: what a thief has open ends, and the owner is told."""
import concurrent.futures
import contextlib
import os
import signal
import struct

import keyproto as kp
import pytest
import systems
from keydserver import Keyd, record_fields, sealed_prefix, wait_for
from test_ctl import TEMPFAIL
from test_ctl_keys import Site

PASSWORD, NEW = "correct horse battery staple", "quite another phrase"
USER, MEMBER = "alice@example.org", "bob@example.org"
KEY = bytes(range(32))
RENEW = 1  # of ROTATE: a new master key


@pytest.fixture
def keyd():
    with Keyd() as k:
        k.enrol(USER, PASSWORD)
        k.enrol(MEMBER, PASSWORD)
        yield k


@contextlib.contextmanager
def frozen(pids):
    for pid in pids:
        systems.proc.freeze(pid)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def asleep_at_write(keyd, client, opcode, payload):
    """A request whose row was read, and whose write the keystore gets while it sleeps."""
    keystore = frozen(keyd.pids("keystore"))
    with contextlib.ExitStack() as stack:
        if opcode == kp.REMOVE:  # which reads nothing
            stack.enter_context(keystore)
            client.send(opcode, payload)
        else:
            with frozen(keyd.pids("kdf")):
                client.send(opcode, payload)
                keyd.status()  # the keystore answers one after the other
                stack.enter_context(keystore)
        yield


def held_up(keyd, opcode, payload, hang_up=False):
    """The same, until the client has heard of a timeout, or would have."""
    with keyd.client("control") as c, asleep_at_write(keyd, c, opcode, payload):
        if hang_up:
            c.sock.close()
            assert wait_for(lambda: "no answer from the keystore in time" in keyd.log_text())
        else:
            assert c.read_frame()[1] == kp.TIMEOUT


def app_password(keyd):
    """(slot, code)"""
    with keyd.client("control") as c:
        return c.add_slot(USER, PASSWORD, kp.SLOT_APP, "phone")


def member_slot(keyd):
    with keyd.client("control") as c:
        return c.add_slot(USER, PASSWORD, kp.SLOT_MEMBER, "", MEMBER)[0]


@contextlib.contextmanager
def thief(keyd, secret, member=None):
    """A session that opens mail."""
    with keyd.client("auth") as a, keyd.client("mail") as m:
        m.attach(a.login_member(USER, member, secret) if member else a.login(USER, secret)[1], USER)
        prefix = sealed_prefix(m.record(USER), KEY)
        assert m.unwrap([prefix]) == [KEY]
        yield m, prefix


def opens_nothing(m, prefix, why=kp.KEYS_CHANGED):
    """keyd ends the session unasked; what the thief asks after that nobody answers."""
    assert m.ends() == why
    with pytest.raises((kp.Closed, OSError)):
        m.unwrap([prefix])
    return True


SECRET = kp.str16(USER) + kp.str16(PASSWORD)


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_removed_app_password(keyd, hang_up):
    slot, code = app_password(keyd)
    with thief(keyd, code) as (m, prefix):
        held_up(keyd, kp.REMOVE_SLOT, SECRET + slot, hang_up)
        assert opens_nothing(m, prefix)
    assert keyd.login_status(USER, code) == kp.DENIED and keyd.works(USER, PASSWORD)
    assert keyd.change("remove_slot", USER, PASSWORD, slot) == kp.NOENT


def test_a_removed_member(keyd):
    slot = member_slot(keyd)
    with thief(keyd, PASSWORD, MEMBER) as (m, prefix):
        held_up(keyd, kp.REMOVE_SLOT, SECRET + slot)
        assert opens_nothing(m, prefix)
    with keyd.client("auth") as a, pytest.raises(kp.KeydError):
        a.login_member(USER, MEMBER, PASSWORD)


def test_a_password_that_others_know(keyd):
    with thief(keyd, PASSWORD) as (m, prefix):
        held_up(keyd, kp.CHANGE_PASSWORD, SECRET + kp.str16(NEW) + bytes([kp.COMPROMISED]))
        assert opens_nothing(m, prefix)
    assert keyd.login_status(USER, PASSWORD) == kp.DENIED and keyd.opens(USER, NEW, [prefix]) == [KEY]


def test_a_master_key_that_others_know(keyd):
    with thief(keyd, PASSWORD) as (m, prefix):
        held_up(keyd, kp.ROTATE, SECRET + bytes([RENEW]))
        assert opens_nothing(m, prefix)
    assert keyd.opens(USER, PASSWORD, [prefix]) == [KEY]


def test_a_reset(keyd):
    with thief(keyd, PASSWORD) as (m, prefix):
        held_up(keyd, kp.RESET, kp.str16(USER) + kp.str16(NEW))
        assert opens_nothing(m, prefix)
    assert keyd.login_status(USER, PASSWORD) == kp.DENIED and keyd.works(USER, NEW)


def test_a_removed_account(keyd):
    with thief(keyd, PASSWORD) as (m, prefix):
        held_up(keyd, kp.REMOVE, kp.str16(USER))
        assert opens_nothing(m, prefix, kp.REMOVED)
    keyd.enrol(USER, NEW)
    assert not keyd.alarms() and keyd.works(USER, NEW), "it was removed on purpose"


def test_a_change_that_ends_no_session(keyd):
    """The session goes on, by the new generation; its password is known without Argon2id."""
    with thief(keyd, PASSWORD) as (m, prefix):
        held_up(keyd, kp.SET_FLAGS, SECRET + struct.pack(">I", 0))
        assert wait_for(lambda: "flags changed" in keyd.log_text())
        assert m.unwrap([prefix]) == [KEY]
        warm = keyd.status()["warm_logins"]
        assert keyd.login_status(USER, PASSWORD) == kp.OK and keyd.status()["warm_logins"] == warm + 1


def test_a_reload_waits_for_it(keyd):
    """What the write brings about is not forgotten between two programs."""
    slot, code = app_password(keyd)
    with thief(keyd, code) as (m, prefix):
        with keyd.client("control") as c, asleep_at_write(keyd, c, kp.REMOVE_SLOT, SECRET + slot):
            assert c.read_frame()[1] == kp.TIMEOUT
            mark, old = keyd.hup(), set(keyd.pids("vault"))
            assert wait_for(lambda: set(keyd.pids("vault")) - old), "an heir"
        assert opens_nothing(m, prefix)
        assert wait_for(lambda: "processes serve" in keyd.log_text()[mark:], 40), keyd.log_text()[mark:]
    assert keyd.login_status(USER, code) == kp.DENIED and keyd.works(USER, PASSWORD)


# --- a write that this keyd knows nothing of ---

@pytest.fixture
def other_node(keyd):
    """Another keyd on the same database."""
    with Keyd(keyd={"database": f"sqlite:{keyd.db}", "site_key": str(keyd.dir / "site.key")}) as k:
        yield k


def login(keyd):
    assert keyd.login_status(USER, NEW) == kp.OK


def deliver(keyd):
    """keyd answers deliveries with what it read half a second ago."""
    with keyd.client("delivery") as d:
        assert wait_for(lambda: record_fields(d.record(USER))[3] == 2)


def look(keyd):
    with keyd.client("control") as c:
        c.slots(USER)


@pytest.mark.parametrize("read", [login, deliver, look])
def test_keys_that_another_node_changed(keyd, other_node, read):
    """Whatever reads the account's row here ends what was open by the master key of before."""
    with thief(keyd, PASSWORD) as (m, prefix):
        other_node.change("change_password", USER, PASSWORD, NEW, kp.COMPROMISED)
        read(keyd)
        assert opens_nothing(m, prefix)
    assert keyd.opens(USER, NEW, [prefix]) == [KEY] and not keyd.alarms()


def test_sessions_outlive_a_mere_change_of_password_elsewhere(keyd, other_node):
    with thief(keyd, PASSWORD) as (m, prefix):
        other_node.change("passwd", USER, PASSWORD, NEW)
        login(keyd)
        assert m.unwrap([prefix]) == [KEY]


# --- basaltctl ---

@pytest.fixture
def site(keyd, tmp_path):
    return Site(tmp_path, keyd.run)


def late(keyd, site, *args, stdin, kill=False):
    """A command whose write hangs until keyd has given it up, or until the keystore is killed: (exit status, standard output, error)."""
    keystore = frozen(keyd.pids("keystore"))
    with concurrent.futures.ThreadPoolExecutor() as pool, keyd.client("auth") as others, contextlib.ExitStack() as stack:
        workers = keyd.pids("kdf")
        with frozen(workers):
            for _ in workers:  # so that the command's Argon2id is the first that queues
                others.send(kp.LOGIN, b"".join(map(kp.str16, ("nobody@example.org", PASSWORD, "imap"))) + b"\0")
            assert wait_for(lambda: keyd.status()["requests_waiting"] == len(workers))
            run = pool.submit(site.run, *args, stdin=stdin)
            assert wait_for(lambda: keyd.status()["kdf_queue"] == 1)
            stack.enter_context(keystore)
        assert wait_for(lambda: "no answer from the keystore in time" in keyd.log_text())
        if kill:
            os.kill(keyd.pids("keystore")[0], signal.SIGKILL)
        else:
            stack.close()
        return run.result(60)


ONE, TWO = "--password-stdin", "--old-password-stdin"


def test_the_owner_hears_of_a_late_removal(keyd, site):
    slot, code = app_password(keyd)
    with thief(keyd, code) as (m, prefix):
        status, out, err = late(keyd, site, "key", "remove", USER, slot.hex(), ONE, stdin=PASSWORD + "\n")
        assert (status, out) == (0, "") and "but the change was made" in err, err
        assert opens_nothing(m, prefix)
    told = site.told()
    assert "Removed from your mailbox: app-password: phone" in told and told.count("Subject:") == 1


@pytest.mark.parametrize("command,text", [
    (("account", "passwd", USER, "--compromised", TWO, ONE), "Your password was changed, and your keys with it"),
    (("passwd", USER), "Your password was changed")])
def test_the_owner_hears_of_a_late_password(keyd, site, command, text):
    status, _, err = late(keyd, site, *command, stdin=f"{PASSWORD}\n{NEW}\n")
    assert status == 0 and "but the change was made" in err and text in site.told(), err
    assert keyd.login_status(USER, PASSWORD) == kp.DENIED and keyd.works(USER, NEW)


def test_an_app_password_that_nobody_saw(keyd, site):
    status, out, err = late(keyd, site, "key", "add-app-password", USER, "--stdout", ONE, stdin=PASSWORD + "\n")
    assert (status, out) == (TEMPFAIL, "") and "whose secret nobody knows" in err, err
    assert "An app password was added" in site.told()


def test_what_was_not_made_is_said(keyd, site):
    """The keystore dies before it wrote."""
    slot, code = app_password(keyd)
    status, out, err = late(keyd, site, "key", "remove", USER, slot.hex(), ONE, stdin=PASSWORD + "\n", kill=True)
    assert (status, out) == (TEMPFAIL, "") and "the change was not made: run it again" in err, err
    assert site.told() == "" and keyd.login_status(USER, code) == kp.OK
    site.ok("key", "remove", USER, slot.hex(), ONE, stdin=PASSWORD + "\n")
    assert "Removed from your mailbox" in site.told() and keyd.login_status(USER, code) == kp.DENIED
