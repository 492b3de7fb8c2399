"""Mail programs of Debian with a sealed account: they fetch what was sent, and the same as from a Dovecot without Basalt;
mbsync and offlineimap also carry what changed here to the server and back, and a second run finds nothing to do."""
import re

import pytest

import clients
import hardmail
import mailprograms
import messages
import systems
import twins

# Sent with nothing that a program would have to mend.
TIDY = [m.read_bytes() for m in messages.samples() if m.stem[:2] in ("01", "02", "03", "07", "10", "11", "13")] + [
    messages.make(messages.text(n, seed=n), subject=f"{n} bytes", ident=f"tidy-{n}") for n in (40, 3000, 70_000, 400_000)]
ODD = [hardmail.ALL[name] for name in ("bare-lf", "forwarded-6", "report", "rfc2231", "folded-a-lot", "header-utf8", "parts-200",
                                       "preamble-and-epilogue", "html", "megabyte-and-more")]


@pytest.fixture(scope="module")
def both(pool):
    return pool.get(options=twins.OPTIONS), pool.get(options=("--plain", *twins.OPTIONS))


@pytest.fixture(scope="module")
def pair(both):
    """Programs that only fetch have one mailbox together."""
    made = twins.Twins(*both, "sdbox")
    made.append([*TIDY, *ODD])
    for system, account in zip(both, made.accounts):
        with system.imap(account) as mail:
            mail.select()
            mail.ok("store", "1:*", "-FLAGS", r"(\Deleted)")  # some programs would leave these out
    return made


def plain_of(text):
    """A message without what programs add to it or put elsewhere; the blank lines at its end are mbox's."""
    header, _, body = text.partition(b"\r\n\r\n")
    lines = re.sub(rb"\r\n(?=[ \t])", b"\0", header).split(b"\r\n")
    kept = [line for line in lines if not re.match(rb"(?i)(X-TUID|X-getmail-[\w-]*|Content-Length|Lines|Status|Return-Path):", line)]
    return b"\r\n".join(sorted(kept)) + b"\r\n\r\n" + body.rstrip(b"\r\n")


def with_imaplib(box):
    with box.system.imap(box.account) as mail:
        for n, uid in enumerate(range(1, mail.select() + 1)):
            box.put(mail.part(uid), flags=f"S,{n}")


def with_poplib(box):
    p = box.system.pop3(box.account)
    for n in range(1, p.stat()[0] + 1):
        box.put(clients.retr(p, n))
    p.quit()


def with_mutt(box):
    mailprograms.mutt(box, f"<tag-pattern>~A<enter><tag-prefix><copy-message>{box.local}/INBOX<enter><exit>")


PROGRAMS = {
    "imaplib": with_imaplib,
    "poplib": with_poplib,
    "mbsync": mailprograms.mbsync,
    "offlineimap": mailprograms.offlineimap,
    "mutt": with_mutt,
    "fetchmail-imap": lambda box: mailprograms.fetchmail(box, "imap"),
    "fetchmail-pop3": lambda box: mailprograms.fetchmail(box, "pop3"),
    "getmail-imap": lambda box: mailprograms.getmail(box, "IMAP"),
    "getmail-pop3": lambda box: mailprograms.getmail(box, "POP3"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_fetches(both, pair, tmp_path, name):
    found = []
    for system, account, where in zip(both, pair.accounts, ("sealed", "stock")):
        box = mailprograms.Box(tmp_path / where, system, account)
        PROGRAMS[name](box)
        mails = box.mails("INBOX" if (box.local / "INBOX").exists() else ".")
        assert len(mails) == len(TIDY) + len(ODD)
        found.append(sorted(plain_of(m) for m in mails))
    assert found[0] == found[1]
    missing = [m[:300] for m in map(plain_of, TIDY) if m not in found[0]]
    assert missing == []


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_getmail_takes_what_is_new(both, tmp_path, protocol):
    """It remembers what it has by UIDL, or by UID and UIDVALIDITY."""
    pair = twins.Twins(*both, "sdbox")
    pair.append(TIDY[:4])
    box = mailprograms.Box(tmp_path / "box", both[0], pair.accounts[0])
    for more in ([], [], TIDY[4:6]):
        with both[0].imap(pair.accounts[0]) as mail:
            for message in more:
                mail.append(message)
        mailprograms.getmail(box, protocol, every=False)
        assert len(box.files()) == 4 + len(more)


def test_mutt_sends_and_deletes(both, tmp_path):
    """What it sends is filed in Sent; what it deletes is gone."""
    system = both[0]
    account = system.account("private", name="sdbox-mutt")
    with system.imap(account) as mail:
        mail.ok("create", "Sent")
        for message in TIDY:
            mail.append(message)
    box = mailprograms.Box(tmp_path / "box", system, account)
    mailprograms.mutt_send(box, "a mail of mutt", b"its text\nof two lines\n")
    mailprograms.mutt(box, "<first-entry><delete-message><tag-pattern>~z50000-<enter><tag-prefix><flag-message><quit>")
    with system.imap(account) as mail:
        mail.select("Sent")
        text = mail.part(1)
        assert b"Subject: a mail of mutt\r\n" in text and text.endswith(b"\r\n\r\nits text\r\nof two lines\r\n")
        assert mail.select() == len(TIDY) - 1
        assert {u for u in mail.uids("FLAGGED")} == set(mail.uids("LARGER 50000")) != set()
    assert set(system.suites(account)) == {systems.SUITE_SEALED}


# --- in both directions ---

SYNC = {"mbsync": mailprograms.mbsync, "offlineimap": mailprograms.offlineimap}


def state(box):
    """All that could have changed: on the server, flags and UIDs and the number of changes; here, files and when they were written."""
    found = {}
    with box.system.imap(box.account) as mail:
        for folder in ("INBOX", "Notes"):
            if mail.c.select(folder)[0] == "OK":
                found[folder] = (mail.ok("status", folder, "(HIGHESTMODSEQ UIDNEXT)"), mail.ok("fetch", "1:*", "(UID FLAGS)"))
        found["here"] = {(f.parent.parent.name, f.name, f.stat().st_mtime_ns) for f in box.local.rglob("*") if "," in f.name}
    return found


def file_of(box, subject, folder="INBOX"):
    (file,) = [f for f in box.files(folder) if b"Subject: " + subject + b"\n" in f.read_bytes()]
    return file


def subjects(mail):
    """{subject: flags} of the selected folder."""
    found = {}
    for uid in mail.uids():
        subject = mail.part(uid, "HEADER.FIELDS (SUBJECT)").split(b": ", 1)[1].strip()
        flags = re.search(rb"FLAGS \(([^)]*)\)", mail.fetch(uid, "(FLAGS)")[0])[1].split()
        found[subject] = {f for f in flags if f != rb"\Recent"}
    return found


def tidy(n):
    return messages.make(messages.text(500 * n + 40, seed=n), subject=f"mail {n}", ident=f"sync-{n}")


@pytest.mark.parametrize("name,storage", [("mbsync", "mdbox"), ("offlineimap", "maildir"), ("mbsync", "sdbox")])
def test_both_directions(both, tmp_path, name, storage):
    system, sync = both[0], SYNC[name]
    account = system.account("private", name=f"{storage}-{name}")
    box = mailprograms.Box(tmp_path / "box", system, account)
    with system.imap(account) as mail:
        for n in range(6):
            mail.append(tidy(n))
    sync(box)
    assert [plain_of(m) for m in box.mails("INBOX")] == sorted(plain_of(tidy(n)) for n in range(6))
    before = state(box)
    sync(box)
    assert state(box) == before

    box.put(tidy(10), "INBOX")
    box.put(tidy(11), "Notes", flags="F")
    file_of(box, b"mail 1").unlink()
    seen = file_of(box, b"mail 2")
    seen.rename(seen.parent.parent / "cur" / (seen.name.partition(":")[0] + ":2,FS"))
    with system.imap(account) as mail:
        mail.select()
        mail.ok("uid", "STORE", "4", "+FLAGS", r"(\Answered)")
        mail.ok("uid", "STORE", "5", "+FLAGS", r"(\Deleted)")
        mail.ok("expunge")
        mail.append(tidy(12))
    sync(box)
    with system.imap(account) as mail:
        mail.select()
        now = subjects(mail)
        assert set(now) == {b"mail %d" % n for n in (0, 2, 3, 5, 10, 12)}
        assert now[b"mail 2"] == {rb"\Flagged", rb"\Seen"} and now[b"mail 3"] == {rb"\Answered"} and now[b"mail 10"] == {rb"\Seen"}
        uploaded = mail.part(int(mail.uids("SUBJECT 10")[0]))
        assert plain_of(uploaded) == plain_of(tidy(10))
        mail.select("Notes")
        assert subjects(mail) == {b"mail 11": {rb"\Flagged"}}
    assert [plain_of(m) for m in box.mails("INBOX")] == sorted(plain_of(tidy(n)) for n in (0, 2, 3, 5, 10, 12))
    assert file_of(box, b"mail 3").name.endswith("R")
    before = state(box)
    sync(box)
    assert state(box) == before
    assert set(system.suites(account)) == {systems.SUITE_SEALED}
