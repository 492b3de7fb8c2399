"""mdbox rebuilds its storage while somebody saves: no OK for a mail that went into a file that has just been replaced.

Dovecot's rebuild takes a mail that is half there for damage and puts a file without it in the place of the old one. What is being
saved then must be refused, so that its sender keeps it; what was there before, and what comes later, must all be there.
"""
import contextlib
import fcntl
import os
import re
import shutil

import pytest

import clients
import messages
import probes

BIG, HALF = 400_000, 300_000
REFUSED = b"while its storage is repaired"


@pytest.fixture(scope="module")
def site(pool):
    return pool.get("mdbox")


def message(ident, body=b"a letter\r\n"):
    return messages.make(body, subject=f"this is {ident}", ident=ident)


def subjects(system, account):
    """Of each mail, with its text's own word: header and text of one FETCH have to be the same mail's."""
    with system.imap(account) as mail:
        mail.select()
        return [re.search(rb"this is (\w+)", mail.part(uid))[1].decode() for uid in mail.uids()]


def storage(system, account):
    """The one file of the account's mails."""
    (file,) = system.mail_files(account)
    return file


class HalfAppend:
    """An APPEND of which half has come, and lies in the file."""

    def __init__(self, system, account):
        self.file, self.mail = storage(system, account), system.imap(account)
        before = self.file.stat().st_size
        self.text = message("halved", messages.noise(BIG, 7))
        self.mail.c.send(b"x1 APPEND INBOX {%d}\r\n" % len(self.text))
        assert self.mail.c.readline().startswith(b"+")
        self.mail.c.send(self.text[:HALF])
        probes.wait_for(lambda: self.file.stat().st_size > before + HALF // 3)

    def rest(self):
        self.mail.c.send(self.text[HALF:] + b"\r\n")

    def answer(self):
        while not (line := self.mail.c.readline()).startswith(b"x1"):
            assert line
        return line


@pytest.fixture(params=["private", "plain"])
def account(site, request):
    """With three letters in one file."""
    account = site.account(request.param)
    with site.imap(account) as mail:
        mail.select()
        for i in range(3):
            mail.append(message(f"before{i}"))
    return account


BEFORE = ["before0", "before1", "before2"]


def resync(system, account):
    code, text = system.doveadm("force-resync", "-u", account.address, "*")
    assert code == 0 and "Copy of the broken file" in text, text


def append_later(system, account, ident):
    """Dovecot ends the first session or two after a rebuild: "IMAP session state is inconsistent"."""
    def appended():
        with system.imap(account) as mail:
            try:
                return mail.append(message(ident))
            except clients.imaplib.IMAP4.abort:
                return None

    probes.wait_for(appended)


def test_append_during_a_rebuild(site, account):
    half, since = HalfAppend(site, account), len(site.log("dovecot"))
    resync(site, account)
    half.rest()
    answer = half.answer()
    assert answer.startswith(b"x1 NO") and REFUSED in answer
    assert site.logged("dovecot", f"{half.file} was replaced meanwhile", since)
    assert half.mail.append(message("again"))
    assert "Inconsistency" not in site.log("dovecot")[since:], "the map was told nothing of it"
    append_later(site, account, "later")
    assert sorted(set(subjects(site, account))) == sorted([*BEFORE, "again", "later"])


def locked_out(pid):
    """Does another process wait for a lock that pid holds?"""
    with open("/proc/locks") as f:
        lines = f.read().splitlines()
    held = {line.split(":")[0] for line in lines if "->" not in line and f" {pid} " in line}
    return any("->" in line and line.split(":")[0] in held for line in lines)


@contextlib.contextmanager
def rebuild(file):
    """Like the one who rebuilds, who has the map's lock: once the saver waits for it, another file is in this one's place."""
    copy = file.with_name("copy")
    with open(file.parent / "dovecot.map.index.log", "r+b") as log:
        fcntl.lockf(log, fcntl.LOCK_EX)
        yield
        probes.wait_for(lambda: locked_out(os.getpid()))
        shutil.copy2(file, copy)
        os.chown(copy, file.stat().st_uid, file.stat().st_gid)
        copy.rename(file)


def test_append_that_waits_for_a_rebuild(site, account):
    half = HalfAppend(site, account)
    with rebuild(half.file):
        half.rest()
    answer = half.answer()
    assert answer.startswith(b"x1 NO") and REFUSED in answer
    assert half.mail.append(message("again")), "the session has let go of the old file"
    append_later(site, account, "later")
    assert set(subjects(site, account)) >= {*BEFORE, "again", "later"}


def test_delivery_that_waits_for_a_rebuild(site, account):
    """LMTP answers 4xx, and takes the mail the next time."""
    text, file = message("delivered"), storage(site, account)
    with site.lmtp() as client:
        client.command("MAIL FROM:<x@out.example>")
        assert client.command(f"RCPT TO:<{account.address}>")[0] == 250
        client.command("DATA")
        with rebuild(file):
            client.s.sendall(clients.dot_stuffed(text) + b".\r\n")
        code, reply = client.reply()
    assert code // 100 == 4, reply
    probes.wait_for(lambda: probes.lmtp(site, account, text) == 250)
    assert set(subjects(site, account)) == {*BEFORE, "delivered"}
