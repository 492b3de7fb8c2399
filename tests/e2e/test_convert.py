"""basaltctl convert: mail from before an account was sealed is sealed in place, beside a running Dovecot, whatever happens to it on the way."""
import gzip
import json
import os
import random
import re
import resource
import secrets
import shlex
import signal
import subprocess
import time

import pytest

import probes
import rawimap
import sealedfiles
import systems
from test_reseal import LISTING, everything, leftovers, secret, uidls, without_recent

ONE = ("--password-stdin",)
LOSS = ("--accept-loss",)
FETCHED = "uid guid flags date.received size.virtual size.physical pop3.uidl mailbox"
OLD = 9 + 3  # messages of a fixture's account that are not sealed, and copies of them


@pytest.fixture(scope="module", params=["sdbox", "maildir"])
def system(request, pool):
    return pool.get(request.param, {"sdbox": "sqlite", "maildir": "mariadb"}[request.param], ["--quota"])


@pytest.fixture
def alice(system):
    return account_with_old_mail(system)


def save(system, account, message, folder="INBOX", plugins="", more=()):
    """As a Dovecot without Basalt stores it."""
    path = system.path("to-save")
    path.write_bytes(message)
    status, text = system.doveadm("-o", f"mail_plugins={plugins}", *more, "save", "-u", account.address, "-m", folder, str(path))
    assert status == 0, text


def account_with_old_mail(system, delivered=True):
    """Sealed now. From before: what a Dovecot without Basalt stored, with CRLFs and without, what Basalt stored for a plain account, and copies."""
    account = system.account("plain")
    account.sent = [probes.marked(f"mail {i} {secrets.token_hex(8)}", n) for i, n in enumerate((10, 2000, 70_000, 300_000, 2000, 10, 3000, 150_000, 5000))]
    account.sent[4] = account.sent[4].replace(b"\r\n", b"\n")
    for i, message in enumerate(account.sent):
        if i < 5:
            save(system, account, message)
        else:
            assert probes.lmtp(system, account, message) == 250
    with system.imap(account) as mail:
        mail.ok("create", "elsewhere")
        mail.select()
        mail.ok("uid", "STORE", "2,6", "+FLAGS", r"(\Seen \Flagged custom)")
        for uid in (1, 3, 7):
            mail.copy(uid, "elsewhere")
    everything(system, account, LISTING)  # which fills the index caches
    seal(system, account)
    if not delivered:
        return account
    account.sent.append(probes.marked("sealed at once"))
    assert probes.lmtp(system, account, account.sent[-1]) == 250
    return account


def seal(system, account, plan="private"):
    system.ctl("account", "plan", account.address, plan, *ONE, stdin=secret(account))
    time.sleep(probes.RECORD_KEPT_S)


def convert(system, account, *words, check=True):
    p = system.ctl("convert", account.address, *words, "--json", *LOSS, check=check)
    return json.loads(p.stdout) if check else p


def status(system, *words):
    return [json.loads(line) for line in system.ctl("convert", "status", *words, "--json").stdout.splitlines()]


def on_disk(system, account):
    """But the size, which is another one."""
    return sorted((f.name, f.stat().st_mtime_ns, f.stat().st_mode, f.stat().st_uid) for f in system.mail_files(account))


def fetched(system, account):
    """What doveadm says, which opens nothing."""
    status, text = system.doveadm("-f", "tab", "fetch", "-u", account.address, FETCHED, "mailbox", "*", "all")
    assert status == 0, text
    return sorted(text.splitlines())


def quota(system, account):
    status, text = system.doveadm("-f", "tab", "quota", "get", "-u", account.address)
    assert status == 0, text
    return text


def recalculated(system, account):
    status, text = system.doveadm("quota", "recalc", "-u", account.address)
    assert status == 0, text
    return quota(system, account)


def words(account):
    return sorted(probes.word(m) for m in account.sent)


def traces(system, account):
    """Names of files of the mail home that hold a word of a message, or its subject."""
    texts = words(account) + [re.search(rb"Subject: ([^\r\n]+)", m)[1] for m in account.sent]
    return {f.name for f in system.home(account).rglob("*") if f.is_file() and any(t in f.read_bytes() for t in texts)}


def without_caches(system, account):
    for cache in system.home(account).rglob("dovecot.index.cache"):
        cache.unlink()


def all_sealed(system, account):
    return set(system.suites(account)) == {systems.SUITE_SEALED} and len(system.suites(account)) == len(system.mail_files(account))


def test_seals_all_and_changes_nothing(system, alice):
    before, listing, files, ids = everything(system, alice), everything(system, alice, LISTING), on_disk(system, alice), uidls(system, alice)
    told, room, since = fetched(system, alice), quota(system, alice), len(system.log("dovecot"))
    assert not all_sealed(system, alice)
    with system.imap(alice) as open_since:
        open_since.select()
        assert open_since.part(4)
        done = convert(system, alice)
        assert (done["sealed"], done["current"], done["complete"]) == (OLD, 1, True), done
        assert not done["damaged"] + done["errors"] + done["not_opened"] + done["left"]
        assert sorted(probes.word(open_since.part(uid)) for uid in open_since.uids()) == words(alice)
    assert all_sealed(system, alice) and on_disk(system, alice) == files and not leftovers(system, alice)
    for state in "as it is", "no caches", "caches again":
        if state == "no caches":
            without_caches(system, alice)
        assert everything(system, alice, LISTING) == listing and everything(system, alice) == before, state
        assert uidls(system, alice) == ids and quota(system, alice) == room, state
        assert fetched(system, alice) == told, state
    assert recalculated(system, alice) == room
    assert convert(system, alice)["sealed"] == 0
    complaints = [line for line in system.log("dovecot")[since:].splitlines() if re.search("Error|ALARM|Panic|can't read", line)]
    assert not complaints
    assert b" 0 damaged" in system.ctl("scrub", str(system.home(alice))).stdout


def test_nothing_readable_is_left(system):
    """Subject and body: before in mails and caches, afterwards nowhere in the mail home."""
    bob = account_with_old_mail(system, delivered=False)
    assert "dovecot.index.cache" in traces(system, bob)
    assert convert(system, bob)["caches_removed"] == 2
    assert not traces(system, bob)
    everything(system, bob, LISTING)
    assert not traces(system, bob) and all_sealed(system, bob)


def test_indexes_elsewhere(system):
    """What INDEX= keeps outside the mail home is gone through when it is named."""
    bob = account_with_old_mail(system, delivered=False)
    home, outside = system.home(bob), system.path("index")
    cache = next(f for f in home.rglob("dovecot.index.cache") if words(bob)[0] in f.read_bytes())
    outside.mkdir(exist_ok=True)
    cache.rename(outside / cache.name)
    os.chown(outside, cache.parent.stat().st_uid, cache.parent.stat().st_gid)
    done = convert(system, bob, str(home), str(outside))
    assert (done["sealed"], done["caches_removed"]) == (OLD, 2) and not (outside / cache.name).exists()


def refused(system, *words, says, exit_status=1):
    p = system.ctl("convert", *words, check=False)
    assert p.returncode == exit_status and says in p.stderr.decode(), (p.returncode, p.stderr)


def test_what_is_refused(system, alice):
    """Each with what to do about it."""
    before = [f.read_bytes() for f in system.mail_files(alice)]
    plain, bob = system.account("plain"), system.account()
    for account in plain, bob:
        assert probes.lmtp(system, account, probes.marked("theirs")) == 250
    refused(system, plain.address, *LOSS, says="account plan")
    refused(system, alice.address, says="key add-recovery")
    refused(system, "nobody@example.org", *LOSS, says="keys of nobody@example.org")
    refused(system, says="ADDRESS or --all", exit_status=2)
    refused(system, alice.address, "--all", says="ADDRESS or --all", exit_status=2)
    refused(system, "undo", alice.address, *ONE, says="sealed=no")
    refused(system, bob.address, str(system.home(alice)), *LOSS, says="stored for another account")
    assert [f.read_bytes() for f in system.mail_files(alice)] == before
    conf, pub = system.path("etc", "basaltctl.conf").read_text(), system.env["SITE_KEY_PUB"]
    other = system.path("etc", "other.pub")
    for text, says in (("0" * 64, "not to be trusted"), ("no key", "ctl.site_key")):
        other.write_text(text)
        system.path("etc", "other.conf").write_text(conf.replace(pub, str(other)))
        p = subprocess.run([shlex.split(system.env["BASALTCTL"])[0], "-c", str(system.path("etc", "other.conf")), "convert", alice.address, *LOSS],
                           stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert p.returncode in (1, 78) and says in p.stderr.decode()
    assert [f.read_bytes() for f in system.mail_files(alice)] == before
    system.ctl("key", "add-recovery", alice.address, *ONE, "--stdout", stdin=secret(alice))
    system.ctl("convert", alice.address)  # that is enough
    assert all_sealed(system, alice)


def test_undo(system, alice):
    """By the password or a recovery code, once the account is plain: as it was, text for text; and it can be sealed again."""
    before, listing, ids, room = (f(system, alice) for f in (everything, lambda *a: everything(*a, LISTING), uidls, quota))
    raw = {f: f.read_bytes() for f in system.mail_files(alice) if systems.MAGIC not in f.read_bytes()}
    assert len(raw) == 5
    convert(system, alice)
    code = system.ctl("key", "add-recovery", alice.address, *ONE, "--stdout", stdin=secret(alice)).stdout.decode().strip()
    seal(system, alice, "plain")
    p = system.ctl("convert", "undo", alice.address, *ONE, "--json", stdin=secret(alice, "wrong"), check=False)
    assert p.returncode == 1 and b"wrong" not in p.stderr and all_sealed(system, alice)
    done = json.loads(system.ctl("convert", "undo", alice.address, *ONE, "--json", stdin=secret(alice, code)).stdout)
    assert (done["opened"], done["complete"]) == (OLD + 1, True)
    assert systems.SUITE_SEALED not in system.suites(alice)
    assert {f: f.read_bytes() for f in raw} == raw, "what Dovecot stored is as Dovecot stored it"
    for state in "as it is", "no caches":
        if state == "no caches":
            without_caches(system, alice)
        assert everything(system, alice) == before and everything(system, alice, LISTING) == listing, state
        assert uidls(system, alice) == ids and recalculated(system, alice) == room, state
    seal(system, alice)
    assert convert(system, alice)["sealed"] == OLD + 1
    assert everything(system, alice) == before


def test_undo_leaves_no_sealed_field_behind(system, alice):
    """Of a mail that is another file now it would say, once the account is sealed again, that the file was exchanged."""
    convert(system, alice)
    everything(system, alice, LISTING)
    seal(system, alice, "plain")
    system.ctl("convert", "undo", alice.address, *ONE, stdin=secret(alice))
    seal(system, alice)
    mark = len(system.path("log", "dovecot.log").read_text())
    everything(system, alice, LISTING)
    everything(system, alice)
    assert "ALARM" not in system.path("log", "dovecot.log").read_text()[mark:]


def test_undo_ends_sessions_first(system, alice):
    """One from before the account was plain takes a mail for forged that is text where it was sealed."""
    before = everything(system, alice)
    convert(system, alice)
    with rawimap.Raw(system.port("imap")) as c:
        c.login(alice.address, alice.password)
        c.ok("SELECT INBOX")
        c.ok("UID FETCH 1:3 (BODY.PEEK[])")
        seal(system, alice, "plain")
        since = len(system.log("dovecot"))
        system.ctl("convert", "undo", alice.address, *ONE, stdin=secret(alice))
        assert c.response().startswith(b"* BYE Session ended by an administrator")
        assert system.logged("dovecot", "Disconnected: basalt: session ended by an administrator", since)
    assert everything(system, alice) == before and not probes.alarms(system, alice)


def test_status(system, alice):
    """Of one or of all; and that a run is at work."""
    import fcntl
    assert status(system, alice.address) == [{"account": alice.address, "sealed": 1, "plain": OLD, "unknown": 0, "running": False, "shut": False}]
    fd = os.open(system.home(alice), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert status(system, alice.address)[0]["running"]
    p = convert(system, alice, check=False)
    assert p.returncode == 75 and b"another run is at work" in p.stderr
    os.close(fd)
    convert(system, alice)
    everybody = {line["account"]: line for line in status(system, "--all")}
    assert everybody[alice.address] == {"account": alice.address, "sealed": OLD + 1, "plain": 0, "unknown": 0, "running": False, "shut": False}
    assert system.ctl("convert", "status", alice.address).stdout.decode().endswith("13 of 13 messages sealed (100 %)\n")


def test_all_accounts(system, alice):
    """One that fails does not stop the others, and plain ones and those without mail are nobody's fault."""
    bob, carol = account_with_old_mail(system), system.account("plain")
    assert probes.lmtp(system, carol, probes.marked("carol's")) == 250
    home = system.home(bob)
    owner = home.stat()
    os.chown(home, 0, 0)
    try:
        p = system.ctl("convert", "--all", "--json", *LOSS, check=False)
        assert p.returncode == 1 and b"is root's" in p.stderr
    finally:
        os.chown(home, owner.st_uid, owner.st_gid)
    told = {line["account"]: line for line in map(json.loads, p.stdout.splitlines())}
    assert told[alice.address]["sealed"] == OLD and bob.address not in told and carol.address not in told
    assert all_sealed(system, alice) and not all_sealed(system, bob) and systems.SUITE_SEALED not in system.suites(carol)
    p = system.ctl("convert", "--all", check=False)
    assert p.returncode == 1 and b"add-recovery" in p.stderr and not all_sealed(system, bob)
    system.ctl("convert", "--all", *LOSS)
    assert all_sealed(system, bob)
    p = system.ctl("convert", "--all", check=False)
    assert not any(account.address.encode() in p.stderr for account in (alice, bob)), "nothing of theirs is to be sealed"


def start(system, account, before=None):
    return subprocess.Popen([*shlex.split(system.env["BASALTCTL"]), "convert", account.address, *LOSS, "--quiet", "--full-speed"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=before)


@pytest.mark.limit(300)
def test_undo_killed_again_and_again(system, alice):
    """The way back is as safe."""
    before = everything(system, alice)
    convert(system, alice)
    seal(system, alice, "plain")
    argv = [*shlex.split(system.env["BASALTCTL"]), "convert", "undo", alice.address, *ONE, "--full-speed", "--quiet"]
    for limit in (0, 1, 47, 300, 2000, 65_000, 100_000):
        p = subprocess.run(argv, input=secret(alice), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert p.returncode == -signal.SIGXFSZ, limit
        assert b" 0 damaged" in system.ctl("scrub", str(system.home(alice))).stdout
    assert everything(system, alice) == before
    system.ctl("convert", "undo", alice.address, *ONE, stdin=secret(alice))
    assert systems.SUITE_SEALED not in system.suites(alice) and not leftovers(system, alice)
    assert everything(system, alice) == before


def whole(system, account, raw):
    """Every mail is what it was, or sealed and undamaged."""
    now = {f: f.read_bytes() for f in system.mail_files(account)}
    assert now.keys() == raw.keys()
    for f, data in now.items():
        assert data == raw[f] or systems.MAGIC + bytes([systems.SUITE_SEALED]) in data, f
    assert b" 0 damaged" in system.ctl("scrub", str(system.home(account))).stdout


@pytest.mark.limit(300)
def test_killed_at_any_byte(system, alice):
    """The kernel ends it as it writes one byte more: what it had so far lies beside the mail, which is as it was; each run goes on."""
    before, raw = everything(system, alice), {f: f.read_bytes() for f in system.mail_files(alice)}
    for limit in (0, 1, 3, 17, 47, 48, 100, 176, 200, 250, 300, 400, 800, 1200, 1500, 5000, 65_000, 100_000):
        p = start(system, alice, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert p.wait(60) == -signal.SIGXFSZ, limit
        assert limit in [f.stat().st_size for f in leftovers(system, alice)]
        whole(system, alice, raw)
    convert(system, alice)
    assert all_sealed(system, alice) and not leftovers(system, alice)
    assert everything(system, alice) == before


@pytest.mark.limit(300)
def test_killed_again_and_again(system):
    """kill -9 at any moment, in the middle of two hundred mails: the run that may end leaves everything sealed and nothing behind."""
    bob = system.account("plain")
    for i in range(200):
        assert probes.lmtp(system, bob, probes.marked(f"mail {i}", 3000)) == 250
    seal(system, bob)
    before, raw = everything_in_inbox(system, bob), {f: f.read_bytes() for f in system.mail_files(bob)}
    rng, killed = random.Random(7), 0
    while not all_sealed(system, bob):
        p = start(system, bob)
        time.sleep(rng.random() * 0.005 * (killed + 1))  # a quick machine is through in a tenth of a second
        p.send_signal(signal.SIGKILL)
        killed += p.wait(60) == -signal.SIGKILL
        whole(system, bob, raw)
    assert killed >= 5, "some of them were at work"
    convert(system, bob)
    assert not leftovers(system, bob) and everything_in_inbox(system, bob) == before


def everything_in_inbox(system, account):
    with system.imap(account) as mail:
        mail.select()
        return [without_recent(item) for item in mail.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")]


@pytest.mark.limit(300)
def test_clients_at_work_meanwhile(system):
    """A session that reads, flags, moves and expunges, and deliveries: nothing is lost, doubled or damaged."""
    bob = system.account("plain")
    bob.sent = [probes.marked(f"mail {i}", 3000) for i in range(120)]
    for message in bob.sent:
        assert probes.lmtp(system, bob, message) == 250
    with system.imap(bob) as mail:
        mail.ok("create", "elsewhere")
    seal(system, bob)
    since, gone, moved = len(system.log("dovecot")), set(), set()
    with system.imap(bob) as mail:
        mail.select()
        p, n = start(system, bob), 0
        while p.poll() is None or n < 20:
            n += 1
            uid = n * 5
            mail.ok("uid", "STORE", "1:*", "+FLAGS" if n % 2 else "-FLAGS", r"(\Seen \Answered)")
            if uid <= 120:
                assert probes.word(mail.part(uid)) == probes.word(bob.sent[uid - 1])
                if n % 2:
                    mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Deleted)")
                    mail.ok("expunge")
                    gone.add(uid)
                else:
                    mail.copy(uid, "elsewhere", "MOVE")
                    moved.add(uid)
            bob.sent.append(probes.marked(f"meanwhile {n}"))
            assert probes.lmtp(system, bob, bob.sent[-1]) == 250
        status = p.wait(60)
        assert status in (0, 75) and (all_sealed(system, bob) or status == 75), "0 says that all is"
        convert(system, bob)
        mail.ok("noop")
    assert gone and moved and all_sealed(system, bob)
    stay = [probes.word(m) for i, m in enumerate(bob.sent, 1) if i not in gone | moved]
    assert probes.shown(system, bob) == stay
    assert sorted(probes.shown(system, bob, folder="elsewhere")) == sorted(probes.word(bob.sent[i - 1]) for i in moved)
    assert b" 0 damaged" in system.ctl("scrub", str(system.home(bob))).stdout
    complaints = [line for line in system.log("dovecot")[since:].splitlines() if re.search("Error|ALARM|Panic|can't read", line)]
    assert not complaints


def file_of(system, account, message, folder="INBOX"):
    """Of mail that lies there as text."""
    found = [f for f in system.mail_files(account) if probes.word(message) in f.read_bytes() and ("elsewhere" in str(f)) == (folder == "elsewhere")]
    return found[0]


def rewritten(path, data):
    """In place, with owner and times."""
    st = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def in_frame(path, text, more_metadata=b""):
    """The file with another text, in dbox's frame where there is one."""
    raw = path.read_bytes()
    frame = re.match(rb"(2 M1e [^\n]*\n\x01\x02N .{8} )[0-9A-F]{16}\n", raw, re.S)
    if not frame:
        return text
    return frame[1] + b"%016X\n" % len(text) + text + b"\n\x01\x03\n" + more_metadata + raw[raw.rindex(b"\n\x01\x03\n") + 4:]


def test_names_without_sizes(pool):
    """Maildir files as other programs make them, with bare LFs: what clients see, and the quota, stay."""
    system = pool.get("maildir", "mariadb", ["--quota"])
    bob = account_with_old_mail(system)
    for path in system.mail_files(bob):
        if systems.MAGIC not in path.read_bytes():
            path.rename(re.sub(r",[SW]=\d+", "", str(path)))
    for index in system.home(bob).rglob("dovecot*"):
        if index.is_file() and index.name != "dovecot-uidlist":
            index.unlink()
    before, listing, ids = everything(system, bob), everything(system, bob, LISTING), uidls(system, bob)
    room = recalculated(system, bob)
    convert(system, bob)
    names = [f.name for f in system.mail_files(bob)]
    for state in "as it is", "no caches":
        if state == "no caches":
            without_caches(system, bob)
        assert everything(system, bob) == before and everything(system, bob, LISTING) == listing and uidls(system, bob) == ids, state
        assert quota(system, bob) == room, state
    assert [f.name for f in system.mail_files(bob)] == names
    assert recalculated(system, bob) == room


def test_what_is_left_as_it_is(system, alice):
    """Compressed by Dovecot, damaged, or nobody's mail: named, left byte for byte, and the others are sealed."""
    sdbox = "sdbox" in system.options
    files = [file_of(system, alice, m) for m in alice.sent[:4]]
    text = alice.sent[0]
    odd = [in_frame(files[0], gzip.compress(text), b"Z%x\n" % len(text)), in_frame(files[1], bytes(2000)), in_frame(files[2], systems.MAGIC[:6] + text)]
    if sdbox:
        odd.append(in_frame(files[3], text, b"X1 2 3 4\n"))
    for path, data in zip(files, odd):
        rewritten(path, data)
    p = convert(system, alice, check=False)
    told = json.loads(p.stdout)
    assert p.returncode == 1 and (told["left"], told["damaged"], told["complete"]) == (2 if sdbox else 1, 2, False), told
    assert told["sealed"] == OLD - len(odd)
    for path, data in zip(files, odd):
        assert path.read_bytes() == data and str(path).encode() in p.stderr
    assert b"zlib" in p.stderr and b"doveadm backup" in p.stderr and (b"attachments" in p.stderr) == sdbox
    assert not leftovers(system, alice)


def test_compressed_mail_has_a_way(system):
    """What zlib's plugin stored is named, and Dovecot carries it over."""
    bob, kind = system.account("plain"), "maildir" if "maildir" in system.options else "sdbox"
    bob.sent = [probes.marked(f"mail {i} {secrets.token_hex(8)}", 20_000) for i in range(3)]
    save(system, bob, bob.sent[0])
    for message in bob.sent[1:]:
        save(system, bob, message, plugins="zlib", more=("-o", "plugin/zlib_save=gz"))
    seal(system, bob)
    p = convert(system, bob, check=False)
    assert p.returncode == 1 and json.loads(p.stdout)["left"] == 2 and b"doveadm backup" in p.stderr
    code, text = system.doveadm("-o", "mail_plugins=zlib basalt", "backup", "-u", bob.address, f"{kind}:~/sealed")
    assert code == 0, text
    home, old = system.home(bob), "Maildir" if kind == "maildir" else "mail"
    (home / old).rename(home / "before")
    (home / "sealed").rename(home / old)
    subprocess.run(["rm", "-r", str(home / "before")], check=True)
    assert all_sealed(system, bob) and not traces(system, bob)
    assert probes.shown(system, bob) == [probes.word(m) for m in bob.sent]


def test_links_from_outside_keep_the_text(system, alice):
    """A backup made of links: it is not touched."""
    path, link = file_of(system, alice, alice.sent[1]), system.path("linked")
    link.unlink(missing_ok=True)
    os.link(path, link)
    raw = link.read_bytes()
    convert(system, alice)
    assert link.read_bytes() == raw and all_sealed(system, alice)


def test_a_session_from_before_the_account_was_sealed(system):
    """It goes on with what it has open, reads what was sealed under it, and what it wrote into a cache is taken away by the next run."""
    bob = system.account("plain")
    bob.sent = [probes.marked(f"mail {i} {secrets.token_hex(8)}") for i in range(10)]
    for message in bob.sent:
        save(system, bob, message)
    with system.imap(bob) as mail:
        mail.select()
        mail.fetch("1:5", "(ENVELOPE)")
        seal(system, bob)
        since = len(system.log("dovecot"))
        assert convert(system, bob)["complete"] and all_sealed(system, bob)
        assert [probes.word(mail.part(uid)) for uid in mail.uids()] == [probes.word(m) for m in bob.sent]
        mail.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
        mail.ok("uid", "STORE", "2", "+FLAGS", r"(\Deleted)")
        mail.ok("expunge")
        assert len(mail.uids()) == 9
    complaints = [line for line in system.log("dovecot")[since:].splitlines() if re.search("Error|ALARM|Panic|can't read", line)]
    assert all("stat() failed" in line and "dovecot.index.cache: No such file" in line for line in complaints) and len(complaints) < 2
    convert(system, bob)
    assert not traces(system, bob)
    assert probes.shown(system, bob) == [probes.word(m) for i, m in enumerate(bob.sent, 1) if i != 2]
