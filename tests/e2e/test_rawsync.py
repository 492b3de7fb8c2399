"""doveadm backup and sync of sealed accounts, in processes that have no key: the bytes are carried as they are."""
import collections
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import time

import pytest

import messages
import sealedfiles
import systems

STRANGER = "stranger@out.example"
FIELDS = "guid uid flags size.physical size.virtual date.received mailbox"
PASSWORD = "of-the-replicas"
CARRIER = b"\x89BSC\r\n\x1a\n\x01"
KINDS = ["sdbox", "maildir", "mdbox"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """An sdbox system that also serves doveadm over TCP."""
    port = free_port()
    more = tmp_path_factory.mktemp("rawsync") / "more.conf"
    more.write_text(f"doveadm_password = {PASSWORD}\n"
                    f"service doveadm {{\n  inet_listener {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
                    "protocol pop3 {\n  pop3_uidl_format = %g\n}\n")
    system = systems.System([*systems.CHEAP_KDF, "--set", f"dovecot.include={more}"]).start()
    system.doveadm_port = port
    yield system
    reports = system.remove()
    assert not reports, reports


def deliver(system, account, *mails):
    with system.lmtp() as lmtp:
        for mail in mails:
            (reply,) = lmtp.deliver(STRANGER, [account.address], mail)[account.address]
            assert reply[0] == 250, reply


def mails():
    return [messages.make(b"small\r\n", ident="small"), messages.make(messages.text(200_000, seed=4), ident="text"),
            messages.make(messages.noise(3 << 20, seed=5), ident="noise"), messages.make(b"", ident="empty"),
            messages.make(b".\r\n..\r\nFrom \r\n\r\n\x00\xff\r\rno end", ident="odd")]


class Copy:
    """Another place for an account's mail."""

    def __init__(self, host, account, kind, name="copy"):
        self.host, self.account = host, account
        self.dir = pathlib.Path(host.env["MAIL_ROOT"]) / name / account.local / kind
        self.location = f"{kind}:{self.dir}"

    def at(self, *args):
        """doveadm as if this were where the account's mail is."""
        return doveadm(self.host, "-o", f"mail_location={self.location}", *args)

    def listing(self, fields=FIELDS):
        return listing(self.host, self.account, self, fields)

    def files(self):
        return [f for f in self.dir.rglob("*") if f.is_file() and
                (re.fullmatch(r"[um]\.\d+", f.name) or f.parent.name in ("cur", "new"))]

    def command(self):
        """What a remote host would run, in an environment of its own."""
        return ["sh", "-c", shlex.join(["exec", "env", "-i", "/usr/bin/doveadm", "-c", self.host.env["DOVECOT_CONF"], "-o",
                                        f"mail_location={self.location}", "dsync-server", "-u", self.account.address])]


def doveadm(host, *args):
    status, text = host.doveadm(*args)
    assert status == 0, (args, text)
    return text


def listing(host, account, copy=None, fields=FIELDS):
    """What Dovecot knows of each mail, and of the folders."""
    at = ["-o", f"mail_location={copy.location}"] if copy else []
    text = doveadm(host, *at, "fetch", "-u", account.address, fields, "all")
    # A parent that is no folder costs an exit code.
    _, status = host.doveadm(*at, "mailbox", "status", "-u", account.address, "messages uidnext uidvalidity guid vsize", "*")
    found = sorted(re.sub(r"\\Recent ?", "", m).strip() for m in re.split(r"\n[\n\f]", text))
    return [re.sub(r"(?m)\s+$", "", m) for m in found], sorted(line for line in status.splitlines() if re.search("messages=[1-9]", line))


def sealed(paths):
    return sorted({m.read() for m in sealedfiles.in_files(paths)})


def change(host, account):
    """Something of everything that happens to a mailbox."""
    with host.imap(account) as mail:
        mail.select()
        mail.ok("store", "2", "+FLAGS", "(\\Flagged $Kept)")
        mail.ok("create", "Sub/Folder")
        mail.copy(2, "Sub/Folder")
        mail.append(messages.make(b"appended\r\n"), "Sub/Folder", "(\\Seen)")


@pytest.fixture(scope="module")
def filled(host):
    account = host.account("private")
    deliver(host, account, *mails())
    change(host, account)
    return account


def bodies(host, account, folder="INBOX"):
    with host.imap(account) as mail:
        mail.select(folder)
        return [(uid, mail.size(uid), mail.part(uid)) for uid in mail.uids()]


@pytest.mark.parametrize("remote", ["local", "pipe"])
@pytest.mark.parametrize("kind", KINDS)
def test_backup_there_and_back(host, filled, kind, remote):
    """A backup has the same bytes, sizes and ids; what is restored from it into an empty home is read as before."""
    copy = Copy(host, filled, kind, remote)
    want, read, uidl = listing(host, filled), bodies(host, filled), host.pop3(filled).uidl()[1]
    assert len(read) == 5 and all(size == len(body) for _, size, body in read)
    bytes_home = sealed(host.mail_files(filled))
    to = [copy.location] if remote == "local" else copy.command()
    for _ in range(2):
        doveadm(host, "backup", "-u", filled.address, *to)
        assert copy.listing() == want
        assert sealed(copy.files()) == bytes_home and len(bytes_home) == 6
    shutil.rmtree(host.home(filled) / "mail")
    home = f"sdbox:{host.home(filled)}/mail"
    if remote == "local":
        copy.at("backup", "-u", filled.address, home)
    else:
        doveadm(host, "backup", "-R", "-u", filled.address, *copy.command())
    assert listing(host, filled) == want
    assert sealed(host.mail_files(filled)) == bytes_home
    assert bodies(host, filled) == read and host.pop3(filled).uidl()[1] == uidl


@pytest.mark.parametrize("how", ["local", "pipe", "tcp"])
def test_sync_both_ways(host, how):
    """Two places, each with news; after a sync both have all. No run carries what is there already."""
    account = host.account("private")
    copy = Copy(host, account, "maildir", how)

    state = ""

    def sync():
        nonlocal state
        if how == "local":
            # As replication does it: what was said at the end of one run is given to the next.
            state = doveadm(host, "-f", "flow", "sync", "-s", state, "-u", account.address, copy.location).strip()
            assert re.fullmatch(r"[A-Za-z0-9+/]+=*", state), state
        elif how == "pipe":
            doveadm(host, "sync", "-u", account.address, *copy.command())
        else:
            copy.at("-o", f"doveadm_password={PASSWORD}", "sync", "-u", account.address, f"tcp:127.0.0.1:{host.doveadm_port}")
        assert copy.listing() == listing(host, account)
        assert sealed(copy.files()) == sealed(host.mail_files(account))

    deliver(host, account, *mails()[:2])
    sync()
    change(host, account)
    copy.at("flags", "add", "-u", account.address, "\\Answered", "mailbox", "INBOX", "uid", "1")
    copy.at("mailbox", "create", "-u", account.address, "Made")
    copy.at("copy", "-u", account.address, "Made", "mailbox", "INBOX", "uid", "1")
    sync()
    with host.imap(account) as mail:
        mail.select()
        mail.copy(2, "Made", verb="MOVE")
        mail.ok("store", "1", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
    deliver(host, account, messages.make(b"later\r\n"))
    sync()
    with host.imap(account) as mail:
        assert (mail.select(), mail.select("Made"), mail.select("Sub/Folder")) == (1, 2, 2)
        mail.select()
        assert b"later" in mail.part(mail.uids()[0])


def test_an_expunge_is_not_undone(host):
    """The newest mail is expunged here, and another comes: a sync takes it away there, though no cache knows its GUID."""
    account = host.account("private")
    copy = Copy(host, account, "sdbox")
    deliver(host, account, *mails()[:2])
    doveadm(host, "sync", "-u", account.address, copy.location)
    for cache in host.home(account).rglob("dovecot.index.cache"):
        cache.unlink()
    with host.imap(account) as mail:
        mail.select()
        mail.ok("store", "2", "+FLAGS", "\\Deleted")
        mail.ok("expunge")
    deliver(host, account, messages.make(b"another\r\n"))
    doveadm(host, "sync", "-u", account.address, copy.location)
    with host.imap(account) as mail:
        mail.select()
        assert mail.uids() == [1, 3]
    assert copy.listing() == listing(host, account)


def test_plaintext_from_before(host):
    """What is not sealed yet goes as it always did, and is sealed where it arrives."""
    account = host.account("private")
    copy = Copy(host, account, "maildir")
    deliver(host, account, messages.make(b"sealed\r\n"))
    doveadm(host, "backup", "-u", account.address, copy.location)
    (file,) = copy.files()
    old = file.parent / "1700000000.M1P1.old:2,S"
    old.write_bytes(messages.make(b"from before\r\n").replace(b"\r\n", b"\n"))
    shutil.chown(old, file.owner() if file.stat().st_uid < 1000 else file.stat().st_uid, file.stat().st_gid)
    copy.at("backup", "-u", account.address, f"sdbox:{host.home(account)}/mail")
    assert host.suites(account) == [systems.SUITE_SEALED] * 2
    assert any(b"from before" in body for _, _, body in bodies(host, account))


# --- what is not taken ---

def own_carrier(host, account):
    """What a user can make himself: sealed bytes of his own mail behind a carrier's head."""
    (mail,) = sealedfiles.messages(host, account)
    data = mail.read()
    head = CARRIER + b"\x01\0\0" + (500).to_bytes(8) + (500).to_bytes(8) + len(data).to_bytes(8)
    return head + data


@pytest.mark.parametrize("plan", ["private", "plain"])
def test_nobody_appends_sealed_bytes(host, plan, tmp_path):
    """Carriers that come by IMAP or doveadm save are mails like any other, through a backup, too."""
    source, account = host.account("private"), host.account(plan)
    deliver(host, source, messages.make(b"mine\r\n"))
    # IMAP's APPEND takes no NUL: what matters is that it begins like a carrier.
    with host.imap(account) as mail:
        mail.append(own_carrier(host, source).replace(b"\0", b"\1"))
    file = tmp_path / "forged"
    file.write_bytes(own_carrier(host, source))
    with open(file, "rb") as f:
        p = subprocess.run(["doveadm", "-c", host.env["DOVECOT_CONF"], "save", "-u", account.address], stdin=f)
        assert p.returncode == 0
    before = bodies(host, account)
    assert len(before) == 2 and all(body.startswith(CARRIER[:7]) for _, _, body in before)
    copy = Copy(host, account, "maildir")
    doveadm(host, "backup", "-u", account.address, copy.location)
    assert copy.listing() == listing(host, account)
    shutil.rmtree(host.home(account) / "mail")
    doveadm(host, "backup", "-R", "-u", account.address, *copy.command())
    assert bodies(host, account) == before


def test_nor_does_another_server(host):
    """A mail of another server, fetched by imapc, that begins like a carrier is a mail."""
    account, there = host.account("private"), host.account("plain")
    deliver(host, account, messages.make(b"mine\r\n"))
    with host.imap(there) as mail:
        mail.append(own_carrier(host, account).replace(b"\0", b"\1"))
    shutil.rmtree(host.home(account) / "mail")
    imapc = {"mail_location": "imapc:", "imapc_host": "127.0.0.1", "imapc_port": host.port("imap"),
             "imapc_user": there.address, "imapc_password": there.password}
    doveadm(host, *[arg for k, v in imapc.items() for arg in ("-o", f"{k}={v}")],
            "backup", "-u", account.address, f"sdbox:{host.home(account)}/mail")
    assert [m[2] for m in bodies(host, account)] == [m[2] for m in bodies(host, there)]
    assert host.suites(account) == [systems.SUITE_SEALED]


def test_another_accounts_mail_is_refused(host):
    alice, bob = host.account("private"), host.account("private")
    deliver(host, alice, messages.make(b"to alice\r\n"))
    deliver(host, bob, messages.make(b"to bob\r\n"))
    ours, foreign = Copy(host, alice, "maildir"), Copy(host, bob, "maildir")
    doveadm(host, "backup", "-u", alice.address, ours.location)
    doveadm(host, "backup", "-u", bob.address, foreign.location)
    (file,) = foreign.files()
    file.rename(ours.dir / "cur" / (file.name.split(":")[0] + ":2,"))
    before = listing(host, alice)
    status, text = host.doveadm("sync", "-u", alice.address, ours.location)
    assert status != 0 and "sealed for another account" in text
    assert listing(host, alice)[0] == before[0]
    status, text = host.doveadm("sync", "-u", alice.address, *ours.command())
    assert status != 0 and "sealed for another account" in text


@pytest.mark.parametrize("plan", ["private", "plain"])
def test_a_damaged_mail_is_carried_as_it_is(host, plan):
    """One bad mail does not stop a backup; the log says which. It is as bad there as here."""
    account = host.account(plan)
    kinds = ["magic", "suite", "body", "trailer", "zeros"] + (["message-id", "sealed-key"] if plan == "private" else [])
    deliver(host, account, *[messages.make(messages.noise(9000, seed=1), subject=k) for k in [*kinds, "good"]])
    want = listing(host, account)
    for file, how in zip(sealedfiles.messages(host, account), kinds):
        file.damage(how)
    copies = [Copy(host, account, kind) for kind in KINDS]
    for copy in copies:
        text = doveadm(host, "backup", "-u", account.address, copy.location)
        assert text.count("is damaged: dsync carries it as it is") == len(kinds), text
        assert copy.listing() == want
    doveadm(host, "backup", "-u", account.address, *Copy(host, account, "sdbox", "remote").command())
    shutil.rmtree(host.home(account) / "mail")
    copies[1].at("backup", "-u", account.address, f"sdbox:{host.home(account)}/mail")
    assert listing(host, account) == want
    with host.imap(account) as mail:
        assert mail.select() == len(kinds) + 1
        assert b"Subject: good" in mail.part(mail.uids()[-1])
        assert mail.c.uid("FETCH", "1", "(BODY.PEEK[])")[0] == "NO"


LIES = {"S-small": ("S", 7), "S-huge": ("S", 10**15), "S-beyond": ("S", 1 << 63), "W-small": ("W", 7), "W-huge": ("W", 10**15)}


@pytest.mark.parametrize("kind", ["sdbox", "maildir"])
def test_file_names_that_lie(host, kind):
    """maildir's S= and W= are only names. A backup carries every mail, with the sizes that its bytes have, in its usual time."""
    account = host.account("private")
    names = [*LIES, "damaged-S-huge", "damaged-S-small", "good"]
    deliver(host, account, *[messages.make(messages.text(90_000, seed=1), subject=n.ljust(20)) for n in names])
    copy = Copy(host, account, "maildir", f"lies-{kind}")
    doveadm(host, "backup", "-u", account.address, copy.location)
    sizes = [len(body) for _, _, body in bodies(host, account)]
    for name, m in zip(names, sealedfiles.in_files(copy.files())):
        if name.startswith("damaged"):
            m.damage("body")
        if name != "good":
            letter, value = LIES[name.removeprefix("damaged-")]
            m.path.rename(m.path.with_name(re.sub(rf",{letter}=\d+", f",{letter}={value}", m.path.name)))
    for old in copy.dir.rglob("dovecot.index*"):
        old.unlink()
    second, began = Copy(host, account, kind, f"of-lies-{kind}"), time.monotonic()
    copy.at("backup", "-u", account.address, *second.command())
    assert time.monotonic() - began < 30
    assert sealed(second.files()) == sealed(copy.files()) and len(second.files()) == len(names)
    told = [re.findall(r"size\.\w+: (\d+)", m) for m in second.listing("size.physical size.virtual")[0]]
    right = collections.Counter(int(p) for p, v in told if p == v) & collections.Counter(sizes)
    assert right.total() >= len(names) - 2, (told, "of the damaged ones nobody can know")
    shutil.rmtree(host.home(account) / "mail")
    second.at("backup", "-u", account.address, f"sdbox:{host.home(account)}/mail")
    with host.imap(account) as mail:
        assert mail.select() == len(names)
        assert sum(mail.c.uid("FETCH", str(u), "(BODY.PEEK[])")[0] == "OK" for u in mail.uids()) == len(names) - 2


@pytest.mark.parametrize("kind", KINDS)
def test_import_of_an_accounts_own_mail(host, kind):
    """doveadm import of a backup, for one: the bytes arrive as they are, beside what is there; damaged ones too."""
    account = host.account("private")
    deliver(host, account, *mails())
    copy = Copy(host, account, kind, "import")
    doveadm(host, "backup", "-u", account.address, copy.location)
    sealedfiles.in_files(copy.files())[0].damage("trailer")
    want = sealed(copy.files())
    shutil.rmtree(host.home(account) / "mail")
    old = messages.make(CARRIER + b"a mail from before\r\n")
    with host.imap(account) as mail:
        mail.append(old)
    text = doveadm(host, "import", "-u", account.address, copy.location, "Restored", "all")
    assert "no key" not in text
    assert set(sealed(host.mail_files(account))) > set(want)
    with host.imap(account) as mail:
        assert mail.select("Restored/INBOX") == len(want) == 5
        read = [mail.c.uid("FETCH", str(u), "(RFC822.SIZE BODY.PEEK[])")[0] for u in mail.uids()]
        assert sorted(read) == ["NO"] + ["OK"] * 4
    told = listing(host, account, fields="size.physical size.virtual guid")[0]
    assert len(told) == 6


def test_import_of_another_accounts_mail(host):
    """It has no key for it: nothing is stored, and it says why."""
    account, other = host.account("private"), host.account("private")
    deliver(host, other, messages.make(b"to the other\r\n"))
    copy = Copy(host, other, "sdbox", "import")
    doveadm(host, "backup", "-u", other.address, copy.location)
    for source in ([], ["-U", other.address]):
        status, text = host.doveadm("import", "-u", account.address, *source, copy.location, "Taken", "all")
        assert status != 0 and ("another account" in text or "no login of its owner" in text), text
    assert host.mail_files(account) == []


def test_damaged_on_its_way(host):
    """A bit that turns over in the pipe: not stored, and the next run heals it."""
    account = host.account("private")
    deliver(host, account, messages.make(messages.text(5000, seed=1)))
    copy = Copy(host, account, "sdbox")
    (data,) = [m.read() for m in sealedfiles.messages(host, account)]
    # A run of bytes without dots or line ends, in the trailer: as it is on the wire.
    mark = next(data[i:i + 6] for i in range(len(data) // 2, len(data)) if not set(b".\r\n") & set(data[i:i + 6]))
    bend = ("import os,sys\nmark=bytes.fromhex(sys.argv[1])\nold=b''\n"
            "while True:\n new=os.read(0,65536)\n if not new: break\n"
            " os.write(1,new.replace(mark,mark[:5]+bytes([mark[5]^1])))\n")
    command = ["sh", "-c", f"/usr/bin/python3 -c {shlex.quote(bend)} {mark.hex()} | {shlex.join(copy.command())}"]
    status, text = host.doveadm("backup", "-u", account.address, *command)
    assert status != 0 and "damaged on its way" in text, text
    assert copy.files() == []
    doveadm(host, "backup", "-u", account.address, *copy.command())
    assert copy.listing() == listing(host, account)


def test_no_keyd(host):
    """Reading for a backup needs no keyd; saving needs the account's record, and waits for it."""
    account = host.account("private")
    deliver(host, account, messages.make(b"to wait\r\n"))
    copy = Copy(host, account, "sdbox")
    host.stop("keyd")
    try:
        status, text = host.doveadm("backup", "-u", account.address, copy.location)
        assert status != 0 and copy.files() == [], text
    finally:
        host.start()
    doveadm(host, "backup", "-u", account.address, copy.location)
    assert copy.listing() == listing(host, account)


def test_a_file_name_without_sizes(host):
    """maildir: the physical size is counted, the virtual one can't be; only maildir can do without it."""
    account = host.account("private")
    deliver(host, account, messages.make(messages.text(200_000, seed=4)))
    copy, second = Copy(host, account, "maildir"), Copy(host, account, "maildir", "second")
    doveadm(host, "backup", "-u", account.address, copy.location)
    want = copy.listing("size.physical")
    (file,) = copy.files()
    bare = file.with_name(re.sub(r",[SW]=\d+", "", file.name))
    file.rename(bare)
    text = copy.at("backup", "-u", account.address, *second.command())
    assert "no key" not in text
    assert bare.exists() and all(",W=" not in f.name for f in second.files())
    assert second.listing("size.physical")[0] == want[0]
    assert sealed(second.files()) == sealed([bare])
    status, text = host.doveadm("-o", f"mail_location={copy.location}", "backup", "-u", account.address,
                                Copy(host, account, "sdbox").location)
    assert status != 0 and "has no W=" in text


def test_with_zlib(own_system, tmp_path):
    """What zlib compressed before it was sealed is carried, with the sizes of what zlib was given."""
    more = tmp_path / "more.conf"
    more.write_text("plugin {\n  zlib_save = gz\n}\n")
    system = own_system(*systems.CHEAP_KDF, "--plugins", "basalt zlib", "--set", f"dovecot.include={more}")
    account = system.account("private")
    deliver(system, account, *mails()[:2])
    want, read, copy = listing(system, account), bodies(system, account), Copy(system, account, "maildir")
    assert doveadm(system, "backup", "-u", account.address, *copy.command()) == ""
    assert copy.listing() == want and sealed(copy.files()) == sealed(system.mail_files(account))
    shutil.rmtree(system.home(account) / "mail")
    assert copy.at("backup", "-u", account.address, f"sdbox:{system.home(account)}/mail") == ""
    assert listing(system, account) == want and bodies(system, account) == read
