"""kill -9 of any process at any moment of a reload: the old ones go on, or the new ones serve, or all begin anew; and what reloads cost."""
import contextlib
import os
import pathlib
import random
import re
import signal
import time

import keyproto as kp
import pytest
from keydserver import SANITIZED, wait_for
from reloads import (BOB, PASSWORD, REFUSED, RELOADED, Longest, Reader, asks_and_waits, go_on, hangs, is_paused, kill, reloads,
                     with_two_accounts)

KILLS = 40
RELOADS = 30


@pytest.fixture
def keyd():
    with with_two_accounts() as k:
        yield k


def children(keyd):
    """Of the supervisor, in the order of their birth; the last of a set is the vault."""
    return [int(pid) for pid in pathlib.Path(f"/proc/{keyd.process.pid}/task/{keyd.process.pid}/children").read_text().split()]


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
        return self.strike(self.rng.choice(found)) if found else None

    def strike(self, pid):
        """None, too, for the program that is only asked whether it would: it may have answered by then."""
        with contextlib.suppress(OSError):
            argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            return kill(pid) if argv and b"--check-config" not in argv else kill(pid) and None
        return None

    def vault_soon(self):
        wait_for(lambda: len(self.new_ones()) == len(self.before), 20, 0.001)
        time.sleep(self.rng.uniform(0, self.took))
        return kill(self.new_ones()[-1])

    def round(self, cut):
        self.before, self.files = children(self.keyd), files_of(self.keyd)
        start, self.mark = time.monotonic(), self.keyd.hup()
        killed = cut()
        outcome = wait_for(lambda: self.outcome(killed), 40)
        assert outcome, self.said()
        self.outcomes[outcome] += 1
        if outcome == "reloaded":
            self.took = 0.7 * self.took + 0.3 * (time.monotonic() - start)
        if outcome == "stayed":
            assert wait_for(lambda: sorted(children(self.keyd)) == sorted(self.before)), self.said()
            assert wait_for(lambda: files_of(self.keyd) == self.files), (files_of(self.keyd), self.files)
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


def test_an_heir_that_hangs_at_the_last(keyd):
    """It says nothing while everything is sent to it: sessions wait less for that than their clients would, and go on."""
    with Reader(keyd) as one, keyd.client("auth", 60) as a:
        before, pids = children(keyd), hangs(keyd, "kdf")
        asks_and_waits(keyd, a, BOB)
        mark = keyd.hup()
        assert wait_for(lambda: is_paused(keyd), 15), "it has been told where its heir is"
        vault = children(keyd)[-1]
        os.kill(vault, signal.SIGSTOP)
        with Longest(one) as waits:
            go_on(pids)
            assert wait_for(lambda: REFUSED in keyd.log_text()[mark:], 30)
        assert not waits.faults and 3 < waits.seconds < 9, (waits.faults, waits.seconds)
        assert a.read_frame()[1] == kp.OK and one.reads()
        assert wait_for(lambda: sorted(children(keyd)) == sorted(before))
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


def files_of(keyd):
    """The supervisor has less after its first exec(): what ties the roles together is theirs alone then."""
    return {role: files for role, (files, _) in size_of(keyd).items() if role != "supervisor"}


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
