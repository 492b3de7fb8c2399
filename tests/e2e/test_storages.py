"""sdbox, maildir and mdbox as admins set them up: quota, links, rotation, slow storage, lost indexes, network file systems.

Each storage is one system, with a sealed account, a plain one, and settings that are not the usual ones; what Dovecot says
of both accounts' mail has to be the same, all the time.
"""
import re
import shutil

import pytest

import messages
import sealedfiles
import systems

STRANGER = "stranger@out.example"
LIMIT = 3 << 20
# Indexes, control files and old mail elsewhere; folders as folders; as over NFS.
LOCATION = {
    "sdbox": "sdbox:~/mail:INDEX=~/index:ALT=~/alt",
    "maildir": "maildir:~/Maildir:LAYOUT=fs:INDEX=~/index:CONTROL=~/control",
    "mdbox": "mdbox:~/mail:INDEX=~/index:ALT=~/alt",
}
SETTINGS = """
mail_location = {location}
mmap_disable = yes
mail_fsync = always
mail_nfs_storage = yes
mail_nfs_index = yes
lock_method = dotlock
mdbox_rotate_size = 100k
plugin {{
  quota = {backend}:User quota
  quota_vsizes = yes
  quota_grace = 0
  quota_rule = *:storage={limit}B:messages=1000
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
# A visitor's process looks up the owner's home.
service auth {{
  unix_listener auth-userdb {{
    mode = 0777
  }}
}}
namespace {{
  type = shared
  separator = /
  prefix = shared/%%n/
  location = {shared}
  list = no
  subscriptions = no
}}
"""


class Site:
    def __init__(self, system, kind):
        self.system, self.kind, self.pairs = system, kind, 0

    def pair(self):
        """A sealed and a plain account whose names are of one length."""
        self.pairs += 1
        return [self.system.account(p, name=f"{n}-{self.pairs}") for n, p in (("sealed", "private"), ("plain0", "plain"))]

    def doveadm(self, *args):
        status, text = self.system.doveadm(*args)
        assert status == 0, (args, text)
        return text

    def deliver(self, account, mail):
        with self.system.lmtp() as lmtp:
            (reply,) = lmtp.deliver(STRANGER, [account.address], mail)[account.address]
        return reply

    def quota(self, account):
        """Kilobytes and messages; by IMAP, which costs less than another doveadm."""
        with self.system.imap(account) as mail:
            _, (_, (text,)) = mail.c.getquotaroot("INBOX")
        return tuple(int(re.search(rb"%s (\d+)" % word, text)[1]) for word in (b"STORAGE", b"MESSAGE"))

    def mails(self, account, folders=("INBOX", "Other")):
        """{folder: [(uid, size, what it holds)]}, by IMAP."""
        found = {}
        with self.system.imap(account) as mail:
            for folder in folders:
                if mail.c.select(folder)[0] == "OK":
                    found[folder] = [(uid, mail.size(uid), mail.part(uid, "TEXT")) for uid in mail.uids()]
        return found

    def folder(self, account, folder="INBOX"):
        """Where a folder's mail files are."""
        home = self.system.home(account)
        if self.kind == "maildir":
            return home / "Maildir" / ("" if folder == "INBOX" else folder)
        return home / "mail" / ("storage" if self.kind == "mdbox" else f"mailboxes/{folder}/dbox-Mails")

    def files(self, account, folder="INBOX", top=None):
        return sorted(f for f in (top or self.folder(account, folder)).rglob("*") if f.is_file() and
                      (re.fullmatch(r"[um]\.\d+", f.name) or f.parent.name in ("cur", "new")) and
                      (folder != "INBOX" or "Other" not in f.parts))


@pytest.fixture(scope="module", params=["sdbox", "maildir", "mdbox"])
def site(request, tmp_path_factory):
    kind = request.param
    where = tmp_path_factory.mktemp("storages")
    more = where / "more.conf"
    system = systems.System([*systems.CHEAP_KDF, "--plugins", "basalt quota", "--set", f"dovecot.include={more}"], storage=kind)
    more.write_text(SETTINGS.format(location=LOCATION[kind], limit=LIMIT,
                                    shared=LOCATION[kind].replace("~", f"{system.dir}/mail/%%d/%%n"),
                                    backend="maildir" if kind == "maildir" else "count"))
    yield Site(system.start(), kind)
    reports = system.remove()
    assert not reports, reports


def number(n):
    return messages.make(messages.text(2000 + 517 * n, seed=n), subject=f"number {n}", ident=f"number{n}")


def fill(site, account, n=6):
    for i in range(n):
        assert site.deliver(account, number(i))[0] == 250


def changes(site, account):
    """One step of everything that changes what a quota counts, and the names of the steps."""
    with site.system.imap(account) as mail:
        mail.select()
        yield "APPEND", mail.append(number(7))
        yield "CREATE", mail.ok("create", "Other")
        yield "COPY", mail.copy(2, "Other")
        yield "COPY here", mail.copy(2, "INBOX")
        yield "MOVE", mail.copy(3, "Other", verb="MOVE")
        mail.ok("store", "1,5", "+FLAGS", "\\Deleted")
        yield "EXPUNGE", mail.ok("expunge")
    yield "recalc", site.doveadm("quota", "recalc", "-u", account.address)
    yield "purge", site.doveadm("purge", "-u", account.address)
    for cache in site.system.home(account).rglob("dovecot.index.cache"):
        cache.unlink()
    yield "cache gone", site.doveadm("quota", "recalc", "-u", account.address)
    yield "force-resync", site.doveadm("force-resync", "-u", account.address, "*")
    yield "recalc again", site.doveadm("quota", "recalc", "-u", account.address)


def test_quota_is_the_plaintexts(site):
    """What quota says is, after each step, what it says of the same mail in the clear; and the mail is the same."""
    sealed, plain = site.pair()
    for account in (sealed, plain):
        fill(site, account)
    for (step, _), (other, _) in zip(changes(site, sealed), changes(site, plain), strict=True):
        assert step == other
        assert site.quota(sealed) == site.quota(plain), step
    got, want = site.mails(sealed), site.mails(plain)
    assert got == want and [len(m) for m in got.values()] == [5, 2]
    assert site.quota(sealed)[0] == -(-sum(size for m in got.values() for _, size, _ in m) // 1024)
    with site.system.imap(sealed) as mail:
        mail.select()
        mail.ok("store", "1:*", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
        mail.ok("delete", "Other")
    assert site.quota(sealed) == (0, 0)
    text = site.doveadm("-f", "tab", "quota", "get", "-u", sealed.address)
    assert [row.split("\t")[2] for row in text.splitlines()[1:]] == ["0", "0"]


def test_over_quota(site):
    """Well compressed mail on disk is no more quota than it has bytes: the second one is refused, as for a plain account."""
    mail = messages.make(messages.text(LIMIT * 2 // 3, seed=1), ident="large")
    sealed, plain = site.pair()
    for account in (sealed, plain):
        assert site.deliver(account, mail)[0] == 250
        code, text = site.deliver(account, mail)
        assert code == 552 and "Quota exceeded" in text, text
        with site.system.imap(account) as imap:
            imap.select()
            with pytest.raises(AssertionError, match="OVERQUOTA"):
                imap.append(mail)
            imap.ok("store", "1", "+FLAGS", "\\Deleted")
            imap.ok("expunge")
        assert site.deliver(account, mail)[0] == 250
    site.doveadm("purge", "-u", sealed.address)
    assert sum(f.stat().st_size for f in site.files(sealed)) < LIMIT * 2 // 3


def test_copies_are_links(site):
    """COPY inside an account costs no bytes, and the copy is read when the original is gone."""
    (account, _) = site.pair()
    fill(site, account, 2)
    before = site.mails(account)["INBOX"]
    size = sum(f.stat().st_size for f in site.files(account))
    with site.system.imap(account) as mail:
        mail.select()
        mail.ok("create", "Other")
        mail.copy(1, "Other")
        mail.copy(1, "Other")
        first, *others = [f for f in site.files(account) if f.stat().st_nlink == 3] or [None]
        if site.kind == "mdbox":
            assert sum(f.stat().st_size for f in site.files(account)) == size
        else:
            assert first is not None and not others
            assert {f.stat().st_ino for f in site.files(account, "Other")} == {first.stat().st_ino}
        mail.ok("store", "1", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
    site.doveadm("purge", "-u", account.address)
    after = site.mails(account)
    assert [m[1:] for m in after["Other"]] == [before[0][1:]] * 2 and after["INBOX"] == before[1:]
    with site.system.imap(account) as mail:
        mail.select("Other")
        mail.ok("store", "1:*", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
    site.doveadm("purge", "-u", account.address)
    assert len(sealedfiles.in_files(site.files(account))) == 1


def test_old_mail_elsewhere(site):
    """doveadm altmove there and back, copies from there, rotation and purge of mdbox's files."""
    if site.kind == "maildir":
        return  # maildir has no ALT
    (account, _) = site.pair()
    alt, noise = site.system.home(account) / "alt", [messages.noise(40_000, seed=n) for n in range(8)]
    for body in noise:
        assert site.deliver(account, messages.make(body))[0] == 250
    want = site.mails(account)
    if site.kind == "mdbox":
        assert len(site.files(account)) >= 4
    site.doveadm("altmove", "-u", account.address, "mailbox", "INBOX", "uid", "1:4")
    site.doveadm("purge", "-u", account.address)
    assert len(sealedfiles.in_files(site.files(account, top=alt))) == 4
    assert len(sealedfiles.in_files(site.files(account))) == 4
    assert site.mails(account) == want
    with site.system.imap(account) as mail:
        mail.select()
        mail.ok("create", "Other")
        mail.copy(2, "Other")
        mail.ok("store", "1:2,7", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
    site.doveadm("purge", "-u", account.address)
    site.doveadm("altmove", "-u", account.address, "-r", "mailbox", "INBOX", "all")
    site.doveadm("purge", "-u", account.address)
    after = site.mails(account)
    assert after["INBOX"] == [m for m in want["INBOX"] if m[0] not in (1, 2, 7)]
    assert after["Other"] == [(1, *want["INBOX"][1][1:])]
    assert all(s == systems.SUITE_SEALED for s in site.system.suites(account))


@pytest.mark.parametrize("lost", ["index", "all"])
def test_lost_indexes(site, lost):
    """force-resync makes of the mail files what it makes of a plain account's, UIDs too, and all is read."""
    pair = site.pair()
    for account in pair:
        fill(site, account, 5)
        with site.system.imap(account) as mail:
            mail.select()
            mail.ok("create", "Other")
            mail.copy(2, "Other")
            mail.ok("store", "3", "+FLAGS", "\\Deleted")
            mail.ok("expunge")
        home = site.system.home(account)
        if lost == "all":
            shutil.rmtree(home / "index")
        for file in home.rglob({"index": "dovecot.index*", "all": "dovecot.*index*"}[lost]):
            # Two that are found again only by luck: folders' GUIDs, and which folder an mdbox's mail is in.
            if "control" not in file.parts and (lost == "all" or "list" not in file.name):
                file.unlink()
        site.doveadm("force-resync", "-u", account.address, "*")
    got, want = site.mails(pair[0]), site.mails(pair[1])
    assert got == want and sum(map(len, got.values())) >= 4
    assert site.deliver(pair[0], number(9))[0] == 250
    assert len(site.mails(pair[0])["INBOX"]) == len(got["INBOX"]) + 1


def test_a_shared_folder(site):
    """What a visitor puts into a folder is its owner's, sealed for him; the visitor can't open it."""
    (alice, _), (bob, _) = site.pair(), site.pair()
    fill(site, alice, 1)
    fill(site, bob, 1)
    shared = f"shared/{alice.local}"
    with site.system.imap(bob) as mail:
        mail.select()
        folder = next(f for f in (shared, f"{shared}/INBOX") if mail.c.append(f, None, None, number(3))[0] == "OK")
        mail.copy(1, folder)
        assert mail.c.select(folder)[0] == "NO" and mail.c.status(folder, "(MESSAGES)")[0] == "NO"
    got = site.mails(alice)["INBOX"]
    assert [m[2] for m in got] == [m[2] for m in (got[0], *[(0, 0, number(n).split(b"\r\n\r\n", 1)[1]) for n in (3, 0)])]
    ids = {m.read()[12:28] for m in sealedfiles.in_files(site.files(alice))}
    assert len(ids) == 1
