"""kill -9 of keyd, of its client and of the database at any step of a change of keys: afterwards the old or the new password
opens all mail that was ever stored, never neither."""
import contextlib
import os
import random
import signal
import threading
import time

import keyproto as kp
import pytest
from keydserver import Keyd, wait_for
from test_keyd_faults import mariadb
from test_keyd_slots import Account

CLIENT_ROUNDS, KEYD_ROUNDS, DATABASE_ROUNDS = 160, 40, 8
LONG = 10**9  # rounds of the endless variant: until its time is over
LONG_S = 3600


class Changes:
    """An account whose password is changed again and again, in every way; what was sealed to it; what may open it now."""

    def __init__(self, keyd, seed):
        self.keyd, self.rng, self.serial = keyd, random.Random(seed), 0
        self.account = Account(keyd)
        self.mail, self.passwords = self.account.mail, [self.account.password]
        self.took, self.changed, self.kept_old = 0.05, 0, 0
        _slot, self.code = self.account.do("add_slot", kp.SLOT_RECOVERY)
        start = time.monotonic()
        assert self.account.do("change_password", "the first of many")
        self.took, self.passwords = time.monotonic() - start, ["the first of many"]

    def next_change(self):
        """(new password, what asks for it)"""
        self.serial += 1
        new, secret = f"password number {self.serial}", self.passwords[0]
        flags = self.rng.choice((0, 0, kp.CHANGE_PENDING, kp.COMPROMISED if self.serial % 5 == 0 else 0))
        if self.serial % 7 == 0:
            secret = self.code
        return new, lambda c: c.change_password(self.account.name, secret, new, flags)

    def change_and(self, cut):
        """Starts a change and calls cut after some time; the new password, and whether the change was confirmed."""
        new, ask = self.next_change()
        after = self.took * self.rng.uniform(0, 1.5)
        confirmed = []

        def run():
            with contextlib.suppress(kp.Closed, OSError, kp.KeydError), self.keyd.client("control", 20) as c:
                self.client = c
                start = time.monotonic()
                ask(c)
                self.took = 0.7 * self.took + 0.3 * (time.monotonic() - start)
                confirmed.append(new)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(after)
        cut()
        thread.join()
        return new, bool(confirmed)

    def opens_all(self, password):
        def tried():
            try:
                return self.account.reads_all(password, self.mail)
            except kp.KeydError as e:
                return False if e.status == kp.DENIED else None  # None: not there yet
            except (kp.Closed, OSError):
                return None
        result = []
        assert wait_for(lambda: result.append(tried()) or result[-1] is not None, 30, 0.05), "keyd does not come back"
        return result[-1]

    def is_idle(self):
        """keyd goes on with what it was asked, though nobody waits for it."""
        with contextlib.suppress(kp.Closed, kp.KeydError, OSError):
            return self.keyd.status()["requests_waiting"] == 0
        return False

    def judge(self, new, confirmed):
        assert wait_for(self.is_idle, 30)
        candidates = dict.fromkeys([new, *self.passwords])
        opening = [p for p in candidates if self.opens_all(p)]
        assert opening, (self.serial, "neither opens")
        assert not confirmed or new in opening, (self.serial, "who was told so can rely on it")
        self.changed += new in opening
        self.kept_old += new not in opening
        self.passwords = [p for p in opening if self.opens_all(p)][:1]
        if self.serial % 10 == 0:
            self.mail.append(self.account.deliver())
            self.mail[1:] = self.mail[1:][-20:]

    def finish(self, all_arrive=False):
        assert self.changed and (self.kept_old or all_arrive), "some cuts came before, some after"
        assert not self.keyd.alarms(), "a crash is no attack"


def rounds(changes, cut, count, all_arrive=False):
    end = time.monotonic() + LONG_S
    for _ in range(count):
        changes.judge(*changes.change_and(cut))
        if time.monotonic() > end:
            break
    changes.finish(all_arrive)


def kill_clients(seed, count):
    with Keyd() as keyd:
        changes = Changes(keyd, seed)

        def cut():
            with contextlib.suppress(OSError, AttributeError):
                changes.client.sock.shutdown(2)
        rounds(changes, cut, count, all_arrive=True)  # what was sent whole is done, whoever waits for it


def kill_keyd(seed, count):
    with Keyd() as keyd:
        changes = Changes(keyd, seed)

        def cut():
            assert keyd.kill()
            keyd.start()
        rounds(changes, cut, count)


def kill_database(seed, count):
    with mariadb() as start:
        env = start()
        with Keyd(keyd={"database": env["KEYS_URL"], "database_password_file": env["KEYS_PASSWORD_FILE"]}) as keyd:
            changes = Changes(keyd, seed)

            def cut():
                nonlocal env
                os.kill(int(env["MARIADB_PID"]), signal.SIGKILL)
                env = start()
            rounds(changes, cut, count)


@pytest.mark.limit(900)
@pytest.mark.parametrize("kill,count", [(kill_clients, CLIENT_ROUNDS), (kill_keyd, KEYD_ROUNDS),
                                        (kill_database, DATABASE_ROUNDS)], ids=["client", "keyd", "database"])
def test_killed_at_any_step(kill, count):
    kill(7, count)


@pytest.mark.long
@pytest.mark.limit(LONG_S + 600)
@pytest.mark.parametrize("kill", [kill_clients, kill_keyd, kill_database], ids=["client", "keyd", "database"])
def test_killed_for_an_hour(kill):
    kill(time.time_ns(), LONG)
