"""basaltctl convert of an mdbox: Dovecot carries it over beside its users, and no mail that was acknowledged gets lost, whatever happens on the way."""
import collections
import contextlib
import fcntl
import imaplib
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import smtplib
import subprocess
import threading
import time

import pytest

import probes
import systems
from test_convert import LOSS, ONE, account_with_old_mail, convert, quota, recalculated, save, seal, status, traces
from test_faults import Small, full
from test_reseal import LISTING, everything, secret, uidls

ROOM = ("--quota", "--set", "dovecot.plugin/quota_rule=*:storage=90M", "--set", "postfix.maximal_backoff_time=5s",
        "--set", "postfix.minimal_backoff_time=1s", "--set", "postfix.queue_run_delay=1s")
OLD_NAME, NEW_NAME = "mail.basalt-old", "mail.basalt-new"


@pytest.fixture(scope="module")
def system(pool):
    return pool.get("mdbox", "mariadb", ROOM)


@pytest.fixture
def alice(system):
    return account_with_old_mail(system)


def argv(system, account, *words):
    return [*shlex.split(system.env["BASALTCTL"]), "convert", account.address, *words, *LOSS, "--full-speed"]


def start(system, account):
    return subprocess.Popen(argv(system, account, "--quiet"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def until_done(system, account, seconds=240):
    """The same command again, as long as it says that it may succeed later: what a killed run started may still be at work."""
    end = time.monotonic() + seconds
    while True:
        run = start(system, account)
        told = run.communicate(timeout=seconds)[1]
        if run.returncode != 75:
            break
        assert time.monotonic() < end, told
    assert run.returncode == 0, told


def with_doveadm(system, command, account):
    """basaltctl with another ctl.doveadm."""
    conf = system.path("etc", f"{secrets.token_hex(4)}.conf")
    text = system.path("etc", "basaltctl.conf").read_text()
    own = f"/usr/bin/doveadm -c {system.env['DOVECOT_CONF']}"
    assert own in text
    conf.write_text(text.replace(own, command.replace("DOVEADM", own)))
    p = subprocess.run([shlex.split(system.env["BASALTCTL"])[0], "-c", str(conf), "convert", account.address, *LOSS], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    return p.returncode, p.stderr.decode()


def leftovers(system, account):
    return [f.name for f in system.home(account).iterdir() if "basalt-" in f.name]


def fetched(system, account):
    """What doveadm says, which opens nothing. Not size.physical: Dovecot stores text without CRs, what is sealed has them."""
    code, text = system.doveadm("-f", "tab", "fetch", "-u", account.address,
                                "uid guid mailbox-guid flags date.received size.virtual pop3.uidl mailbox", "mailbox", "*", "all")
    assert code == 0, text
    return sorted(text.splitlines())


def is_shut(system, account):
    return (system.home(account) / "mail").is_file()


def is_sealed(system, account):
    (told,) = status(system, account.address)
    return told["plain"] == told["unknown"] == 0 < told["sealed"] and not leftovers(system, account)


def files_of(system, account):
    return {f.name: f.read_bytes() for f in system.mail_files(account)}


def words_in(system, account, folder="INBOX"):
    return collections.Counter(probes.shown(system, account, folder=folder))


class Senders:
    """Beside whatever is done inside `with`: mail by LMTP, by SMTP and by APPEND, each tried again until it is acknowledged."""

    def __init__(self, system, account):
        self.system, self.account = system, account
        self.stop, self.errors, self.acknowledged, self.put_off = threading.Event(), [], [], 0
        self.threads = [threading.Thread(target=self.loop, args=(how,), daemon=True) for how in (self.by_lmtp, self.by_smtp, self.by_imap)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.errors, self.errors

    def loop(self, send):
        try:
            while not self.stop.is_set():
                message = probes.marked("meanwhile", 500)
                while (done := send(message)) is False and not self.stop.is_set():
                    self.put_off += 1
                    time.sleep(0.02)
                self.stop.wait(0.1)
                if done:
                    self.acknowledged.append(probes.word(message))
        except Exception as e:
            self.errors.append(e)

    def by_lmtp(self, message):
        code = probes.lmtp(self.system, self.account, message)
        assert code == 250 or code // 100 == 4, code
        return code == 250

    def by_smtp(self, message):
        try:
            self.system.send(probes.STRANGER, [self.account.address], message)
        except smtplib.SMTPRecipientsRefused as e:
            assert all(code // 100 == 4 for code, _ in e.recipients.values()), e
            return False
        return True

    def by_imap(self, message):
        """None: the connection was closed under it. It was not acknowledged, and may be there all the same."""
        try:
            with self.system.imap(self.account) as mail:
                return mail.c.append("elsewhere", "", None, message)[0] == "OK"
        except (imaplib.IMAP4.error, OSError):
            return None

    def check(self):
        """Each is there; and once, but for the few that were being stored as the folder was shut: put off, though they were stored."""
        self.system.settle()
        found = words_in(self.system, self.account) + words_in(self.system, self.account, "elsewhere")
        lost = [w for w in self.acknowledged if found[w] == 0]
        assert self.acknowledged and not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged mails are lost"
        twice = [w for w in self.acknowledged if found[w] > 1]
        assert len(twice) <= len(self.acknowledged) // 100, f"{len(twice)} of {len(self.acknowledged)} came twice"


# --- what it does ---

def test_seals_all_and_changes_nothing(system, alice):
    before, listing, ids = everything(system, alice), everything(system, alice, LISTING), uidls(system, alice)
    told, room, since = fetched(system, alice), quota(system, alice), len(system.log("dovecot"))
    home = system.home(alice)
    mode = (home / "mail").stat().st_mode
    assert traces(system, alice)
    done = convert(system, alice)
    assert done["complete"] and done["sealed"] >= 9 and not done["damaged"] + done["errors"] + done["left"], done
    assert is_sealed(system, alice) and not traces(system, alice)
    assert ((home / "mail").stat().st_mode, (home / "mail").stat().st_uid) == (mode, home.stat().st_uid)
    for state in "as it is", "no caches":
        if state == "no caches":
            for cache in home.rglob("dovecot.index.cache"):
                cache.unlink()
        assert everything(system, alice) == before and everything(system, alice, LISTING) == listing and uidls(system, alice) == ids, state
        assert quota(system, alice) == room and fetched(system, alice) == told, state
    assert recalculated(system, alice) == room
    files = files_of(system, alice)
    assert convert(system, alice)["sealed"] == 0 and files_of(system, alice) == files, "a second time nothing is done"
    assert not [line for line in system.log("dovecot")[since:].splitlines() if "ALARM" in line or "Panic" in line]
    assert b" 0 damaged" in system.ctl("scrub", str(home)).stdout


def test_all(system, alice):
    bob, plain, nobody = account_with_old_mail(system), system.account("plain"), system.account()
    assert probes.lmtp(system, plain, probes.marked("stays as it is")) == 250
    p = system.ctl("convert", "--all", "--json", *LOSS)
    done = {line["account"]: line["sealed"] for line in map(json.loads, p.stdout.splitlines())}
    assert done[alice.address] >= 9 and done[bob.address] >= 9 and plain.address not in done and nobody.address not in done
    assert is_sealed(system, alice) and is_sealed(system, bob) and systems.SUITE_SEALED not in system.suites(plain)


@pytest.mark.limit(600)
def test_mail_that_comes_meanwhile(system, alice):
    """By every way, while it is carried over three times: what was acknowledged is there, once."""
    before = everything(system, alice)
    with Senders(system, alice) as senders:
        for i in range(3):
            save(system, alice, probes.marked(f"in the clear {i}"))
            until_done(system, alice)
    senders.check()
    assert is_sealed(system, alice)
    for (validity, mails), (validity_now, mails_now) in zip(before, everything(system, alice)):
        assert validity_now == validity and mails_now[:len(mails)] == mails


def test_who_has_it_open(system, alice):
    """It is shut until he has let go; deliveries wait. What he wrote last is carried over, too."""
    alice.sent.append(probes.marked("to wait"))
    map_log = system.home(alice) / "mail" / "storage" / "dovecot.map.index.log"
    with open(map_log, "rb") as held:
        run = start(system, alice)
        probes.wait_for(lambda: is_shut(system, alice), seconds=60)
        assert probes.lmtp(system, alice, alice.sent[-1]) == 451 and probes.lmtp(system, alice, alice.sent[-1]) == 451
        system.send(probes.STRANGER, [alice.address], alice.sent[-1])
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(15)  # it takes a few seconds where nobody is waited for
        assert run.poll() is None and is_shut(system, alice) and held.readable()
    assert run.wait(60) == 0, run.stderr.read()
    system.settle()
    assert is_sealed(system, alice) and words_in(system, alice) == {probes.word(m): 1 for m in alice.sent}


def test_ended_by_a_signal(system, alice):
    """Ended while it is shut it opens it again, as it was; and says that the same command goes on."""
    before, told = everything(system, alice), status(system, alice.address)[0]
    with open(system.home(alice) / "mail" / "storage" / "dovecot.map.index.log", "rb"):
        run = start(system, alice)
        probes.wait_for(lambda: is_shut(system, alice), seconds=60)
        run.terminate()
        assert run.wait(60) == 75 and b"goes on" in run.stderr.read()
    assert not is_shut(system, alice) and everything(system, alice) == before
    assert status(system, alice.address)[0]["plain"] == told["plain"]
    convert(system, alice)
    assert is_sealed(system, alice) and everything(system, alice) == before


# --- kill -9 ---

def names(system, account):
    """Which there are, and whether they are folders."""
    home = system.home(account)
    return tuple((home / n).is_dir() if (home / n).exists() else None for n in ("mail", OLD_NAME, NEW_NAME))


STATES = {"filling": (True, None, True), "shut": (False, True, True), "changed": (True, True, False), "removing": (True, True, None)}


@pytest.mark.limit(900)
def test_killed_again_and_again(system, alice):
    """At any moment, and at the first sight of each state, with mail coming in: the same command makes it good."""
    before, chance, seen = everything(system, alice), random.Random(7), collections.Counter()
    with Senders(system, alice) as senders:
        for i in range(15):
            if i % 3 == 0:
                save(system, alice, probes.marked(f"in the clear {i}", 100_000))
            for when in (list(STATES.values())[i % 4] if i < 8 else None, None):
                run, end = start(system, alice), time.monotonic() + chance.uniform(0, 3)
                while run.poll() is None and (names(system, alice) != when if when else time.monotonic() < end):
                    pass
                run.kill()
                run.wait()
                seen[names(system, alice)] += 1
            if i % 3 == 2:
                until_done(system, alice)
                assert status(system, alice.address)[0]["plain"] == 0 and not leftovers(system, alice)
    until_done(system, alice)
    senders.check()
    assert is_sealed(system, alice) and not traces(system, alice)
    for (validity, mails), (validity_now, mails_now) in zip(before, everything(system, alice)):
        assert validity_now == validity and mails_now[:len(mails)] == mails
    assert seen[STATES["filling"]] and seen[STATES["shut"]], seen


def shut_by_hand(system, account):
    home = system.home(account)
    (home / OLD_NAME).touch()
    os.chown(home / OLD_NAME, home.stat().st_uid, home.stat().st_gid)
    (home / OLD_NAME).rename(home / "blocker")
    (home / "mail").rename(home / OLD_NAME)
    (home / "blocker").rename(home / "mail")


def test_left_shut(system, alice):
    """A killed run left it so: status and doctor say it; the same command opens it, by going on or, where it is refused by now, as it was."""
    before = everything(system, alice)
    shut_by_hand(system, alice)
    assert status(system, alice.address)[0]["shut"] and b"is shut" in system.ctl("convert", "status", alice.address).stdout
    doctor = json.loads(system.ctl("doctor", "--json", check=False).stdout)
    assert ("shut-folder", alice.address) in {(f["finding"], f["account"]) for f in doctor}
    p = system.ctl("convert", alice.address, check=False)
    assert p.returncode == 1 and b"add-recovery" in p.stderr and not is_shut(system, alice) and everything(system, alice) == before
    assert not leftovers(system, alice)
    shut_by_hand(system, alice)
    convert(system, alice)
    assert is_sealed(system, alice) and everything(system, alice) == before and not status(system, alice.address)[0]["shut"]


# --- what fails, or is refused ---

def untouched(system, account, before, plain):
    assert everything(system, account) == before and not is_shut(system, account) and not (system.home(account) / OLD_NAME).exists()
    assert status(system, account.address)[0]["plain"] >= plain


@pytest.mark.parametrize("fault", ["lossy", "unsealed", "broken", "absent"])
def test_a_copy_that_is_not_what_was_there(system, alice, fault):
    """A mail too few, a flag gone, not sealed: nothing is changed, mail comes in as before, and the right tool makes it good."""
    before, plain = everything(system, alice), status(system, alice.address)[0]["plain"]
    wrapper = system.path(f"doveadm-{fault}")
    own, new = f"/usr/bin/doveadm -c {system.env['DOVECOT_CONF']}", f"mail_location=mdbox:{system.home(alice)}/{NEW_NAME}"
    more = {"lossy": f'case "$*" in *{OLD_NAME}*backup*) {own} "$@" || exit 75; exec {own} -o {new} expunge -u {alice.address} mailbox INBOX uid 3;; esac',
            "unsealed": 'set -- -o mail_plugins= "$@"',
            "broken": f'case "$*" in *{OLD_NAME}*backup*) exit 75;; esac', "absent": ""}[fault]
    wrapper.write_text(f'#!/bin/sh\n{more}\nexec {own} "$@"\n')
    wrapper.chmod(0o755)
    rc, text = with_doveadm(system, str(wrapper) if fault != "absent" else "/nonexistent/doveadm", alice)
    says = {"lossy": "not what was there", "unsealed": "mail_plugins", "broken": "nothing was changed", "absent": "ctl.doveadm"}[fault]
    assert rc in (1, 75, 78) and says in text, (rc, text)
    untouched(system, alice, before, plain)
    assert fault != "unsealed" or not leftovers(system, alice), "no second copy in the clear"
    assert probes.lmtp(system, alice, probes.marked("as before")) == 250
    convert(system, alice)
    assert is_sealed(system, alice)


LOCATIONS = ["mdbox:~/mail:INDEX=~/index", "mdbox:~/mail:ALT=~/alt", "mdbox:~/mail:CONTROL=~/control", "mdbox:~/deep/mail", "mdbox:~", "sdbox:~/mail"]


@pytest.mark.parametrize("location", LOCATIONS)
def test_locations_that_are_refused(system, alice, location):
    before, files = everything(system, alice), files_of(system, alice)
    rc, text = with_doveadm(system, f"DOVEADM -o mail_location={location}", alice)
    assert rc == 1 and location in text and "one folder in the mail home" in text, (rc, text)
    assert files_of(system, alice) == files and not leftovers(system, alice) and everything(system, alice) == before


def test_what_would_not_be_carried_over(system, alice):
    """Links, files of others, another mdbox in the home, FOLDERs: each is named."""
    home, files = system.home(alice), files_of(system, alice)

    def refused(says, *words):
        p = convert(system, alice, *words, check=False)
        assert p.returncode == 1 and says in p.stderr.decode(), (p.returncode, p.stderr)

    link, other = home / "mail" / "dbox-alt-root", home / "mail" / "mailboxes" / "INBOX" / "dbox-Mails" / "notes.txt"
    link.symlink_to(home / "alt")
    refused("dbox-alt-root leads elsewhere")
    link.unlink()
    other.write_bytes(b"mine")
    refused("notes.txt is no file of an mdbox")
    other.unlink()
    refused("name no FOLDER", str(home))
    assert files_of(system, alice) == files and not leftovers(system, alice)
    subprocess.run(["cp", "-a", home / "mail", home / "before"], check=True)
    refused("not the folder that Dovecot reads")
    subprocess.run(["rm", "-r", home / "before"], check=True)
    convert(system, alice)
    assert is_sealed(system, alice)


def test_no_room():
    """A disk that does not hold the mail twice: refused before anything is done; with more room it goes on."""
    system = Small([*systems.CHEAP_KDF], storage="mdbox").start()
    try:
        bob = account_with_old_mail(system)
        before = everything(system, bob)
        with full(system.path("mail"), leave=200_000):
            p = convert(system, bob, check=False)
            assert p.returncode == 75 and b"room twice" in p.stderr and not leftovers(system, bob) and everything(system, bob) == before
        convert(system, bob)
        assert is_sealed(system, bob) and everything(system, bob) == before
    finally:
        system.remove()


def test_one_at_a_time(system, alice):
    fd = os.open(system.home(alice), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    p = convert(system, alice, check=False)
    os.close(fd)
    assert p.returncode == 75 and b"another run is at work" in p.stderr


def test_the_way_back(system, alice):
    """As KEYS.md has it, but for the deliveries that are to wait."""
    before, listing, facts = everything(system, alice), everything(system, alice, LISTING), fetched(system, alice)
    convert(system, alice)
    seal(system, alice, "plain")
    home = system.home(alice)
    for command in (("backup", "-u", alice.address, "sdbox:~/open"), None,
                    ("-o", "mail_location=sdbox:~/open", "backup", "-u", alice.address, "mdbox:~/mail.open")):
        if command is None:
            system.ctl("convert", "undo", alice.address, str(home / "open"), *ONE, stdin=secret(alice))
            continue
        code, text = system.doveadm(*command)
        assert code == 0, text
    (home / "mail").rename(home / "mail.sealed")
    (home / "mail.open").rename(home / "mail")
    shutil.rmtree(home / "mail.sealed")
    shutil.rmtree(home / "open")
    assert systems.SUITE_SEALED not in system.suites(alice)
    assert everything(system, alice) == before and everything(system, alice, LISTING) == listing and fetched(system, alice) == facts
