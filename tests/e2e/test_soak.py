"""
A soak: mail comes in by SMTP, owners read, copy, move, throw away, append and take over, others look on by IMAP and POP3,
while imap and lmtp processes, and later keyd, the milter and Dovecot's master, are killed -9. In between the one plain account is sealed,
and its mail converted under it.

Afterwards nothing is lost, damaged (the SHA-256 of every body), or there too often, and the processes that live long hold no
more descriptors than before, and about the memory. (test_growth.py looks for the little that a single session leaves behind.)

What LMTP allows to be there twice: what was saved when lmtp died before its reply comes again from Postfix's queue. Postfix
says so in its log, for each such recipient and time, "message may be sent more than once". And an lmtp whose master has died
saves, but answers 421 Shutting down at the end of DATA. Nothing else excuses a copy too many.
"""
import collections
import contextlib
import os
import random
import re
import shlex
import signal
import subprocess
import time

import pytest

import book as books
import canary
import chaos
import growth
import probes
import soakers

LONG = bool(os.environ.get("BASALT_LONG"))
CHEAP_KDF = ["kdf.memory_kib=8192", "kdf.passes=1"]
# Postfix tries again soon, and its idle processes let go of the milter.
QUICK = ["postfix.minimal_backoff_time=1s", "postfix.maximal_backoff_time=2s", "postfix.queue_run_delay=1s",
         "postfix.default_destination_concurrency_failed_cohort_limit=1000", "postfix.max_idle=3s"]
# Postfix's own words, Dovecot's as the proxy hands them on, the proxy's own about a Dovecot that went away or keeps silent.
AGAIN = (r"(?:message may be sent more than once|said: 4[25]1 (?:4\.3\.2 \S+ Shutting down"
         r"|4\.4\.2 (?:Connection with mailbox server was lost|Mailbox server does not answer)) \(in reply to end of DATA)")
STORM = ["imap", "lmtp", "keyd", "milter", "dovecot"]
ARENAS_KIB = 512  # a thread that comes for the first time gets a heap of its own from malloc
SIGNS = ("ALARM", "Panic:", "Raw backtrace", "killed with signal 6", "killed with signal 11", "Assertion failed")


class Soak:
    """A system, its users and the book."""

    def __init__(self, system, seed, pause_s):
        self.system, self.rng, self.book = system, random.Random(seed), books.Book()
        self.sealed = [system.account("private") for _ in range(3)]
        self.plain = system.account("plain")
        self.accounts = [*self.sealed, self.plain]
        self.kills = collections.Counter()
        addresses = [a.address for a in self.accounts]
        for account in self.accounts:
            with system.imap(account) as mail:
                mail.select()  # stock Dovecot stumbles where two sessions make INBOX together
                for folder in soakers.FOLDERS[1:]:
                    mail.ok("create", folder)
        self.users = [
            soakers.Postman(system, self.book, seed + 1, pause_s, addresses),
            soakers.Reader(system, self.book, seed + 2, pause_s, self.accounts),
            *(soakers.Owner(system, self.book, seed + 3 + i, pause_s, a, donor)
              for i, (a, donor) in enumerate(zip(self.accounts, [self.plain, self.sealed[2], None, None]))),
        ]
        for user in self.users:
            user.start()

    def sessions(self):
        return sum(self.book.happened[name] for name in ("Postman", "Reader", "Owner"))

    def go(self, strict):
        for user in self.users:
            user.strict = strict
            user.go()

    def hold(self):
        """All users have gone, all mail is delivered, and nothing is left that served one of them."""
        for user in self.users:
            user.hold()
        for user in self.users:
            assert user.still.wait(120), f"{user.name} hangs"
        self.system.flush()
        self.system.settle(120)
        for pid in self.system.pids("dovecot", "lmtp"):
            chaos.send_signal(pid, signal.SIGKILL)  # idle: the queue is empty
        probes.wait_for(lambda: not self.serving(), seconds=60)

    def serving(self):
        return [p for name in ("imap", "pop3", "lmtp", "imap-login", "pop3-login") for p in self.system.pids("dovecot", name)]

    def end(self):
        self.hold()
        for user in self.users:
            user.stopping.set()
        for user in self.users:
            user.join(60)
            assert not user.is_alive(), f"{user.name} hangs"

    def strike(self, part):
        """One kill -9. lmtp: in the middle of a delivery where one is seen soon."""
        master = min(self.system.pids("dovecot", "dovecot"))
        if part == "imap":
            self.kills[part] += self.kill_session(master)
        elif part == "lmtp":
            roots = (self.system.env["MAIL_ROOT"], self.system.env["TMP_PLAIN"])
            hit = chaos.kill_in_delivery(master, roots, lambda pid: [pid], deadline_s=0.5)
            self.kills["lmtp"] += hit or self.kill_one("dovecot", "lmtp")
            self.kills["lmtp in delivery"] += hit
        elif part == "keyd":
            self.kills[part] += self.kill_one("keyd")
        elif part == "milter":
            self.kills[part] += bool(self.system.kill("milter"))
        elif part == "dovecot":
            self.kills[part] += chaos.send_signal(master, signal.SIGKILL)

    def kill_session(self, master, seconds=5):
        """One of the imap processes, which live for a moment only."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pids = [p for p in canary.descendants(master) if chaos.process_name(p) == "imap"]
            if pids and chaos.send_signal(self.rng.choice(pids), signal.SIGKILL):
                return True
            time.sleep(0.01)
        return False

    def kill_one(self, part, command=None):
        pids = self.system.pids(part, command)
        return bool(pids) and chaos.send_signal(self.rng.choice(pids), signal.SIGKILL)

    def calm(self, seconds, kills=True):
        """Only single imap and lmtp processes die: nobody else may notice."""
        self.go(strict=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1.5)
            if kills:
                self.strike(self.rng.choice(["imap", "imap", "imap", "lmtp"]))
        self.hold()

    def storm(self, rounds):
        """Everything dies now and then, and is started again a little later."""
        self.go(strict=False)
        order = STORM * rounds
        self.rng.shuffle(order)
        for part in order:
            time.sleep(self.rng.uniform(0.3, 1.2))
            self.strike(part)
            if part not in ("imap", "lmtp"):
                time.sleep(self.rng.uniform(0, 0.5))
                self.system.start()
        self.system.start()
        self.hold()

    def conversion(self, share_s=0.4):
        """The plain account is sealed, and its mail converted by runs that are killed until one ends, while everybody goes on."""
        words = ("convert", self.plain.address, "--accept-loss", "--quiet")
        argv = [*shlex.split(self.system.env["BASALTCTL"]), *words]
        self.system.ctl("account", "plan", self.plain.address, "private", "--password-stdin", stdin=self.plain.password.encode() + b"\n")
        time.sleep(probes.RECORD_KEPT_S)
        self.go(strict=True)
        for i in range(40):
            run = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(self.rng.uniform(0, share_s) * (i + 1))
                break
            run.kill()
            run.wait()
            self.kills["convert"] += 1
        self.hold()
        self.system.ctl(*words)
        self.sealed.append(self.plain)

    def judge(self):
        """The account of it all."""
        found = {a.address: soakers.stored(self.system, a, self.book) for a in self.accounts}
        lost, doubled = self.book.judge(found)
        again = sent_again(self.system.log("postfix"))
        unexcused = [entry for entry in doubled if entry[2] - max(0, entry[3]) > again[entry[:2]] and not self.rebuilt(entry[0])]
        print(f"{sum(map(sum, (c.values() for c in found.values())))} messages in the end; {dict(self.book.happened)}; "
              f"kills {dict(self.kills)}; {len(doubled)} doubled, {sum(again.values())} excused")
        wrong = self.book.complaints[:10]
        wrong += [f"{len(lost)} lost: {self.story(lost)}"] if lost else []
        wrong += [f"{len(unexcused)} doubled without a reason: {self.story(unexcused)}"] if unexcused else []
        assert not wrong, "\n".join(wrong)
        assert self.book.happened["put off"] <= max(10, self.sessions() // 10), self.book.happened
        for account in self.sealed:
            assert probes.sealed_only(self.system, account) > 0
        bad = [line for line in self.system.log("dovecot").splitlines() if any(sign in line for sign in SIGNS)]
        assert not bad, f"{len(bad)} times: " + "\n".join(bad[:6])

    def rebuilt(self, address):
        local = address.split("@")[0]
        return f"/{local}/mail/storage: rebuilding indexes" in self.system.log("dovecot")

    def story(self, entries, most=3):
        """What is known of some of them: for the reader of a failure."""
        lines, log = [], self.system.log("postfix").splitlines()
        for address, number, copies, bound in entries[:most]:
            lines.append(f"{address} {number}: {copies}, not {bound}: {self.book.history[address, number]}")
            queue_ids = [m[1] for line in log if number in line and (m := re.search(r"\]: (\w+): message-id", line))]
            lines += [line for line in log if any(q in line for q in queue_ids)]
        return "\n".join(lines)


def sent_again(log):
    """Counter of (address, number): how often Postfix could not know whether its LMTP server had taken a message."""
    number_of = dict(re.findall(r": (\w+): message-id=<([0-9a-f]{32})@", log))
    lines = re.findall(rf": (\w+): to=<([^>]+)>.*{AGAIN}", log)
    return collections.Counter((address, number_of.get(queue_id, "")) for queue_id, address in lines)


def soak(system, warm_s, steady_s, storm_rounds, pause_s, growth_kib):
    s = Soak(system, 20260, pause_s)
    s.calm(warm_s)
    growth.wait_quiet(system)
    before = growth.census(system)
    sessions = s.sessions()
    s.calm(steady_s)
    sessions = s.sessions() - sessions
    growth.wait_descriptors(system, before)
    grown = growth.kib(system, before)
    print(f"after {sessions} sessions grown by KiB: {grown}")
    assert len(grown) == len(before), "a long-lived process has died"
    too_much = {name: n for name, n in grown.items() if n > growth_kib + ARENAS_KIB * name.startswith("milter")}
    assert not too_much, f"memory grows: {too_much}"
    if "mdbox" not in system.options:
        s.conversion()
    s.storm(storm_rounds)
    s.end()
    s.judge()
    assert all(s.kills[part] for part in STORM), s.kills
    assert sessions >= 20 and s.book.happened["sent"] >= 20, s.book.happened


def options():
    return [w for s in [*QUICK, *CHEAP_KDF] for w in ("--set", s)]


@pytest.mark.limit(540)
def test_two_minutes(own_system):
    soak(own_system(*options()), warm_s=15, steady_s=30, storm_rounds=5, pause_s=0.6, growth_kib=256)


@pytest.mark.long
@pytest.mark.limit(3600)
@pytest.mark.parametrize("storage,db", [("sdbox", "sqlite"), ("maildir", "mariadb"), ("mdbox", "sqlite")])
def test_an_hour(own_system, storage, db):
    """Twenty minutes each."""
    soak(own_system(*options(), storage=storage, db=db), warm_s=120, steady_s=600, storm_rounds=60, pause_s=0.3, growth_kib=512)


# --- the book must be able to say no ---

A, B = "a@example.org", "b@example.org"


def booked(kept=books.LOGS):
    book = books.Book(kept)
    book.write("n1", lambda: b"one")
    book.write("n2", lambda: b"two")
    book.add(A, "n1")
    return book


def test_book_sees_what_is_lost_doubled_and_damaged(tmp_path):
    book = booked(tmp_path)
    assert book.judge({A: {"n1": 1}}) == ([], [])
    assert book.judge({A: {}})[0] == [(A, "n1", 0, 1)]
    assert book.judge({A: {"n1": 2}})[1] == [(A, "n1", 2, 1)]
    assert book.judge({A: {"n1": 1}, B: {"n1": 1}})[1] == [(B, "n1", 1, 0)]
    book.check("here", "n1", b"one")
    assert not book.complaints
    for body, why in ((b"onE!", "4 bytes, not 3; from byte 2 on b'E!', not b'e'"), (b"on", "from byte 2 on b''"), (b"two", "that of n2")):
        book.check("here", "n1", body)
        assert "here: n1 is damaged" in book.complaints[-1] and why in book.complaints[-1]
    assert sorted(f.read_bytes() for f in tmp_path.iterdir()) == [b"on", b"onE!", b"two"]
    book.check("here", "n3", b"three")
    assert "nobody wrote it" in book.complaints[-1]


def test_book_allows_what_was_cut_off():
    book = booked()
    book.add(A, "n1", sure=False)
    assert all(book.judge({A: {"n1": n}}) == ([], []) for n in (1, 2))
    book.remove(A, "n1", sure=False)
    assert all(book.judge({A: {"n1": n}}) == ([], []) for n in (0, 1, 2))
    book.remove(A, "n1")
    assert book.judge({A: {"n1": 0}}) == ([], []) and book.judge({A: {"n1": 2}})[1]
