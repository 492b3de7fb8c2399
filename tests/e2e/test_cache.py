"""The sealed index cache: answers without the mail's file and without keyd, what is in the file, and blobs that lie.

That the answers are plain Dovecot's, cold and warm, for hard mail, too: test_clients.py.
"""
import collections
import email.utils
import os
import re
import signal
import time

import pytest

import messages
import probes
import rawimap
import systems
import twins

SENDER = "stranger@out.example"
MAIL = [*(p.read_bytes() for p in messages.samples()), messages.many_parts(4), messages.make(messages.text(200_000), subject="large")]
LISTS = [b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", b"FETCH 1:* (BODYSTRUCTURE)", b"FETCH 1:* (BODY)",
         b"FETCH 1:* (BODY.PEEK[HEADER])", b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM X-NONE RECEIVED)])",
         b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)])", b"SEARCH SUBJECT a", b"SEARCH FROM e", b"SEARCH HEADER Message-ID e",
         b"SEARCH SENTSINCE 1-Jan-2010", b"SEARCH LARGER 2000", b"SORT (SUBJECT) UTF-8 ALL", b"SORT (DATE SIZE) UTF-8 ALL",
         b"SORT (FROM ARRIVAL) UTF-8 ALL", b"THREAD REFERENCES UTF-8 ALL"]
READS = [b"FETCH 1:* (BODY.PEEK[])", b"FETCH 1:* (BODY.PEEK[1])", b"FETCH 1:* (BODY.PEEK[TEXT]<0.100>)"]


@pytest.fixture(scope="module")
def system(pool):
    """All storages in one: an account's name says which."""
    return pool.get(options=twins.OPTIONS)


def deliver(system, account, mails):
    with system.lmtp() as lmtp:
        for mail in mails:
            (reply,) = lmtp.deliver(SENDER, [account.address], mail)[account.address]
            assert reply[0] == 250, reply


def account_with(system, storage, mails=MAIL, plan="private"):
    account = system.account(plan, name=f"{storage}-cache-{system.accounts}")
    deliver(system, account, mails)
    return account


def session(system, account, folder=b"INBOX"):
    c = rawimap.Raw(system.port("imap"))
    c.login(account.address, account.password)
    assert c.command(b"SELECT " + folder)[-1].startswith(b"x OK")
    return c


def answers(system, account, commands, folder=b"INBOX"):
    with session(system, account, folder) as c:
        return [asked(c, command) for command in commands]


def asked(c, command):
    """Without \\Recent, which the first session gets."""
    return [re.sub(rb"\\Recent ?", b"", r) for r in rawimap.same(c.command(command)) if not r.endswith((b"EXISTS\r\n", b"RECENT\r\n"))]


def caches(system, account):
    found = list(system.home(account).rglob("dovecot.index.cache"))
    assert found
    return found


def forget(system, account):
    for f in caches(system, account):
        f.unlink()


class Unreadable:
    """The account's mail files can't be opened by the mail user."""

    def __init__(self, system, account):
        self.files = lambda: system.mail_files(account)  # maildir moves them
        assert self.files()

    def __enter__(self):
        for f in self.files():
            f.chmod(0)

    def __exit__(self, *_):
        for f in self.files():
            f.chmod(0o600)


class Stopped:
    """keyd answers nobody."""

    def __init__(self, system):
        self.pids = system.pids("keyd")

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def no_plaintext(system, account):
    for f in caches(system, account):
        raw = f.read_bytes()
        assert b"basalt." in raw
        for mail in MAIL:
            for line in mail.split(b"\r\n\r\n")[0].split(b"\r\n"):
                value = line.split(b":", 1)[-1].strip()
                assert len(value) < 12 or value not in raw, line


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_what_was_delivered_is_listed_without_its_file(system, storage):
    """A first listing asks keyd and opens no file; the second does not ask either; what they say is what the files say."""
    account = account_with(system, storage)
    with Unreadable(system, account):
        cold = answers(system, account, LISTS)
        assert all(a[-1].startswith(b"x OK") for a in cold), [a[-1] for a in cold]
        with session(system, account) as c:
            asked(c, b"FETCH 1 (ENVELOPE)")  # brings the session's cache key
            with Stopped(system):
                warm = [asked(c, command) for command in LISTS]
    assert warm == cold
    no_plaintext(system, account)
    forget(system, account)
    assert answers(system, account, LISTS) == cold, "as the files say it"
    with Unreadable(system, account):
        assert answers(system, account, LISTS) == cold, "as it was learned from the files"
    no_plaintext(system, account)


def test_a_body_is_read_without_asking_for_its_key(system):
    """Its data key stands in the blob of the first listing."""
    account = account_with(system, "sdbox")
    told = answers(system, account, [*LISTS[:1], *READS])[1:]
    with session(system, account) as c:
        asked(c, b"FETCH 1 (ENVELOPE)")
        with Stopped(system):
            assert [asked(c, command) for command in READS] == told


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_copies(system, storage):
    """A copy's blob is its own: nothing of it is read from its file."""
    account = account_with(system, storage)
    with session(system, account) as c:
        for command in (b"CREATE Copies", b"CREATE Moved", b"COPY 1:* Copies", b"FETCH 1:3 (ENVELOPE)", b"MOVE 1:3 Moved"):
            assert c.command(command)[-1].startswith(b"x OK")
    with Unreadable(system, account):
        copies = answers(system, account, LISTS, b"Copies")
        moved = answers(system, account, LISTS, b"Moved")
    assert all(a[-1].startswith(b"x OK") for a in copies + moved)
    forget(system, account)
    assert answers(system, account, LISTS, b"Copies") == copies
    assert answers(system, account, LISTS, b"Moved") == moved
    assert answers(system, account, READS, b"Copies")[0][-1].startswith(b"x OK")


def blob_spans(raw):
    """[(start, end)] of the blobs in a cache file: Dovecot's field head (number, size) and our first bytes (docs/FORMAT.cache.md)."""
    found = []
    for m in re.finditer(rb"(?s)[\0-\x7f]\0\0\0(..\0\0)\x01[\x01\x02]\0\0", raw):
        size = int.from_bytes(m[1], "little")
        if 50 < size <= len(raw) - m.end() + 4:
            found.append((m.end() - 4, m.end() - 4 + size))
    return found


def flip_all(raw, spans, at):
    for start, end in spans:
        raw[start + at if at >= 0 else end + at] ^= 0x04


FORGERIES = {
    "version": lambda raw, spans: flip_all(raw, spans, 0),
    "kind": lambda raw, spans: flip_all(raw, spans, 1),
    "nonce": lambda raw, spans: flip_all(raw, spans, 10),
    "prefix": lambda raw, spans: flip_all(raw, spans, 70),
    "last byte": lambda raw, spans: flip_all(raw, spans, -1),
    "zeros": lambda raw, spans: [raw.__setitem__(slice(a, b), bytes(b - a)) for a, b in spans],
}


@pytest.mark.parametrize("listed", [False, True], ids=["fresh", "listed"])
def test_forged_blobs(system, listed):
    """Whatever a byte of the cache says: the answers are the files', nothing is refused, nobody is disconnected."""
    account = account_with(system, "sdbox")
    forget(system, account)
    truth = answers(system, account, LISTS)
    for how, forge in FORGERIES.items():
        account = account_with(system, "sdbox", MAIL)
        dates = answers(system, account, [b"FETCH 1:* (INTERNALDATE)"]) if listed else None
        (file,) = caches(system, account)
        raw = bytearray(file.read_bytes())
        spans = blob_spans(raw)
        assert len(spans) >= len(MAIL), how
        forge(raw, spans)
        st = file.stat()
        file.write_bytes(raw)
        os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns))
        told = answers(system, account, LISTS)
        for command, said, meant in zip(LISTS, told, truth):
            if b"INTERNALDATE" not in command and b"HEADER" not in command and b"ARRIVAL" not in command:
                assert said == meant, (how, command)
            assert said[-1].startswith(b"x OK"), (how, command, said[-1])
        assert dates is None or answers(system, account, [b"FETCH 1:* (INTERNALDATE)"]) == dates
    assert "Panic" not in system.log("dovecot")


@pytest.mark.parametrize("listed", [False, True], ids=["delivered", "listed"])
def test_blobs_of_other_mails(system, listed):
    """Each mail's blob in the place of another's, of the same size, so that Dovecot finds it well: both kinds."""
    texts = [messages.make(b"text %d\r\n" % n, subject=f"number {n}", ident=f"ident{n}") for n in range(6)]
    account = account_with(system, "sdbox", texts)
    if listed:
        answers(system, account, LISTS[:5])
    (file,) = caches(system, account)
    raw = bytearray(file.read_bytes())
    by_size = collections.defaultdict(list)
    for a, b in blob_spans(raw):
        by_size[raw[a + 1], b - a].append((a, b))
    assert {kind for (kind, _), group in by_size.items() if len(group) > 1} == ({1, 2} if listed else {1})
    for group in by_size.values():
        blobs = [bytes(raw[a:b]) for a, b in group]
        for (a, b), blob in zip(group, blobs[1:] + blobs[:1]):
            raw[a:b] = blob
    file.write_bytes(raw)
    for _ in range(2):
        with session(system, account) as c:
            said = b"".join(asked(c, b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            assert re.findall(rb"Subject: (number \d)", said) == [b"number %d" % n for n in range(6)]


def test_another_file_in_a_mails_place(system):
    """The blob kept what the file was: the log says so, and from then on the file counts."""
    account = account_with(system, "sdbox", [messages.make(b"one\r\n", subject="first"), messages.make(b"two\r\n", subject="second")])
    answers(system, account, LISTS)
    first, second = system.mail_files(account)
    since = len(system.log("dovecot"))
    first.write_bytes(second.read_bytes())
    with session(system, account) as c:
        assert b"two" in b"".join(asked(c, b"FETCH 1 (BODY.PEEK[TEXT])"))
    with session(system, account) as c:
        assert b"Subject: second" in b"".join(asked(c, b"FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    (line,) = [line for line in system.logged("dovecot", "ALARM: the file is not the one", since) if "UID 1" in line]
    assert account.address in line


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_no_alarm_for_what_was_learned_without_the_file(system, storage):
    """Sizes and dates are listed first, from Dovecot's own records; then the mails are read."""
    account = account_with(system, storage, MAIL[:3])
    told = answers(system, account, [*LISTS, *READS])
    forget(system, account)
    since = len(system.log("dovecot"))
    answers(system, account, [b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", b"LOGOUT"])
    assert answers(system, account, [*LISTS, *READS]) == told
    assert system.logged("dovecot", "Disconnected: Logged out", since)
    assert "ALARM" not in system.log("dovecot")[since:]


def saved(c):
    (date,) = re.findall(rb'SAVEDATE "([^"]+)"', b"".join(asked(c, b"FETCH 1 (SAVEDATE)")))
    return email.utils.mktime_tz(email.utils.parsedate_tz(date.decode().replace("-", " ")))


@pytest.mark.parametrize("how", [b"COPY", b"MOVE"])
def test_a_copys_date_of_saving_is_its_own(system, how):
    """Autoexpunge goes by it: with the source's a mail just moved to the bin would be gone."""
    account = account_with(system, "sdbox", MAIL[:1])
    with session(system, account) as c:
        before = saved(c)
        asked(c, LISTS[0])
        assert c.command(b"CREATE Bin")[-1].startswith(b"x OK")
        probes.wait_for(lambda: time.time() >= before + 3)
        assert c.command(how + b" 1 Bin")[-1].startswith(b"x OK")
    for _ in range(2):
        with session(system, account, b"Bin") as c:
            assert saved(c) >= before + 3


def test_two_sessions_and_changes(system):
    """Mail comes and goes while two sessions have the mailbox open; then a purge, a lost index and a resync."""
    account = account_with(system, "sdbox", MAIL[:2])
    with session(system, account) as a, session(system, account) as b:
        asked(a, LISTS[0])
        deliver(system, account, [messages.make(b"later\r\n", subject="later")])
        for c in (a, b):
            c.command(b"NOOP")
            assert b"later" in b"".join(asked(c, b"FETCH 3 (ENVELOPE)"))
        for command in (b"STORE 1 +FLAGS (\\Deleted)", b"EXPUNGE"):
            assert a.command(command)[-1].startswith(b"x OK")
        b.command(b"NOOP")
        assert asked(a, LISTS[0]) == asked(b, LISTS[0])
    truth = answers(system, account, LISTS)
    for args in (["force-resync"], ["purge"], ["index"], ["mailbox", "cache", "purge"]):
        where = [] if args == ["purge"] else ["INBOX"]
        system.doveadm(*args, "-u", account.address, *where)
        assert answers(system, account, LISTS) == truth, args
    no_plaintext(system, account)
    assert "Panic" not in system.log("dovecot")


def test_a_process_without_a_session(system):
    """doveadm lists nothing of a sealed mail, and leaves nothing wrong."""
    account = account_with(system, "sdbox")
    system.doveadm("fetch", "-u", account.address, "hdr.subject imap.envelope size.virtual", "all")
    with Unreadable(system, account):
        told = answers(system, account, LISTS)
    forget(system, account)
    system.doveadm("fetch", "-u", account.address, "hdr.subject imap.bodystructure", "all")
    assert answers(system, account, LISTS) == told


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_pop3_knows_the_sizes(system, storage):
    account = account_with(system, storage)
    with Unreadable(system, account):
        pop = system.pop3(account)
        sizes = [int(line.split()[1]) for line in pop.list()[1]]
        pop.quit()
    with session(system, account) as c:
        assert sizes == [int(n) for n in re.findall(rb"RFC822.SIZE (\d+)", b"".join(asked(c, b"FETCH 1:* (RFC822.SIZE)")))]


def test_a_plain_account_keeps_dovecots_cache_until_it_is_sealed(system):
    account = account_with(system, "sdbox", plan="plain")
    told = answers(system, account, LISTS)
    raw = b"".join(f.read_bytes() for f in caches(system, account))
    assert b"imap.envelope" in raw and b"harbour.example" in raw and b"basalt.message" not in raw
    system.ctl("account", "plan", account.address, "private", "--password-stdin", stdin=account.password.encode() + b"\n")
    assert answers(system, account, LISTS) == told
    no_plaintext(system, account)


def test_a_header_that_no_cache_takes(system):
    """Above what Dovecot keeps of one mail: read from the file each time, and the others are not disturbed."""
    large = messages.make(b"body\r\n", subject="huge", header=[f"X-{n}: {os.urandom(700).hex()}" for n in range(80)])
    account = account_with(system, "sdbox", [MAIL[0], large, MAIL[1]])
    told = answers(system, account, LISTS)
    assert b"huge" in b"".join(told[0]) and told == answers(system, account, LISTS)
