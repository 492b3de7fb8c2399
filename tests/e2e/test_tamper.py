"""Somebody writes to the databases, to a mail home, to the site key: mail waits, logins are refused, nothing is stored
in plaintext, all others are served, and what was put right works again with nothing lost."""
import hashlib
import os

import pytest
from nacl import bindings as sodium

import databases
import probes

SQLITE, MARIADB = ("sdbox", "sqlite"), ("maildir", "mariadb")


@pytest.fixture
def system(request, pool):
    """The shared system of the combination that the test names; "on" gives them."""
    return pool.get(*getattr(request, "param", SQLITE))


def on(both, *alternating):
    """Parameters (system, attack): those of both on each combination, the others on one or the other in turn."""
    pairs = [(c, a) for a in both for c in (SQLITE, MARIADB)]
    pairs += [((SQLITE, MARIADB)[i % 2], a) for i, a in enumerate(alternating)]
    return pytest.mark.parametrize("system, attack", pairs, indirect=["system"],
                                   ids=[f"{c[1]}-{a.__name__}" for c, a in pairs])


@pytest.fixture
def keys(system):
    return databases.Keys(system)


@pytest.fixture
def alice(system):
    """An account with one mail, which lies in the newest of two generations. She logged in with neither."""
    account = system.account()
    old, account.password = account.password, "the second password"
    system.ctl("account", "passwd", account.address, "--old-password-stdin", "--password-stdin",
               stdin=f"{old}\n{account.password}\n".encode())
    account.old_password, account.first = old, probes.marked("before")
    assert probes.lmtp(system, account, account.first) == 250
    return account


@pytest.fixture
def bob(system):
    return system.account()


# --- the keys database ---

def another_record(blob, **fields):
    return databases.with_record(blob, change_record(databases.record(blob), **fields))


def change_record(record, **fields):
    for name, value in fields.items():
        record = databases.patch(record, getattr(databases, name), value)
    return record


def swap_key(keys, alice, bob):
    """Bob's public key and key id in alice's record."""
    theirs = databases.record(keys.newest(bob)[1])
    keys.replace(alice, another_record(keys.newest(alice)[1], KEY_ID=theirs[databases.KEY_ID],
                                       PUBLIC_KEY=theirs[databases.PUBLIC_KEY]))


def swap_key_and_sign(keys, alice, bob):
    """A key of the attacker's own, all consistent, signed by a site key of his own."""
    public = os.urandom(32)
    record = change_record(databases.record(keys.newest(alice)[1]), PUBLIC_KEY=public, KEY_ID=hashlib.sha256(
        b"basalt key id v1\x01" + public).digest()[:16])
    signer = sodium.crypto_sign_keypair()[1]
    signature = sodium.crypto_sign(b"basalt record v1" + record[:-64], signer)[:64]
    keys.replace(alice, databases.with_record(keys.newest(alice)[1], record[:-64] + signature))


def clear_sealed(keys, alice, bob):
    keys.replace(alice, another_record(keys.newest(alice)[1], FLAGS=bytes(4)))


def give_bobs(keys, alice, bob):
    keys.put(alice, [(keys.newest(alice)[0], keys.newest(bob)[1])])


def cut_off(keys, alice, bob):
    keys.replace(alice, keys.newest(alice)[1][:-1])


def garbage(keys, alice, bob):
    keys.replace(alice, os.urandom(200))


def delete(keys, alice, bob):
    keys.put(alice, [])


def roll_back(keys, alice, bob):
    keys.put(alice, keys.rows(alice)[:1])


def renumber(keys, alice, bob):
    """The older keyset as the newest generation."""
    (first, blob), (second, _) = keys.rows(alice)
    keys.put(alice, [(first, blob), (second, blob)])



def deferred_not_stored(system, alice, bob, before):
    """One mail to both: bob's arrives, alice's waits, and there is an alarm. The mail."""
    sent = probes.marked("under attack")
    assert system.send(probes.STRANGER, [alice.address, bob.address], sent) == {}
    probes.wait_for(lambda: len(system.suites(bob)) == 1)
    assert probes.lmtp(system, alice, sent) == 451
    probes.wait_for(lambda: len(probes.alarms(system, alice)) > before)
    assert probes.sealed_only(system, alice) == 1 and not probes.traces(system, alice, sent)
    assert probes.shown(system, bob) == [probes.word(sent)]
    assert probes.queued(system, alice)
    return sent


def arrives_after_all(system, account, *expected):
    system.flush()
    probes.wait_for(lambda: not probes.queued(system, account))
    assert sorted(probes.shown(system, account)) == sorted(map(probes.word, expected))
    assert probes.sealed_only(system, account) == len(expected)


@on([swap_key_and_sign, delete], swap_key, clear_sealed, give_bobs, cut_off, garbage, roll_back, renumber)
def test_keys_changed_while_keyd_runs(system, keys, alice, bob, attack):
    good = keys.rows(alice)
    attack(keys, alice, bob)
    probes.keyd_noticed(system, alice)
    sent = deferred_not_stored(system, alice, bob, len(probes.alarms(system, alice)))
    assert probes.unavailable(system, alice)
    assert system.ctl("account", "passwd", alice.address, "--old-password-stdin", "--password-stdin", check=False,
                      stdin=f"{alice.password}\nno such thing\n".encode()).returncode != 0
    keys.put(alice, good)
    arrives_after_all(system, alice, alice.first, sent)


@on([roll_back], clear_sealed, delete)
def test_keys_changed_while_keyd_was_down(system, keys, alice, bob, attack):
    """The vault has forgotten what it saw; the signature, and the copy in the mail home, remember."""
    good, before = keys.rows(alice), len(probes.alarms(system, alice))
    attack(keys, alice, bob)
    probes.restart_keyd(system)
    sent = deferred_not_stored(system, alice, bob, before)
    assert probes.imap_refusal(system, alice) and probes.pop3_refusal(system, alice)
    keys.put(alice, good)
    arrives_after_all(system, alice, alice.first, sent)


def refused_append(system, account, password=None):
    """APPEND is a tagged NO, the session goes on, nothing of it is stored. What APPEND would have stored."""
    sent = probes.marked("append")
    with system.imap(account, password) as mail:
        before = mail.select()
        status, text = mail.c.append("INBOX", None, None, sent)
        assert status == "NO", text
        assert mail.select() == before
    assert not probes.traces(system, account, sent)


def copies(system, account):
    return {f.name: f.read_bytes() for f in system.home(account).joinpath("basalt").iterdir()}


def test_rolled_back_account_can_be_read_and_stores_nothing(system, keys, alice):
    """keyd alone can't know: the old password opens the mail, which is all still there. The home's copies stay."""
    good = keys.rows(alice)
    assert probes.shown(system, alice) == [probes.word(alice.first)]
    before = copies(system, alice)
    assert before == {"record": databases.record(good[-1][1]), "keyset": good[-1][1]}
    keys.put(alice, good[:1])
    probes.restart_keyd(system)
    assert probes.shown(system, alice, alice.old_password) == [probes.word(alice.first)]
    assert "AUTHENTICATIONFAILED" in probes.imap_refusal(system, alice)
    refused_append(system, alice, alice.old_password)
    assert copies(system, alice) == before
    keys.put(alice, good)
    arrives_after_all(system, alice, alice.first)


def test_rolled_back_account_without_copies(system, keys, alice):
    """What nothing can notice any more: mail is sealed to the account's key all the same, and opens."""
    good, sent = keys.rows(alice), probes.marked("nobody noticed")
    keys.put(alice, good[:1])
    for f in system.home(alice).joinpath("basalt").iterdir():
        f.unlink()
    probes.restart_keyd(system)
    assert probes.lmtp(system, alice, sent) == 250
    keys.put(alice, good)
    arrives_after_all(system, alice, alice.first, sent)


# --- the policy database ---

def plan_of_account(policy, account):
    policy.sql(f"UPDATE accounts SET plan = 'plain' WHERE address = '{account.address}'")


def plan_itself(policy, account):
    policy.sql("UPDATE plans SET sealed = 0 WHERE name = 'private'")


@on([], plan_of_account, plan_itself)
def test_flipped_plan_changes_nothing(system, alice, attack):
    policy, sent = databases.Policy(system), [probes.marked(f"{i}") for i in range(3)]
    attack(policy, alice)
    try:
        assert system.send(probes.STRANGER, [alice.address], sent[0]) == {}
        assert probes.lmtp(system, alice, sent[1]) == 250
        with system.imap(alice) as mail:
            mail.append(sent[2])
        arrives_after_all(system, alice, alice.first, *sent)
        assert not [f for s in sent for f in probes.traces(system, alice, s)]
    finally:
        policy.sql("UPDATE plans SET sealed = 1 WHERE name = 'private'")


# --- the mail home ---

def bit_flipped(file, alice, bob):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def emptied(file, alice, bob):
    file.write_bytes(b"")


def much_too_long(file, alice, bob):
    file.write_bytes(file.read_bytes() * 1000)


def another_ones(file, alice, bob):
    file.write_bytes(bob.joinpath("basalt", file.name).read_bytes())


def link_elsewhere(file, alice, bob):
    file.unlink()
    file.symlink_to(bob.joinpath("basalt", file.name))


def folder_instead(file, alice, bob):
    file.unlink()
    file.mkdir()


def put_back(file, data):
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    elif file.exists() or file.is_symlink():
        file.unlink()
    file.write_bytes(data)
    os.chown(file, probes.UID_MAIL, probes.UID_MAIL)


@on([bit_flipped], emptied, much_too_long, another_ones, link_elsewhere, folder_instead)
def test_record_in_the_home_damaged(system, alice, bob, attack):
    """Nothing is stored until somebody looked; what is there can be read."""
    assert probes.lmtp(system, bob, bob_first := probes.marked("bob's")) == 250
    file = system.home(alice) / "basalt" / "record"
    good, before = file.read_bytes(), len(probes.alarms(system, alice))
    attack(file, system.home(alice), system.home(bob))
    sent = probes.marked("no trust")
    assert probes.lmtp(system, alice, sent) == 451
    probes.wait_for(lambda: len(probes.alarms(system, alice)) > before)
    assert probes.shown(system, alice) == [probes.word(alice.first)]
    refused_append(system, alice)
    assert not probes.traces(system, alice, sent)
    assert probes.shown(system, bob) == [probes.word(bob_first)]
    put_back(file, good)
    assert probes.lmtp(system, alice, sent) == 250
    arrives_after_all(system, alice, alice.first, sent)


def test_record_in_the_home_missing_or_older(system, keys, alice):
    """It comes back with the next mail."""
    home, (old, new) = system.home(alice) / "basalt", [databases.record(b) for _, b in keys.rows(alice)]
    assert (home / "record").read_bytes() == new
    for change in ((home / "record").unlink, lambda: (home / "record").write_bytes(old)):
        change()
        assert probes.lmtp(system, alice, alice.first) == 250
        assert (home / "record").read_bytes() == new
    assert probes.sealed_only(system, alice) == 3


def test_keyset_in_the_home_missing_garbled_or_older(system, keys, alice):
    """It is a copy: nobody reads it, and the next login puts it right."""
    file, rows = system.home(alice) / "basalt" / "keyset", keys.rows(alice)
    assert not file.exists()
    for damage in (lambda: None, file.unlink, lambda: file.write_bytes(b"garbage"), lambda: file.write_bytes(rows[0][1])):
        damage()
        assert probes.shown(system, alice) == [probes.word(alice.first)]
        assert file.read_bytes() == rows[-1][1]


def test_home_that_cannot_keep_a_record(system, bob):
    """Without the copy no rollback would be noticed: mail waits until it can be written."""
    home, sent = system.home(bob), probes.marked("no place")
    home.mkdir(parents=True)
    home.joinpath("basalt").write_bytes(b"in the way")
    for path in (home.parent, home, home / "basalt"):
        os.chown(path, probes.UID_MAIL, probes.UID_MAIL)
    assert probes.lmtp(system, bob, sent) == 451
    assert not probes.traces(system, bob, sent) and not system.suites(bob)
    home.joinpath("basalt").unlink()
    assert probes.lmtp(system, bob, sent) == 250
    arrives_after_all(system, bob, sent)


# --- the site key ---

def anothers(text):
    return sodium.crypto_sign_keypair()[0].hex() + "\n"


def half_of_it(text):
    return text[:30]


def nothing(text):
    return ""


@on([], anothers, half_of_it, nothing)
def test_site_key_of_the_plugin(system, alice, attack):
    """With another site's public key no record is believed, with none nobody is served; nothing is stored."""
    path = system.path("etc", "site.key.pub")
    good, sent, logged = path.read_text(), probes.marked("site"), len(system.log("dovecot"))
    path.write_text(attack(good))
    try:
        assert probes.lmtp(system, alice, sent) == 451
        assert system.logged("dovecot", "basalt_site_key", logged)
        if attack is anothers:
            refused_append(system, alice)
        assert not probes.traces(system, alice, sent)
    finally:
        path.write_text(good)
    assert probes.lmtp(system, alice, sent) == 250
    arrives_after_all(system, alice, alice.first, sent)
