"""A minute without the policy database, and a disk with no room for it: what arrives is taken, or put off by a 4xx; what was taken is
delivered; and by itself all is as before."""
import contextlib
import subprocess
import threading
import time

import pytest

import milter_box
import test_faults
import test_limits
import test_reputation

MINUTE_S = 61


class SmallDisk(milter_box.Sqlite):
    """A policy database on a disk of its own, of 8 MiB."""

    def __init__(self, folder):
        self.disk = folder.with_name("disk")
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "basalt-disk", self.disk], check=True)
        super().__init__(self.disk / "db")

    def stop(self):
        subprocess.run(["umount", "-l", self.disk], check=True)


class Senders:
    """Mail from strangers, one after the other, to each of the accounts."""

    def __init__(self, site, accounts):
        self.site, self.accounts, self.answers, self.taken = site, accounts, [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            for to in self.accounts:
                self.one(to, f"outage-{len(self.answers)}")
            self.ended.wait(0.2)

    def one(self, to, tag):
        with self.site.client() as c:
            c.mail("a@pass.example")
            code, text = c.rcpt(to)
            if code == 250:
                code, text = c.data(test_reputation.MAIL.replace(b"%s", tag.encode()))
        self.answers.append((code, text))
        if code == 250:
            self.taken.append(tag)

    @contextlib.contextmanager
    def at_work(self):
        self.thread.start()
        try:
            yield
        finally:
            self.ended.set()
            self.thread.join(120)


@pytest.fixture
def hanging():
    s = test_limits.Limits(milter_box.Mariadb, cache_s=5)
    yield s
    s.stop()


@pytest.fixture
def small():
    s = test_limits.Limits(SmallDisk)
    yield s
    s.stop()


def as_before(site, to):
    milter_box.wait_for(lambda: site.rcpt(to)[0] == 250, 30)


def codes(senders):
    return {code for code, _ in senders.answers}


@pytest.mark.limit(240)
def test_a_database_that_hangs_for_a_minute(hanging):
    worker = hanging.box.worker()
    accounts = [hanging.account(limits__account=10000, limits__down=down) for down in ("skip", "defer")]
    senders = Senders(hanging, accounts)
    for to in accounts:
        as_before(hanging, to)
    with senders.at_work():
        hanging.box.db.freeze()
        try:
            time.sleep(MINUTE_S)
        finally:
            hanging.box.db.thaw()
        as_before(hanging, accounts[1])
    assert codes(senders) == {250, 451}, senders.answers
    for tag in senders.taken:
        hanging.postfix.sink.mail_with(f"<{tag}@example.net>")
    assert hanging.box.worker() == worker, "it went on, and was not started again"


@pytest.mark.limit(240)
def test_a_disk_that_is_full_under_the_database(small):
    worker = small.box.worker()
    by = {down: small.account(limits__account=10000, limits__down=down) for down in ("skip", "defer", "hit")}
    assert [small.rcpt(to)[0] for to in by.values()] == [250] * 3
    senders = Senders(small, [by["skip"]])
    with test_faults.full(small.box.db.disk):
        # Writes fit into the journal as it is, for a while.
        milter_box.wait_for(lambda: small.rcpt(by["defer"])[0] == 451, 60)
        assert small.rcpt(by["hit"])[0] == 451 and small.rcpt(by["skip"])[0] == 250
        for n in range(20):
            senders.one(by["skip"], f"full-{n}")
        assert codes(senders) == {250}
    for to in by.values():
        as_before(small, to)
    for tag in senders.taken:
        small.postfix.sink.mail_with(f"<{tag}@example.net>")
    assert small.box.worker() == worker
