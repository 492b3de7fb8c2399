"""basaltctl key reseal: old mail moves to the active key in place, beside a running Dovecot, whatever happens to it on the way."""
import json
import os
import random
import resource
import shlex
import signal
import subprocess
import time

import pytest

import probes
import sealedfiles
import systems

KEY_ID = slice(44, 60)
ITEMS = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
LISTING = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
ONE = ("--password-stdin",)


@pytest.fixture(scope="module", params=["sdbox", "maildir"])
def system(request, pool):
    return pool.get(request.param, {"sdbox": "sqlite", "maildir": "mariadb"}[request.param])


@pytest.fixture
def alice(system):
    """With mail of every size in two folders, sealed to her first key; she has a second one now, and mail that is sealed to it."""
    account = system.account()
    account.sent = [probes.marked(f"mail {i}", n) for i, n in enumerate((10, 2000, 70_000, 300_000, 2000))]
    for message in account.sent:
        assert probes.lmtp(system, account, message) == 250
    with system.imap(account) as mail:
        mail.ok("create", "elsewhere")
        mail.select()
        mail.ok("uid", "STORE", "2", "+FLAGS", r"(\Seen \Flagged custom)")
        for uid in (1, 3):
            mail.copy(uid, "elsewhere")  # a link
    rotate(system, account)
    time.sleep(probes.RECORD_KEPT_S)  # from then on mail is sealed to the new key
    account.sent.append(probes.marked("to the new key"))
    assert probes.lmtp(system, account, account.sent[-1]) == 250
    return account


def rotate(system, account):
    system.ctl("key", "rotate", account.address, *ONE, stdin=secret(account))


def secret(account, text=None):
    return (text or account.password).encode() + b"\n"


def active(system, account):
    return json.loads(system.ctl("key", "show", account.address, "--json").stdout)["active_key"]


def key_ids(system, account):
    return [m.read()[KEY_ID].hex() for m in sealedfiles.messages(system, account)]


def reseal(system, account, *words, text=None, check=True):
    p = system.ctl("key", "reseal", account.address, *words, *ONE, "--json", stdin=secret(account, text), check=check)
    return json.loads(p.stdout) if check else p


def everything(system, account, items=ITEMS):
    """What a client sees of both folders."""
    with system.imap(account) as mail:
        found = []
        for folder in ("INBOX", "elsewhere"):
            mail.select(folder)
            found.append((mail.c.response("UIDVALIDITY")[1], [without_recent(d) for d in mail.fetch("1:*", items)]))
    return found


def without_recent(item):
    """Who selects a folder first sees that, and nobody after him."""
    return tuple(map(without_recent, item)) if isinstance(item, tuple) else item.replace(rb" \Recent", b"").replace(rb"\Recent", b"")


def on_disk(system, account):
    return sorted((f.name, f.stat().st_size, f.stat().st_mtime_ns, f.stat().st_mode, f.stat().st_uid) for f in system.mail_files(account))


def leftovers(system, account):
    return [f for f in system.home(account).rglob("*basalt-swap*")]


def uidls(system, account):
    pop = system.pop3(account)
    found = pop.uidl()[1]
    pop.quit()
    return found


def test_moves_all_and_changes_nothing(system, alice):
    before, listing, files, ids = everything(system, alice), everything(system, alice, LISTING), on_disk(system, alice), uidls(system, alice)
    since, new = len(system.log("dovecot")), active(system, alice)
    assert set(key_ids(system, alice)) != {new} and new in key_ids(system, alice)
    with system.imap(alice) as open_since:
        open_since.select()
        assert open_since.part(4)
        told = reseal(system, alice)
        assert told["index_caches"] == len(list(system.home(alice).rglob("dovecot.index.cache"))) > 0
        assert (told["resealed"], told["current"], told["complete"]) == (7, 1, True) and not told["damaged"] + told["errors"] + told["not_opened"]
        assert [probes.word(open_since.part(uid)) for uid in open_since.uids()] == [probes.word(m) for m in alice.sent]
    assert set(key_ids(system, alice)) == {new} and on_disk(system, alice) == files and not leftovers(system, alice)
    assert everything(system, alice, LISTING) == listing and everything(system, alice) == before and uidls(system, alice) == ids
    assert reseal(system, alice)["resealed"] == 0
    assert "ALARM" not in system.log("dovecot")[since:] and "can't read" not in system.log("dovecot")[since:]
    assert b" 0 damaged" in system.ctl("scrub", str(system.home(alice))).stdout
    for cache in system.home(alice).rglob("dovecot.index.cache"):
        cache.unlink()
    assert everything(system, alice) == before, "the files say the same as the caches"


def test_secrets(system, alice):
    """A recovery code does, an app password or a wrong one does not; nothing is asked of who has no old mail."""
    words = {kind: system.ctl("key", f"add-{kind}", alice.address, *ONE, "--stdout", stdin=secret(alice)).stdout.decode().strip()
             for kind in ("recovery", "app-password")}
    for text in "wrong", words["app-password"]:
        p = reseal(system, alice, text=text, check=False)
        assert p.returncode == 1 and set(key_ids(system, alice)) != {active(system, alice)}
        assert text.encode() not in p.stdout + p.stderr
    assert reseal(system, alice, text=words["recovery"])["resealed"] == 7


def test_old_keys_can_go(system, alice):
    """Afterwards the retired key is not needed any more."""
    import keyproto as kp
    old = key_ids(system, alice)[0]
    assert old != active(system, alice)
    reseal(system, alice)
    with kp.Client(system.env["KEYD_SOCKET"]) as c:
        c.drop_key(alice.address, alice.password, bytes.fromhex(old))
    assert probes.shown(system, alice) == [probes.word(m) for m in alice.sent]


def test_mail_that_can_not_move(system, alice):
    """Damaged or foreign: named, left as it is byte for byte, and the others move."""
    bob = system.account()
    assert probes.lmtp(system, bob, probes.marked("bob's")) == 250
    foreign = sealedfiles.messages(system, bob)[0].read()
    largest = max(sealedfiles.messages(system, alice), key=lambda m: m.length)
    largest.flip(200_000)
    bad = largest.read()
    p = reseal(system, alice, check=False)
    told = json.loads(p.stdout)
    assert p.returncode == 1 and told["damaged"] == 1 and told["resealed"] == 6, told
    assert os.path.basename(str(largest.path)).encode() in p.stderr
    assert bad in [m.read() for m in sealedfiles.messages(system, alice)] and not leftovers(system, alice)
    assert foreign == sealedfiles.messages(system, bob)[0].read()


def test_flags_that_change_meanwhile(system, alice):
    """Dovecot renames a Maildir file for each flag: no mail is lost, doubled or missed."""
    for i in range(40):
        alice.sent.append(probes.marked(f"more {i}", 100))
        assert probes.lmtp(system, alice, alice.sent[-1]) == 250
    with system.imap(alice) as mail:
        uids, count = list(range(1, mail.select() + 1)), len(sealedfiles.messages(system, alice))
        for _ in range(3):
            rotate(system, alice)
            p, n = start(system, alice), 0
            while p.poll() is None:
                n += 1
                mail.ok("uid", "STORE", "1:*", "+FLAGS" if n % 2 else "-FLAGS", r"(\Seen \Answered)")
            assert p.wait(60) in (0, 75)
        reseal(system, alice)
        mail.ok("noop")
        assert mail.uids() == uids
    assert len(sealedfiles.messages(system, alice)) == count and set(key_ids(system, alice)) == {active(system, alice)}
    assert probes.shown(system, alice) == [probes.word(m) for m in alice.sent]


def start(system, account, before=None):
    p = subprocess.Popen([*shlex.split(system.env["BASALTCTL"]), "key", "reseal", account.address, *ONE, "--quiet", "--full-speed"],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=before)
    p.stdin.write(secret(account))
    p.stdin.close()
    return p


@pytest.mark.limit(300)
def test_killed_again_and_again(system, alice):
    """kill -9 at any moment: every mail is whole each time, and the run that may end leaves everything moved and nothing behind."""
    for i in range(20):
        assert probes.lmtp(system, alice, probes.marked(f"more {i}", 20_000)) == 250
    before, rng = everything(system, alice), random.Random(5)
    count, killed, within = len(sealedfiles.messages(system, alice)), 0, 0.25
    for i in range(100):
        if set(key_ids(system, alice)) == {active(system, alice)}:
            rotate(system, alice)  # so that there is always something to do
        p = start(system, alice)
        time.sleep(rng.random() * within)
        p.send_signal(signal.SIGKILL)
        if p.wait(60) == -signal.SIGKILL:
            killed += 1
        else:
            within *= 0.8  # a quick machine is through sooner, and a ring holds 64 keys
        found = sealedfiles.messages(system, alice)
        assert len(found) == count
        assert b" 0 damaged" in system.ctl("scrub", str(system.home(alice))).stdout
        if i % 6 == 5:
            assert everything(system, alice) == before
        if killed == 15:
            break
    assert killed == 15, "some of them were at work"
    reseal(system, alice)
    assert set(key_ids(system, alice)) == {active(system, alice)} and not leftovers(system, alice)
    assert everything(system, alice) == before


def test_killed_at_any_byte(system, alice):
    """The kernel ends it as it writes one byte more: what it had so far lies beside the mail, which is as it was."""
    old, new = {m.path: m.read() for m in sealedfiles.messages(system, alice)}, active(system, alice)
    sizes = sorted({f.stat().st_size for f in system.mail_files(alice)})
    for limit in {0, 1, 50, 176, 177, 200, *(s + d for s in sizes for d in (-49, -48, -1))}:
        p = start(system, alice, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert p.wait(60) == -signal.SIGXFSZ
        assert limit in [f.stat().st_size for f in leftovers(system, alice)]
        for m in sealedfiles.messages(system, alice):
            assert m.read() == old[m.path] or m.read()[KEY_ID].hex() == new
        assert b" 0 damaged" in system.ctl("scrub", str(system.home(alice))).stdout
    reseal(system, alice)
    assert set(key_ids(system, alice)) == {new} and not leftovers(system, alice)
    assert probes.shown(system, alice) == [probes.word(m) for m in alice.sent]


def test_two_at_once(system, alice):
    """The second one is sent away."""
    import fcntl
    fd = os.open(system.home(alice), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    p = reseal(system, alice, check=False)
    os.close(fd)
    assert p.returncode == 75 and b"another run is at work" in p.stderr
    assert reseal(system, alice)["resealed"] == 7


def test_what_killed_runs_left(system, alice):
    """Goes, unless a run is at work on it, or it is the only copy of what somebody put in a mail's place."""
    mail = next(m.path for m in sealedfiles.messages(system, alice) if m.path.stat().st_nlink == 1)
    folder, st = mail.parent.parent / "tmp" if mail.parent.name in ("cur", "new") else mail.parent, mail.stat()
    dead = subprocess.Popen(["true"])
    dead.wait()

    def leave(name, text=b"half a mail"):
        path = folder / f"temp.basalt-swap.{name}"
        path.write_bytes(text)
        os.chown(path, st.st_uid, st.st_gid)
        return path

    def named(serial, **other):
        path = leave(f"{dead.pid}.{serial}")
        told = {"ino": path.stat().st_ino, "ns": path.stat().st_mtime_ns} | other
        return path.rename(f"{path}.{told['ino']}-{st.st_ino}-{told['ns'] // 10**9}-{told['ns'] % 10**9}")

    gone = [leave(f"{dead.pid}.1"), named(2)]
    works = leave(f"{os.getpid()}.1")
    stay = [named(3, ino=1), named(4, ns=5), leave("not a number")]
    p = reseal(system, alice, check=False)
    told = json.loads(p.stdout)
    assert p.returncode == 1 and (told["errors"], told["resealed"]) == (3, 7), told
    assert all(str(f).encode() in p.stderr for f in stay) and str(works).encode() not in p.stderr
    assert set(leftovers(system, alice)) == {works, *stay} and not any(f.exists() for f in gone)
    for f in works, *stay:
        f.unlink()
    assert reseal(system, alice)["complete"]


def test_works_as_the_owner_of_the_folder(system, alice):
    """Root's command is the mail user's from the first file on: what root alone can read it can't either, and root's folders it refuses."""
    new = active(system, alice)
    hidden = next(m.path for m in sealedfiles.messages(system, alice) if m.path.stat().st_nlink == 1 and m.read()[KEY_ID].hex() != new)
    owner = hidden.stat().st_uid
    assert owner != 0
    os.chown(hidden, 0, 0)
    hidden.chmod(0o600)
    before = hidden.read_bytes()
    p = reseal(system, alice, check=False)
    told = json.loads(p.stdout)
    assert p.returncode == 1 and told["errors"] == 1 and told["resealed"] == 6 and b"Permission denied" in p.stderr, told
    assert hidden.read_bytes() == before
    assert {f.stat().st_uid for f in system.mail_files(alice)} == {0, owner}
    os.chown(hidden, owner, owner)
    home = system.home(alice)
    os.chown(home, 0, owner)
    try:
        p = reseal(system, alice, check=False)
        assert p.returncode == 1 and b"is root's" in p.stderr and hidden.read_bytes() == before
    finally:
        os.chown(home, owner, owner)
    assert reseal(system, alice)["resealed"] == 1


def test_session_that_ends_under_it(system, alice):
    """Whoever removes a slot ends it; it says so, and goes on the next time."""
    system.stop("keyd")
    try:
        p = reseal(system, alice, check=False)
        assert p.returncode == 75
    finally:
        system.start()
    assert reseal(system, alice)["resealed"] == 7


def test_mdbox_is_refused_and_has_a_way(pool, tmp_path_factory):
    system = pool.get("mdbox", "mariadb")
    alice = system.account()
    alice.sent = [probes.marked(f"mail {i}") for i in range(3)]
    for message in alice.sent:
        assert probes.lmtp(system, alice, message) == 250
    rotate(system, alice)
    before = [f.read_bytes() for f in system.mail_files(alice)]
    p = reseal(system, alice, check=False)
    assert p.returncode == 1 and b"doveadm backup -u ADDRESS sdbox:FOLDER" in p.stderr
    assert [f.read_bytes() for f in system.mail_files(alice)] == before
    folder = system.home(alice) / "carried"
    status, text = system.doveadm("backup", "-u", alice.address, f"sdbox:{folder}")
    assert status == 0, text
    assert reseal(system, alice, str(folder))["resealed"] == 3
    carried = [f.read_bytes() for f in sorted(folder.rglob("u.*"))]
    new = bytes.fromhex(active(system, alice))
    assert len(carried) == 3 and all(new in c for c in carried)
