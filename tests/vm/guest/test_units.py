"""The units as shipped, under the systemd that reads them: what it says of them, what it does with them, what they survive."""
import os
import pathlib
import re
import signal
import socket
import time

import pytest

import here

EXPOSED_MAX = 3.0  # systemd-analyze security: below it is "OK"
SOCKETS = {"basalt-keyd": ["/run/basalt/auth", "/run/basalt/mail", "/run/basalt/delivery", "/run/basalt/control"],
           "basalt-milter": ["/run/basalt-milter/milter", "/run/basalt-milter/socketmap"],
           "basalt-lmtp": ["/run/basalt-lmtp/lmtp"]}
KEYD_USERS = ("basalt-vault", "basalt-kdf", "basalt-keystore", "basalt-front")


def alive():
    return here.eventually(here.serves)


def a_mail_goes_through(n):
    """In by SMTP, out by IMAP, and nothing to read on the disk."""
    with here.smtplib.SMTP("127.0.0.1", 25, local_hostname="client.example.net", timeout=here.PATIENCE_S) as smtp:
        here.number_mail(smtp, n)
    assert here.eventually(lambda: f"number {n}" in here.subjects()), here.ask("journalctl", "--no-pager", "-n", "60")
    assert here.ask("grep", "-rl", "cold water", "/var/vmail", check=False) == ""


@pytest.mark.parametrize("unit", here.UNITS)
def test_a_unit_is_up_and_comes_back_at_boot(unit):
    assert here.shown(unit, "ActiveState") == "active"
    assert here.shown(unit, "NRestarts") == "0"
    assert unit == "postfix@-" or here.ask("systemctl", "is-enabled", unit).strip() == "enabled"


def test_systemd_has_nothing_to_say_about_the_units():
    files = sorted(map(str, pathlib.Path("/usr/lib/systemd/system").glob("basalt-*")))
    assert {os.path.basename(f) for f in files} == {f.name for f in (here.ROOT / "systemd").glob("basalt-*.[st]*")}
    assert here.ask("systemd-analyze", "verify", "--man=no", *files) == ""
    assert here.ask("systemctl", "--failed", "--no-legend", "--plain", "list-units").strip() == ""


@pytest.mark.parametrize("unit", [*here.DAEMONS, "basalt-scrub"])
def test_a_unit_is_shut_in(unit):
    said = here.ask("systemd-analyze", "security", "--no-pager", f"{unit}.service")
    level = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])
    here.figure(f"exposure of {unit}: {level}")
    assert level < EXPOSED_MAX, said


@pytest.mark.parametrize("unit", here.DAEMONS)
def test_each_process_is_in_the_jail(unit):
    """The filters, and nobody with more rights than the unit gives."""
    for pid in here.pids(unit):
        of = here.status(pid)
        assert (of["Seccomp"], of["NoNewPrivs"]) == ("2", "1"), of
        bound = {n for n in range(64) if int(of["CapBnd"], 16) >> n & 1}
        assert bound <= ({0, 5, 6, 7} if unit == "basalt-keyd" else set()), of  # CHOWN, KILL, SETGID, SETUID
        if of["Uid"].split()[0] != "0":
            assert int(of["CapEff"], 16) == 0, of


def in_unit(unit, name):
    return re.search(rf"^{name}=(\S+)", pathlib.Path(f"/usr/lib/systemd/system/{unit}.service").read_text(), re.M)[1]


@pytest.mark.parametrize("unit", here.DAEMONS)
def test_the_limits_are_those_of_the_unit(unit):
    """The roles may have taken less; nobody has more."""
    files = in_unit(unit, "LimitNOFILE")
    assert here.limits(here.shown(unit, "MainPID"))["Max open files"] == (files, files)
    for pid in here.pids(unit):
        of = here.limits(pid)
        assert int(of["Max open files"][1]) <= int(files) and of["Max core file size"] == ("0", "0"), of
        here.figure(f"limits of {unit}, {here.name(pid)}: " + ", ".join(f"{k} {of[k][1]}" for k in ("Max open files", "Max locked memory")))


def test_keys_never_go_to_swap():
    assert pathlib.Path("/sys/fs/cgroup/system.slice/basalt-keyd.service/memory.swap.max").read_text() == "0\n"


def test_keyd_has_each_role_as_a_user_of_its_own():
    found = {user: here.roles(user) for user in KEYD_USERS}
    assert all(found.values()) and len(found["basalt-front"]) == 4
    main = int(here.shown("basalt-keyd", "MainPID"))
    assert here.status(main)["Uid"].split()[0] == "0"
    assert {main, *sum(found.values(), [])} == set(here.pids("basalt-keyd"))


def test_keys_are_locked_and_open_files_may_be_as_many_as_sessions():
    vault, = here.roles("basalt-vault")
    assert here.limits(vault)["Max locked memory"] == ("unlimited", "unlimited")
    # The arena may be memory that not even the kernel maps: then it is not counted, and status says so.
    locked = int(here.status(vault)["VmLck"].split()[0])
    here.figure(f"locked pages of the vault: {locked} KiB")
    assert locked >= here.keyd_status()["locked_kib"], (locked, here.keyd_status())
    assert "raise LimitNOFILE" not in here.journal("basalt-keyd")


def test_the_journal_has_no_complaint_of_ours():
    assert {u: here.complaints(u) for u in here.DAEMONS} == {u: [] for u in here.DAEMONS}
    said = here.ask("journalctl", "--no-pager", "-b", "-o", "cat", "-t", "dovecot")
    assert not re.search(r"\b(Error|Panic|Fatal|ALARM)\b.*basalt|basalt.*\b(Error|Panic|Fatal|ALARM)\b", said), said


def test_a_mail_goes_in_and_out():
    a_mail_goes_through(1001)


@pytest.mark.parametrize("user", KEYD_USERS)
def test_a_role_of_keyd_is_killed(user):
    main = here.shown("basalt-keyd", "MainPID")
    victim = here.roles(user)[0]
    os.kill(victim, signal.SIGKILL)
    assert here.eventually(lambda: len(here.roles("basalt-front")) == 4 and victim not in here.pids("basalt-keyd") and here.serves())
    assert (here.shown("basalt-keyd", "MainPID"), here.shown("basalt-keyd", "ActiveState")) == (main, "active")


@pytest.mark.parametrize("unit", ["basalt-milter", "basalt-lmtp"])
def test_a_worker_is_killed(unit):
    main = here.shown(unit, "MainPID")
    worker, = (pid for pid, parent in here.pids(unit).items() if parent == int(main))
    os.kill(worker, signal.SIGKILL)
    assert here.eventually(lambda: worker not in here.pids(unit) and len(here.pids(unit)) == 2 and here.serves())
    assert here.shown(unit, "MainPID") == main


@pytest.mark.parametrize("unit", here.DAEMONS)
def test_a_daemon_is_killed_and_systemd_starts_another(unit):
    main = int(here.shown(unit, "MainPID"))
    os.kill(main, signal.SIGKILL)
    assert here.eventually(lambda: here.shown(unit, "MainPID") not in (str(main), "0") and here.shown(unit, "ActiveState") == "active")
    assert here.shown(unit, "NRestarts") == "1"
    assert alive(), here.journal(unit)
    assert main not in here.pids(unit)


def test_a_mail_goes_in_and_out_afterwards():
    a_mail_goes_through(1002)


def answers(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == 0


@pytest.mark.parametrize("unit", here.DAEMONS)
def test_stop_takes_the_sockets_and_start_brings_them(unit):
    """Those of milter and proxy may lie there; nobody takes a connection."""
    began = time.monotonic()
    here.ask("systemctl", "stop", unit)
    here.figure(f"systemctl stop {unit}: {time.monotonic() - began:.1f} s")
    assert (here.shown(unit, "Result"), here.shown(unit, "ActiveState")) == ("success", "inactive")
    assert [s for s in SOCKETS[unit] if answers(s)] == []
    here.ask("systemctl", "start", unit)
    assert here.eventually(lambda: all(map(answers, SOCKETS[unit])))
    assert alive()


def test_mail_that_comes_while_keyd_is_away_waits():
    here.ask("systemctl", "stop", "basalt-keyd")
    with here.smtplib.SMTP("127.0.0.1", 25, local_hostname="client.example.net", timeout=here.PATIENCE_S) as smtp:
        here.number_mail(smtp, 1003)
    assert here.eventually(lambda: "temporar" in here.ask("postqueue", "-p").lower() or "451" in here.ask("postqueue", "-p"))
    here.ask("systemctl", "start", "basalt-keyd")
    here.ask("postqueue", "-f")
    assert here.eventually(lambda: "number 1003" in here.subjects())


def test_a_configuration_that_is_wrong_is_not_tried_for_ever():
    """78 is for a person: no restart."""
    conf = pathlib.Path("/etc/basalt/keyd.conf")
    good = conf.read_text()
    try:
        conf.write_text(good + "nonsense = 1\n")
        here.ask("systemctl", "restart", "basalt-keyd", check=False)
        assert (here.shown("basalt-keyd", "ActiveState"), here.shown("basalt-keyd", "ExecMainStatus")) == ("failed", "78")
    finally:
        conf.write_text(good)
    here.ask("systemctl", "restart", "basalt-keyd")
    assert alive()


def test_a_milter_that_hangs_is_started_again():
    """By systemd's watchdog: the worker's first thread shows no life. Sooner than the unit has it, and that is all that is changed."""
    assert here.shown("basalt-milter", "WatchdogUSec") == "2min"
    dropin = pathlib.Path("/run/systemd/system/basalt-milter.service.d/sooner.conf")
    dropin.parent.mkdir(parents=True, exist_ok=True)
    dropin.write_text("[Service]\nWatchdogSec=20\nTimeoutAbortSec=10\n")
    try:
        here.ask("systemctl", "daemon-reload")
        here.ask("systemctl", "restart", "basalt-milter")
        main = here.shown("basalt-milter", "MainPID")
        worker, = (pid for pid, parent in here.pids("basalt-milter").items() if parent == int(main))
        os.kill(worker, signal.SIGSTOP)
        assert here.eventually(lambda: here.shown("basalt-milter", "MainPID") not in (main, "0") and here.serves())
        assert "Watchdog timeout" in here.journal("basalt-milter")
        assert worker not in here.pids("basalt-milter")
    finally:
        dropin.unlink()
        here.ask("systemctl", "daemon-reload")
        here.ask("systemctl", "restart", "basalt-milter")
    a_mail_goes_through(1004)


def test_the_weekly_look_for_rot():
    here.ask("systemctl", "enable", "--now", "basalt-scrub.timer")
    assert "basalt-scrub.timer" in here.ask("systemctl", "list-timers", "--no-pager", "--no-legend")
    here.ask("systemctl", "start", "basalt-scrub")
    assert here.shown("basalt-scrub", "Result") == "success", here.journal("basalt-scrub")
