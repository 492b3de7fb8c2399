"""basalt-lmtp, its backend and its clients die in mid-message; and what passes through it unchanged."""
import os
import random
import signal
import time

import pytest

import clients
import corpus
import messages
import verdicts

SENDER = "sender@out.example"
SAMPLE = 200


def proxy(system):
    return clients.Lmtp(system.port("lmtp_proxy"))


def mails(system, account):
    return [m for found in verdicts.folders(system, account).values() for m in found]


def begin(c, recipients, text):
    for line in (f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"):
        assert c.command(line)[0] in (250, 354)
    c.s.sendall(text)


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_backend_dies_in_mid_message(own_system):
    s = own_system()
    a, drop, no = s.account(), s.account(), s.account()
    header = verdicts.seal(s, {drop.address: "drop", no.address: "reject"})
    with proxy(s) as c:
        begin(c, [a.address, drop.address, no.address], header + b"Subject: x\r\n\r\n" + messages.text(200000))
        wait_until(lambda: s.pids("dovecot", "lmtp") or s.pids("dovecot", "dovecot/lmtp"))
        assert s.kill("dovecot", "lmtp") or s.kill("dovecot", "dovecot/lmtp")
        c.s.sendall(messages.text(400000) + b"\r\n.\r\n")
        assert [c.reply()[0] for _ in range(3)] == [451, 250, 550]
        assert mails(s, a) == []
        assert c.deliver(SENDER, [a.address], messages.make(b"x\r\n"))[a.address][0][0] == 250


def test_the_backend_hangs_in_mid_message(own_system):
    s = own_system("--set", "lmtp.answer_ms=1500", "--set", "lmtp.setup_ms=1500", "--set", "lmtp.data_ms=1500")
    a, drop = s.account(), s.account()
    with proxy(s) as c:
        begin(c, [a.address, drop.address], verdicts.seal(s, {drop.address: "drop"}) + b"Subject: x\r\n\r\n")
        pids = s.pids("dovecot")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            c.s.sendall(b"end\r\n.\r\n")
            assert [c.reply()[0] for _ in range(2)] == [451, 250]
            assert time.monotonic() - began < 15
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def test_the_proxy_dies_in_mid_message(own_system):
    """Nothing is lost; twice only if the backend had stored it already."""
    s = own_system()
    people = [s.account() for _ in range(3)]
    header = verdicts.seal(s, {people[0].address: dict(folder="Junk"), people[1].address: dict(label="x")})
    pids = s.pids("dovecot")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        verdicts.inject(s, SENDER, [p.address for p in people], header + messages.make(messages.text(300000)))
        wait_until(lambda: verdicts.counters(s)["sessions_open"] > 0)
        os.kill(max(s.pids("lmtp-proxy")), signal.SIGKILL)
        s.logged("lmtp-proxy", "the worker was killed by signal 9")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    s.flush()
    s.settle()
    for p, folder in zip(people, ("Junk", "INBOX", "INBOX")):
        found = verdicts.folders(s, p)
        assert list(found) == [folder] and 1 <= len(found[folder]) <= 2
        assert all(m.endswith(messages.text(300000)) and b"x-basalt-verdict" not in m.lower() for m in found[folder])


def test_a_client_that_goes_leaves_nothing(system):
    a = system.account()
    before = verdicts.counters(system)["messages_lost"]
    with proxy(system) as c:
        begin(c, [a.address], b"Subject: x\r\n\r\n" + messages.text(100000))
    wait_until(lambda: verdicts.counters(system)["messages_lost"] == before + 1)
    assert mails(system, a) == []


def test_who_asks_for_success_hears_of_failure_alone(system):
    """docs/POSTFIX.md, "Who is meant": what announcing DSN costs."""
    a, sender = system.account("plain"), system.account("plain")
    header = verdicts.seal(system, {a.address: "reject"})
    verdicts.inject(system, sender.address, [a.address], messages.make(b"x\r\n"), "-N", "success,failure")
    system.settle()
    assert len(mails(system, a)) == 1 and mails(system, sender) == []
    verdicts.inject(system, sender.address, [a.address], header + messages.make(b"x\r\n"), "-N", "success,failure")
    system.settle()
    (notice,) = mails(system, sender)
    assert b"Action: failed" in notice


# --- nothing else changes ---

def without_trace(message):
    """Without what Dovecot's lmtp puts on top: Return-Path, Delivered-To, Received."""
    head = message.index(b"Received: ")
    return message[message.index(b"\r\n", message.index(b"; ", head)) + 2:]


def same_through_both(system, data):
    a, b = system.account("plain"), system.account("plain")
    with proxy(system) as through, system.lmtp() as direct:
        for raw in data:
            for c, who in ((through, a), (direct, b)):
                assert c.deliver(SENDER, [who.address], raw)[who.address][0][0] == 250
    got, want = (sorted(without_trace(m) for m in mails(system, x)) for x in (a, b))
    assert len(got) == len(data) and got == want


def test_odd_bytes_pass_unchanged(system):
    head = b"From: x@out.example\r\nSubject: odd\r\n"
    rng = random.Random(5)
    noise = bytes(rng.randrange(256) for _ in range(200000)).replace(b"\r\n.", b"\r\n,")
    same_through_both(system, [
        head + b"\r\n" + b"x" * 300000 + b"\r\n", head + b"X-Long: " + b"y" * 200000 + b"\r\n\r\nz\r\n",
        head + b"\r\n\xff\x80 8-bit\r\nbare\rcr\r\n\tno end", b"\r\nno header\r\n", head, head + b"\r\n.\r\n..\r\n...\r\n",
        b"not a field\r\n" + head + b"\r\nx\r\n", head + b"\r\n" + noise.replace(b"\n", b"\r\n").replace(b"\0", b" ") + b"\r\n",
    ])


@pytest.mark.limit(400)
def test_mail_of_the_world_passes_unchanged(system):
    everything = corpus.load()
    same_through_both(system, random.Random(7).sample(everything, SAMPLE))


@pytest.mark.long
@pytest.mark.limit(5400)
def test_all_mail_of_the_world_passes_unchanged(system):
    everything = corpus.load()
    for at in range(0, len(everything), SAMPLE):
        same_through_both(system, everything[at:at + SAMPLE])
