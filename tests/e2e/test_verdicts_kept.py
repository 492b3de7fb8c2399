"""Every recipient's verdict is carried out, whatever dies: mail of an unverified sender to six accounts that want six things of it,
while milter, proxy, Dovecot's lmtp and MariaDB are killed -9 and frozen in mid-message; and full disks."""
import collections
import os
import random
import re
import signal
import subprocess
import time

import pytest

import chaos
import inbound
import messages
import probes

AUTHOR = "boss@strict.example"  # DMARC fails for all of it: nothing vouches for STRANGER
STRANGER = "203.0.113.9"
WISHES = {"plain": dict(dmarc="off"), "label": dict(dmarc="label"), "field": dict(dmarc="label", label__in="header", label="x"),
          "folder": dict(dmarc="folder"), "drop": dict(dmarc="drop"), "reject": dict(dmarc="reject", folder="Refused")}
WHERE = {"plain": ("INBOX", b"chaos"), "label": ("INBOX", b"[SPAM] chaos"), "field": ("INBOX", b"chaos"), "folder": ("Junk", b"chaos"),
         "reject": ("Refused", b"chaos")}  # who refuses gets it in his folder: nobody verified the sender
STRIKES = {("milter", "worker", "kill"): 3, ("milter", "all", "kill"): 2, ("milter", "worker", "freeze"): 2,
           ("lmtp-proxy", "worker", "kill"): 4, ("lmtp-proxy", "all", "kill"): 2, ("lmtp-proxy", "worker", "freeze"): 2,
           ("lmtp", "", "kill"): 4, ("lmtp", "", "freeze"): 2, ("database", "", "kill"): 2, ("database", "", "freeze"): 2}
FROZEN_S = 3
ENOUGH = 200
LONG_QUEUE = 30
PATIENT = dict(milter__cache_s=300, postfix__default_destination_concurrency_failed_cohort_limit=1000)


class Sender(chaos.Sender):
    """Waits while the queue is long: what flows is to be struck, not what waits."""

    def __init__(self, site, addresses, seed):
        super().__init__(site.system.port("smtp"), addresses, seed, AUTHOR, (2, 5, 20, 60), True, STRANGER)
        self.queue = site.system.queue

    def send_one(self, smtp):
        while len(self.queue()) > LONG_QUEUE and not self.stopping.wait(0.1):
            pass
        super().send_one(smtp)


def people(site):
    return {wish: site.account("private" if wish in ("label", "reject") else "plain", **what) for wish, what in WISHES.items()}


def victims(system, part, who):
    """A daemon's worker has the newest id; 'all' is its supervisor, too, after the worker, who would die with it before he is hit."""
    if part == "lmtp":
        return chaos.lmtp_processes(min(system.pids("dovecot", "dovecot")))
    there = probes.wait_for(lambda: system.pids(part))  # one that was just killed is on its way back
    return [max(there)] if who == "worker" else sorted(there, reverse=True)


def hit(site, strike, senders):
    """One strike while a transaction or a delivery is open; True: it was one."""
    system, (part, who, what) = site.system, strike
    number = signal.SIGKILL if what == "kill" else signal.SIGSTOP
    if part == "milter":
        end = time.monotonic() + 20
        while not any(s.transaction for s in senders) and time.monotonic() < end:
            time.sleep(0.001)
        struck = [pid for pid in victims(system, part, who) if chaos.send_signal(pid, number)]
        was_hit = bool(struck)
    elif part == "lmtp" and what == "freeze":  # whichever are there: some of them are at work, as mail flows
        struck = [pid for pid in victims(system, part, who) if chaos.send_signal(pid, number)]
        was_hit = bool(struck)
    else:
        struck = []

        def aim(lmtp):
            struck.extend([lmtp] if part == "lmtp" else victims(system, part, who))
            return struck

        roots = (system.env["MAIL_ROOT"], system.env["TMP_PLAIN"])
        was_hit = chaos.kill_in_delivery(min(system.pids("dovecot", "dovecot")), roots, aim, number=number)
    if what == "freeze":
        time.sleep(FROZEN_S)
        for pid in struck:
            chaos.send_signal(pid, signal.SIGCONT)
    elif part == "database" or who == "all":
        system.start()  # as init would
    return was_hit


def stored(site, accounts):
    """{wish: {folder: Counter of ids}}, and each message looks as its account wanted."""
    found = {}
    for wish, a in accounts.items():
        found[wish] = collections.defaultdict(collections.Counter)
        for folder, mails in site.folders(a).items():
            for m in mails:
                head = m.partition(b"\r\n\r\n")[0] + b"\r\n"
                number = re.search(rb"X-Chaos-Id: (\w+)", head)[1].decode()
                found[wish][folder][number] += 1
                assert b"Subject: " + WHERE[wish][1] + b"\r\n" in head and b"x-basalt-verdict" not in head.lower()
                assert (b"X-Basalt-Label: x\r\n" in head) == (wish == "field")
    return found


def attempts(site):
    """({(id, address): how often it was put off}, {(id, address): how often it was taken}) of Postfix's log."""
    log = site.system.log("postfix")
    ids = dict(re.findall(r"(\w+): message-id=<(\w+)@chaos\.test>", log))
    off, taken = collections.Counter(), collections.Counter()
    for queue_id, to, status in re.findall(r"postfix/(?:lmtp|qmgr|error)\[\d+\]: (\w+): to=<([^>]+)>.* status=(\w+)", log):
        if queue_id in ids:
            {"sent": taken, "deferred": off}.get(status, collections.Counter())[ids[queue_id], to] += 1
    return off, taken


@pytest.mark.limit(560)
def test_kills_and_stops_lose_nobodys_verdict():
    with inbound.Site("maildir", "mariadb", **PATIENT) as site:
        accounts = people(site)
        addresses = [a.address for a in accounts.values()]
        senders = [Sender(site, addresses, seed) for seed in (1, 2)]
        for s in senders:
            s.start()
        order = [strike for strike, n in STRIKES.items() for _ in range(n)]
        random.Random(5).shuffle(order)
        hits = collections.Counter()
        for strike in order:
            hits[strike] += hit(site, strike, senders)
        site.until(lambda: sum(len(s.journal) for s in senders) >= ENOUGH * len(WISHES), 180)
        for s in senders:
            s.stop()
        site.system.start()
        site.system.flush()
        site.system.settle(120)
        assert all(hits[s] > 0 for s in STRIKES), hits
        ids = {number for s in senders for number, _ in s.journal}
        check_all(site, accounts, ids, hits, sum(s.refused for s in senders))


def check_all(site, accounts, ids, hits, refused):
    found, (off, taken) = stored(site, accounts), attempts(site)
    assert set(found["drop"]) == set(), "what is dropped is in no folder"
    doubled = 0
    for wish, (folder, _) in WHERE.items():
        assert set(found[wish]) == {folder}, (wish, list(found[wish]))
        address, copies = accounts[wish].address, found[wish][folder]
        assert ids <= set(copies), f"{len(ids - set(copies))} lost for {wish}"
        for number, n in copies.items():
            # The rule: a copy more only for an attempt that Postfix had no 250 for, and one 250 ends it.
            assert n <= 1 + off[number, address] and taken[number, address] == 1, (wish, number, n, off[number, address])
            doubled += n - 1
    log = site.system.log("postfix")
    print(f"{len(ids)} messages to {len(WISHES)}, {refused} transactions refused, {sum(off.values())} deliveries put off, {doubled} doubled; "
          f"hits {sum(hits.values())}")
    assert site.outside.taken == [] and "status=bounced" not in log and "sender non-delivery" not in log, "backscatter"


# --- full disks ---

class Full:
    """A file that leaves a folder's file system no room."""

    def __init__(self, folder, leave=0):
        self.file, self.leave = folder / "filler", leave

    def __enter__(self):
        at = os.statvfs(self.file.parent)
        with open(self.file, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(at.f_bavail * at.f_frsize - self.leave, 1))

    def __exit__(self, *_):
        self.file.unlink()


def deliver_all(site, accounts, ids, kib):
    """Sends until a message is taken or not: {id: the code}."""
    codes = {}
    for number in ids:
        mail = messages.make(messages.text(kib * 1024), subject="chaos", ident=number, header=[f"X-Chaos-Id: {number}"]).replace(
            b"tester@out.example", AUTHOR.encode())
        answers, data = site.send("x@strange.example", [a.address for a in accounts.values()], mail, client=STRANGER)
        codes[number] = data[0] if data else max(code for code, _ in answers.values())
    return codes


def all_there(site, accounts, codes):
    taken = {number for number, code in codes.items() if code == 250}
    found = stored(site, accounts)
    for wish, (folder, _) in WHERE.items():
        assert dict(found[wish][folder]) == {number: 1 for number in taken}, wish
    assert set(codes.values()) <= {250, 451, 452}, codes
    assert [t for t in site.outside.taken if t.recipients != ["postmaster@mail.example.org"]] == []  # whom Postfix tells of a full disk


def test_a_full_tmpfs_defers(own_site):
    site, accounts = own_site
    with Full(site.system.path("tmp-plain")):
        codes = deliver_all(site, accounts, [f"full{i}" for i in range(4)], 3000)
    codes.update(deliver_all(site, accounts, ["room"], 3000))
    assert codes["room"] == 250
    site.system.flush()
    site.system.settle(120)
    all_there(site, accounts, codes)


def test_a_full_queue_defers(own_site):
    site, accounts = own_site
    queue = site.system.path("postfix")
    site.system.stop("postfix")
    subprocess.run(["mv", queue, f"{queue}.old"], check=True)
    queue.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "basalt-queue", queue], check=True)
    try:
        subprocess.run(["cp", "-a", f"{queue}.old/.", queue], check=True)
        site.system.start()
        with Full(queue, 100 << 10):
            codes = deliver_all(site, accounts, [f"full{i}" for i in range(4)], 300)
            assert all(code in (451, 452) for code in codes.values()), codes
        codes.update(deliver_all(site, accounts, ["room"], 300))
        assert codes["room"] == 250
        site.system.settle()
        all_there(site, accounts, codes)
    finally:
        site.system.stop("postfix")
        subprocess.run(["umount", queue], check=True)


@pytest.fixture
def own_site():
    with inbound.Site(postfix__message_size_limit=4_000_000) as site:  # Postfix wants half as much again to be free
        yield site, people(site)
