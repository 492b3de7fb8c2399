"""The Dovecot plugin where things are not as they should be: damaged mails, mails of other origin, no keys, no keyd.
The common way of mail, on all storages, is test_story.py's."""
import glob
import imaplib
import json
import os
import re
import subprocess
import time

import pytest

import clients
import keyproto
import messages
import sealedfiles
import systems

STRANGER = "stranger@out.example"
MIB = 1 << 20
HOW = ["magic", "version", "suite", "account", "message-id", "key-id", "sealed-key", "commitment", "header", "trailer", "body", "zeros"]


def deliver(system, account, *mails):
    with system.lmtp() as lmtp:
        for mail in mails:
            (reply,) = lmtp.deliver(STRANGER, [account.address], mail)[account.address]
            assert reply[0] == 250, reply


def refusal(system, account, mail=None):
    """The reply of an LMTP delivery that is not to succeed."""
    before = system.suites(account)
    with system.lmtp() as lmtp:
        (reply,) = lmtp.deliver(STRANGER, [account.address], mail or messages.make(b"not to be stored\r\n"))[account.address]
    assert system.suites(account) == before
    return reply


def says_no(mail, uid, items):
    """The text of a tagged NO."""
    status, data = mail.c.uid("FETCH", str(uid), items)
    assert status == "NO", (status, data)
    return data[-1]


# --- one exchange of keys for a burst of mails ---

def test_mails_of_a_burst_share_their_exchange(system):
    """KEM bytes may be equal within a second, of one account, and in nothing else that matters; later ones are new."""
    alice, bob = system.account("private"), system.account("private")
    with system.lmtp() as lmtp:
        for mail in (messages.make(b"one\r\n"), messages.make(b"two\r\n")):
            for account in (alice, bob):
                (reply,) = lmtp.deliver(STRANGER, [account.address], mail)[account.address]
                assert reply[0] == 250, reply
        time.sleep(2.5)  # the exchange's time, not a wait for something
        (reply,) = lmtp.deliver(STRANGER, [alice.address], messages.make(b"three\r\n"))[alice.address]
        assert reply[0] == 250, reply
    prefixes = [m.read()[:sealedfiles.PREFIX] for m in sealedfiles.messages(system, alice)]
    kems = [p[62:94] for p in prefixes]
    assert len(prefixes) == 3 and kems[0] == kems[1] != kems[2]
    assert kems[0] not in [m.read()[62:94] for m in sealedfiles.messages(system, bob)]
    for part in (slice(28, 44), slice(96, 144), slice(144, 176)):
        assert len({p[part] for p in prefixes}) == 3
    with system.imap(alice) as mail:
        mail.select()
        assert [mail.part(uid, "TEXT") for uid in (1, 2, 3)] == [b"one\r\n", b"two\r\n", b"three\r\n"]


# --- one public record for a burst of mails ---

def records_asked(system):
    with keyproto.Client(system.env["KEYD_SOCKET"]) as control:
        return json.loads(control.status())["records"]


def test_a_burst_to_a_sealed_account_asks_keyd_for_few_records(system):
    """Auth remembers a record for half a second; a plain account's is asked for at RCPT and again by who stores the mail."""
    sealed, plain = system.account("private"), system.account("plain")
    asked = {}
    for account in (sealed, plain):
        before = records_asked(system)
        deliver(system, account, *[messages.make(b"one of many\r\n")] * 40)
        asked[account] = records_asked(system) - before
    assert asked[sealed] < 40 and asked[plain] >= 80, asked


def test_a_change_of_keys_counts_a_moment_later(system):
    """What auth remembers is gone a moment later: mail is sealed to the new key."""
    account = system.account("private")
    deliver(system, account, messages.make(b"to the old key\r\n"))
    with keyproto.Client(system.env["KEYD_SOCKET"]) as control:
        control.rotate(account.address, account.password)
    end = time.monotonic() + 20
    while len({m.read()[44:60] for m in sealedfiles.messages(system, account)}) < 2:
        assert time.monotonic() < end, "mail is still sealed to the old key"
        deliver(system, account, messages.make(b"to whichever key\r\n"))


# --- damaged mails ---

def test_a_damaged_mail_is_one_bad_mail(every_system):
    """Each kind of damage: listed, copied, moved and expunged as ever; reading it is a NO, and the session goes on."""
    system, account = every_system, every_system.account("private")
    body = messages.noise(30_000, seed=3)
    deliver(system, account, *[messages.make(body, subject=how) for how in [*HOW, "good"]])
    with system.imap(account) as mail:
        mail.ok("create", "Copies")
        mail.ok("create", "Moved")
        mail.select()
    files = sealedfiles.messages(system, account)
    assert len(files) == len(HOW) + 1
    for file, how in zip(files, HOW):
        file.damage(how)
    since = len(system.log("dovecot"))
    with system.imap(account) as mail:
        assert mail.select() == len(HOW) + 1
        uids = mail.uids()
        for uid, how in zip(uids, HOW):
            assert mail.size(uid) > len(body)
            assert b"PARSE" in says_no(mail, uid, "(BODY.PEEK[])"), how
            if how == "body":
                assert b"Subject: body" in mail.part(uid, "HEADER")
            assert b"PARSE" in says_no(mail, uid, "(FLAGS BODY.PEEK[TEXT])"), how
            mail.copy(uid, "Copies")
        for uid in uids[:len(HOW)]:
            mail.copy(uid, "Moved", verb="MOVE")
        assert mail.part(uids[-1]).endswith(body)
        assert mail.select("Moved") == len(HOW)
        mail.ok("store", "1:*", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
        assert mail.select("Moved") == 0
    lines = system.logged("dovecot", "basalt: can't read", since, count=len(HOW))
    assert len(lines) == len(HOW), lines  # once a mail and session
    assert all(str(system.home(account)) in line for line in lines)


def test_a_damaged_mail_among_good_ones(every_system):
    """One FETCH of all (opened ahead, keys asked for together): the good ones come, the NO stands at the end."""
    system, account = every_system, every_system.account("private")
    bodies = [messages.noise(3000 + n, seed=n) for n in range(40)]
    deliver(system, account, *[messages.make(b) for b in bodies])
    files = sealedfiles.messages(system, account)
    for n in (0, 17, 18, 39):
        files[n].damage("sealed-key")
    files[20].damage("commitment")
    files[21].damage("magic")
    bad = {0, 17, 18, 20, 21, 39}
    with system.imap(account) as mail:
        mail.select()
        status, data = mail.c.fetch("1:*", "(UID BODY.PEEK[])")
        assert status == "NO", status
        # imaplib gives no untagged lines with a NO; they wait.
        got = {int(d[0].split()[0]) - 1: d[1] for d in mail.c.untagged_responses.get("FETCH", []) if isinstance(d, tuple)}
        assert {n for n in range(40) if n in got and got[n].endswith(bodies[n])} == set(range(40)) - bad
        mail.ok("noop")


def test_a_large_mail_that_breaks_in_the_middle(every_system):
    """Above 1 MiB only touched chunks are checked: the transfer breaks off once, later ones are a NO from the start."""
    system, account = every_system, every_system.account("private")
    deliver(system, account, messages.make(messages.noise(3 * MIB, seed=9), subject="large"))
    with system.imap(account) as mail:
        mail.select()
        whole = mail.part(1)
    (file,) = sealedfiles.messages(system, account)
    file.flip(file.length * 2 // 3)
    mail = system.imap(account)
    mail.select()
    assert b"Subject: large" in mail.part(1, "HEADER")
    assert mail.part(1, "<1000.5000>") == whole[1000:6000]
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        mail.part(1)
    for _ in range(2):
        with system.imap(account) as mail:
            mail.select()
            assert b"PARSE" in says_no(mail, 1, "(BODY.PEEK[])")
            assert b"Subject: large" in mail.part(1, "HEADER")
            mail.ok("noop")


def test_a_large_mail_that_was_mended_is_read_again(system):
    account = system.account("private")
    deliver(system, account, messages.make(messages.noise(2 * MIB, seed=10)))
    (file,) = sealedfiles.messages(system, account)
    file.flip(file.length // 2)
    mail = system.imap(account)
    mail.select()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        mail.part(1)
    file.flip(file.length // 2)
    with system.imap(account) as mail:
        mail.select()
        assert len(mail.part(1)) > 2 * MIB


def test_another_accounts_mail(system):
    """A sealed file carried into another home says whose it is not."""
    alice, eve = system.account("private"), system.account("private")
    deliver(system, alice, messages.make(b"x" * 500 + b"\r\n"))
    deliver(system, eve, messages.make(b"y" * 500 + b"\r\n"))
    (theirs,), (mine,) = sealedfiles.messages(system, alice), sealedfiles.messages(system, eve)
    stolen = theirs.read()
    text = mine.path.read_bytes()
    header = text[:mine.start].replace(b"%016X\n" % mine.length, b"%016X\n" % len(stolen))
    mine.path.write_bytes(header + stolen + text[mine.start + mine.length:])
    with system.imap(eve) as mail:
        mail.select()
        assert b"another account" in says_no(mail, 1, "(BODY.PEEK[])")
        mail.ok("noop")


# --- what lies beside the mails ---

def test_home_copies(every_system):
    """The record comes with the first delivery, and before it its keyset, which the first login makes the copy; all for the mail user alone."""
    system, account = every_system, every_system.account("private")
    deliver(system, account, messages.make(b"first\r\n"))
    home = system.home(account) / "basalt"
    ahead, _ = sorted(home.iterdir())
    record = (home / "record").read_bytes()
    assert ahead.name.startswith("keyset.ahead.") and record in ahead.read_bytes()
    assert {p.stat().st_mode & 0o777 for p in home.iterdir()} == {0o600}
    system.imap(account).close()
    assert sorted(p.name for p in home.iterdir()) == ["keyset", "record"]
    assert record in (home / "keyset").read_bytes()
    assert {p.stat().st_mode & 0o777 for p in home.iterdir()} == {0o600}
    new = "another password 1"
    system.ctl("account", "passwd", account.address, "--old-password-stdin", "--password-stdin",
               stdin=f"{account.password}\n{new}\n".encode())
    clients.Imap(system.port("imap"), account.address, new).close()
    newer = (home / "record").read_bytes()
    assert newer != record and newer in (home / "keyset").read_bytes()


def test_a_record_in_the_home_that_is_not_to_be_trusted(system):
    account = system.account("private")
    deliver(system, account, messages.make(b"first\r\n"))
    record = system.home(account) / "basalt" / "record"
    good, since = record.read_bytes(), len(system.log("dovecot"))
    for bad in (b"", b"junk", good[:-1] + bytes([good[-1] ^ 1]), good + b"x" * 5000):
        record.write_bytes(bad)
        assert refusal(system, account)[0] == 451
    assert system.logged("dovecot", "ALARM", since)
    record.write_bytes(good)
    deliver(system, account, messages.make(b"second\r\n"))


def test_another_sites_key(system):
    """A signature that the configured site key does not verify stops saving, for sealed and plain accounts."""
    accounts = system.account("private"), system.account("plain")
    key = system.path("etc", "site.key.pub")
    good = key.read_text()
    try:
        for text in ("0" * 64 + "\n", good[:-2] + "\n", "", "not a key\n"):
            key.write_text(text)
            for account in accounts:
                assert refusal(system, account)[0] == 451
    finally:
        key.write_text(good)
    for account in accounts:
        deliver(system, account, messages.make(b"with the right key\r\n"))


def append(system, account, mail_file):
    """doveadm save, which has no login."""
    with open(mail_file, "rb") as f:
        return subprocess.run(["doveadm", "-c", system.env["DOVECOT_CONF"], "save", "-u", account.address], stdin=f,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def test_doveadm_saves_but_does_not_read(every_system, tmp_path):
    system, account = every_system, every_system.account("private")
    file = tmp_path / "mail"
    file.write_bytes(messages.make(b"by the hand of the admin\r\n" * 50))
    p = append(system, account, file)
    assert p.returncode == 0, p.stdout
    assert system.suites(account) == [systems.SUITE_SEALED]
    status, text = system.doveadm("fetch", "-u", account.address, "text", "all")
    assert status != 0 and "no key" in text and "by the hand" not in text
    status, text = system.doveadm("fetch", "-u", account.address, "uid flags size.physical", "all")
    assert status == 0 and "uid: 1" in text
    status, text = system.doveadm("mailbox", "create", "-u", account.address, "Archive")
    status, text = system.doveadm("copy", "-u", account.address, "Archive", "mailbox", "INBOX", "all")
    assert status == 0, text
    with system.imap(account) as mail:
        for folder in ("INBOX", "Archive"):
            assert mail.select(folder) == 1
            assert b"by the hand" in mail.part(1)


# --- mails of other origin: maildir, where anybody may put a file ---

@pytest.fixture
def maildir(pool):
    return pool.get("maildir", "mariadb")


def put(system, account, data, name):
    cur = system.home(account) / "Maildir" / "cur"
    st = cur.stat()
    path = cur / name
    path.write_bytes(data)
    os.chown(path, st.st_uid, st.st_gid)
    return path


def test_plaintext_beside_sealed(maildir):
    """Plaintext from before Basalt is shown, with a warning in the log; copying it seals it."""
    system, account = maildir, maildir.account("private")
    old = messages.make(b"from the old days, in plaintext\r\n" * 9)
    deliver(system, account, messages.make(b"sealed\r\n"))
    since, mark = len(system.log("dovecot")), "not encrypted, in a sealed account"
    with system.imap(account) as mail:
        mail.select()
        assert b"sealed" in mail.part(1)
    put(system, account, old.replace(b"\r\n", b"\n"), "1500000000.M1P1.old:2,S")
    with system.imap(account) as mail:
        mail.ok("create", "Copies")
        assert mail.select() == 2
        texts = {uid: mail.part(uid) for uid in mail.uids()}
        (uid,) = [u for u, text in texts.items() if text == old]
        copy = mail.copy(uid, "Copies")
        mail.select("Copies")
        assert mail.part(copy) == old
    assert system.suites(account, "Copies") == [systems.SUITE_SEALED]
    assert len(system.logged("dovecot", mark, since)) == 1


def test_suite_0_beside_sealed(maildir):
    """So is what a plain account's file would be, put into a sealed account's mailbox; a plain account's own is no matter."""
    system, account, plain = maildir, maildir.account("private"), maildir.account("plain")
    deliver(system, account, messages.make(b"sealed\r\n"))
    deliver(system, plain, messages.make(b"not sealed\r\n"))
    (file,) = system.mail_files(plain)
    put(system, account, file.read_bytes(), "1500000000.M1P1.old:2,S")
    since = len(system.log("dovecot"))
    for reader, count in ((plain, 1), (account, 2)):
        with system.imap(reader) as mail:
            assert mail.select() == count
            assert any(b"not sealed" in mail.part(uid) for uid in mail.uids())
    (line,) = system.logged("dovecot", "not encrypted, in a sealed account", since)
    assert account.address in line


def test_an_account_that_is_sealed_meanwhile(system):
    """A session and a delivery that began while the account was plain: what they store afterwards is sealed."""
    account = system.account("plain")
    first, second, third = (messages.make(b"number %d\r\n" % n) for n in (1, 2, 3))
    with system.imap(account) as mail, system.lmtp() as lmtp:
        mail.append(first)
        for line in ("LHLO test.example", f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{account.address}>"):
            assert lmtp.command(line)[0] == 250
        system.ctl("account", "plan", account.address, "private", "--password-stdin", stdin=f"{account.password}\n".encode())
        mail.append(second)
        assert lmtp.command("DATA")[0] == 354
        lmtp.s.sendall(clients.dot_stuffed(third) + b".\r\n")
        assert lmtp.reply()[0] == 250
    assert system.suites(account) == [systems.SUITE_PLAIN, systems.SUITE_SEALED, systems.SUITE_SEALED]


def test_sizes_without_names(maildir):
    """A maildir name that carries no sizes: they come from the trailer, and the file keeps its name."""
    system, account = maildir, maildir.account("private")
    sent = messages.make(messages.text(200_000, seed=4))
    deliver(system, account, sent, messages.make(b"other\r\n"))
    (path, _) = [m.path for m in sealedfiles.messages(system, account)]
    bare = path.with_name(re.sub(r",[SW]=\d+", "", path.name))
    data = path.read_bytes()
    path.unlink()
    put(system, account, data, bare.name.split(":")[0] + ":2,")
    with system.imap(account) as mail:
        assert mail.select() == 2
        assert sorted(mail.size(u) == len(mail.part(u)) for u in mail.uids()) == [True, True]
    pop = system.pop3(account)
    sizes = {int(line.split()[1]) for line in pop.list()[1]}
    assert max(sizes) > 200_000 and max(sizes) == max(len(clients.retr(pop, n)) for n in (1, 2))
    pop.quit()
    assert glob.glob(f"{system.home(account)}/Maildir/cur/{bare.name.split(':')[0]}:*")


# --- what a session may cost and hold ---

def imap_pid(system, before):
    (pid,) = set(system.pids("dovecot", "imap")) - before
    return pid


def bytes_read(pid):
    with open(f"/proc/{pid}/io") as f:
        return int(f.readline().split()[1])


@pytest.mark.parametrize("storage,db", [("sdbox", "sqlite"), ("mdbox", "mariadb")])
def test_a_large_mails_header_costs_kilobytes(pool, storage, db):
    system = pool.get(storage, db)
    account, sent = system.account("private"), messages.make(messages.noise(20 * MIB, seed=20))
    with system.imap(account) as mail:
        mail.select()
        mail.append(sent)
    for f in system.home(account).rglob("dovecot.index.cache"):
        f.unlink()
    before = set(system.pids("dovecot", "imap"))
    with system.imap(account) as mail:
        mail.select()
        pid = imap_pid(system, before)
        at = bytes_read(pid)
        assert b"Subject: made to measure" in mail.part(1, "HEADER")
        assert mail.size(1) == len(sent)
        assert bytes_read(pid) - at < 128 * 1024


def test_the_mail_process_leaves_no_core(system):
    """Not dumpable: its /proc files are root's, though it runs as the mail user."""
    account = system.account("private")
    before = set(system.pids("dovecot", "imap"))
    with system.imap(account) as mail:
        mail.select()
        pid = imap_pid(system, before)
        status = open(f"/proc/{pid}/status").read()
        assert not re.search(r"^Uid:\t0\t", status, re.M)
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0


# --- no key daemon ---

@pytest.mark.limit(180)
def test_key_daemon_goes_and_comes_back(own_system):
    system = own_system()
    private, plain = system.account("private"), system.account("plain")
    for account in (private, plain):
        deliver(system, account, messages.make(b"before\r\n"))
    mail = system.imap(private)
    mail.select()
    lmtp = system.lmtp()
    assert lmtp.deliver(STRANGER, [plain.address], messages.make(b"two\r\n"))[plain.address][0][0] == 250
    system.stop("keyd")
    start = time.monotonic()
    with system.lmtp() as other:
        assert other.deliver(STRANGER, [private.address], messages.make(b"no\r\n"))[private.address][0][0] // 100 == 4
    assert lmtp.deliver(STRANGER, [plain.address], messages.make(b"no\r\n"))[plain.address][0][0] // 100 == 4
    with pytest.raises(imaplib.IMAP4.abort, match="key service"):  # test_bye.py has the rest
        mail.c.fetch("1", "(BODY.PEEK[])")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE|[Tt]emporary"):
        clients.Imap(system.port("imap"), private.address, private.password)
    assert time.monotonic() - start < 20
    system.start()
    reply = lmtp.deliver(STRANGER, [private.address, plain.address], messages.make(b"after\r\n"))
    assert [r[0] for (r,) in reply.values()] == [250, 250]
    mail.close()
    for account, count in ((private, 2), (plain, 3)):
        with system.imap(account) as mail:
            assert mail.select() == count
            assert mail.part(count).endswith(b"after\r\n")
    assert system.suites(private) == [systems.SUITE_SEALED] * 2


@pytest.mark.limit(180)
def test_an_old_database_is_noticed(own_system):
    """keyd's record is older than the one in the mail home: nothing is stored, and somebody should look."""
    system = own_system()
    account = system.account("private")
    database = system.env["KEYS_DB_URL"].removeprefix("sqlite:")
    system.stop("keyd")
    old = {p: open(p, "rb").read() for p in glob.glob(database + "*")}
    system.start()
    system.ctl("account", "passwd", account.address, "--old-password-stdin", "--password-stdin",
               stdin=f"{account.password}\nanother password 1\n".encode())
    deliver(system, account, messages.make(b"sealed to the new record\r\n"))
    system.stop("keyd")
    for p in glob.glob(database + "*"):
        os.unlink(p) if p not in old else open(p, "wb").write(old[p])
    system.start()
    since = len(system.log("dovecot"))
    assert refusal(system, account)[0] == 451
    assert system.logged("dovecot", "ALARM", since)


def test_a_removed_account_takes_no_mail_into_an_open_session(system):
    """The session that keyd ended does not lend its record for a mail that nobody could open."""
    gone = system.account("private")
    with system.imap(gone) as mail:
        mail.append(b"Subject: before\r\n\r\nbody\r\n")
        system.ctl("account", "remove", gone.address, "--yes")
        stored = len(system.mail_files(gone))
        try:
            assert mail.c.append("INBOX", None, None, b"Subject: after\r\n\r\nbody\r\n")[0] == "NO"
        except imaplib.IMAP4.abort:
            pass  # it was said goodbye to before
        assert len(system.mail_files(gone)) == stored == 1


def test_names_that_no_account_can_have_are_unknown(system):
    """Only for an address can keys have been lost: for the others mail does not wait, and nobody is alarmed."""
    alarms = system.log("dovecot").count("ALARM")
    replies = system.lmtp().deliver("x@out.example", ["root", "no spaces@example.org"], b"Subject: x\r\n\r\nx\r\n")
    assert [r[0][0] // 100 for r in replies.values()] == [5, 5], replies
    assert system.log("dovecot").count("ALARM") == alarms
