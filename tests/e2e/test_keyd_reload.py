"""SIGHUP: another program or configuration serves, and nobody notices: sessions, tokens, warm logins, what lingers and what was seen
go over to new processes; whatever goes wrong before they are there leaves the old ones at work."""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

import keyproto as kp
import pytest
from keydserver import PROGRAM, Keyd, wait_for
from reloads import (ALICE, BOB, PASSWORD, REFUSED, RELOADED, Longest, Reader, asks_and_waits, go_on, hangs, is_paused, kill, refuses, reloads,
                     with_two_accounts)

MANY = 10000


@pytest.fixture
def keyd():
    with with_two_accounts() as k:
        yield k


def comparable(found):
    """Of accounts in SESSIONS: what a reload may not change."""
    return {name: (a["sessions"], a["tokens"], sorted((s["service"], s["pid"]) for s in a["list"])) for name, a in found.items()}


def moments(found):
    return [m for name in sorted(found) for m in (found[name]["since"], *sorted(s["since"] for s in found[name]["list"]))]


# --- what goes over ---

def test_sessions_tokens_and_open_keys(keyd):
    with Reader(keyd) as one, Reader(keyd) as two, keyd.client("auth") as a, keyd.client("mail") as late, \
            keyd.client("control") as c:
        token = a.login(ALICE, PASSWORD)[1]
        wait_for(lambda: time.time() > c.sessions(ALICE)[0][0]["since"] + 2)
        before, status = c.all_sessions(), keyd.status()
        for _ in range(3):
            reloads(keyd)
            assert one.reads() and two.reads()
        after = c.all_sessions()
        assert comparable(after) == comparable(before)
        assert all(abs(x - y) <= 1 for x, y in zip(moments(before), moments(after), strict=True)), (before, after)
        late.attach(token, ALICE)
        assert late.unwrap([one.prefix]) == [one.key]
        with keyd.client("mail") as again, pytest.raises(kp.KeydError) as caught:
            again.attach(token, ALICE)
        assert caught.value.status == kp.TOKEN, "of one use"
        a.login(ALICE, PASSWORD)
        now = keyd.status()
        assert now["warm_logins"] == status["warm_logins"] + 1 and now["logins"] == status["logins"] + 1
        assert now["reloads"] == status["reloads"] + 3 and now["uptime_s"] >= status["uptime_s"]
        assert (now["sessions"], now["unlocked_accounts"], now["cells_used"]) == (3, 1, status["cells_used"])
        assert keyd.login_status(ALICE, "another password") == kp.DENIED


def test_a_session_that_ends_has_ended(keyd):
    with Reader(keyd) as one, Reader(keyd, BOB) as other:
        reloads(keyd)
        assert keyd.change("end_sessions", ALICE) == (1, 0)
        assert one.client.ends() == kp.BY_ADMIN
        other.client.sock.close()
        assert wait_for(lambda: keyd.status()["sessions"] == 0), "a client that leaves is missed"
        with Reader(keyd) as again:
            assert again.reads()


def test_a_session_that_ends_hears_why(keyd):
    """Of a session that was handed over, keyd says why it ends as of any other, and of a reload says nothing."""
    with Reader(keyd) as one, Reader(keyd, BOB) as other:
        reloads(keyd)
        one.client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            one.client.read_frame()
        one.client.sock.settimeout(15)
        assert keyd.change("rotate", ALICE, PASSWORD, kp.COMPROMISED)
        assert one.client.ends() == kp.KEYS_CHANGED
        reloads(keyd)
        keyd.change("remove", BOB)
        assert other.client.ends() == kp.REMOVED


def test_tokens_grow_old():
    with Keyd(session={"token_s": 8}) as keyd, keyd.client("auth") as a, keyd.client("mail") as m:
        keyd.enrol(ALICE)
        token, issued = a.login(ALICE, PASSWORD)[1], time.monotonic()
        reloads(keyd)
        assert keyd.status()["tokens"] == 1 or time.monotonic() > issued + 7
        assert wait_for(lambda: keyd.status()["tokens"] == 0, 20)
        with pytest.raises(kp.KeydError) as caught:
            m.attach(token, ALICE)
        assert caught.value.status == kp.TOKEN


def test_a_session_that_sleeps():
    """Its token goes over, as long as it was to live and with the keys that it holds; a login's, which is younger and ends before it, too."""
    with Keyd(session={"token_s": 20, "resume_s": 3600, "linger_s": 0}) as keyd, keyd.client("auth") as a:
        keyd.enrol(ALICE)
        with Reader(keyd) as one:
            sleeper = one.client.resume_token()
            login = a.login(ALICE, PASSWORD)[1]
        assert wait_for(lambda: keyd.status()["sessions"] == 0)
        reloads(keyd)
        assert keyd.status()["unlocked_accounts"] == 1
        assert wait_for(lambda: keyd.status()["tokens"] == 1, 30), "the login's is over, the sleeper's is not"
        with keyd.client("mail") as m, keyd.client("mail") as late:
            m.attach(sleeper, ALICE)
            assert m.unwrap([one.prefix]) == [one.key]
            with pytest.raises(kp.KeydError) as caught:
                late.attach(login, ALICE)
            assert caught.value.status == kp.TOKEN


def test_keys_that_linger():
    """They are still there, and go when their time is over, not later."""
    with Keyd(session={"linger_s": 6}) as keyd:
        keyd.enrol(ALICE)
        with Reader(keyd):
            pass
        assert wait_for(lambda: keyd.status()["sessions"] == 0)
        ended = time.monotonic()
        reloads(keyd)
        if time.monotonic() < ended + 5:
            assert keyd.status()["unlocked_accounts"] == 1
        assert wait_for(lambda: keyd.status()["unlocked_accounts"] == 0, 20)
        assert 5 < time.monotonic() - ended, "not at once"


def test_what_was_seen():
    """A database that goes back behind a reload is caught by the vault that has never asked for the account."""
    with Keyd() as keyd:
        keyd.enrol(ALICE)
        assert keyd.change("change_password", ALICE, PASSWORD, "another good password", 0)
        keyd.change("end_sessions", ALICE)
        reloads(keyd)
        keyd.sql("DELETE FROM keysets WHERE account = ? AND generation > 1", ALICE)
        assert [generation for generation, _ in keyd.rows(ALICE)] == [1]
        assert keyd.login_status(ALICE, PASSWORD) == kp.ROLLBACK
        assert any(ALICE in line for line in keyd.alarms())
        keyd.sql("DELETE FROM keysets WHERE account = ?", ALICE)
        alarms = len(keyd.alarms())
        keyd.login_status(ALICE, PASSWORD)
        assert len(keyd.alarms()) > alarms, "an account that was there"


def test_last_use(keyd):
    with Reader(keyd):
        before = keyd.change("slots", ALICE)
        reloads(keyd)
        assert keyd.change("slots", ALICE) == before


# --- in the middle of something ---

def test_half_a_frame(keyd):
    """What a client has begun to say is finished behind the reload."""
    with Reader(keyd) as one, keyd.client("delivery") as d:
        frame = kp.frame(kp.UNWRAP, struct.pack(">H", 1) + kp.str16(one.prefix), 77)
        one.client.sock.sendall(frame[:-20])
        d.sock.sendall(kp.frame(kp.RECORD, kp.str16(ALICE))[:6])
        reloads(keyd)
        one.client.sock.sendall(frame[-20:])
        assert one.key in one.client.read_frame()[-1]
        d.sock.sendall(kp.frame(kp.RECORD, kp.str16(ALICE))[6:])
        assert ALICE.encode() in d.read_frame()[-1]


def test_replies_that_nobody_takes(keyd):
    """A client that asks and asks, and reads late: each reply once, in order."""
    with Reader(keyd) as one:
        many = struct.pack(">H", 200) + kp.str16(one.prefix) * 200
        sender = threading.Thread(target=lambda: [one.client.sock.sendall(kp.frame(kp.UNWRAP, many, 100 + i)) for i in range(120)])
        sender.start()
        wait_for(lambda: keyd.status()["unwrapped"] >= 2000)
        reloads(keyd)
        for i in range(120):
            opcode, status, number, payload = one.client.read_frame()
            assert (opcode & 0x7f, status, number, payload.count(one.key)) == (kp.UNWRAP, kp.OK, 100 + i, 200)
        sender.join()
        assert one.reads()


def test_logins_under_way():
    """Logins that wait for Argon2id when the reload comes: all are let in, and none by chance of being early."""
    with Keyd(kdf={"memory_kib": 65536, "passes": 3, "workers": 1}) as keyd:
        names = [f"user{i}@example.org" for i in range(6)]
        for name in names:
            keyd.enrol(name)
        got = []

        def login(name):
            with keyd.client("auth", 40) as a:
                got.append(len(a.login(name, PASSWORD)[1]))

        threads = [threading.Thread(target=login, args=[name]) for name in names]
        for t in threads:
            t.start()
        assert wait_for(lambda: keyd.status()["kdf_queue"] >= 2)
        reloads(keyd)
        for t in threads:
            t.join()
        assert got == [32] * 6 and keyd.status()["logins"] == 6


class HalfAsked:
    """More clients of auth than are read in one turn, who have each sent half a question."""

    def __init__(self, keyd, count=100):
        self.frame = kp.frame(kp.EXISTS, kp.str16(ALICE))
        self.clients = [keyd.client("auth", 40) for _ in range(count)]
        self.since = time.monotonic()
        for c in self.clients:
            c.sock.sendall(self.frame[:9])

    def ask(self):
        for c in self.clients:
            c.sock.sendall(self.frame[9:])

    def answered(self):
        return {c.read_frame()[:2] for c in self.clients} == {(kp.EXISTS, kp.OK)}


@pytest.mark.limit(200)
@pytest.mark.parametrize("seconds", [13, 40])
def test_logins_that_take_long(keyd, seconds):
    """While logins are at a halt sessions are served, and who waits is not called late for it. Where it takes too long the log says so,
    all goes on as it was, and the next reload is as good as the first."""
    with Reader(keyd) as one, keyd.client("auth", 60) as a:
        pids = hangs(keyd, "kdf")
        asks_and_waits(keyd, a, BOB)
        many = HalfAsked(keyd)
        mark = keyd.hup()
        assert wait_for(lambda: is_paused(keyd), 15)
        many.ask()
        while "reload" not in keyd.log_text()[mark:] and time.monotonic() < many.since + seconds:
            assert one.reads()
            time.sleep(0.1)
        go_on(pids)
        assert wait_for(lambda: RELOADED in keyd.log_text()[mark:] or REFUSED in keyd.log_text()[mark:], 40)
        said = keyd.log_text()[mark:]
        assert (RELOADED in said) == (seconds == 13) and ("logins that were under way took too long" in said) == (seconds == 40), said
        assert many.answered() and one.reads()
        assert a.read_frame()[1] == (kp.OK if seconds == 13 else kp.TIMEOUT)
        reloads(keyd)
        assert one.reads() and keyd.login_status(BOB, PASSWORD) == kp.OK


def test_no_descriptor_for_the_heir():
    """A front that has used up all that it may open can't get to know its heir: then nothing is handed over, and nothing is lost."""
    with Keyd() as keyd, contextlib.ExitStack() as stack:
        keyd.enrol(ALICE)
        keyd.stop()
        keyd.prefix = ["setpriv", "--bounding-set=-sys_resource", "prlimit", "--nofile=256:256"]
        keyd.start()
        one, many = stack.enter_context(Reader(keyd)), []
        with contextlib.suppress(TimeoutError):
            for _ in range(256):
                many.append(keyd.client("delivery", 1))
                many[-1].record(ALICE)
        assert 200 < len(many) < 256, "there is room for no more"
        refuses(keyd, "no descriptor for the heir")
        assert one.reads() and many[0].record(ALICE)
        for c in many:
            c.sock.close()
        assert wait_for(lambda: keyd.status()["clients"]["delivery"] == 0)
        reloads(keyd)
        assert one.reads()


class Busy:
    """Clients of all kinds in loops. Any refusal, any closed connection counts."""

    def __init__(self, keyd, sessions=10):
        self.keyd, self.done, self.faults, self.counts = keyd, threading.Event(), [], {}
        kinds = [self.unwraps] * sessions + [self.logs_in] * 3 + [self.delivers] * 2 + [self.administers]
        self.threads = [threading.Thread(target=self.run, args=[kind]) for kind in kinds]

    def run(self, kind):
        try:
            kind()
        except Exception as e:  # noqa: BLE001
            self.faults.append((kind.__name__, repr(e)))

    def count(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def unwraps(self):
        with Reader(self.keyd) as r:
            while not self.done.is_set():
                assert r.reads()
                self.count("unwraps")

    def logs_in(self):
        with self.keyd.client("auth") as a:
            while not self.done.is_set():
                token = a.login(BOB, PASSWORD)[1]
                with self.keyd.client("mail") as m:
                    m.attach(token, BOB)
                    assert m.keyset()
                self.count("logins")

    def delivers(self):
        while not self.done.is_set():
            with self.keyd.client("delivery") as d:
                assert d.record(ALICE)
            self.count("deliveries")

    def administers(self):
        while not self.done.is_set():
            assert self.keyd.status()["database"] == "ok"
            self.count("statuses")
            time.sleep(0.05)

    def __enter__(self):
        for name in ALICE, BOB:  # cold logins of one account wait for each other, or are told to
            assert self.keyd.login_status(name, PASSWORD) == kp.OK
        for t in self.threads:
            t.start()
        assert wait_for(lambda: len(self.counts) == 4) and not self.faults, self.faults
        return self

    def __exit__(self, *exc):
        self.done.set()
        for t in self.threads:
            t.join()


@pytest.mark.limit(300)
def test_nobody_notices(keyd):
    with Busy(keyd) as busy:
        for _ in range(10):
            before = dict(busy.counts)
            reloads(keyd)
            assert wait_for(lambda: busy.faults or all(busy.counts[k] > before[k] for k in before), 30), "all go on"
            assert not busy.faults
    assert not busy.faults
    assert keyd.status()["bad_tokens"] == keyd.status()["denied"] == keyd.status()["timeouts"] == 0


# --- other settings, another program ---

def test_new_settings(keyd):
    with Reader(keyd) as one:
        keyd.configure(kdf={"workers": 1}, session={"linger_s": 77, "max": 3000}, sockets={"mail_group": "4242"})
        reloads(keyd)
        assert one.reads()
        status = keyd.status()
        assert (status["kdf_workers"], status["cells"]) == (1, 9000)
        with keyd.client("control") as c:
            assert c.sessions(ALICE)[0][0]["linger_left"] == 77
        st = (keyd.run / "mail").stat()
        assert (st.st_gid, stat.S_IMODE(st.st_mode)) == (4242, 0o660)


@pytest.mark.parametrize("break_it,why", [
    (lambda k: k.conf.write_text("keyd {"), "keyd.conf"),
    (lambda k: k.configure(session={"linger_s": "soon"}), "linger_s"),
    (lambda k: k.configure(keyd={"run_dir": str(k.dir / "elsewhere")}), "run_dir .*restart"),
    (lambda k: (k.dir / "site.key").unlink(), "site.key"),
    (lambda k: k.conf.unlink(), "keyd.conf"),
    (lambda k: k.configure(keyd={"database": f"sqlite:{k.dir}/nowhere/keys.db"}), "nowhere/keys.db"),
    (lambda k: k.configure(keyd={"database": "mysql://root@127.0.0.1:1/keys"}), "127.0.0.1:1/keys"),
], ids=["syntax", "value", "run_dir", "no-site-key", "no-file", "no-folder", "no-server"])
def test_a_configuration_that_is_refused(keyd, break_it, why):
    good = keyd.conf.read_text()
    key = (keyd.dir / "site.key").read_bytes()
    with Reader(keyd) as one:
        break_it(keyd)
        refuses(keyd, why)
        assert one.reads() and keyd.login_status(ALICE, PASSWORD) == kp.OK
        (keyd.dir / "site.key").write_bytes(key)
        (keyd.dir / "site.key").chmod(0o600)
        keyd.conf.write_text(good)
        reloads(keyd)
        assert one.reads() and keyd.login_status(ALICE, PASSWORD) == kp.OK


def test_another_site_key(keyd):
    with Reader(keyd) as one:
        subprocess.run([PROGRAM, "--make-site-key", keyd.dir / "other.key"], check=True, stdout=subprocess.DEVNULL)
        keyd.configure(keyd={"site_key": str(keyd.dir / "other.key")})
        refuses(keyd, "site_key is another key")
        assert one.reads()


def test_too_little_room(keyd):
    """session.max below what is open now; as soon as there is room the same reload is done."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(keyd)) for _ in range(20)]
        keyd.configure(session={"max": 16})
        refuses(keyd, "session.max has no room")
        assert all(r.reads() for r in readers)
        for r in readers[10:]:
            r.client.sock.close()
        assert wait_for(lambda: keyd.status()["sessions"] == 10)
        reloads(keyd)
        assert all(r.reads() for r in readers[:10])


def test_locked_memory():
    """Each process counts for itself: a limit that holds one vault holds two. Where more is wanted, the old one goes on."""
    limit = 8 << 20
    with Keyd() as keyd:
        keyd.enrol(ALICE)
        keyd.stop()
        keyd.prefix = ["setpriv", "--bounding-set=-sys_resource", "prlimit", f"--memlock={limit}:{limit}"]
        keyd.configure(session={"max": 8000})
        keyd.start()
        with Reader(keyd) as one:
            assert limit // 2 < keyd.status()["locked_kib"] << 10 < limit
            reloads(keyd)
            assert one.reads()
            keyd.configure(session={"max": 100000})
            assert "raise the limit" in refuses(keyd, "cannot lock the memory")
            assert one.reads()


def test_another_program(keyd):
    """What lies at the program's path is what serves, with the same pid; what is none, or understands nothing, is not."""
    keyd.stop()
    keyd.program = keyd.dir / "basalt-keyd"
    shutil.copy(PROGRAM, keyd.program)
    keyd.start()

    def replace(text=None):
        new = keyd.dir / "new"
        new.write_text(text) if text else shutil.copy(PROGRAM, new)
        new.chmod(0o755)
        new.rename(keyd.program)

    def images():
        return {os.stat(f"/proc/{pid}/exe").st_ino for pid in keyd.processes()}

    with Reader(keyd) as one:
        first = images()
        replace()
        assert images() == first != {keyd.program.stat().st_ino}
        reloads(keyd)
        assert images() == {keyd.program.stat().st_ino} and one.reads()
        for text, why in (("no program", "basalt-keyd"), ("#!/bin/sh\necho too old >&2\nexit 2\n", "too old"),
                          ("#!/bin/sh\nkill -9 $$\n", "ended with"), ("#!/bin/sh\nexec sleep 100\n", "ended with")):
            replace(text)
            refuses(keyd, why)
            assert one.reads()
        keyd.program.unlink()
        refuses(keyd, "No such file")
        replace()
        reloads(keyd)
        assert one.reads() and keyd.login_status(ALICE, PASSWORD) == kp.OK


OTHER_VERSION = """#!/usr/bin/python3
import os, sys
at = sys.argv.index("--heir") + 1
fd = int(sys.argv[at])
data = os.pread(fd, 5000, 0)
for spoil in lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 1), lambda: os.ftruncate(fd, 9000):
    try:
        spoil()
        sys.exit("not sealed")
    except OSError:
        pass
other = os.memfd_create("other", 0)
os.write(other, data[:4] + bytes([data[4], data[5] + 1]) + data[6:])
sys.argv[at] = str(other)
os.execv(PROGRAM, [PROGRAM, *sys.argv[1:]])
"""


def test_another_version(keyd):
    """A program that keeps its state in another way is not begun with. What was left to it can't be changed by who is only asked."""
    keyd.stop()
    keyd.program = keyd.dir / "basalt-keyd"
    shutil.copy(PROGRAM, keyd.program)
    keyd.start()
    with Reader(keyd) as one:
        new = keyd.dir / "new"
        new.write_text(OTHER_VERSION.replace("os.execv", f"PROGRAM = {str(PROGRAM)!r}\nos.execv"))
        new.chmod(0o755)
        new.rename(keyd.program)
        refuses(keyd, "does not understand .*: that needs a restart")
        assert one.reads()


def test_what_the_service_manager_hears():
    """Each RELOADING has its READY, whatever came of it."""
    with Keyd() as keyd, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        keyd.enrol(ALICE)
        keyd.stop()
        manager.bind(str(keyd.dir / "notify"))
        manager.settimeout(60)
        keyd.env = {"NOTIFY_SOCKET": str(keyd.dir / "notify")}
        keyd.start()

        def hears(wanted):
            said = manager.recv(500).decode()
            assert re.match(wanted, said), said

        hears("READY=1\n")
        reloads(keyd)
        hears("RELOADING=1\nMONOTONIC_USEC=")
        hears("READY=1\nSTATUS=\n")
        good = keyd.conf.read_text()
        keyd.conf.write_text("keyd {")
        refuses(keyd, "keyd.conf")
        hears("RELOADING=1\n")
        hears("READY=1\nSTATUS=The last reload was refused")
        keyd.conf.write_text(good)
        vault, = keyd.pids("vault")
        mark = keyd.hup()
        hears("RELOADING=1\n")
        kill(vault)
        hears("READY=1\nSTATUS=\n")
        assert "half way" in keyd.log_text()[mark:] and keyd.login_status(ALICE, PASSWORD) == kp.OK
        assert keyd.stop() == 0
        hears("STOPPING=1")


# --- many ---

@pytest.mark.limit(400)
def test_many_sessions():
    """Those of a large host go over well within the deadlines, and who reads meanwhile waits less than his own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Keyd(session={"max": MANY + 100, "per_account_max": MANY}) as keyd, contextlib.ExitStack() as stack:
        for name in ALICE, BOB:
            keyd.enrol(name)
        one = stack.enter_context(Reader(keyd, BOB))
        others = []
        with keyd.client("auth") as a:
            while len(others) < MANY - 1:
                others.append(stack.enter_context(keyd.client("mail", 60)))
                others[-1].attach(a.login(ALICE, PASSWORD)[1], ALICE)
        with Longest(one) as waits:
            start = time.monotonic()
            for _ in range(3):
                reloads(keyd)
            took = (time.monotonic() - start) / 3
        assert not waits.faults
        handed = [int(ms) for ms in re.findall(f"{MANY} sessions .* handed over in (\\d+) ms", keyd.log_text())]
        print(f"{MANY} sessions: {took:.1f} s a reload, state in {handed} ms, {waits.seconds:.2f} s the longest wait")
        assert len(handed) == 3 and keyd.status()["sessions"] == MANY
        assert waits.seconds < 8, "dovecot-plugin waits for ten"
        assert all(len(c.subkey(1, bytes(16), 1)) for c in others)
