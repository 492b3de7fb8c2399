"""Keys from a copy at basalt-keyd: the database is older, damaged or empty, or went on from an older one: no key of either side is lost."""
import os
import shutil

import keyproto as kp
import pytest
from keydserver import Keyd
from test_keyd_slots import ESCROW, PASSWORD, Account

OLD, NEW = PASSWORD, "quite another one"


def restart_with(keyd, backup=None):  # noqa: F811
    """Another night's database; None: none at all."""
    keyd.stop()
    for path in keyd.db.parent.iterdir():
        path.unlink()
    if backup is not None:
        shutil.copyfile(backup, keyd.db)
        os.chown(keyd.db, *([keyd.db.parent.stat().st_uid] * 2))
    keyd.start()


def backup(keyd, path):  # noqa: F811
    keyd.sql("VACUUM INTO ?", str(path))
    return path


def test_restore_from_the_mail_home():
    with Keyd(escrow=ESCROW) as keyd:
        alice, bob = Account(keyd), Account(keyd)
        night = backup(keyd, keyd.dir / "night.db")
        assert alice.do("change_password", NEW)
        alice.password = NEW
        assert alice.do("rotate")
        alice.mail.append(alice.deliver())
        with keyd.session(alice.name, NEW) as m:
            home = m.keyset()
        generation = int.from_bytes(alice.record()[10:18], "big")
        assert alice.do("restore", home) == kp.EXISTS_ALREADY
        for database in (night, None):
            restart_with(keyd, database)
            assert alice.login(NEW) == kp.DENIED
            assert alice.do("restore", home, secret=OLD) == kp.DENIED
            assert alice.do("restore", home[:-1]) == kp.AUTH and alice.do("restore", b"") == kp.AUTH
            assert alice.do("restore", bytes([*home[:300], home[300] ^ 1, *home[301:]])) == kp.AUTH
            assert keyd.change("restore", bob.name, NEW, home) == kp.AUTH
            assert alice.do("restore", home, generation + 3) == generation + 4
            assert alice.reads_all(NEW) and alice.login(OLD) == kp.DENIED
            assert int.from_bytes(alice.record()[10:18], "big") == generation + 4
            if database:
                assert bob.reads_all()
        assert alice.do("restore", home, generation + 5_000_000) == kp.ARG


def test_restore_is_no_way_back():
    """An older keyset than one that keyd saw, or that the database has, is refused, though its secret is right; unless that is meant, and said."""
    with Keyd(escrow=ESCROW) as keyd:
        alice = Account(keyd)
        with keyd.session(alice.name, OLD) as m:
            old = m.keyset()
        assert alice.do("change_password", NEW)
        assert alice.do("restore", old, secret=OLD) == kp.DENIED and alice.do("restore", old, secret=NEW) == kp.EXISTS_ALREADY
        assert alice.do("restore_keyset", old, kp.OLDER, secret=NEW) == kp.EXISTS_ALREADY
        keyd.sql("DELETE FROM keysets WHERE account = ?", alice.name)
        assert alice.do("restore", old, secret=OLD) == kp.ROLLBACK
        assert alice.do("restore_keyset", old, secret=OLD) == (0, 2)
        assert alice.do("restore_keyset", old, kp.OLDER, secret="wrong") == kp.DENIED
        assert alice.login(OLD) == kp.ROLLBACK and not keyd.rows(alice.name)
        assert alice.do("restore_keyset", old, kp.OLDER, secret=OLD) == (3, 2)
        assert alice.reads_all(OLD) and alice.login(NEW) == kp.DENIED


def test_an_older_row_and_an_older_copy():
    """Where the database went back further than keyd saw, and the copy is of then: no longer than somebody says that it is meant."""
    with Keyd(escrow=ESCROW) as keyd:
        alice = Account(keyd)
        with keyd.session(alice.name, OLD) as m:
            copy = m.keyset()
        assert alice.do("change_password", NEW) and alice.do("change_password", "a third one", secret=NEW)
        keyd.sql("DELETE FROM keysets WHERE account = ?", alice.name)
        keyd.sql("INSERT INTO keysets (account, generation, keyset, created) VALUES (?, 1, ?, 1)", alice.name, copy)
        assert alice.login(OLD) == kp.ROLLBACK
        assert alice.do("restore_keyset", copy) == (0, 3)
        assert alice.do("restore_keyset", copy, kp.OLDER) == (4, 3)
        assert alice.reads_all()


def test_restore_over_a_damaged_row():
    with Keyd(escrow=ESCROW) as keyd:
        alice = Account(keyd)
        with keyd.session(alice.name, OLD) as m:
            home = m.keyset()
        for damage in (b"junk", home[:-40] + bytes(40), home[:700] + b"\1" + home[701:]):
            keyd.replace_keyset(alice.name, damage)
            assert alice.login(OLD) in (kp.AUTH, kp.ROLLBACK, kp.E_VERSION)
            assert alice.do("restore", home) > 1
            assert alice.reads_all()
            with keyd.session(alice.name, OLD) as m:
                home = m.keyset()


# --- two lines of keys ---

class Forked:
    """The mail home knows a second key, and mail is sealed to it; the database is from before."""

    def __init__(self, keyd, password=OLD, rotations=1):
        self.keyd, self.alice = keyd, Account(keyd)
        night = backup(keyd, keyd.dir / f"{self.alice.name}.db")
        if password != OLD:
            self.alice.do("change_password", password)
        for _ in range(rotations):
            assert self.alice.do("rotate", secret=password)
            self.alice.mail.append(self.alice.deliver())
        self.home_password, self.home = password, keyset(keyd, self.alice.name, password)
        self.home_key = self.alice.key_id()
        restart_with(keyd, night)

    def overtake(self, last=NEW):
        """The older keys go on, past the home's generation, with mail of their own."""
        secret = OLD
        for new in ("one of three", "two of three", last):
            assert self.alice.do("change_password", new, secret=secret)
            secret = new
        self.alice.mail.append(self.alice.deliver())
        assert self.generation() > int.from_bytes(self.home[17:25], "big")

    def generation(self):
        return int.from_bytes(self.alice.record()[10:18], "big")

    def kept(self):
        return self.keyd.change("slots", self.alice.name)[1]


@pytest.fixture
def own():
    with Keyd(escrow=ESCROW) as keyd:
        yield keyd


def keyset(keyd, name, password):
    with keyd.session(name, password) as m:
        return m.keyset()


def test_keys_that_were_overtaken_join(own):
    """One password opens both sides: all mail opens at once, and the new active key tells what comes of it from both."""
    fork = Forked(own)
    fork.overtake(last=OLD)
    before, keys = fork.generation(), {fork.home_key, fork.alice.key_id()}
    assert not fork.alice.reads_all()
    with own.session(fork.alice.name, OLD) as m:
        assert fork.alice.do("restore", fork.home, secret="wrong") == kp.DENIED
        assert fork.alice.do("restore", fork.home) == before + 1
        assert m.ends() == kp.KEYS_CHANGED
    assert fork.alice.reads_all() and fork.kept() == 0
    assert fork.alice.key_id() not in keys
    assert fork.alice.do("restore", fork.home) == kp.EXISTS_ALREADY
    fork.alice.mail.append(fork.alice.deliver())
    restart_with(own, backup(own, own.dir / "after.db"))
    assert fork.alice.reads_all()


def test_keys_that_were_overtaken_wait_for_their_secret(own):
    """Today's password opens the database's alone: what the copy holds is kept, and its own password heals it."""
    fork = Forked(own, password="only the home knows")
    fork.overtake()
    assert fork.alice.do("restore", fork.home, secret="only the home knows") == kp.DENIED, "today's password counts"
    assert fork.alice.do("restore", fork.home, secret=NEW) and fork.kept() == 1
    assert fork.alice.do("restore", fork.home, secret=NEW) == kp.EXISTS_ALREADY
    assert not fork.alice.reads_all(NEW)
    assert fork.alice.do("heal", "only the home knows", secret=NEW)[1] == 0
    assert fork.alice.reads_all(NEW) and fork.alice.login(OLD) == fork.alice.login("only the home knows") == kp.DENIED


def test_keys_that_were_overtaken_by_a_reset(own):
    fork = Forked(own)
    fork.overtake(last="three of three")
    assert fork.alice.do("reset", secret=NEW)
    fork.alice.mail.append(fork.alice.deliver())
    assert fork.alice.do("restore", fork.home, secret=NEW) and fork.kept() == 2
    assert fork.alice.do("heal", OLD, secret=NEW)[1] == 1
    assert fork.alice.do("heal", "three of three", secret=NEW)[1] == 0
    assert fork.alice.reads_all(NEW)


@pytest.mark.parametrize("reset", [False, True])
def test_the_newer_copy_takes_in_the_databases_keys(own, reset):
    """The database's generation is lower, but has a key of its own: the copy's slots count, no key is lost."""
    fork = Forked(own, rotations=4)
    assert fork.alice.do("reset", secret=NEW) if reset else fork.alice.do("rotate")
    fork.alice.mail.append(fork.alice.deliver())
    assert fork.alice.do("restore", fork.home) and fork.kept() == (2 if reset else 0)
    if reset:
        assert not fork.alice.reads_all()
        assert fork.alice.do("heal", NEW)[1] == 1, "the reset's; what that kept waits as well"
        assert fork.alice.do("heal", OLD)[1] == 0
    assert fork.alice.reads_all()


def test_an_older_copy_of_the_same_line_has_nothing_to_add(own):
    alice = Account(own)
    copy = keyset(own, alice.name, OLD)
    for _ in range(2):
        assert alice.do("rotate")
        alice.mail.append(alice.deliver())
    before = alice.record()
    assert alice.do("restore", copy) == kp.EXISTS_ALREADY
    assert alice.do("restore", copy, secret="wrong") == kp.DENIED
    assert alice.record() == before and alice.reads_all()


def test_a_copy_with_foreign_slots_joins_nothing(own):
    """A true record with slots and ring that do not belong to it: an alarm, and nothing is written."""
    fork = Forked(own)
    fork.overtake(last=OLD)
    before = fork.alice.record()
    ring = bytearray(fork.home)
    ring[-40 - 33] ^= 1
    assert fork.alice.do("restore", bytes(ring)) in (kp.AUTH, kp.ROLLBACK)
    assert "not what was kept" in own.log_text()
    assert fork.alice.record() == before and fork.kept() == 0
    assert fork.alice.do("restore", fork.home) and fork.alice.reads_all()
