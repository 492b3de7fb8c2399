"""Mail programs while keyd is reloaded: they go on with what they do, and hear of it when their session ends later."""
import json
import os
import pathlib
import signal
import threading

import keyproto as kp
import probes
import pytest
import rawimap
from keydserver import wait_for
from reloads import REFUSED, RELOADED


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


def test_an_imap_client_hears_why(system):
    """Who waits in IDLE does not notice a reload; when the session ends later, the client is told as if there had been none."""
    keyd, account = DovecotsKeyd(system), system.account()
    with rawimap.Raw(system.port("imap")) as c:
        c.login(account.address, account.password)
        c.ok("SELECT INBOX")
        c.send("x IDLE")
        c.until(b"+ ")
        keyd.reload()
        assert probes.lmtp(system, account, probes.marked("behind a reload")) == 250
        assert c.until(b"* 1 EXISTS")
        assert system.ctl("session", "end", account.address).stdout == b"1 ended\n"
        while not (said := c.response()).startswith(b"* BYE"):
            assert said.startswith(b"* "), said
        assert said.startswith(b"* BYE Session ended by an administrator")


def open_now(keyd):
    with keyd.control() as c:
        return set(c.all_sessions())
