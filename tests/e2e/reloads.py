"""reloads: keyd while it is reloaded, for the tests of that: who reads meanwhile, and what came of it."""
import contextlib
import os
import re
import signal

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
