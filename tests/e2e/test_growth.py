"""
What a login, a delivery or a session leaves behind in the memory of a process that lives long: hundreds of rounds that are
all alike, one process for each part of the system, and the trend of its memory. Descriptors may not grow at all.
"""
import contextlib
import imaplib

import pytest

import clients
import growth
import messages
import soakers
import systems

WARM, ROUNDS, BATCH = 60, 180, 10
LEAK = 1024  # bytes a round: half of the leak that must be seen, and far above the noise of malloc


class Rounds:
    """A round: a mail by SMTP to two, a wrong and a right login by IMAP, an APPEND, a FETCH, a message by POP3."""

    def __init__(self, system):
        self.system = system
        self.accounts = [system.account("private"), system.account("plain")]
        self.message = messages.make(messages.text(3000, 1))

    def run(self, count):
        """All mail is delivered in the end."""
        for _ in range(count):
            self.system.send(soakers.SENDER, [a.address for a in self.accounts], self.message)
            self.imap(self.accounts[0])
            self.pop3(self.accounts[0])
        self.system.settle(120)

    def imap(self, account):
        with clients.Imap(self.system.port("imap"), "", "", login=False) as mail:
            with pytest.raises(imaplib.IMAP4.error):
                mail.c.login(account.address, "wrong")
            mail.c.login(account.address, account.password)
            count = mail.select()
            mail.append(self.message)
            mail.fetch("*", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
            if count > 20:  # a mailbox that grows is no leak
                mail.ok("store", "1:15", "+FLAGS", r"(\Deleted)")
                mail.ok("expunge")

    def pop3(self, account):
        with contextlib.closing(self.system.pop3(account)) as pop:
            pop.retr(1)
            pop.quit()


def one_process_each():
    serving = [f"dovecot.service/{name}/{key}" for name in growth.SERVING
               for key in ("service_count=0", "process_limit=1", "process_min_avail=1")]
    login = [f"dovecot.service/{name}-login/service_count=0" for name in ("imap", "pop3")]
    return [*serving, *login, "postfix.max_idle=1s"]


@pytest.mark.limit(570)
def test_no_session_leaves_anything(own_system):
    """Two KiB that a login, a delivery or a session leaves behind are seen, in whichever long-lived process."""
    sieve = ["--sieve"] if systems.has_sieve() else []
    system = own_system(*sieve, *systems.CHEAP_KDF, *(w for s in one_process_each() for w in ("--set", s)))
    rounds, trend = Rounds(system), growth.Trend(system)
    rounds.run(WARM)
    growth.wait_quiet(system)
    before = growth.census(system, growth.SERVING)
    for n in range(BATCH, ROUNDS + 1, BATCH):
        rounds.run(BATCH)
        trend.note(n)
    growth.wait_descriptors(system, before)
    slopes = trend.bytes_a_round()
    print(f"bytes a round: {slopes}")
    leaks = {name: n for name, n in slopes.items() if n > LEAK}
    assert not leaks, f"bytes left behind by each round: {leaks}"


def readings(kib):
    """Of a process that grows as the function says, and breathes."""
    return [(n, 1000 + kib(n) + n * 7919 % 64) for n in range(BATCH, ROUNDS + 1, BATCH)]


def test_trend_sees_a_leak_and_no_step():
    assert growth.slope(readings(lambda n: 2 * n)) * 1024 > 1.5 * LEAK
    for step in range(0, ROUNDS, BATCH):
        assert growth.slope(readings(lambda n: 80 * (n > step))) * 1024 < LEAK, step
        assert growth.slope(readings(lambda n: 80 * (n > step) + 2 * n)) * 1024 > 1.5 * LEAK, step
