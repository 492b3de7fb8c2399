"""basaltctl key drop: old keys that no mail needs leave the ring, and none that some mail may need, whatever is in the way."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import time

import keyproto as kp
import probes
import pytest
import sealedfiles
import terminal

ONE = ("--password-stdin",)
YOUNG = 0  # ctl.drop_after_s of these runs


@pytest.fixture(scope="module", params=[("sdbox", "sqlite"), ("maildir", "mariadb"), ("mdbox", "mariadb")], ids="+".join)
def any_system(request, pool):
    return pool.get(*request.param)


def settle(system, seconds, more=""):
    """basaltctl as the system has it, with another drop_after_s; more: further settings, that count."""
    program, _, conf = shlex.split(system.env["BASALTCTL"])
    other = system.path("etc", f"drop-{seconds}.conf")
    text = open(conf).read()
    other.write_text(text[:text.rindex("}")] + f"    drop_after_s = {seconds}\n{more}}}\n")
    other.chmod(0o600)
    return [program, "-c", other]


def drop(system, account, *words, after=YOUNG, yes=True, password=None):
    """(exit status, JSON or None, what it said)"""
    p = subprocess.run([*settle(system, after), "key", "drop", account.address, *words, *ONE, "--json", *(["--yes"] if yes else [])],
                       input=(password or account.password).encode() + b"\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                       start_new_session=True)
    return p.returncode, json.loads(p.stdout) if p.stdout else None, p.stderr.decode()


def keys(system, account):
    """[(id, active)], the oldest first."""
    with kp.Client(str(system.path("run", "keyd", "control"))) as c:
        found = c.keys(account.address, account.password)
    return [(key.hex(), bool(active)) for key, _created, active in found]


def rotate(system, account):
    system.ctl("key", "rotate", account.address, *ONE, stdin=account.password.encode() + b"\n")
    until = time.monotonic() + probes.RECORD_KEPT_S
    probes.wait_for(lambda: time.monotonic() > until)  # from then on mail is sealed to the new key


def alone(system, account):
    """Nobody is logged in any more."""
    probes.wait_for(lambda: not any(one["sessions"] for one in json.loads(system.ctl("session", "list", account.address, "--json").stdout)))


def deliver(system, account, *names):
    for name in names:
        assert probes.lmtp(system, account, probes.marked(name)) == 250


@pytest.fixture
def alice(any_system):
    """Her first key has two mails, her second none, her third, the active one, has one."""
    account = any_system.account()
    deliver(any_system, account, "one", "two")
    rotate(any_system, account)
    rotate(any_system, account)
    deliver(any_system, account, "three")
    account.keys = [key for key, _ in keys(any_system, account)]
    assert len(account.keys) == 3 and [a for _, a in keys(any_system, account)].count(True) == 1
    return account


def by_use(system, account):
    """(the key of two mails, that of none, the active one)"""
    used = [m.read()[44:60].hex() for m in sealedfiles.messages(system, account)]
    active = next(key for key, a in keys(system, account) if a)
    first = next(key for key in used if key != active)
    return first, next(key for key in account.keys if key not in (first, active)), active


def test_what_is_needed_stays(any_system, alice):
    system = any_system
    first, unused, active = by_use(system, alice)
    status, said, text = drop(system, alice)
    assert (status, said["dropped"], said["needed"], said["messages"]) == (1, [unused], [{"key": first, "messages": 2}], 3), text
    assert f"basaltctl key reseal {alice.address}" in text
    assert sorted(k for k, _ in keys(system, alice)) == sorted([first, active]) and len(probes.shown(system, alice)) == 3
    status, said, _ = drop(system, alice)
    assert (status, said["dropped"]) == (1, []), "there is nothing more to do"
    assert len(keys(system, alice)) == 2


def test_after_a_reseal(system):
    account = system.account()
    deliver(system, account, "one", "two")
    rotate(system, account)
    assert drop(system, account)[0] == 1 and len(keys(system, account)) == 2
    system.ctl("key", "reseal", account.address, *ONE, stdin=account.password.encode() + b"\n")
    old = next(key for key, active in keys(system, account) if not active)
    assert len(probes.shown(system, account)) == 2, "which looks through the copies in the mail home: none names the old key any more"
    alone(system, account)
    assert drop(system, account)[:2] == (0, {"account": account.address, "messages": 2, "dropped": [old], "needed": []})
    assert [a for _, a in keys(system, account)] == [True]
    assert len(probes.shown(system, account)) == 2
    assert drop(system, account)[0] == 0, "no old key: nothing to do"
    rotate(system, account)
    deliver(system, account, "three")
    assert len(probes.shown(system, account)) == 3


@pytest.fixture
def bob(system):
    """An old key that no mail needs."""
    account = system.account()
    rotate(system, account)
    deliver(system, account, "one")
    yield account
    assert len(keys(system, account)) == 2, "it was refused"
    assert drop(system, account)[0] == 0 and len(keys(system, account)) == 1, "and by nothing else"
    assert len(probes.shown(system, account)) == 1


def refused(got, says, status=1):
    assert got[0] == status and says in got[2] and not (got[1] or {}).get("dropped"), got


def opens_for(system, shared, member):
    with kp.Client(str(system.path("run", "keyd", "auth"))) as a:
        return a.login_member(shared.address, member.address, member.password, flags=kp.NO_SESSION) is None


def test_what_opens_a_shared_mailbox_stays(system):
    """A member's slot is sealed to the key that was active when he was added."""
    info, carol = system.account(), system.account()
    member = lambda verb, what: system.ctl("key", verb, info.address, what, *ONE, stdin=info.password.encode() + b"\n")  # noqa: E731
    old = keys(system, carol)[0][0]
    member("add-member", carol.address)
    rotate(system, carol)
    deliver(system, carol, "one")
    got = drop(system, carol)
    refused(got, "add the member anew there")
    assert got[1]["needed"] == [{"key": old, "messages": 0, "member_of": info.address}] and opens_for(system, info, carol)
    assert opens_for(system, info, carol)
    slot = next(s for s in json.loads(system.ctl("key", "show", info.address, "--json").stdout)["slots"] if s["kind"] == "member")
    member("remove", slot["id"])
    member("add-member", carol.address)
    assert drop(system, carol)[1]["dropped"] == [old] and opens_for(system, info, carol)


def test_not_while_logged_in(system, bob):
    with system.imap(bob) as mail:
        mail.select()
        refused(drop(system, bob), "is logged in", 75)
    alone(system, bob)


def test_not_while_mail_is_under_way(system, bob):
    refused(drop(system, bob, after=3600), "younger than 3600 s", 75)


def test_not_without_being_asked(system, bob):
    refused(drop(system, bob, yes=False), "--yes")


def test_not_with_a_wrong_password(system, bob):
    refused(drop(system, bob, password="a wrong one"), "")


def own(system, account, path):
    """The file, link or folder becomes the mail user's."""
    owner = system.home(account).stat()
    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return path


def test_not_where_no_mail_is(system, bob):
    """Of the account: what lies in another's folders says nothing."""
    home, aside = system.home(bob), system.home(bob).with_name("aside")
    other = system.account()
    deliver(system, other, "one")
    mail = home / "mail"
    mail.rename(aside)
    mail.mkdir()
    own(system, bob, mail)
    refused(drop(system, bob), "sealed to " + bob.address)
    refused(drop(system, bob, system.home(other)), "sealed to " + bob.address)
    mail.rmdir()
    aside.rename(mail)


def test_a_wrong_home_says_nothing(system, bob):
    """ctl.mail_home leads to another's, or to nothing."""
    other = system.account()
    deliver(system, other, "one")
    home, record = system.home(bob) / "basalt", system.home(other) / "basalt" / "record"
    kept = (home / "record").read_bytes()
    for wrong in record.read_bytes(), b"junk":
        (home / "record").write_bytes(wrong)
        refused(drop(system, bob), "not the mail home")
    (home / "record").write_bytes(kept)


@pytest.mark.parametrize("what", ["folder", "nothing"])
def test_not_where_a_link_leads_out(system, bob, what):
    """Mail lies where it leads, or will once that is mounted; named, it is looked at."""
    out = system.home(bob).with_name("out-" + bob.local)
    link = system.home(bob) / "mail" / "more"
    link.symlink_to(out)
    if what == "folder":
        out.mkdir()
        own(system, bob, out)
    refused(drop(system, bob), "symbolic link")
    if what == "folder":
        spare = system.account()
        rotate(system, spare)
        deliver(system, spare, "one")
        (system.home(spare) / "mail" / "more").symlink_to(out)
        assert drop(system, spare, str(out))[0] == 0
        (system.home(spare) / "mail" / "more").unlink()
    link.unlink()


def asked(system, account):
    t = terminal.Terminal([*settle(system, YOUNG), "key", "drop", account.address])
    t.asked("Password")
    t.type(account.password + "\n")
    t.asked("in a backup from before")
    t.asked("Type the address")
    return t


def test_asks_twice(system, bob):
    with asked(system, bob) as t:
        t.type(bob.address + "\n")
        t.asked("Type `drop`")
        t.type("no\n")
        assert t.ended() == 1 and "no key of" in t.shown
    with asked(system, bob) as t:
        t.type("drop\n")
        assert t.ended() == 1


def test_dropped_on_a_terminal(system):
    account = system.account()
    rotate(system, account)
    deliver(system, account, "one")
    with asked(system, account) as t:
        t.type(account.address + "\n")
        t.asked("Type `drop`")
        t.type("drop\n")
        assert t.ended() == 0 and "dropped" in t.shown
    assert len(keys(system, account)) == 1


def test_its_owner_is_told(system):
    """By a program that runs as the owner of the mail files."""
    account = system.account()
    rotate(system, account)
    deliver(system, account, "one")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="basalt-notices-"))
    try:
        folder.chmod(0o777)
        (folder / "mailer").write_text(f'#!/bin/sh\n{{ echo "$(id -u)"; cat; }} >>{folder}/notices\n')
        (folder / "mailer").chmod(0o755)
        argv = settle(system, YOUNG, f'    notify = "{folder}/mailer"\n')
        subprocess.run([*argv, "key", "drop", account.address, "--yes", *ONE], input=account.password.encode() + b"\n", check=True, timeout=60)
        told = (folder / "notices").read_text()
        assert told.startswith(f"{probes.UID_MAIL}\nTo: {account.address}\n") and "Old keys that no mail needs any more were removed" in told
    finally:
        shutil.rmtree(folder)


def test_not_when_somebody_was_there_meanwhile(system, bob):
    with asked(system, bob) as t:
        until = int(time.time()) + 1  # times of use are whole seconds
        probes.wait_for(lambda: time.time() > until)
        assert len(probes.shown(system, bob)) == 1
        alone(system, bob)
        t.type(bob.address + "\ndrop\n")
        assert t.ended() == 75 and "meanwhile" in t.shown


def test_not_when_mail_was_moved_meanwhile(system):
    account = system.account()
    deliver(system, account, "one")
    mail, = system.mail_files(account)
    rotate(system, account)
    deliver(system, account, "two")
    aside = system.home(account).with_name("aside-" + account.local)
    mail.rename(aside)
    with asked(system, account) as t:
        aside.rename(mail)
        t.type(account.address + "\ndrop\n")
        assert t.ended() == 75 and "moved meanwhile" in t.shown
    assert len(keys(system, account)) == 2 and len(probes.shown(system, account)) == 2


def test_not_where_a_file_is_damaged(system, bob):
    """It may need any of the keys, whatever it says after a bit was flipped."""
    message, = sealedfiles.messages(system, bob)
    for where in "version", "suite", "magic", "account", "key-id":
        message.flip(sealedfiles.FLIPS[where])
        refused(drop(system, bob), "may need any key")
        message.flip(sealedfiles.FLIPS[where])
