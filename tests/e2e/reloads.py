"""reloads: keyd while it is reloaded, for the tests of that: who reads meanwhile, and what came of it."""
import contextlib
import os
import re
import signal
import threading
import time

import keyproto as kp
from keydserver import Keyd, sealed_prefix, wait_for

PASSWORD = "a good password"
ALICE, BOB = "alice@example.org", "bob@example.org"
RELOADED, REFUSED = "no session was ended", "no reload"


@contextlib.contextmanager
def with_two_accounts():
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


def kill(pid):
    """The pid, unless it had ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return pid
    return None


def hangs(keyd, role):
    """Whom to let go on: each of the role's processes."""
    pids = keyd.pids(role)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def go_on(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def is_paused(keyd):
    with keyd.client("auth", 0.5) as a:
        try:
            a.exists(ALICE)
        except TimeoutError:
            return True
    return False


def asks_and_waits(keyd, client, name):
    """A login under way, which hangs as long as Argon2id does."""
    client.send(kp.LOGIN, kp.str16(name) + kp.str16(PASSWORD) + kp.str16("imap") + b"\0")
    assert wait_for(lambda: keyd.status()["requests_waiting"] > 0)


class Longest:
    """How long somebody in a session had to wait, at most."""

    def __init__(self, reader):
        self.reader, self.done, self.seconds, self.faults = reader, threading.Event(), 0, []
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.done.is_set():
                start = time.monotonic()
                assert self.reader.reads()
                self.seconds = max(self.seconds, time.monotonic() - start)
        except Exception as e:  # noqa: BLE001
            self.faults.append(repr(e))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.done.set()
        self.thread.join()
