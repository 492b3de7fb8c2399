"""What a listing shows of mail that can't be read: a locked mailbox, an index that remembers, keys that are only away; large
mails that break in the middle; and what Dovecot itself repairs. The kinds of damage: test_damaged.py."""
import imaplib
import os
import pathlib
import re
import subprocess

import pytest

import clients
import damage
import messages
import probes
import sealedfiles
import systems
import twins
from test_plugin_settings import Configured

LISTING = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT X-BASALT-UNREADABLE)])"


@pytest.fixture(scope="module")
def site(tmp_path_factory, pool):
    file = tmp_path_factory.mktemp("locked") / "more.conf"
    file.write_text("")
    system = systems.System([*systems.CHEAP_KDF, "--set", f"dovecot.include={file}"])
    yield Configured(system.start(), file)
    system.remove()


def filled(system, name=None):
    """An account with three mails."""
    account = system.account(name=name)
    account.sent = [probes.marked(f"mail {i}") for i in range(3)]
    for message in account.sent:
        assert probes.lmtp(system, account, message) == 250
    with system.imap(account) as mail:
        mail.select()  # maildir: into cur/
    return account


@pytest.fixture
def alice(site):
    return filled(site.system)


def flat(data):
    return b" ".join(d[0] + b" " + d[1] if isinstance(d, tuple) else d for d in data if d)


def forget(system, account):
    """What the index cache knows of the account's mail."""
    for cache in system.home(account).rglob("dovecot.index.cache*"):
        cache.unlink()


def refusal(mail, uid, section=""):
    status, data = mail.c.uid("FETCH", str(uid), f"(BODY.PEEK[{section}])")
    return data[-1].decode() if status != "OK" else None


# --- locked ---

@pytest.mark.parametrize("known", [True, False], ids=["cached", "not-cached"])
@pytest.mark.parametrize("text", ["yes", "Locked: log in at https://mail.example.org/ once"], ids=["default", "own-text"])
def test_locked_mailbox(site, alice, known, text):
    """Lists sealed mail with one text, moves and deletes it as it is, reads nothing; what is stored is sealed."""
    system = site.system
    with system.imap(alice) as mail:
        mail.select()
        mail.ok("create", "elsewhere")
        sizes = re.findall(rb"RFC822.SIZE \d+", flat(mail.fetch("1:*", LISTING)))
    if not known:
        forget(system, alice)
    before = {m.read() for m in sealedfiles.messages(system, alice)}
    site.set(f"plugin {{\n  basalt_locked = {text}\n}}\n")
    since = len(system.log("dovecot"))
    with system.imap(alice) as mail:
        assert mail.select() == 3
        listing = flat(mail.fetch("1:*", LISTING))
        shown = text if text != "yes" else "Mailbox is locked"
        assert listing.count(f"Subject: [{shown}".encode()) == 3 and listing.count(b"X-Basalt-Unreadable: locked") == 3
        assert not [m for m in alice.sent if probes.word(m) in listing] and b"mail 0" not in listing
        assert re.findall(rb"RFC822.SIZE \d+", listing) == sizes and len(sizes) == 3
        for uid in (1, 2, 3):
            assert f"[PARSE] {shown}" in refusal(mail, uid) and shown in refusal(mail, uid, "TEXT") and shown in refusal(mail, uid, "1")
            mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Flagged)")
        mail.copy(1, "elsewhere")
        mail.copy(2, "elsewhere", "MOVE")
        new = mail.append(probes.marked("stored while locked"))
        assert set(system.suites(alice)) == {systems.SUITE_SEALED}
        mail.ok("uid", "STORE", f"3,{new}", "+FLAGS", r"(\Deleted)")
        mail.ok("expunge")
        assert mail.uids() == [1] and mail.select("elsewhere") == 2
    pop = system.pop3(alice)
    assert pop.stat()[0] == 1
    with pytest.raises(clients.poplib.error_proto, match="-ERR"):
        pop.retr(1)
    pop.quit()
    assert "can't read" not in system.log("dovecot")[since:], "that is no news"
    site.set("")
    assert {m.read() for m in sealedfiles.messages(system, alice)} < before, "no byte was changed"
    assert probes.shown(system, alice) == [probes.word(alice.sent[0])]
    assert probes.shown(system, alice, folder="elsewhere") == [probes.word(m) for m in alice.sent[:2]]


def test_substitute_is_not_kept(site, alice):
    """Neither in the index cache nor anywhere else: the next session without the lock sees the mail."""
    system = site.system
    forget(system, alice)
    site.set("plugin {\n  basalt_locked = yes\n}\n")
    with system.imap(alice) as mail:
        mail.select()
        mail.fetch("1:*", LISTING)
        mail.ok("uid", "SORT", "(SUBJECT DATE)", "UTF-8", "ALL")
        mail.ok("uid", "SEARCH", "TEXT", "x")
    site.set("")
    with system.imap(alice) as mail:
        mail.select()
        listing = flat(mail.fetch("1:*", LISTING))
    assert b"Unreadable: " not in listing and b"postmaster" not in listing
    assert all(listing.count(b"Subject: mail %d" % i) == 1 for i in range(3))


# --- what the index knows, and what may pass ---

def test_index_remembers(site, alice):
    """Of a mail that is nothing but zeros the listing shows what it was, as long as the index cache has it."""
    system = site.system
    for m in sealedfiles.messages(system, alice):
        m.write(0, bytes(m.length))
    with system.imap(alice) as mail:
        mail.select()
        listing = flat(mail.fetch("1:*", LISTING))
        assert all(listing.count(b"Subject: mail %d" % i) == 1 for i in range(3)) and b"Unreadable: " not in listing
        assert all(listing.count(b'"mail %d"' % i) == 1 for i in range(3)), "ENVELOPE"
        assert [refusal(mail, uid)[:27] for uid in (1, 2, 3)] == ["[PARSE] Message is damaged "] * 3
    forget(system, alice)
    with system.imap(alice) as mail:
        mail.select()
        listing = flat(mail.fetch("1:*", LISTING))
        assert listing.count(b"X-Basalt-Unreadable: damaged") == 3


def test_keys_that_are_away_are_no_damage(own_system):
    """keyd dies in a session: the listing fails, and shows nothing made up that a client would keep."""
    system = own_system(*systems.CHEAP_KDF)
    account = system.account()
    assert probes.lmtp(system, account, probes.marked("away")) == 250
    forget(system, account)
    mail = system.imap(account)
    mail.select()
    system.kill("keyd")
    probes.wait_for(lambda: not system.pids("keyd"))
    try:
        status, data = mail.c.fetch("1:*", LISTING)
        assert status == "NO" and b"postmaster" not in flat(data)
        assert b"postmaster" not in flat(d for d in mail.c.untagged_responses.get("FETCH", []))
    except imaplib.IMAP4.abort as e:
        assert "postmaster" not in str(e)
    mail.close()


class Away:
    """The mail's file can't be read for a while: without permission, on a disk that gives errors, or not there at all."""

    def __init__(self, fault, file):
        self.fault, self.file, self.kept = fault, file, file.with_name("kept-aside")
        self.process = None

    def __enter__(self):
        if self.fault == "EACCES":
            self.file.chmod(0)
            return
        self.file.rename(self.kept)
        if self.fault == "EIO":  # the memory of a process gives this error where nothing is mapped
            self.process = subprocess.Popen(["sleep", "600"], user=probes.UID_MAIL, group=probes.UID_MAIL, extra_groups=[])
            probes.wait_for(lambda: pathlib.Path(f"/proc/{self.process.pid}/comm").read_text() == "sleep\n")
            self.file.symlink_to(f"/proc/{self.process.pid}/mem")

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.file.unlink()
        if self.fault == "EACCES":
            self.file.chmod(0o600)
        else:
            self.kept.rename(self.file)


@pytest.mark.parametrize("fault", ["EACCES", "EIO"])
@pytest.mark.parametrize("storage", ["sdbox", "maildir", "mdbox"])
def test_a_file_that_can_not_be_read_now(pool, storage, fault):
    """Neither damage nor anything that a client would keep: a passing fault, by IMAP and POP3. Afterwards all is as it was."""
    system = pool.get(options=twins.OPTIONS)
    account = filled(system, f"{storage}-away-{system.accounts}")
    forget(system, account)
    bad = sealedfiles.messages(system, account)[1].path
    with Away(fault, bad):
        for items in ("(BODY.PEEK[])", LISTING):
            with system.imap(account) as mail:  # one for each: Dovecot ends the session of who asks again at once
                mail.select()
                status, data = mail.c.uid("FETCH", "2", items)
                assert status == "NO" and b"at the moment" in data[-1] and b"[PARSE]" not in data[-1], data
        with system.imap(account) as mail:
            mail.select()
            status, data = mail.c.fetch("1:*", LISTING)
            told = flat(mail.c.untagged_responses.get("FETCH", []) + data)
            assert status == "NO" and b"postmaster" not in told and b"Unreadable: " not in told
            assert storage == "mdbox" or b"mail 0" in told and b"mail 2" in told, "the others are listed"
        pop = system.pop3(account)
        # Dovecot calls a mail that it could size but not open "expunged", whatever the reason.
        with pytest.raises(clients.poplib.error_proto, match=r"\[SYS/TEMP\]|Message 2 expunged"):
            pop.retr(2)
        pop.close()
    assert probes.shown(system, account) == [probes.word(m) for m in account.sent]
    assert not (system.home(account) / "basalt" / "damaged").exists()


@pytest.mark.parametrize("storage", ["sdbox", "maildir"])
def test_a_file_that_is_not_there_now(pool, storage):
    """Dovecot takes the mail for expunged, and sdbox ends the session for it. It is never shown as damaged, and comes back with its file."""
    system = pool.get(options=twins.OPTIONS)
    account = filled(system, f"{storage}-gone-{system.accounts}")
    forget(system, account)
    with Away("ENOENT", sealedfiles.messages(system, account)[1].path), system.imap(account) as mail:
        mail.select()
        try:
            told = flat(mail.c.uid("FETCH", "1:*", LISTING)[1])
        except imaplib.IMAP4.abort as e:
            told = str(e).encode() + flat(mail.c.untagged_responses.get("FETCH", []))
        assert b"[PARSE]" not in told and b"postmaster" not in told and b"Unreadable: " not in told
    system.doveadm("force-resync", "-u", account.address, "INBOX")
    assert sorted(probes.shown(system, account)) == sorted(probes.word(m) for m in account.sent)


# --- large mails ---

def test_large_mail_breaks_in_the_middle_once(site):
    """3 MB: its header is listed, its transfer breaks off once, from then on it is a NO; its beginning can be read."""
    system, account = site.system, site.system.account()
    sent = messages.make(messages.noise(3 << 20, seed=3), subject="large")
    assert probes.lmtp(system, account, sent) == 250
    since = len(system.log("dovecot"))
    s = damage.Sealed(sealedfiles.messages(system, account)[0].path)
    s.flip(s.chunks[30].start + 100)
    forget(system, account)
    mail = system.imap(account)
    mail.select()
    assert b"Subject: large" in flat(mail.fetch("1", "(BODY.PEEK[HEADER])"))
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        mail.c.uid("FETCH", "1", "(BODY.PEEK[])")
    with system.imap(account) as mail:
        mail.select()
        assert refusal(mail, 1).startswith("[PARSE] Message is damaged") and refusal(mail, 1, "TEXT")
        assert b"Subject: large" in flat(mail.fetch("1", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        mail.ok("create", "there")
        mail.copy(1, "there", "MOVE")
        assert mail.uids() == []
    system.logged("dovecot", "can't read", since, count=2)
    lines = [line for line in system.log("dovecot").splitlines() if f"({account.address})" in line and "can't read" in line]
    assert len(lines) == 2 and all(s.file.name in line or "u." in line for line in lines), "once a session"


# --- what Dovecot repairs ---

def frame_of(file):
    raw = file.read_bytes()
    return raw.index(b"\n") + 1, raw


FRAMES = {
    "first-line": lambda f: f.write_bytes(b"XX" + f.read_bytes()[2:]),
    "first-byte-zero": lambda f: f.write_bytes(b"\0" + f.read_bytes()[1:]),
    "message-magic": lambda f: f.write_bytes(f.read_bytes().replace(b"\1\2N ", b"\1\7N ", 1)),
    "message-line-end": lambda f: f.write_bytes((r := f.read_bytes())[:frame_of(f)[0] + 29] + b"x" + r[frame_of(f)[0] + 30:]),
    "block-of-zeros": lambda f: f.write_bytes(bytes(4096) + f.read_bytes()[4096:]),
    "cut-in-the-first-line": lambda f: os.truncate(f, 5),
    "cut-in-the-message-header": lambda f: os.truncate(f, 30),
    "empty": lambda f: os.truncate(f, 0),
    "missing": pathlib.Path.unlink,
}


def listed(system, account):
    """All that can be listed, with as many logins as that takes: Dovecot's rebuilding ends sessions."""
    for _ in range(4):
        try:
            with system.imap(account) as mail:
                mail.select()
                status, data = mail.c.fetch("1:*", LISTING)
                if status == "OK":
                    mail.c.noop()
                    return [mail.part(u) if refusal(mail, u) is None else None for u in mail.uids()]
        except (imaplib.IMAP4.error, OSError):
            continue
    raise AssertionError("it stays broken")


@pytest.mark.parametrize("name", FRAMES)
def test_beginning_of_an_sdbox_frame(site, name):
    """Dovecot repairs or drops the mail, and keeps a copy of the broken file; its neighbours lose nothing."""
    system, account = site.system, site.system.account()
    sent = [messages.make(messages.noise(9000, seed=i), subject=f"{i}") for i in range(3)]
    for message in sent:
        assert probes.lmtp(system, account, message) == 250
    file = system.home(account) / "mail" / "mailboxes" / "INBOX" / "dbox-Mails" / "u.2"
    FRAMES[name](file)
    bodies = listed(system, account)
    assert bodies[0].endswith(sent[0]) and bodies[-1].endswith(sent[2])
    if len(bodies) == 3:
        assert bodies[1] is None or bodies[1].endswith(sent[1]), "whole, or refused"
    else:
        assert name == "missing" or file.with_name("u.2.broken").exists()
    assert not [line for line in system.log("dovecot").splitlines() if account.address in line and "Panic" in line]


@pytest.mark.parametrize("change", [lambda f: os.truncate(f, 120_000), pathlib.Path.unlink,
                                    lambda f: f.write_bytes(b"x" + f.read_bytes())],
                         ids=["cut", "missing", "shifted"])
def test_mdbox_whose_map_lies(pool, change):
    """One file of many is not what the map says: mail in the others stays readable, whatever Dovecot makes of that one."""
    system = pool.get("mdbox", "sqlite", ("--set", "dovecot.mdbox_rotate_size=256k"))
    account = system.account()
    sent = [messages.make(messages.noise(100_000, seed=i), subject=f"{i}") for i in range(8)]
    for message in sent:
        assert probes.lmtp(system, account, message) == 250
    files = sorted(system.mail_files(account))
    assert len(files) >= 3
    change(files[0])
    whole = [b for b in listed(system, account) if b is not None]
    assert len(whole) >= 8 - 3, "a file holds two or three of them"
    assert all(any(b.endswith(m) for m in sent) for b in whole), "nothing that was not sent"
    assert not [line for line in system.log("dovecot").splitlines() if account.address in line and "Panic" in line]


def test_lost_guid(site, alice):
    """sdbox: a cut takes the GUID with it. The mail gets another, the same each time and in each copy; nothing is rebuilt."""
    system = site.system
    with system.imap(alice) as mail:
        mail.select()
        mail.ok("create", "elsewhere")
        mail.copy(2, "elsewhere")
    folder = system.home(alice) / "mail" / "mailboxes" / "INBOX" / "dbox-Mails"
    os.truncate(folder / "u.2", 1000)
    forget(system, alice)
    guids = [re.findall(r"guid: ([0-9a-f]{32})\b", system.doveadm("fetch", "-u", alice.address, "guid", "mailbox", box, "all")[1])
             for box in ("INBOX", "INBOX", "elsewhere")]
    assert guids[0] == guids[1] and len(set(guids[0])) == 3 and guids[2] == guids[0][1:2]
    assert not [line for line in system.log("dovecot").splitlines() if "Rebuilding" in line and alice.address in line]


def test_backup_of_a_cut_file(site, alice):
    """What is left of it is carried as it lies there, with the others."""
    system = site.system
    file = system.home(alice) / "mail" / "mailboxes" / "INBOX" / "dbox-Mails" / "u.2"
    os.truncate(file, 1000)
    forget(system, alice)
    target = system.path(f"backup-{alice.local}")
    target.mkdir()
    os.chown(target, probes.UID_MAIL, probes.UID_MAIL)
    status, out = system.doveadm("backup", "-u", alice.address, f"maildir:{target}/Maildir")
    copies = [f.read_bytes() for f in target.rglob("Maildir/*/*") if f.parent.name in ("cur", "new")]
    assert status == 0 and len(copies) == 3, out
    assert sum(c in file.read_bytes() for c in copies) == 1
