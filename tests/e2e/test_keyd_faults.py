"""basalt-keyd when something dies or hangs, what its memory and files show, and what it refuses to start with."""
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

import keyproto as kp
import pytest
import systems
from keydserver import PROGRAM, ROOT, SANITIZED, UID_KEYSTORE, Keyd, record_fields, sealed_prefix, wait_for
from test_ctl import TEMPFAIL, Ctl
from test_faults import full

PASSWORD = "correct horse battery staple"
USER = "alice@example.org"


@pytest.fixture
def keyd():
    with Keyd() as k:
        k.enrol(USER, PASSWORD)
        yield k


# --- roles that hang or die ---

def test_a_hung_database_is_a_timeout(keyd):
    pid, = keyd.pids("keystore")
    with keyd.session(USER, PASSWORD) as m:
        prefix = sealed_prefix(m.record(USER), bytes(range(32)))
        systems.proc.freeze(pid)
        try:
            with keyd.client("delivery") as d, keyd.client("auth") as a:
                start = time.monotonic()
                d.sock.sendall(kp.frame(kp.EXISTS, kp.str16(USER)) * 40)
                assert keyd.login_status(USER, PASSWORD) == kp.TIMEOUT
                assert [d.read_frame()[1] for _ in range(16)] == [kp.TIMEOUT] * 16
                assert time.monotonic() - start < 3.5
                assert d.read_frame()[1] == kp.TIMEOUT
                assert time.monotonic() - start > 3.5, "no more than 16 of one connection are under way at once"
                assert m.unwrap([prefix]) == [bytes(range(32))], "what needs no database goes on"
                assert a.call(kp.EXISTS, kp.str16(USER))[0] == kp.TIMEOUT
        finally:
            os.kill(pid, signal.SIGCONT)
    assert keyd.works_again()


def test_a_locked_database_changes_nothing(keyd):
    db = sqlite3.connect(keyd.db, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with keyd.client("control") as c:
        start = time.monotonic()
        status, _ = c.call(kp.PASSWD, kp.str16(USER) + kp.str16(PASSWORD) + kp.str16("another password"))
        assert status in (kp.TIMEOUT, kp.BUSY, kp.UNAVAIL, kp.CONFLICT) and time.monotonic() - start < 5
    assert keyd.works(), "reading goes on"
    db.execute("ROLLBACK")
    db.close()
    assert len(keyd.rows(USER)) == 1 and keyd.works()


@pytest.mark.parametrize("role", ["keystore", "kdf", "vault", "front"])
def test_a_killed_role_comes_back_with_all_others(keyd, role):
    before = keyd.processes()
    with keyd.client("auth") as a, keyd.client("mail") as m:
        m.attach(a.login(USER, PASSWORD)[1], USER)
        os.kill(keyd.pids(role)[0], signal.SIGKILL)
        assert m.closes()
    assert keyd.works_again()
    after = keyd.processes()
    assert sorted(after.values()) == sorted(before.values())
    assert set(after) & set(before) == {keyd.process.pid}, "no process of the old set is left"


def test_killed_supervisor_takes_all_with_it(keyd):
    assert keyd.kill()
    keyd.start()  # over the sockets that nobody unlinked
    assert keyd.works()


def test_sigterm_is_a_clean_end(keyd):
    pids = keyd.processes()
    assert keyd.stop() == 0
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    assert list(keyd.run.iterdir()) == []


def test_a_crash_in_a_password_change_leaves_one_password_that_opens(keyd):
    """Killed at another moment each time: the old or the new password opens, and the keys are the same."""
    key, old, new = os.urandom(32), PASSWORD, "the new password"
    with keyd.client("delivery") as d:
        prefix = sealed_prefix(d.record(USER), key)
    with keyd.client("control") as c:
        start = time.monotonic()
        c.passwd(USER, old, new)
        took, old, new = time.monotonic() - start, new, old
    changed = 0
    for i in range(16):
        with keyd.client("control") as c, contextlib.suppress(kp.Closed, OSError, kp.KeydError):
            timer = threading.Timer(took * i / 8, os.kill, (keyd.pids("vault")[0], signal.SIGKILL))
            timer.start()
            c.passwd(USER, old, new)
        timer.join()
        assert keyd.kill()  # the quicker restart
        keyd.start()
        opens = [p for p in (old, new) if keyd.login_status(USER, p) == kp.OK]
        assert len(opens) == 1
        with keyd.session(USER, opens[0]) as m:
            assert m.unwrap([prefix]) == [key]
        changed += opens[0] == new
        old, new = opens[0], f"password number {i}"
    assert 0 < changed < 16, "some kills hit before and some after"


# --- MariaDB ---

@contextlib.contextmanager
def mariadb():
    """start(), which gives the settings of a private server, again after it died."""
    tool, where = ROOT / "tests" / "tools" / "mariadb", pathlib.Path(tempfile.mkdtemp(prefix="basalt-keyd-maria-"))
    where.chmod(0o755)

    def start():
        out = subprocess.run([tool, "start", where / "db"], check=True, capture_output=True, text=True).stdout
        env = dict(word.split("=", 1) for word in shlex.split(out))
        os.chown(env["KEYS_PASSWORD_FILE"], UID_KEYSTORE, 0)
        return env

    try:
        yield start
    finally:
        subprocess.run([tool, "stop", where / "db"], check=True, capture_output=True)
        shutil.rmtree(where)


def test_mariadb_hangs_dies_and_comes_back():
    with mariadb() as start:
        env = start()
        pid = int(env["MARIADB_PID"])
        with Keyd(keyd={"database": env["KEYS_URL"], "database_password_file": env["KEYS_PASSWORD_FILE"]}) as keyd:
            keyd.enrol(USER, PASSWORD)
            roles = keyd.processes()
            assert keyd.works()
            systems.proc.freeze(pid)
            try:
                began = time.monotonic()
                assert keyd.login_status(USER, PASSWORD) in (kp.TIMEOUT, kp.UNAVAIL) and time.monotonic() - began < 4
            finally:
                os.kill(pid, signal.SIGCONT)
            assert keyd.works_again()
            os.kill(pid, signal.SIGKILL)
            assert wait_for(lambda: keyd.login_status(USER, PASSWORD) == kp.UNAVAIL)
            assert keyd.status()["database"] != "ok"
            start()
            assert keyd.works_again() and keyd.processes() == roles, "no role died of it"


@contextlib.contextmanager
def small_disk(uid):
    """A folder of a file system of 400 KiB."""
    where = pathlib.Path(tempfile.mkdtemp(prefix="basalt-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=400k,mode=700,uid={uid},gid={uid}", "basalt-disk", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)
        where.rmdir()


def test_a_full_disk_is_in_the_status(tmp_path):
    """Until a change could be written again; logins go on."""
    with small_disk(UID_KEYSTORE) as disk, Keyd(keyd={"database": f"sqlite:{disk}/keys.db"}) as keyd:
        ctl = Ctl(tmp_path, keyd.run)
        ctl.ok("domain", "add", "example.org")
        keyd.enrol(USER, PASSWORD)
        with full(disk):
            with keyd.client("control") as c, pytest.raises(kp.KeydError):
                c.rotate(USER, PASSWORD)
            assert keyd.login_status(USER, PASSWORD) == kp.OK
            status, out, _ = ctl.run("status")
            assert status == TEMPFAIL and "the last change could not be written" in out and keyd.status()["database"] != "ok"
        with keyd.client("control") as c:
            c.rotate(USER, PASSWORD)
        status, out, _ = ctl.run("status")
        assert "keyd: ok" in out and keyd.status()["database"] == "ok"


# --- what leaks ---

def memory(pid):
    """All that root can read of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if rights[0] == "r" and "[v" not in line:
                with contextlib.suppress(OSError):
                    mem.seek(start)
                    yield mem.read(end - start)


def test_no_secret_outside_the_arena(keyd):
    """Not in a command line, an environment, a log, a file, nor in the memory of any role, once a request is done."""
    secret, new = "a unique pass phrase 4711", "another unique phrase 0815"
    keyd.enrol("leak@example.org", secret)
    with keyd.client("auth") as a, keyd.client("mail") as m, keyd.client("control") as c:
        key = os.urandom(32)
        m.attach(a.login("leak@example.org", secret)[1], "leak@example.org")
        m.unwrap([sealed_prefix(m.record("leak@example.org"), key)])
        c.passwd("leak@example.org", secret, new)
        needles = [secret.encode(), new.encode(), key]
        for pid, role in keyd.processes().items():
            for name in "cmdline", "environ":
                text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                assert not any(n in text for n in needles)
            if not SANITIZED:
                assert not any(n in part for part in memory(pid) for n in needles), role
        for path in (p for p in keyd.dir.rglob("*") if p.is_file()):
            assert not any(n in path.read_bytes() for n in needles), path


def test_each_role_is_in_its_jail(keyd):
    if SANITIZED:
        return
    for pid, role in keyd.processes().items():
        if role == "supervisor":
            continue
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2", role
        assert fields["CapEff"] == fields["CapPrm"] == "0" * 16 and not fields["Groups"].strip(), role
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits) and re.search(r"Max processes\s+0\s+0", limits)
        fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        if role in ("vault", "kdf"):
            allowed = ("socket:", "/dev/null", str(keyd.log))
            others = [f for f in fds if not f.startswith(allowed)]
            assert len(others) <= 1, (role, fds)  # standard error, as this test gave it
    assert len(keyd.pids("front")) == 4 and len(keyd.pids("kdf")) == 2


def test_another_process_of_the_same_user_cannot_read_the_vault(keyd):
    if SANITIZED:
        return
    pid, = keyd.pids("vault")
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0, "not dumpable: root's, not the role user's"


# --- start ---

def test_syslog_that_is_not_there_kills_no_role():
    with Keyd(keyd={"log": "syslog"}) as keyd:
        pids = keyd.processes()
        keyd.enrol(USER, PASSWORD)
        assert keyd.login_status(USER, "wrong password") == kp.DENIED and keyd.works()
        with keyd.client("auth") as a:
            a.sock.sendall(b"\0\0\0\0")
            assert a.read_frame()[1] == kp.FORMAT
        assert keyd.processes() == pids


def test_a_database_that_does_not_open_is_named_in_the_log(keyd):
    keyd.stop()
    os.chown(keyd.db.parent, 0, 0)
    keyd.db.parent.chmod(0o700)
    keyd.start()
    assert keyd.login_status(USER, PASSWORD) == kp.UNAVAIL
    line = [x for x in keyd.log_text().splitlines() if "cannot be opened" in x][-1]
    assert f"sqlite:{keyd.db}" in line and "db/keys.db: Permission denied" in line, line
    os.chown(keyd.db.parent, UID_KEYSTORE, UID_KEYSTORE)
    assert wait_for(lambda: keyd.login_status(USER, PASSWORD) == kp.OK)


def start_fails(keyd):
    p = subprocess.run([PROGRAM, "-c", keyd.conf], capture_output=True, timeout=20)
    return p.returncode, keyd.log_text() + p.stderr.decode()


def test_refuses_a_site_key_that_others_may_read(keyd):
    keyd.stop()
    (keyd.dir / "site.key").chmod(0o640)
    status, text = start_fails(keyd)
    assert status == 78 and "chmod 600" in text
    assert list(keyd.run.iterdir()) == []


def test_refuses_a_damaged_site_key(keyd):
    keyd.stop()
    path = keyd.dir / "site.key"
    text = path.read_text()
    path.write_text(("1" if text[0] != "1" else "2") + text[1:])
    assert start_fails(keyd)[0] == 78


def test_the_folder_it_makes_lets_dovecot_in(keyd):
    assert keyd.run.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mode,owner", [(0o775, 0), (0o757, 0), (0o1777, 0), (0o755, UID_KEYSTORE)])
def test_refuses_a_folder_of_sockets_that_others_may_write(keyd, mode, owner):
    keyd.stop()
    keyd.run.chmod(mode)
    os.chown(keyd.run, owner, 0)
    status, text = start_fails(keyd)
    assert status == 78 and f"chown root {keyd.run}; chmod go-w {keyd.run}" in text
    assert list(keyd.run.iterdir()) == []
    p = subprocess.run([PROGRAM, "-c", keyd.conf, "--check-config"], capture_output=True, timeout=20)
    assert p.returncode == 78 and b"go-w" in p.stderr


def test_refuses_two_roles_that_are_one_user(keyd):
    keyd.stop()
    keyd.conf.write_text(keyd.conf.read_text().replace('"62002"', '"62001"'))
    status, text = start_fails(keyd)
    assert status == 78 and "roles.kdf_user and roles.vault_user are the same user" in text
    assert list(keyd.run.iterdir()) == []


@pytest.mark.parametrize("key,value,text", [
    ("run_dir", "run/basalt", "absolute path"), ("database", "sqlite:keys.db", "neither sqlite:/PATH nor"),
    ("database", "mariadb://host/keys", "nor mariadb://USER@HOST")])
def test_check_config_reads_the_values(keyd, key, value, text):
    keyd.conf.write_text(re.sub(rf'{key} = ".*"', f'{key} = "{value}"', keyd.conf.read_text()))
    p = subprocess.run([PROGRAM, "-c", keyd.conf, "--check-config"], capture_output=True, timeout=20)
    assert p.returncode == 78 and f'keyd.{key}: "{value}"' in p.stderr.decode() and text in p.stderr.decode()


def test_refuses_a_second_daemon_on_its_sockets(keyd):
    status, text = start_fails(keyd)
    assert status == 1 and "another basalt-keyd" in text
    assert keyd.works()


def test_another_site_key_makes_every_record_a_forgery(keyd):
    keyd.stop()
    for name in "site.key", "site.key.pub":
        (keyd.dir / name).unlink()
    subprocess.run([PROGRAM, "--make-site-key", keyd.dir / "site.key"], check=True, stdout=subprocess.DEVNULL)
    keyd.start()
    assert keyd.login_status(USER, PASSWORD) == kp.AUTH
    assert keyd.alarms() and record_fields(keyd.rows(USER)[0][1][7:])[4] == kp.SEALED


def test_refuses_to_lock_more_than_is_left_for_work(keyd):
    """What the arena leaves must do for the buffers of an enrolment, or keyd says so before it serves."""
    limited = ["setpriv", "--bounding-set=-sys_resource", "prlimit", "--memlock=8388608:8388608", PROGRAM, "-c", keyd.conf]
    keyd.stop()
    text = keyd.conf.read_text()
    keyd.conf.write_text(text.replace("max = 2000", "max = 18000"))
    p = subprocess.run(limited, capture_output=True, timeout=20)
    room = re.search(r"set session.max = (\d+)", keyd.log_text())
    assert p.returncode == 78 and room and 2000 < int(room[1]) < 18000, (p.returncode, keyd.log_text()[-500:])

    keyd.conf.write_text(text.replace("max = 2000", f"max = {room[1]}"))
    served = keyd.log_text().count("processes serve")
    keyd.process = subprocess.Popen(limited, stdin=subprocess.DEVNULL)
    assert wait_for(lambda: keyd.log_text().count("processes serve") > served)
    keyd.enrol("new@example.org", PASSWORD)
    assert keyd.works("new@example.org", PASSWORD)


def status_of(client, password):
    try:
        client.login(USER, password)
        return kp.OK
    except kp.KeydError as e:
        return e.status


@contextlib.contextmanager
def login_held_up(keyd):
    """A login whose kdf worker is stopped; what it ends with is in the list afterwards."""
    for pid in keyd.pids("kdf"):
        outcome = []
        with keyd.client("auth", timeout=30) as slow:
            os.kill(pid, signal.SIGSTOP)
            login = threading.Thread(target=lambda: outcome.append(status_of(slow, PASSWORD)))
            login.start()
            login.join(1)
            if login.is_alive():
                yield outcome
            os.kill(pid, signal.SIGCONT)
            login.join(20)
            if outcome[:1] != [kp.OK]:
                return
    raise AssertionError("no login was held up, or what was done meanwhile did not show")


@pytest.mark.parametrize("change", ["remove", "passwd"])
def test_a_login_that_was_overtaken(keyd, change):
    """The account is removed, or its password changed, while Argon2id still runs over the old one: no token comes of it."""
    with login_held_up(keyd) as outcome, keyd.client("control") as control:
        if change == "remove":
            control.remove(USER)
        else:
            control.passwd(USER, PASSWORD, "quite another phrase")
    assert outcome == [kp.CONFLICT]
