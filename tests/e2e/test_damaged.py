"""
Two hundred kinds of damage (damage.py), each to one mail of a mailbox that one IMAP session then works through: the mail
stays listed, can be moved, deleted and exported, is refused with a reason when its body is asked for, is logged once with
file and reason, and its neighbours and the session notice nothing. What happened to each mail is a test of its own.
"""
import collections
import json
import os
import re

import pytest

import clients
import damage
import messages
import probes
import sealedexport
import sealedfiles

SYSTEMS = {"sdbox": ("sdbox", "sqlite", ()), "maildir": ("maildir", "mariadb", ()),
           "mdbox": ("mdbox", "sqlite", ("--set", "dovecot.mdbox_rotate_size=3M"))}
EVERY = {"sdbox": 1, "maildir": 4, "mdbox": 4}  # of the kinds that make sense there
WHOLE_EVERY = 12
REFUSED = (b"[PARSE] Message is damaged", b"[PARSE] Message is encrypted", b"[PARSE] Message was stored by a newer version",
           b"[PARSE] Message's file can't be opened")
BODY = messages.noise(150_000, seed=7)  # so that the last chunk, too, is stored as it is: one length for all


def kinds(storage):
    fitting = [n for n, k in damage.KINDS.items() if storage in k.only]
    return [n for i, n in enumerate(fitting) if i % EVERY[storage] == 0 or n.startswith(("file-", "says-"))]


CASES = [(s, n) for s in SYSTEMS for n in kinds(s)]


def message(name):
    """All are of one length: a header chunk, two full body chunks and a part of a third."""
    word = f"canary-{name}".ljust(60, "-")
    return messages.make(word.encode() + b"\r\n" + BODY + word.encode() + b"\r\n", subject=f"about {word}", ident=word)


class Mail:
    """One mail and all that was seen of it."""

    def __init__(self, uid, name):
        self.uid, self.name, self.kind, self.sent = uid, name, damage.KINDS.get(name), message(name)
        self.seen = {}


class Mailbox:
    def __init__(self, system, storage):
        self.system, self.storage, self.account = system, storage, system.account()
        self.foreign = system.account()
        names = ["whole-first"]
        for i, name in enumerate(kinds(storage)):
            names += [f"whole-{i}", name] if i % WHOLE_EVERY == 0 else [name]
        self.mails = [Mail(i + 1, n) for i, n in enumerate([*names, "whole-last"])]
        self.deliver()
        self.damage()

    def deliver(self):
        with self.system.lmtp() as c:
            for to, mails in ((self.account, self.mails), (self.foreign, self.mails[:2])):
                for m in mails:
                    c.command("RSET")
                    assert c.deliver(probes.STRANGER, [to.address], m.sent)[to.address][0][0] == 250
        with self.system.imap(self.account) as mail:  # maildir: into cur/
            assert mail.select() == len(self.mails)

    def sealed(self, account, others=None):
        """damage.Sealed of each message, in order."""
        numbers = collections.Counter()
        for m in sealedfiles.messages(self.system, account):
            yield damage.Sealed(m.path, numbers[m.path], *(others or ()))
            numbers[m.path] += 1

    def damage(self):
        foreign, foreign.next = self.sealed(self.foreign)
        other = next(self.sealed(self.account))
        for m, s in zip(self.mails, list(self.sealed(self.account, (other, foreign))), strict=True):
            m.file, m.start = s.file, s.start
            if m.kind:
                m.kind.do(s)
                m.file = s.file
                # scrub takes a frame that changed within a minute for one that is being written
                os.utime(m.file, (0, 0), follow_symlinks=False)

        for cache in self.system.home(self.account).rglob("dovecot.index.cache*"):
            cache.unlink()  # of a mail that was listed before its damage the index may know more

    def whole(self):
        return [m for m in self.mails if not m.kind]


# --- one session ---

def each(mail, items):
    """{uid: what FETCH says} of all messages by one command."""
    data = mail.fetch("1:*", items)
    found, uid = collections.defaultdict(bytes), None
    for d in data:
        text = d[0] + b" " + d[1] if isinstance(d, tuple) else d
        uid = int(m[1]) if (m := re.match(rb"(\d+) \(", text)) else uid
        found[uid] += text
    return found  # nothing was expunged so far: sequence numbers are UIDs


def watch(box, mail):
    """What the client sees of all mails."""
    listing = each(mail, "(UID FLAGS INTERNALDATE RFC822.SIZE)")
    envelope = each(mail, "(ENVELOPE)")
    rich = each(mail, "(BODYSTRUCTURE PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT DATE X-BASALT-UNREADABLE)])")
    for m in box.mails:
        m.seen.update(listing=listing[m.uid], envelope=envelope[m.uid], rich=rich[m.uid])
        m.seen["refusal"], m.seen["body"] = body(mail, m.uid)
        m.seen["text"] = body(mail, m.uid, "TEXT")[0]


def body(mail, uid, section=""):
    """(what a refusal says or None, the bytes)."""
    status, data = mail.c.uid("FETCH", str(uid), f"(BODY.PEEK[{section}])")
    return (None if status == "OK" else data[-1]), b"".join(d[1] for d in data if isinstance(d, tuple))


def search(box, mail):
    wanted = box.whole()[1]
    word = wanted.name.ljust(53, "-")
    assert mail.uids(f'TEXT "{word}"') == [wanted.uid], "a body that can't be read ends no search"
    assert mail.uids(f'SUBJECT "{word}"') == [wanted.uid]
    sorted_ = mail.ok("uid", "SORT", "(SUBJECT)", "UTF-8", "ALL")[0].split()
    assert sorted(map(int, sorted_)) == [m.uid for m in box.mails]


def handle(box, mail):
    """Flags for all; copies; half of the damaged mails are moved, the others deleted."""
    mail.ok("create", "copied")
    mail.ok("create", "moved")
    mail.ok("uid", "STORE", "1:*", "+FLAGS", r"(\Flagged)")
    bad = [m for m in box.mails if m.kind]
    for m in bad:
        m.seen["copied"] = mail.c.uid("COPY", str(m.uid), "copied")[0]
    for i, m in enumerate(bad):
        if i % 2:
            m.seen["gone"] = mail.c.uid("MOVE", str(m.uid), "moved")[0]
        else:
            m.seen["gone"] = mail.c.uid("STORE", str(m.uid), "+FLAGS", r"(\Deleted)")[0]
    mail.ok("expunge")
    left = set(mail.uids())
    for m in box.mails:
        m.seen["left"] = m.uid in left
    for m in box.whole():
        m.seen["after"] = body(mail, m.uid)[1]
    for folder in ("copied", "moved"):
        for uid in range(1, mail.select(folder) + 1):
            body(mail, uid)
        mail.ok("store", "1:*", "+FLAGS", r"(\Deleted)")
        mail.ok("expunge")
        assert mail.select(folder) == 0


def logged(box, text):
    """{uid: lines} of the session's log."""
    found = collections.defaultdict(list)
    for line in text.splitlines():
        if m := re.search(r"Mailbox INBOX: UID (\d+): basalt: can't read (\S+): (.+)$", line):
            found[int(m[1])].append((m[2], m[3]))
    return found


def read_log(box, before):
    """What was logged since, once the session's last line is there."""
    def done():
        text = box.system.log("dovecot")[before:]
        return text if re.search(rf"imap\({box.account.address}\)<[^\n]*Disconnected: Logged out", text) else ""
    return probes.wait_for(done)


def export(box):
    folder = sealedexport.folder_for(box.system, f"damaged-{box.storage}")
    rows, box.export_errors = sealedexport.export(box.system, box.account, folder, "mailbox", "INBOX", "all")
    for m in box.mails:
        m.seen["exported"] = rows[m.uid]["file"].read_bytes() if m.uid in rows else None
        m.seen["raw"] = m.file.read_bytes() if os.access(m.file, os.R_OK) and m.file.is_file() else b""


def scrub(box):
    p = box.system.ctl("scrub", "--json", str(box.system.home(box.account)), check=False)
    damaged = collections.defaultdict(list)
    for d in json.loads(p.stdout)["damaged"]:  # only mdbox has several in one file
        damaged[d["path"], d["offset"] if box.storage == "mdbox" else 0].append(d["reason"])
    for m in box.mails:
        m.seen["scrubbed"] = damaged[str(m.file), m.start if box.storage == "mdbox" else 0]


def play(box):
    export(box)
    scrub(box)
    before = len(box.system.log("dovecot"))
    with box.system.imap(box.account) as mail:
        assert mail.select() == len(box.mails)
        for step in (watch, search, handle):
            step(box, mail)
    box.log = read_log(box, before)
    lines = logged(box, box.log)
    for m in box.mails:
        m.seen["log"] = lines[m.uid]
    return {m.name: m for m in box.mails}


@pytest.fixture(scope="module")
def played(pool):
    """The mails of a storage by name, after all was done to them."""
    done = {}

    def of(storage):
        if storage not in done:
            done[storage] = None
            box = Mailbox(pool.get(*SYSTEMS[storage]), storage)
            done[storage] = box, play(box)
        assert done[storage], "the session broke off: see the first test of this storage"
        return done[storage]

    return of


def shown_subject(m):
    return re.search(rb"(?i)Subject: ([^\r\n]*)", m.seen["rich"])[1].decode()


@pytest.mark.parametrize("storage, name", CASES, ids=lambda v: v)
def test_kind(played, storage, name):
    box, mails = played(storage)
    m = mails[name]
    kind, seen = m.kind, m.seen
    assert re.search(rb'FLAGS \(.*\).*INTERNALDATE ".+".*RFC822.SIZE \d+', seen["listing"]), seen["listing"]
    assert b"ENVELOPE (" in seen["envelope"] and b"BODYSTRUCTURE (" in seen["rich"]
    own = f"about canary-{name}" in shown_subject(m)
    if kind.shows == "all":
        assert own and seen["refusal"] is None and seen["body"].endswith(m.sent) and seen["log"] == []
    else:
        assert seen["refusal"].startswith(REFUSED) and seen["text"].startswith(REFUSED) and seen["body"] == b""
        assert own == (kind.shows == "header")
        check_substitute(m)
        check_log(box, m)
    assert seen["copied"] == "OK" or not kind.opens
    assert (seen["gone"] == "OK" and not seen["left"]) or not kind.opens
    if kind.opens:
        assert seen["exported"] and seen["exported"] in seen["raw"] or seen["raw"] in (b"", b"\x89"), "exported as it lies there"
    check_scrub(m)


def check_substitute(m):
    if m.kind.shows == "nothing":
        assert shown_subject(m).startswith("[Message"), shown_subject(m)
        assert re.search(rb"(?i)X-Basalt-Unreadable: (\S+)", m.seen["rich"])[1].decode() == m.kind.word
    assert b'"7bit" 0 0' in m.seen["rich"] and b'PREVIEW "Message' in m.seen["rich"]


def check_log(box, m):
    if m.kind.opens:
        (file, reason), = m.seen["log"]
        assert os.path.basename(file) == m.file.name and reason
    else:
        assert len(re.findall(rf"open\({re.escape(str(m.file))}\) failed: ", box.log)) == 1


def check_scrub(m):
    """An operator's look without a key finds it too, but for lies of Dovecot's own."""
    if m.kind.opens and not m.name.startswith(("says-", "appended-", "file-of-another", "frame-")):
        assert m.seen["scrubbed"], "not found by scrub"


@pytest.mark.parametrize("storage", SYSTEMS)
def test_neighbours_and_session(played, storage):
    """The whole mails, before, between and after the damaged ones."""
    box, mails = played(storage)
    assert len(box.whole()) >= 5
    for m in box.whole():
        assert m.seen["refusal"] is None and m.seen["body"].endswith(m.sent) and m.seen["after"].endswith(m.sent), m.name
        assert f"canary-{m.name}" in shown_subject(m) and m.seen["left"] and m.seen["log"] == [] and not m.seen["scrubbed"]
    sessions = re.findall(rf"imap-login: Info: Login: user=<{box.account.address}>", box.log)
    assert len(sessions) == 1 and "panic" not in box.log.lower() and "rebuilding" not in box.log.lower()


@pytest.mark.parametrize("storage", SYSTEMS)
def test_pop3_refuses_and_goes_on(played, storage):
    """What is left of the mailbox: one more mail, damaged, by POP3; the refusal keeps a client from deleting it."""
    box, _ = played(storage)
    with box.system.lmtp() as c:
        c.deliver(probes.STRANGER, [box.account.address], message("by-pop3"))
    m = sealedfiles.messages(box.system, box.account)[-1]
    m.flip(70_000)
    pop = box.system.pop3(box.account)
    count = pop.stat()[0]
    with pytest.raises(clients.poplib.error_proto, match="-ERR"):
        pop.retr(count)
    assert clients.retr(pop, 1).endswith(box.whole()[0].sent)
    pop.quit()
