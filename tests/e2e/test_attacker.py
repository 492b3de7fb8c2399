"""An attacker's afternoon: somebody runs code in an imap process, or writes the keys database, or has an old backup. What each
gets is what docs/THREATS.md says. More of the database: test_tamper.py, test_keyd_attacks.py, test_keyd_forged.py; hostile
frames: test_keyd_attacks.py."""
import contextlib
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import time

import keyproto as kp
import mole
import probes
import pytest
import sealedfiles
from keydserver import SANITIZED, Keyd, sealed_prefix

import make_keys  # keydserver puts tests/vectors on the path

PASSWORD, NEW = "correct horse battery staple", "another good password"
ALICE, BOB = "alice@example.org", "bob@example.org"


def outcome(call, *args):
    """What a call gets: its value, the status that it is refused with, or "closed"."""
    try:
        return call(*args)
    except kp.KeydError as e:
        return e.status
    except (kp.Closed, BrokenPipeError, ConnectionResetError):
        return "closed"


# --- code in an imap process ---

class Burgled:
    """A mail system with two accounts. Alice's imap process is the attacker's; Bob has a letter, and is at work."""

    def __init__(self, system):
        self.system, self.alice, self.bob = system, system.account(), system.account()
        for account in self.alice, self.bob:
            assert probes.lmtp(system, account, probes.marked("private")) == 250
        self.work = system.imap(self.bob)
        assert self.work.select() == 1
        self.work.part(self.work.uids()[0])
        self.bobs_pid = max(system.pids("dovecot", "imap"))
        self.ids = mole.ids_of(self.bobs_pid)
        self.run = system.env["KEYD_RUN"]

    def client(self, socket):
        return kp.Client(f"{self.run}/{socket}")

    def token(self, account, service="imap"):
        """What Dovecot's auth hands to a mail process: nothing that the attacker could ask for himself."""
        with self.client("auth") as a:
            return a.login(account.address, account.password, service)[1]

    def attack(self, function):
        """function(m), where m is a session of alice's that began rightly, as code in her imap process runs it."""
        token = self.token(self.alice)

        def inside():
            with self.client("mail") as m:
                m.attach(token, self.alice.address)
                return function(m)
        return mole.run(self.ids, inside)


@pytest.fixture(scope="module")
def site(pool):
    site = Burgled(pool.get())
    yield site
    site.work.close()


def test_anothers_data_keys(site):
    """All files of mail are his to read, since all imap processes are one user: without the keys they are noise."""
    bobs, alices = (sealedfiles.messages(site.system, a)[0] for a in (site.bob, site.alice))

    def steal(m):
        theirs, mine = (f.read()[:sealedfiles.PREFIX] for f in (bobs, alices))
        renamed = theirs[:12] + mine[12:28] + theirs[28:]  # the account id of who asks
        forged = sealed_prefix(m.record(site.bob.address), bytes(32), account=mine[12:28])
        return m.unwrap([mine, theirs, renamed, forged])
    mine, *theirs = site.attack(steal)
    assert len(mine) == 32, "his own he gets"
    assert theirs == [kp.ACCOUNT, kp.NOKEY, kp.NOKEY]


def test_tokens_again_and_of_others(site):
    used, alices, bobs, pop3 = site.token(site.alice), site.token(site.alice), site.token(site.bob), site.token(site.alice, "pop3")

    def try_them():
        mine = site.alice.address
        with contextlib.ExitStack() as stack:
            new = lambda: stack.enter_context(site.client("mail"))  # noqa: E731
            session = new()
            session.attach(used, mine)
            found = {"used": outcome(new().attach, used, mine),
                     "another user's": outcome(new().attach, bobs, mine),
                     "which is burnt": outcome(new().attach, bobs, site.bob.address),
                     "another service's": outcome(new().attach, pop3, mine, "imap"),
                     "made up": outcome(new().attach, os.urandom(32), mine),
                     "the session": len(session.subkey(1, bytes(16), 1)),
                     "a second one": outcome(session.attach, alices, mine)}
            return found, outcome(session.subkey, 1, bytes(16), 1)
    found, after = mole.run(site.ids, try_them)
    assert found.pop("the session") == 32
    assert found.pop("a second one") == kp.PERM and after == "closed"
    assert set(found.values()) == {kp.TOKEN}, found
    assert any("tried the token of" in line for line in probes.alarms(site.system, site.bob))


@pytest.mark.parametrize("opcode", sorted(set(kp.ALL_OPCODES) - {kp.ATTACH, kp.UNWRAP, kp.SUBKEY, kp.RECORD, kp.KEYSET, kp.CLOSE,
                                                                 kp.RESUME_TOKEN, kp.DROP_TOKEN, kp.HOLDS}))
def test_operations_of_other_sockets(site, opcode):
    """Each names an account as its operation wants it, and ends the session that asks."""
    payload = kp.str16(site.bob.address) + kp.str16(site.bob.password) + kp.str16("imap") + b"\0"

    def ask(m):
        return m.call(opcode, payload), outcome(m.subkey, 1, bytes(16), 1)
    assert site.attack(ask) == ((kp.PERM, b""), "closed")


def test_replay_after_logout(site):
    """The very bytes of a session that was closed: on its own connection, on a new one without a token, and with the old one."""
    letter, = sealedfiles.messages(site.system, site.alice)
    token, mine = site.token(site.alice), site.alice.address

    def replay():
        unwrap = kp.frame(kp.UNWRAP, struct.pack(">H", 1) + kp.str16(letter.read()[:sealedfiles.PREFIX]), 9)
        attach = kp.frame(kp.ATTACH, token + kp.str16(mine) + kp.str16("imap"), 8)

        def said(c, *frames):
            for f in frames:
                c.sock.sendall(f)
            return [c.read_frame()[:2] for _ in frames]
        with site.client("mail") as first, site.client("mail") as new, site.client("mail") as whole:
            assert said(first, attach, unwrap) == [(kp.ATTACH, kp.OK), (kp.UNWRAP, kp.OK)]
            first.ask(kp.CLOSE)
            found = [outcome(said, first, unwrap), said(new, unwrap)]
            return [*found, outcome(said, whole, attach), outcome(said, whole, unwrap)]
    assert mole.run(site.ids, replay) == ["closed", [(kp.UNWRAP, kp.PERM)], [(kp.ATTACH, kp.TOKEN)], [(kp.UNWRAP, kp.PERM)]]


def test_doors_and_drawers(site):
    """Sockets of other services, keyd's files, both databases."""
    def opened():
        found = []
        for name in "auth", "control", "delivery":
            with contextlib.suppress(PermissionError):
                site.client(name)
                found.append(name)
        for path in (site.system.path("etc", "site.key"), site.system.path("etc", "keyd.conf"), *site.system.path("db").rglob("*.db")):
            with contextlib.suppress(PermissionError):
                path.read_bytes()
                found.append(str(path))
        with contextlib.suppress(PermissionError):
            site.system.path("run", "keyd", "mail").unlink()
            found.append("the socket is gone")
        return found
    assert list(site.system.path("db").rglob("keys.db"))
    assert [f for f in mole.run(site.ids, opened) if not f.endswith("keyd.conf")] == []


@contextlib.contextmanager
def open_book(ids):
    """A process of the same ids that did not shut itself: what all the ways in are for."""
    p = subprocess.Popen(["sleep", "600"], user=ids[0], group=ids[1], extra_groups=ids[2], env={"LANG": "C"})
    try:
        yield p.pid
    finally:
        p.kill()
        p.wait()


def looked(pid):
    """The ways by which this process sees into that one."""
    found = []
    for way in mole.LOOKS:
        with contextlib.suppress(PermissionError):
            way(pid)
            found.append(way.__name__)
    return found


def test_memory_of_keyd_and_of_other_sessions(site):
    """No way leads into keyd's roles, nor into the imap process of another user, which is of the same ids. All ways do elsewhere."""
    if SANITIZED:
        return
    keyd = site.system.pids("keyd")
    assert len(keyd) >= 8  # supervisor, vault, keystore, four fronts, a kdf worker
    with open_book(site.ids) as book:
        assert mole.run(site.ids, looked, book) == [way.__name__ for way in mole.LOOKS]
    for pid in (*keyd, site.bobs_pid):
        assert mole.run(site.ids, looked, pid) == [], pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    for pid in keyd:
        with pytest.raises(PermissionError):
            mole.run(site.ids, mole.signal_it, pid)
    assert site.system.pids("keyd") == keyd


def test_no_core_of_what_has_keys(site):
    """A signal that dumps core leaves none: keyd and mail processes are not dumpable, and a core may have no bytes."""
    if SANITIZED:
        return
    for pid in (*site.system.pids("keyd"), site.bobs_pid):
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        core = next(line.split()[4] for line in limits.splitlines() if line.startswith("Max core file size"))
        assert int(core) <= 1, (pid, core)
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0, "root's, so not dumpable"


@pytest.mark.limit(180)
def test_flood_of_data_keys():
    """One session takes all that it may, over sixteen connections of its account: it is throttled, others hardly notice."""
    with Keyd() as keyd, contextlib.ExitStack() as stack:
        for name in ALICE, BOB:
            keyd.enrol(name, PASSWORD)
        crowd = [stack.enter_context(keyd.session(ALICE, PASSWORD)) for _ in range(16)]
        quiet = stack.enter_context(keyd.session(BOB, PASSWORD))
        key = os.urandom(32)
        # Of one mail, 256 times: a few thousand different ones a second are all that a slow machine opens, which need no limit.
        prefixes = [sealed_prefix(crowd[0].record(ALICE), key)] * 256
        mine = [sealed_prefix(quiet.record(BOB), key)]
        full = kp.frame(kp.UNWRAP, struct.pack(">H", 256) + b"".join(map(kp.str16, prefixes)))

        def round_trips(n):
            times = []
            for _ in range(n):
                start = time.monotonic()
                assert quiet.unwrap(mine) == [key]
                times.append(time.monotonic() - start)
            return times
        alone, flooded, statuses, start = round_trips(50), [], [], time.monotonic()
        for m in crowd:
            m.sock.sendall(full * 2)
        while (kp.BUSY not in statuses or len(flooded) < 50) and time.monotonic() - start < 60:
            flooded += round_trips(1)
            for m in crowd:
                statuses.append(m.read_frame()[1])
                m.sock.sendall(full)
        for m in crowd:
            statuses += [m.read_frame()[1] for _ in range(2)]
        allowed, took = 256 * statuses.count(kp.OK), time.monotonic() - start
        print(f"data key alone {statistics.median(alone) * 1e3:.2f} ms; in the flood median {statistics.median(flooded) * 1e3:.1f}, "
              f"worst {max(flooded) * 1e3:.1f} ms; {allowed} keys in {took:.1f} s")
        assert set(statuses) == {kp.OK, kp.BUSY}
        assert allowed <= 100_000 + 10_000 * (took + 1)
        assert max(flooded) < 3, "a turn of the vault is one frame of each, not the whole queue of one"
        assert keyd.status()["throttled"] > 0 and "opens too many messages" in keyd.log_text()


# --- somebody who writes the keys database ---

def parts(blob):
    """(record, slots, ring with its length, what follows) of a keyset (docs/FORMAT.keys.md)."""
    length, = struct.unpack_from(">H", blob, 5)
    at = 7 + length
    count, = struct.unpack_from(">H", blob, at)
    at, slots = at + 2, []
    for _ in range(count):
        length, = struct.unpack_from(">H", blob, at)
        slots.append(blob[at + 2:at + 2 + length])
        at += 2 + length
    ring, = struct.unpack_from(">I", blob, at)
    return blob[7:7 + struct.unpack_from(">H", blob, 5)[0]], slots, blob[at:at + 4 + ring], blob[at + 4 + ring:]


def joined(blob, record, slots, ring, rest):
    body = make_keys.str16(record) + struct.pack(">H", len(slots)) + b"".join(map(make_keys.str16, slots))
    return blob[:5] + body + ring + rest


def with_slots(keyd, change):
    """Other slots between alice's own record, ring and manifest."""
    blob = keyd.rows(ALICE)[0][1]
    record, slots, ring, rest = parts(blob)
    assert joined(blob, record, slots, ring, rest) == blob
    keyd.replace_keyset(ALICE, joined(blob, record, change(slots), ring, rest))


def bobs_slot(keyd):
    """Bob's password slot added to alice's."""
    with_slots(keyd, lambda slots: slots + parts(keyd.rows(BOB)[0][1])[1])


def bobs_slot_instead(keyd):
    with_slots(keyd, lambda slots: parts(keyd.rows(BOB)[0][1])[1])


def escrow_slot(keyd):
    """An escrow slot of the attacker's own pair. He has no master key of alice's to seal, so he seals one of his."""
    account = parts(keyd.rows(ALICE)[0][1])[0][26:42]
    mine, _ = make_keys.slot("mine", account, make_keys.ESCROW, 1, b"", os.urandom(32), extra=make_keys.extra("mine"),
                             to=make_keys.sodium.crypto_scalarmult_base(os.urandom(32)))
    with_slots(keyd, lambda slots: slots + [mine])


def password_slot(keyd):
    account = parts(keyd.rows(ALICE)[0][1])[0][26:42]
    mine, _ = make_keys.slot("mine", account, make_keys.PASSWORD, 1, NEW.encode(), os.urandom(32), 8192, 1)
    with_slots(keyd, lambda slots: [mine] + slots)


def raise_the_row(keyd):
    """The row alone: what is signed says 1."""
    keyd.sql("UPDATE keysets SET generation = 1000 WHERE account = ?", ALICE)


def raise_both(keyd):
    """In the record, too, whose signature then is wrong."""
    blob = bytearray(keyd.rows(ALICE)[0][1])
    blob[7 + 10:7 + 18] = struct.pack(">Q", 1000)
    keyd.sql("UPDATE keysets SET generation = 1000, keyset = ? WHERE account = ?", bytes(blob), ALICE)


def swap_rows(keyd):
    mine, theirs = keyd.rows(ALICE)[0][1], keyd.rows(BOB)[0][1]
    keyd.replace_keyset(ALICE, theirs)
    keyd.replace_keyset(BOB, mine)


@pytest.mark.parametrize("attack", [bobs_slot, bobs_slot_instead, escrow_slot, password_slot, raise_the_row, raise_both, swap_rows])
@pytest.mark.parametrize("restarted", [False, True], ids=["while it runs", "after a restart"])
def test_keysets_put_together(attack, restarted):
    """Neither the attacker's secrets nor bob's open alice's account, hers raises an alarm, and what is put right works."""
    with Keyd() as keyd:
        for name, password in (ALICE, PASSWORD), (BOB, NEW):
            keyd.enrol(name, password)
        with keyd.client("delivery") as d:
            letter = sealed_prefix(d.record(ALICE), bytes(range(32)))
        good = {name: keyd.rows(name)[0] for name in (ALICE, BOB)}
        if restarted:
            keyd.stop()
        attack(keyd)
        if restarted:
            keyd.start()
        for password in NEW, PASSWORD:
            assert keyd.login_status(ALICE, password) in (kp.AUTH, kp.ROLLBACK, kp.DENIED)
        assert any(ALICE in line for line in keyd.alarms())
        assert keyd.change("open", ALICE, NEW) in (kp.AUTH, kp.ROLLBACK, kp.DENIED)
        assert keyd.change("change_password", ALICE, NEW, "the attacker's own") in (kp.AUTH, kp.ROLLBACK, kp.DENIED)
        for name, (generation, blob) in good.items():
            keyd.sql("UPDATE keysets SET generation = ?, keyset = ? WHERE account = ?", generation, blob, name)
        assert keyd.opens(ALICE, PASSWORD, [letter]) == [bytes(range(32))]
        assert keyd.login_status(BOB, NEW) == kp.OK


# --- somebody who has an old backup ---

class Backup(Keyd):
    """The attacker's own keyd over a copy of another's database and site key."""

    def __init__(self, victim):
        self.victim = victim
        super().__init__()

    def start(self):
        if not self.db.exists():
            for name in "site.key", "site.key.pub":
                shutil.copy(self.victim.dir / name, self.dir / name)
            for f in self.victim.db.parent.iterdir():
                shutil.copy(f, self.db.parent / f.name)
                os.chown(self.db.parent / f.name, *[self.db.parent.stat().st_uid] * 2)
        super().start()


@pytest.mark.parametrize("flags,newer", [(0, bytes(range(32))), (kp.COMPROMISED, kp.NOKEY)], ids=["changed", "compromised"])
def test_an_old_backup_and_an_old_password(flags, newer):
    """With the site key and the password of then he opens the mail of then. Mail since, too, unless the change said that the
    password was compromised. Without a password nothing."""
    key = bytes(range(32))
    with Keyd() as keyd:
        keyd.enrol(ALICE, PASSWORD)
        with keyd.client("delivery") as d:
            before = sealed_prefix(d.record(ALICE), key)
        with Backup(keyd) as theirs:
            assert keyd.change("change_password", ALICE, PASSWORD, NEW, flags)
            with keyd.client("control") as c:
                since = sealed_prefix(c.record(ALICE), key)
            assert keyd.opens(ALICE, NEW, [before, since]) == [key, key]
            assert theirs.opens(ALICE, PASSWORD, [before, since]) == [key, newer]
            assert theirs.login_status(ALICE, NEW) == kp.DENIED
            assert theirs.login_status(ALICE, "a guess") == kp.DENIED
            old = theirs.rows(ALICE)
        for generation, blob in old:  # and put back where the daemon still runs, it is noticed
            keyd.sql("DELETE FROM keysets WHERE account = ?", ALICE)
            keyd.sql("INSERT INTO keysets (account, generation, keyset, created) VALUES (?, ?, ?, 1)", ALICE, generation, blob)
        assert keyd.login_status(ALICE, PASSWORD) == kp.ROLLBACK and keyd.alarms()
