"""As many sessions as session.max of the shipped configuration allows, in a keyd that systemd started with the shipped unit."""
import contextlib
import multiprocessing
import os
import pathlib
import statistics
import struct
import time

import pytest

import here
import keyproto as kp
import memory
from keydserver import sealed_prefix

MAX = 50000
HELD = MAX - 10  # beside them somebody has to have room to be timed
FEW = 100
ACCOUNTS = 100
HOLDERS = 5
BATCH = 20  # logins at once: an emulated machine has no time for more within keyd's deadlines
TIMED = 200  # of each kind
PASSWORD = "correct horse battery staple"
NAMES = [f"user{i}@sessions.example" for i in range(ACCOUNTS)]
LOGIN_S = 600


def client(name):
    return here.client(name, LOGIN_S)


# --- sessions ---

def login(name):
    return kp.str16(name) + kp.str16(PASSWORD) + kp.str16("imap") + b"\0"


def tokens_for(auth, names):
    """Many logins at once, as Dovecot's auth asks."""
    asked = {auth.send(kp.LOGIN, login(n)): n for n in names}
    found = []
    for _ in names:
        _, status, ident, reply = auth.read_frame()
        assert status == kp.OK, status
        found.append((asked[ident], reply[1:33]))
    return found


def attached(name, token):
    m = client("mail")
    m.send(kp.ATTACH, token + kp.str16(name) + kp.str16("imap"))
    return m


def hold(names, pipe, turn):
    """In a process of its own: a session for each name, until the pipe closes; then all hang up with one blow."""
    held = []
    with client("auth") as auth:
        for i in range(0, len(names), BATCH):
            with turn:
                batch = [attached(*pair) for pair in tokens_for(auth, names[i:i + BATCH])]
                assert {m.read_frame()[1] for m in batch} == {kp.OK}
            held += batch
    pipe.send(len(held))
    with contextlib.suppress(EOFError):
        pipe.recv()
    os._exit(0)


class Holders(contextlib.AbstractContextManager):
    def __init__(self, sessions, processes):
        fork = multiprocessing.get_context("fork")
        self.pipes, self.processes, turn = [], [], fork.Lock()
        for n in range(processes):
            mine, its = fork.Pipe()
            names = [NAMES[i % ACCOUNTS] for i in range(n, sessions, processes)]
            p = fork.Process(target=self.child, args=(names, its, turn, [mine, *self.pipes]))
            p.start()
            its.close()
            self.pipes.append(mine)
            self.processes.append(p)
        self.count = sum(pipe.recv() for pipe in self.pipes)

    @staticmethod
    def child(names, its, turn, others):
        for pipe in others:  # of the siblings', or they would never see their end
            pipe.close()
        hold(names, its, turn)

    def __exit__(self, *exc):
        for pipe in self.pipes:
            pipe.close()
        for p in self.processes:
            p.join(here.PATIENCE_S)
            assert p.exitcode == 0


# --- times ---

def times(n, work):
    found = []
    for _ in range(n):
        began = time.monotonic()
        work()
        found.append((time.monotonic() - began) * 1e3)
    return statistics.median(found)


def one_session(auth, name):
    with client("mail") as m:
        m.attach(auth.login(name, PASSWORD)[1], name)


def timed():
    """{what: ms} of one client more beside those that are open."""
    name = NAMES[-1]
    with client("auth") as auth, client("mail") as m:
        m.attach(auth.login(name, PASSWORD)[1], name)
        prefix = struct.pack(">H", 1) + kp.str16(sealed_prefix(m.record(name), os.urandom(32)))
        return {"data key": times(TIMED, lambda: m.ask(kp.UNWRAP, prefix)),
                "warm login": times(TIMED, lambda: auth.login(name, PASSWORD, flags=kp.NO_SESSION)),
                "warm login and attach": times(TIMED, lambda: one_session(auth, name))}


# --- the story ---

def opens_an_account(auth, name):
    for pair in tokens_for(auth, [name]):
        with attached(*pair) as m:
            assert m.read_frame()[1] == kp.OK


@pytest.fixture(scope="module")
def moments():
    """With a cheap Argon2id and few accounts: they are not what is measured, and an emulated machine would take a day. All else is as shipped."""
    conf = pathlib.Path("/etc/basalt/keyd.conf")
    shipped = conf.read_text()
    cheap = shipped.replace("session {\n", "session {\n    per_account_max = 1000\n") + "kdf {\n    memory_kib = 8192\n    passes = 1\n}\n"
    cheap = cheap.replace("keyd {\n", "keyd {\n    log_level = \"warning\"\n", 1)  # the journal would have most of the work
    assert f"max = {MAX} " in shipped and "per_account_max" not in shipped and "per_account_max" in cheap
    conf.write_text(cheap)
    here.ask("systemctl", "restart", "basalt-keyd")
    found = memory.Moments()
    found.look("started")
    with client("control") as c:
        for name in NAMES:
            c.enrol(name, PASSWORD)
    with client("auth") as auth:
        for name in NAMES:  # a cold login costs seconds where the machine is busy
            opens_an_account(auth, name)
    yield found
    conf.write_text(shipped)
    here.ask("systemctl", "restart", "basalt-keyd")


def nobody_is_left():
    return here.eventually(lambda: here.keyd_status()["sessions"] == 0)


def test_as_many_sessions_as_the_configuration_allows(moments):
    of = here.keyd_status()
    assert of["unlocked_accounts"] == ACCOUNTS
    here.figure(f"locked for session.max = {MAX}: {of['locked_kib']} KiB, memfd_secret {of['memfd_secret']}")
    with Holders(FEW, 1):
        few = timed()
    assert nobody_is_left()
    files = moments.files()
    moments.look(f"{ACCOUNTS} accounts")
    began = time.monotonic()
    with Holders(HELD, HOLDERS) as holders:
        here.figure(f"{holders.count} sessions opened in {time.monotonic() - began:.0f} s")
        moments.look(f"{HELD} sessions")
        many = timed()
        here.figure(f"open files: {moments.files()}")
        the_last_and_one_more()
        began = time.monotonic()
    assert nobody_is_left()
    for line in moments.table(HELD):
        here.figure(line)
    here.figure(f"all hung up at once, none left after {time.monotonic() - began:.1f} s")
    for what, ms in many.items():
        here.figure(f"{what}: {ms:.2f} ms beside {HELD} sessions, {few[what]:.2f} beside {FEW}: {ms / few[what]:.2f}")
    all_is_given_back(moments, files)


def the_last_and_one_more():
    with client("auth") as auth, contextlib.ExitStack() as stack:
        assert here.eventually(lambda: here.keyd_status()["sessions"] == HELD)
        for pair in tokens_for(auth, NAMES[:MAX - HELD]):
            assert stack.enter_context(attached(*pair)).read_frame()[1] == kp.OK
        assert here.keyd_status()["sessions"] == MAX
        with pytest.raises(kp.KeydError) as refused:
            auth.login(NAMES[-1], PASSWORD)
        assert refused.value.status == kp.BUSY


def all_is_given_back(moments, files):
    assert here.eventually(lambda: moments.files() == files), (moments.files(), files)
    moments.look("afterwards")
    here.figure(f"afterwards: {moments.seen['afterwards'][memory.ALL]} KiB in all")
    assert set(moments.names) == set(here.pids("basalt-keyd")) and here.shown("basalt-keyd", "NRestarts") == "0"
    assert [c for c in here.complaints("basalt-keyd") if not c.endswith(": too many sessions")] == []
    with client("auth") as auth:
        one_session(auth, NAMES[0])
