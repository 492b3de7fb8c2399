"""reload, restart and stop of basalt-keyd with somebody in a session, by systemctl and with the unit as shipped."""
import contextlib
import os
import pathlib
import shutil

import pytest

import here
import keyproto as kp
import reloads

CONF = pathlib.Path("/etc/basalt/keyd.conf")
PROGRAM = pathlib.Path("/usr/sbin/basalt-keyd")
READER = "reader@keyd.example"
IDENTITY = ("MainPID", "InvocationID", "NRestarts", "ExecMainStartTimestampMonotonic")


@pytest.fixture(scope="module", autouse=True)
def accounts():
    with here.client("control") as c:
        c.enrol(READER, reloads.PASSWORD)


@pytest.fixture
def reader():
    """A session of keyd's own protocol, as a mail process has it."""
    with reloads.Reader(here, READER) as r:
        yield r


def identity():
    """What systemd takes for one start of a unit."""
    return dict(line.split("=", 1) for line in here.ask("systemctl", "show", f"--property={','.join(IDENTITY)}", "basalt-keyd").splitlines())


def roles():
    return set(here.pids("basalt-keyd")) - {int(here.shown("basalt-keyd", "MainPID"))}


def settles():
    """No longer "reloading": systemd heard READY=1 from the pid that it knows."""
    return here.eventually(lambda: here.shown("basalt-keyd", "ActiveState") == "active")


def reload():
    """Nobody but the roles is another; what keyd said of it."""
    before, old, mark = identity(), roles(), len(here.journal("basalt-keyd"))
    here.ask("systemctl", "reload", "basalt-keyd")
    assert here.eventually(lambda: reloads.RELOADED in here.journal("basalt-keyd")[mark:] or reloads.REFUSED in here.journal("basalt-keyd")[mark:])
    said = here.journal("basalt-keyd")[mark:]
    assert reloads.RELOADED in said and reloads.REFUSED not in said, said
    assert settles() and identity() == before
    assert here.eventually(lambda: not old & roles()) and len(roles()) == len(old)
    return said


# --- reload ---

def test_a_reload_logs_nobody_out(reader):
    count = here.keyd_status()["reloads"]
    for _ in range(3):
        reload()
        assert reader.reads()
    assert here.keyd_status()["reloads"] == count + 3 and here.keyd_status()["sessions"] >= 1


def test_an_imap_session_reads_on():
    """Dovecot's imap asks the new vault for a key that it has not asked for before."""
    with here.imap() as mail:
        assert len(here.texts(mail, "1")) == 1
        reload()
        assert len(here.texts(mail, "*")) == 1


def test_a_new_program_takes_over(reader):
    """As docs/INSTALL.md's "Upgrade" has it: make install, reload."""
    fresh = PROGRAM.with_suffix(".new")
    shutil.copy2(PROGRAM, fresh)
    fresh.rename(PROGRAM)
    exe = pathlib.Path(f"/proc/{here.shown('basalt-keyd', 'MainPID')}/exe")
    assert str(exe.readlink()).endswith(" (deleted)")
    reload()
    assert exe.readlink() == PROGRAM and {pathlib.Path(f"/proc/{pid}/exe").readlink() for pid in roles()} == {PROGRAM}
    assert reader.reads()


def test_the_new_processes_are_in_the_jail_and_have_the_limits():
    for pid in roles():
        of = here.status(pid)
        assert (of["Seccomp"], of["NoNewPrivs"], int(of["CapEff"], 16)) == ("2", "1", 0), of
    vault, = here.roles("basalt-vault")
    assert here.limits(vault)["Max locked memory"] == ("unlimited", "unlimited")


def test_a_wrong_configuration_fails_the_reload_and_nothing_else(reader):
    good, before, old = CONF.read_text(), identity(), roles()
    try:
        CONF.write_text(good + "nonsense = 1\n")
        assert "failed" in here.ask("systemctl", "reload", "basalt-keyd", check=False).lower()
    finally:
        CONF.write_text(good)
    assert settles() and (identity(), roles()) == (before, old) and reader.reads()


def test_a_refused_reload_is_told_and_nothing_else(reader):
    """keyd alone sees this one: systemctl's own look at the configuration finds nothing wrong."""
    good, before, old, mark = CONF.read_text(), identity(), roles(), len(here.journal("basalt-keyd"))
    try:
        CONF.write_text(good.replace('"/run/basalt"', '"/run/basalt/other"'))
        here.ask("systemctl", "reload", "basalt-keyd")
        assert here.eventually(lambda: reloads.REFUSED in here.journal("basalt-keyd")[mark:])
    finally:
        CONF.write_text(good)
    assert settles() and (identity(), roles()) == (before, old) and reader.reads()
    assert "refused" in here.shown("basalt-keyd", "StatusText")
    reload()
    assert here.shown("basalt-keyd", "StatusText") == "" and reader.reads()


# --- restart and stop ---

def gone(reader):
    """Its keyd closed the connection."""
    with contextlib.suppress(kp.Closed, OSError):
        while True:
            reader.client.read_frame()
    return True


def test_a_restart_logs_out_and_lets_in_again(reader):
    before = identity()
    here.ask("systemctl", "restart", "basalt-keyd")
    assert gone(reader) and here.eventually(here.serves)
    after = identity()
    assert after["MainPID"] != before["MainPID"] and after["NRestarts"] == "0"
    assert here.keyd_status()["unlocked_accounts"] == 0, "keys do not outlive the process"
    with reloads.Reader(here, READER) as again:
        assert again.reads()
    assert here.subjects()


def test_stop_leaves_no_process_and_no_socket(reader):
    pids = here.pids("basalt-keyd")
    here.ask("systemctl", "stop", "basalt-keyd")
    assert gone(reader) and (here.shown("basalt-keyd", "Result"), here.shown("basalt-keyd", "ActiveState")) == ("success", "inactive")
    assert [pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()] == []
    assert os.listdir("/run/basalt") == []
    here.ask("systemctl", "start", "basalt-keyd")
    assert here.eventually(here.serves)
