"""SIGHUP: another program or configuration serves, and nobody notices: sessions, tokens, warm logins, what lingers and what was seen
go over to new processes; whatever goes wrong before they are there leaves the old ones at work."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import threading
import time

import keyproto as kp
import probes
import pytest
import rawimap
from keydserver import PROGRAM, SANITIZED, Keyd, sealed_prefix, wait_for

PASSWORD = "a good password"
ALICE, BOB = "alice@example.org", "bob@example.org"
KILLS = 40
RELOADS = 30
RELOADED, REFUSED = "no session was ended", "no reload"


@pytest.fixture
def keyd():
    with Keyd(session={"linger_s": 300}) as k:
        for name in ALICE, BOB:
            k.enrol(name)
        yield k
        assert not k.alarms()


class Reader:
    """A session, and mail of its account that it can open."""

    def __init__(self, keyd, name=ALICE):
        with keyd.client("auth") as a:
            self.token = a.login(name, PASSWORD)[1]
        self.client, self.name = keyd.client("mail"), name
        self.client.attach(self.token, name)
        self.key = os.urandom(32)
        self.prefix = sealed_prefix(self.client.record(name), self.key)

    def reads(self):
        return self.client.unwrap([self.prefix]) == [self.key]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.client.sock.close()


def set_apart(keyd):
    """The processes but the supervisor, which stays."""
    return set(keyd.processes()) - {keyd.process.pid}


def reloads(keyd):
    """A good reload: all processes are others, the supervisor is the same."""
    before = set_apart(keyd)
    said = keyd.reload()
    assert RELOADED in said and REFUSED not in said, said
    assert keyd.process.poll() is None
    assert wait_for(lambda: not before & set_apart(keyd)), "the old processes are gone"
    return said


def refuses(keyd, why):
    """A reload that leaves everything as it was."""
    before = set_apart(keyd)
    said = keyd.reload()
    assert RELOADED not in said and REFUSED in said and re.search(why, said), said
    assert set_apart(keyd) == before
    return said


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
        with pytest.raises(kp.Closed):
            while one.client.read_frame():
                pass
        other.client.sock.close()
        assert wait_for(lambda: keyd.status()["sessions"] == 0), "a client that leaves is missed"
        with Reader(keyd) as again:
            assert again.reads()


def test_tokens_grow_old():
    with Keyd(session={"token_s": 3}) as keyd, keyd.client("auth") as a, keyd.client("mail") as m:
        keyd.enrol(ALICE)
        token = a.login(ALICE, PASSWORD)[1]
        reloads(keyd)
        assert keyd.status()["tokens"] == 1
        assert wait_for(lambda: keyd.status()["tokens"] == 0)
        with pytest.raises(kp.KeydError) as caught:
            m.attach(token, ALICE)
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
], ids=["syntax", "value", "run_dir", "no-site-key", "no-file"])
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


# --- killed half way ---

def children(keyd):
    """Of the supervisor, in the order of their birth; the last of a set is the vault."""
    return [int(pid) for pid in pathlib.Path(f"/proc/{keyd.process.pid}/task/{keyd.process.pid}/children").read_text().split()]


def kill(pid):
    """The pid, unless it had ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return pid
    return None


class Heirs:
    """Reloads whose new processes are killed, and what came of each."""

    def __init__(self, keyd, seed):
        self.keyd, self.rng, self.reader, self.took = keyd, random.Random(seed), Reader(keyd), 0.5
        self.outcomes = {"stayed": 0, "lost": 0, "reloaded": 0}

    def new_ones(self):
        return [pid for pid in children(self.keyd) if pid not in self.before]

    def any_at_any_moment(self):
        time.sleep(self.rng.uniform(0, self.took))
        found = self.new_ones()
        return kill(self.rng.choice(found)) if found else None

    def vault_soon(self):
        wait_for(lambda: len(self.new_ones()) == len(self.before), 20, 0.001)
        time.sleep(self.rng.uniform(0, self.took))
        return kill(self.new_ones()[-1])

    def round(self, cut):
        self.before, start, self.mark = children(self.keyd), time.monotonic(), self.keyd.hup()
        killed = cut()
        outcome = wait_for(lambda: self.outcome(killed), 40)
        assert outcome, self.said()
        self.outcomes[outcome] += 1
        if outcome == "reloaded":
            self.took = 0.7 * self.took + 0.3 * (time.monotonic() - start)
        if outcome == "stayed":
            assert wait_for(lambda: sorted(children(self.keyd)) == sorted(self.before)), self.said()
        if outcome == "lost":
            with pytest.raises((kp.Closed, OSError)):
                self.reader.reads()
            self.reader = Reader(self.keyd)
        assert self.keyd.process.poll() is None and self.reader.reads()

    def outcome(self, killed):
        said = self.said()
        if REFUSED in said:
            return "stayed"
        if "started again" in said:
            return "lost"
        return "reloaded" if RELOADED in said and not killed else None

    def said(self):
        return self.keyd.log_text()[self.mark:]


@pytest.mark.limit(600)
@pytest.mark.parametrize("cut", ["any_at_any_moment", "vault_soon"])
def test_heirs_that_die(keyd, cut):
    """kill -9 of any new process: who has not taken over yet has no say; afterwards it is a crash like any other."""
    heirs = Heirs(keyd, cut)
    for _ in range(KILLS):
        heirs.round(getattr(heirs, cut))
    print(cut, heirs.outcomes)
    assert heirs.outcomes["stayed"] >= KILLS // 8, heirs.outcomes
    with heirs.reader:
        reloads(keyd)
        assert heirs.reader.reads()


def test_an_heir_that_hangs(keyd):
    """Nobody waits for one that says nothing: the old ones serve all the while."""
    with Reader(keyd) as one:
        before = children(keyd)
        mark = keyd.hup()
        assert wait_for(lambda: len(children(keyd)) == 2 * len(before), 20, 0.001)
        vault = children(keyd)[-1]
        os.kill(vault, signal.SIGSTOP)
        for _ in range(10):
            assert one.reads() and keyd.login_status(BOB, PASSWORD) == kp.OK
            time.sleep(0.1)
        said = keyd.log_text()[mark:]
        assert "processes serve" not in said and "does not take over" not in said, "it was not even asked to"
        kill(vault)
        assert wait_for(lambda: REFUSED in keyd.log_text()[mark:])
        assert one.reads()
        reloads(keyd)
        assert one.reads()


@pytest.mark.limit(400)
@pytest.mark.parametrize("role", ["vault", "front", "supervisor"])
def test_old_ones_that_die(keyd, role):
    """kill -9 of who hands over: a crash as it always was; the next start or the supervisor brings all back."""
    rng = random.Random(role)
    for _ in range(8):
        pids = [pid for pid, its in keyd.processes().items() if its == role]
        mark = keyd.hup()
        time.sleep(rng.uniform(0, 0.6))
        kill(rng.choice(pids))
        if role == "supervisor":
            keyd.process.wait()
            assert wait_for(lambda: len(keyd.processes()) == 1, 10)
            keyd.start()
        assert wait_for(lambda: "processes serve" in keyd.log_text()[mark:], 40), keyd.log_text()[mark:]
        with Reader(keyd) as one:
            assert one.reads()
    reloads(keyd)


# --- what it costs ---

def size_of(keyd):
    """{role: (descriptors, KiB)} of the largest process of each."""
    found = {}
    for pid, role in keyd.processes().items():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        one = len(os.listdir(f"/proc/{pid}/fd")), int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        found[role] = max(one, found.get(role, one))
    return found


@pytest.mark.limit(300)
def test_nothing_grows(keyd):
    with Reader(keyd) as one:
        for _ in range(3):
            reloads(keyd)
        before, count = size_of(keyd), len(keyd.processes())
        for _ in range(RELOADS):
            reloads(keyd)
        after = size_of(keyd)
        assert one.reads() and len(keyd.processes()) == count
        for role, (files, kib) in after.items():
            assert files == before[role][0], (role, before, after)
            assert SANITIZED or kib < before[role][1] + 1024, (role, before, after)


# --- with Dovecot ---

class Mailboxes:
    """People at work: who reads and stores, who idles until mail comes, who logs in again and again. Any NO, any BYE counts."""

    def __init__(self, system, readers=14, idlers=6, comers=3):
        self.system, self.done, self.faults, self.counts = system, threading.Event(), [], {}
        self.accounts = [system.account() for _ in range(6)]
        kinds = [self.reads] * readers + [self.idles] * idlers + [self.comes] * comers
        self.sessions = readers + idlers
        self.threads = [threading.Thread(target=self.run, args=[kind, i]) for i, kind in enumerate(kinds)]

    def run(self, kind, i):
        account = self.accounts[i % 4 if kind != self.idles else 4 + i % 2]
        try:
            kind(account, i)
        except Exception as e:  # noqa: BLE001
            self.faults.append((kind.__name__, account.address, repr(e)))

    def count(self, i):
        self.counts[i] = self.counts.get(i, 0) + 1

    def reads(self, account, i):
        folder = f"Reader{i}"
        with self.system.imap(account) as mail:
            mail.ok("create", folder)
            mail.select(folder)
            while not self.done.is_set():
                sent = probes.marked("while keyd reloads")
                assert probes.word(sent) in mail.part(mail.append(sent, folder))
                self.count(i)

    def idles(self, account, i):
        c = rawimap.Raw(self.system.port("imap"))
        try:
            c.login(account.address, account.password)
            c.ok("SELECT INBOX")
            while not self.done.is_set():
                c.send(b"i IDLE")
                c.until(b"+ ")
                assert probes.lmtp(self.system, account, probes.marked("while somebody idles")) == 250
                while not c.response().endswith(b" EXISTS\r\n"):
                    pass
                c.send(b"DONE")
                assert c.until(b"i ")[-1].startswith(b"i OK")
                assert b"canary" in b"".join(c.ok("FETCH * (BODY.PEEK[])"))
                self.count(i)
        finally:
            c.close()

    def comes(self, account, i):
        while not self.done.is_set():
            with self.system.imap(account) as mail:
                mail.select()
            self.count(i)

    def __enter__(self):
        for account in self.accounts:
            with self.system.imap(account):
                pass
        for t in self.threads:
            t.start()
        assert wait_for(lambda: len(self.counts) == len(self.threads) or self.faults, 60) and not self.faults, self.faults
        return self

    def go_on(self):
        before = dict(self.counts)
        assert wait_for(lambda: self.faults or all(self.counts[i] > before[i] for i in before), 60), (before, self.counts)
        assert not self.faults, self.faults

    def __exit__(self, *exc):
        self.done.set()
        for t in self.threads:
            t.join()


class DovecotsKeyd:
    def __init__(self, system):
        self.system = system

    def control(self):
        return kp.Client(self.system.env["KEYD_RUN"] + "/control")

    def status(self):
        with self.control() as c:
            return json.loads(c.status())

    def supervisor(self):
        pids = set(self.system.pids("keyd"))
        one, = (pid for pid in pids if int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) not in pids)
        return one

    def reload(self):
        mark, pid = len(self.system.log("keyd")), self.supervisor()
        os.kill(pid, signal.SIGHUP)
        assert wait_for(lambda: RELOADED in self.system.log("keyd")[mark:] or REFUSED in self.system.log("keyd")[mark:], 60)
        assert REFUSED not in self.system.log("keyd")[mark:] and self.supervisor() == pid

    def sessions(self, accounts, service="imap"):
        """{account: [(pid, since)]} of those who stay, oldest first."""
        with self.control() as c:
            found = c.all_sessions()
        return {a.address: sorted((s["pid"], s["since"]) for s in found[a.address]["list"] if s["service"] == service) for a in accounts}


@pytest.mark.limit(400)
def test_imap_sessions(system):
    """Twenty sessions in the middle of storing, reading and waiting, and logins without end, while keyd reloads ten times."""
    keyd = DovecotsKeyd(system)
    before = keyd.status()
    with Mailboxes(system) as people:
        idlers = people.accounts[4:]
        first, started = keyd.sessions(idlers), keyd.status()
        assert sum(map(len, first.values())) == 6
        for _ in range(10):
            keyd.reload()
            people.go_on()
        last = keyd.sessions(idlers)
        for address in first:
            assert [pid for pid, _ in first[address]] == [pid for pid, _ in last[address]]
            assert all(abs(x - y) <= 1 for (_, x), (_, y) in zip(first[address], last[address], strict=True))
        now = keyd.status()
        assert now["sessions"] >= people.sessions and now["reloads"] == before["reloads"] + 10
        assert now["logins"] - started["logins"] == now["warm_logins"] - started["warm_logins"] > 10, "no login paid twice"
        for key in "bad_tokens", "denied", "timeouts", "alarms", "refused", "unwrap_errors":
            assert now[key] == before[key], key
    assert not people.faults
    for account in people.accounts:
        for word in probes.shown(system, account):
            assert word
    assert wait_for(lambda: not any(keyd.sessions([a for a in people.accounts if a.address in open_now(keyd)]).values()), 30)


def open_now(keyd):
    with keyd.control() as c:
        return set(c.all_sessions())
