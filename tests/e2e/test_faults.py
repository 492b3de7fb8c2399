"""Parts die or hang, disks fill, databases lock: mail waits and arrives once, sealed; clients get an answer in time."""
import concurrent.futures
import contextlib
import os
import signal
import sqlite3
import subprocess
import time

import pytest

import clients
import databases
import messages
import probes
import systems

MAIL_ROOT_SIZE = "12m"


class Small(systems.System):
    """A system whose mail root is a small tmpfs."""

    def start(self):
        super().start()
        mail = self.path("mail")
        if not os.path.ismount(mail):
            self.stop("dovecot")
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MAIL_ROOT_SIZE},mode=700,uid={probes.UID_MAIL},"
                            f"gid={probes.UID_MAIL}", "basalt-test", mail], check=True)
        return super().start()

    def remove(self):
        self.stop()
        subprocess.run(["umount", self.path("mail")], check=True)
        super().remove()


@pytest.fixture(scope="module")
def system():
    """mdbox and MariaDB on a small disk; for this module alone, which leaves it in order after each test."""
    s = Small([*systems.CHEAP_KDF, "--set", "postfix.maximal_backoff_time=5s"], storage="mdbox", db="mariadb")
    try:
        yield s.start()
    finally:
        s.remove()


@pytest.fixture
def alice(system):
    account = system.account()
    account.first = probes.marked("first")
    assert probes.lmtp(system, account, account.first) == 250
    return account


@pytest.fixture
def bob(system):
    """A plain account with one mail, which needs no key."""
    account = system.account("plain")
    account.first = probes.marked("bob's first")
    assert probes.lmtp(system, account, account.first) == 250
    return account


@contextlib.contextmanager
def stopped(pids):
    """Processes that hang."""
    assert pids
    for pid in pids:
        systems.proc.freeze(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def dead_keyd(system):
    system.kill("keyd")
    probes.wait_for(lambda: not system.pids("keyd"))
    try:
        yield
    finally:
        system.start()


def hung_keyd(system):
    return stopped(system.pids("keyd"))


def arrive(system, account, *expected):
    """By and by, without anybody's help, each once, sealed."""
    probes.wait_for(lambda: not probes.queued(system, account), 40, 0.2)
    assert sorted(probes.shown(system, account)) == sorted(map(probes.word, expected))
    if account.plan == "private":
        assert probes.sealed_only(system, account) == len(expected)


def smtp_code(system, recipients, message):
    """The first refusal in the dialogue or 250; and how long it took."""
    start = time.monotonic()
    with clients.smtp(system.port("smtp")) as c:
        c.ehlo()
        code = c.mail(probes.STRANGER)[0]
        for r in recipients:
            code = c.rcpt(r.address)[0] if code == 250 else code
        code = c.data(message)[0] if code == 250 else code
    return code, time.monotonic() - start


def accepts(system, account):
    """Is the recipient let in? No mail comes of it."""
    with clients.smtp(system.port("smtp")) as c:
        c.ehlo()
        c.mail(probes.STRANGER)
        return c.rcpt(account.address)[0] == 250


def at_once(*calls):
    """The results of calls that are all under way together."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


# --- keyd ---

@pytest.fixture(scope="module")
def old_session(system):
    """A session that has read nothing yet; what it knew of its account is out of date when the last test comes."""
    account = system.account()
    account.first = probes.marked("old")
    assert probes.lmtp(system, account, account.first) == 250
    mail = system.imap(account)
    mail.select()
    yield account, mail, time.monotonic()
    mail.close()


def without_keys(mail, sent):
    """What an open session can do: NO where a key is needed, and it ends. APPEND's status, "BYE" where it has ended already."""
    status = "BYE"
    with pytest.raises(clients.imaplib.IMAP4.abort):
        status, _ = mail.c.append("INBOX", None, None, sent)
        answer, data = mail.c.uid("FETCH", "1", "(BODY.PEEK[])")
        assert answer == "NO" and b"at the moment" in data[-1], data
        for _ in range(100):
            mail.ok("noop")
            time.sleep(0.1)
    return status


@pytest.mark.parametrize("fault", [dead_keyd, hung_keyd])
def test_keyd_away(system, alice, bob, fault):
    queued, direct, appended = (probes.marked(n) for n in ("queued", "direct", "appended"))
    mail, plain = system.imap(alice), system.imap(bob)
    mail.select(), plain.select()
    with fault(system):
        time.sleep(probes.AUTH_KEEPS_S)  # of a keyd that only hangs
        start = time.monotonic()
        assert system.send(probes.STRANGER, [alice.address, bob.address], queued) == {}
        code, status, imap, pop3 = at_once(
            lambda: probes.lmtp(system, alice, direct), lambda: without_keys(mail, appended),
            lambda: probes.imap_refusal(system, alice), lambda: probes.pop3_refusal(system, bob))
        assert code == 451
        assert "[UNAVAILABLE]" in imap and "[SYS/TEMP]" in pop3
        assert time.monotonic() - start < 45
        assert probes.word(bob.first) in plain.part(1), "what needs no key goes on"
        assert probes.queued(system, alice) and probes.queued(system, bob)
        stored = 1 + (status == "OK")  # the session verified the record a moment ago: then it may seal
        assert probes.sealed_only(system, alice) == stored and len(system.suites(bob)) == 1
        for sent in (queued, direct, appended):
            assert not probes.traces(system, alice, sent) + probes.traces(system, bob, sent)
    mail.close(), plain.close()
    arrive(system, alice, alice.first, queued, *([appended] if status == "OK" else []))
    arrive(system, bob, bob.first, queued)


# --- databases ---

def test_hung_mariadb(old_session, system, alice, bob):
    sent = [probes.marked(f"hang {i}") for i in range(3)]
    assert system.send(probes.STRANGER, [alice.address], sent[0]) == {}
    arrive(system, alice, alice.first, sent[0])
    mail = system.imap(alice)
    mail.select()
    with stopped([databases.mariadb_pid(system)]):
        answers = at_once(*[lambda: smtp_code(system, [alice, bob], sent[1])] * 4)
        assert [c // 100 for c, _ in answers] == [4] * 4 and max(s for _, s in answers) < 10, answers
        start = time.monotonic()
        code, imap, pop3 = at_once(lambda: probes.lmtp(system, alice, sent[1]),
                                   lambda: probes.imap_refusal(system, alice), lambda: probes.pop3_refusal(system, bob))
        assert code == 451 and "[UNAVAILABLE]" in imap and "[SYS/TEMP]" in pop3 and time.monotonic() - start < 15
        assert probes.word(mail.part(2)) == probes.word(sent[0]), "an open session needs no database"
        assert not probes.traces(system, alice, sent[1])
        code, seconds = smtp_code(system, [bob], sent[1])
        assert code // 100 == 4 and seconds < 10
    mail.close()
    probes.wait_for(lambda: accepts(system, alice), 30, 0.5)
    assert smtp_code(system, [alice], sent[2])[0] == 250
    arrive(system, alice, alice.first, sent[0], sent[2])


def test_session_outlives_a_question_to_a_hung_mariadb(system, alice):
    """What keyd could not answer is a NO; the session, which needs no database, reads on."""
    plan = lambda name: system.ctl("account", "plan", alice.address, name, "--password-stdin",
                                   stdin=f"{alice.password}\n".encode())
    plan("plain")  # its record is asked for at each save
    with system.imap(alice) as mail:
        mail.select()
        with stopped([databases.mariadb_pid(system)]):
            assert mail.c.append("INBOX", None, None, probes.marked("hangs"))[0] == "NO"
        assert probes.word(mail.part(1)) == probes.word(alice.first)
    probes.wait_for(lambda: plan("private").returncode == 0)


def test_mariadb_hangs_when_mail_is_queued(system, alice):
    """Accepted before the hang: waits, and arrives once, by itself."""
    sent = probes.marked("accepted")
    probes.wait_for(lambda: accepts(system, alice), 30, 0.5)
    with clients.smtp(system.port("smtp")) as c:
        c.ehlo()
        assert c.mail(probes.STRANGER)[0] == 250 and c.rcpt(alice.address)[0] == 250
        with stopped([databases.mariadb_pid(system)]):
            time.sleep(probes.RECORD_KEPT_S)
            code = c.data(sent)[0]
            time.sleep(3)
            assert probes.sealed_only(system, alice) == 1
    assert code in (250, 451)
    arrive(system, alice, alice.first, *([sent] if code == 250 else []))
    assert "status=bounced" not in system.log("postfix")


def test_locked_sqlite(pool):
    """BEGIN EXCLUSIVE held on both: whoever only reads goes on, who writes is told in time, and nothing is half done."""
    system = pool.get()
    alice, sent = system.account(), probes.marked("locked")
    with contextlib.ExitStack() as stack:
        for name in ("keys", "policy"):
            db = stack.enter_context(contextlib.closing(sqlite3.connect(
                databases.Database(system, name).file(), isolation_level=None)))
            db.execute("BEGIN EXCLUSIVE")
        code, seconds = smtp_code(system, [alice], sent)
        assert code in (250, 451) and seconds < 10
        start = time.monotonic()
        failed = system.ctl("account", "passwd", alice.address, "--old-password-stdin", "--password-stdin",
                            stdin=f"{alice.password}\nanother password\n".encode(), check=False)
        added = system.ctl("account", "add", "late@example.org", "--plan", "private", "--password-stdin",
                           stdin=b"long enough\n", check=False)
        assert failed.returncode == added.returncode == 75 and time.monotonic() - start < 30
        assert len(probes.shown(system, alice)) in (0, 1)
    arrive(system, alice, *([sent] if code == 250 else []))
    assert "AUTHENTICATIONFAILED" in probes.imap_refusal(system, alice, "another password")
    system.account(name="late")


# --- disks ---

@contextlib.contextmanager
def full(folder, leave=0):
    """No space in a tmpfs but for leave bytes."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(bytes(4096)):
            pass
    if leave:
        os.truncate(filler, max(0, filler.stat().st_size - leave))
    try:
        yield
    finally:
        filler.unlink()


def parts_of_messages(system, account):
    """Files that a delivery began."""
    return [f for f in system.home(account).rglob("*") if f.is_file() and (
        ".temp." in f.name or ".tmp." in f.name or f.parent.name == "tmp")]


@pytest.mark.parametrize("leave", [0, 300_000], ids=["nothing-left", "too-little-left"])
def test_full_mail_root(system, alice, leave):
    new, (queued, appended) = system.account(), (probes.marked(about, 700_000, messages.noise) for about in ("queued", "appended"))
    with full(system.path("mail"), leave):
        assert probes.lmtp(system, alice, queued) // 100 == 4
        if not leave:
            assert probes.lmtp(system, new, probes.marked("small")) // 100 == 4, "not even its record can be written"
        assert system.send(probes.STRANGER, [alice.address], queued) == {}
        with system.imap(alice) as mail:
            mail.select()
            assert mail.c.append("INBOX", None, None, appended)[0] == "NO"
            assert probes.word(mail.part(1)) == probes.word(alice.first)
        assert probes.queued(system, alice)
        assert not probes.traces(system, alice, queued) + probes.traces(system, alice, appended)
    arrive(system, alice, alice.first, queued)
    assert parts_of_messages(system, alice) == []
    assert system.ctl("scrub", "--quiet", str(system.home(alice))).stdout == b""
    assert probes.lmtp(system, new, queued) == 250 and probes.sealed_only(system, new) == 1


def test_full_temporary_folder(system, alice):
    """Mail above 64 KiB passes there on its way: lmtp keeps it in memory instead, or it waits."""
    large, small, queued = probes.marked("large", 700_000), probes.marked("small"), probes.marked("queued", 5_000_000)
    with full(system.path("tmp-plain")):
        assert probes.lmtp(system, alice, small) == 250
        code = probes.lmtp(system, alice, large)
        assert code in (250, 451)
        assert system.send(probes.STRANGER, [alice.address], queued) == {}
        assert not [f for m in (small, large, queued) for f in probes.traces(system, alice, m)]
    arrive(system, alice, alice.first, small, queued, *([large] if code == 250 else []))
    assert list(system.path("tmp-plain").iterdir()) == []


def test_session_older_than_what_it_knows(old_session, system):
    """The record that it verified is a minute old: it stores nothing that keyd was not asked about, and is over when keyd does not answer."""
    account, mail, since = old_session
    appended = probes.marked("appended")
    time.sleep(max(0, since + 61 - time.monotonic()))
    with hung_keyd(system):
        assert without_keys(mail, appended) == "NO"
        assert probes.sealed_only(system, account) == 1 and not probes.traces(system, account, appended)
    with system.imap(account) as again:
        again.ok("append", "INBOX", None, None, appended)
    assert sorted(probes.shown(system, account)) == sorted(map(probes.word, (account.first, appended)))
    assert probes.sealed_only(system, account) == 2


# --- restarts ---

@pytest.mark.parametrize("part", ["dovecot", "postfix", "database", "milter"])
def test_one_part_is_killed_and_comes_back(system, alice, part):
    sent = [probes.marked("before"), probes.marked("after")]
    assert system.send(probes.STRANGER, [alice.address], sent[0]) == {}
    system.kill(part)
    system.start()
    probes.wait_for(lambda: accepts(system, alice), 30, 0.5)
    assert smtp_code(system, [alice], sent[1])[0] == 250
    arrive(system, alice, alice.first, *sent)


def test_stopped_and_started(system, alice, bob):
    """All of it, with mail in the queue."""
    sent = probes.marked("over night")
    system.stop("dovecot")
    assert system.send(probes.STRANGER, [alice.address, bob.address], sent) == {}
    system.stop()
    assert not system.pids("keyd") and not probes.traces(system, alice, sent)
    system.start()
    for account in (alice, bob):
        arrive(system, account, account.first, sent)


def test_delivery_while_another_process_has_the_uidlist(pool):
    """maildir then stores the file and drops what it would have appended to the index."""
    system = pool.get("maildir", "mariadb")
    account = system.account("private")
    assert probes.lmtp(system, account, probes.marked("before")) == 250
    lock = system.home(account) / "Maildir" / "dovecot-uidlist.lock"
    lock.write_text(f"{os.getpid()}:{os.uname().nodename}\n")
    os.chown(lock, probes.UID_MAIL, probes.UID_MAIL)
    try:
        assert probes.lmtp(system, account, probes.marked("meanwhile")) == 250
    finally:
        lock.unlink()
    with system.imap(account) as imap:
        assert imap.select() == 2
        assert b"meanwhile" in b"".join(imap.part(uid) for uid in imap.uids())
