"""basaltctl key, passwd and doctor with a real basalt-keyd: what is shown once, what is told by mail, what is lost and found."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import keyproto as kp
import pytest
import terminal
from keydserver import Keyd
from test_ctl import CTL, USAGE, Ctl
from test_keyd_slots import ESCROW, ESCROW_CODE, flipped

PASSWORD, NEW = "a good password", "quite another one"
ONE, TWO = ("--password-stdin",), ("--old-password-stdin", "--password-stdin")


class Site(Ctl):
    """With a program that keeps the notices, and mail homes."""

    def __init__(self, folder, keyd_run):
        self.notices = pathlib.Path(folder) / "notices"
        self.mailer = pathlib.Path(folder) / "mailer"
        self.mailer.write_text(f'#!/bin/sh\n{{ echo "ARGS: $*"; cat; echo "ENV: $(env | tr "\\n" " ")"; }} >>{self.notices}\n')
        self.mailer.chmod(0o755)
        super().__init__(folder, keyd_run, notify=f"{self.mailer} -i -f postmaster", mail_home=f"{folder}/%d/%n")

    def told(self):
        text = self.notices.read_text() if self.notices.exists() else ""
        self.notices.unlink(missing_ok=True)
        return text

    def add(self, name):
        self.ok("account", "add", name, *ONE, stdin=PASSWORD + "\n")
        return name

    def slots(self, name, kind=None):
        return [s for s in self.json("key", "show", name)["slots"] if kind in (None, s["kind"])]


@pytest.fixture(scope="module")
def keyd():
    with Keyd(escrow=ESCROW) as k:
        yield k


@pytest.fixture
def site(keyd):
    folder = tempfile.mkdtemp(prefix="basalt-ctl-")
    s = Site(folder, keyd.run)
    for domain in ("example.org", "escrow.example"):
        s.run("domain", "add", domain)
    yield s
    shutil.rmtree(folder)


@pytest.fixture
def alice(site, request):
    return site.add(f"{re.sub('[^a-z0-9]+', '-', request.node.name.lower()).strip('-')[:50]}@example.org")


def test_app_password(site, keyd, alice):
    """Shown once, only where that was asked for; told by mail without it; removed by the first digits of its id."""
    site.fails(USAGE, "key", "add-app-password", alice, *ONE, stdin=PASSWORD + "\n", says="--stdout")
    code = site.ok("key", "add-app-password", alice, "--stdout", "--label", "Pixel 9", *ONE, stdin=PASSWORD + "\n").strip()
    assert keyd.login_status(alice, code) == kp.OK
    told = site.told()
    assert f"ARGS: -i -f postmaster -- {alice}\nTo: {alice}\n" in told and "app password was added to your mailbox: Pixel 9." in told
    assert code not in told and code.replace("-", "") not in told and PASSWORD not in told
    assert code not in keyd.log_text() and code[6:] not in keyd.log_text()
    slot, = site.slots(alice, "app-password")
    assert slot["label"] == "Pixel 9" and slot["last_used"] > 0
    text = site.ok("key", "show", alice)
    assert slot["id"][:8] in text and "Pixel 9" in text and "escrow:      none for this domain" in text
    site.fails(1, "key", "remove", alice, "0000", *ONE, stdin=PASSWORD + "\n", says="no slot")
    site.fails(1, "key", "remove", alice, slot["id"][:8], *ONE, stdin=code + "\n", says="changes no keys")
    site.ok("key", "remove", alice, slot["id"][:8].upper(), *ONE, stdin=PASSWORD + "\n")
    assert "Removed from your mailbox: app-password: Pixel 9" in site.told()
    assert keyd.login_status(alice, code) == kp.DENIED


UNSHOWN = {"closed": ">&-", "full": ">/dev/full", "hung up": "| true"}


def shell(site, redirection, *args, stdin=""):
    """(exit status, what it said) of basaltctl with other descriptors."""
    p = subprocess.run(["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", CTL, "-c", site.conf, *args], input=stdin.encode(),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, timeout=60)
    return p.returncode, p.stderr.decode()


@pytest.mark.parametrize("how", UNSHOWN)
@pytest.mark.parametrize("verb", ["add-app-password", "add-recovery"])
def test_a_secret_that_nobody_sees(site, keyd, alice, verb, how):
    """It is not made, and the exit status says so."""
    if how == "hung up":
        read, write = os.pipe()
        os.close(read)
        p = subprocess.run([CTL, "-c", site.conf, "key", verb, alice, "--stdout", *ONE], input=PASSWORD.encode() + b"\n", stdout=write,
                           stderr=subprocess.PIPE, timeout=60)
        os.close(write)
        status, said = p.returncode, p.stderr.decode()
    else:
        status, said = shell(site, UNSHOWN[how], "key", verb, alice, "--stdout", *ONE, stdin=PASSWORD + "\n")
    assert status > 0 and "standard output failed: its slot was removed again" in said
    assert len(site.slots(alice)) == 1 and site.told() == ""
    assert keyd.login_status(alice, PASSWORD) == kp.OK


def test_missing_descriptors(site, alice):
    """What is opened first does not take the place of standard output."""
    before = site.db.read_bytes()
    for redirection in ">&-", "<&- >&-", "<&- >&- 2>&-":
        assert shell(site, redirection, "account", "list")[0] > 0
        assert shell(site, redirection, "key", "show", alice)[0] > 0
    assert site.db.read_bytes() == before and alice in site.ok("account", "list")
    assert shell(site, "<&- >&- 2>&-", "account", "disable", alice)[0] == 0, "it has nothing to say"


def test_an_address_that_looks_like_an_option(site):
    for verb in "add", "expect":
        site.fails(USAGE, "account", verb, "--", "-oq@example.org", stdin=PASSWORD + "\n", says="can't begin with -")


def test_recovery_code_sets_a_password(site, keyd, alice):
    code = site.ok("key", "add-recovery", alice, "--stdout", *ONE, stdin=PASSWORD + "\n").strip()
    for at, group in ((0, 1), (7, 2), (46, 8)):
        site.fails(1, "account", "passwd", alice, *TWO, stdin=f"{flipped(code, at)}\n{NEW}\n", says=f"group {group} ")
    swapped = code[:13] + code[14] + code[13] + code[15:]
    site.fails(1, "account", "passwd", alice, *TWO, stdin=f"{swapped}\n{NEW}\n", says="group 3 ") if swapped != code else None
    site.told()
    assert site.slots(alice, "recovery")[0]["last_used"] == 0
    site.ok("account", "passwd", alice, *TWO, stdin=f"{code.lower().replace('-', ' ')}\n{NEW}\n")
    assert "Your password was changed." in site.told() and keyd.login_status(alice, NEW) == kp.OK
    assert site.slots(alice, "recovery")[0]["last_used"] > 0


def test_rotate_and_compromised(site, keyd, alice):
    before = site.json("key", "show", alice)
    site.ok("key", "rotate", alice, *ONE, stdin=PASSWORD + "\n")
    site.ok("account", "passwd", alice, "--compromised", *TWO, stdin=f"{PASSWORD}\n{NEW}\n")
    after = site.json("key", "show", alice)
    assert after["generation"] == before["generation"] + 2 and after["active_key"] != before["active_key"]
    assert "your keys with it" in site.told()


def test_a_full_ring_changes_nothing(site, keyd, alice):
    """A password that somebody knows, and no room for new keys: not half of it is done, nor said to be."""
    for _ in range(55):
        assert keyd.change("rotate", alice, PASSWORD) > 0
    before = site.slots(alice)
    site.fails(1, "account", "passwd", alice, "--compromised", *TWO, stdin=f"{PASSWORD}\n{NEW}\n", says=f"basaltctl key drop {alice}")
    site.fails(1, "key", "rotate", alice, *ONE, stdin=PASSWORD + "\n", says=f"basaltctl key drop {alice}")
    assert site.told() == "" and [s["id"] for s in site.slots(alice)] == [s["id"] for s in before]
    assert keyd.login_status(alice, PASSWORD) == kp.OK
    site.ok("account", "passwd", alice, *TWO, stdin=f"{PASSWORD}\n{NEW}\n")
    for i in range(8):
        site.ok("key", "reset", alice, "--yes", *ONE, stdin=f"{NEW}{i}\n")
    site.ok("key", "heal", alice, *TWO, stdin=f"{NEW}6\n{NEW}7\n")
    site.fails(1, "key", "reset", alice, "--yes", *ONE, stdin=NEW + "\n", says="basaltctl key drop")


def test_escrow_and_members(site, keyd, alice):
    erin = site.add("erin@escrow.example")
    assert "escrow key can open your mailbox: Example Ltd, Berlin." in site.told()
    assert site.slots(erin, "escrow")[0]["label"] == "Example Ltd, Berlin"
    site.ok("account", "passwd", erin, *TWO, stdin=f"{ESCROW_CODE}\n{NEW}\n")
    assert site.slots(erin, "escrow")[0]["last_used"] > 0
    site.fails(1, "key", "add-escrow", alice, *ONE, stdin=PASSWORD + "\n", says="no escrow for this domain")
    site.fails(1, "key", "add-escrow", erin, *ONE, stdin=NEW + "\n", says="there already")
    site.ok("key", "add-member", erin, alice, *ONE, stdin=NEW + "\n")
    assert f"member was added to this shared mailbox: {alice}." in site.told()
    site.fails(1, "key", "add-member", erin, "nobody@example.org", *ONE, stdin=NEW + "\n", says="does not exist")
    with keyd.client("auth") as a:
        assert a.login_member(erin, alice, PASSWORD)
    key = site.dir / "offline"
    public = site.ok("escrow-key", "new", str(key)).strip()
    assert len(public) == 64 and key.stat().st_mode & 0o777 == 0o600 and key.read_text().startswith("BASALT-ESCROW-")
    site.fails(1, "escrow-key", "new", str(key), says="exists")


def test_what_a_reset_adds_is_told(site, keyd):
    frank = site.add("frank@escrow.example")
    site.told()
    site.ok("key", "reset", frank, "--yes", *ONE, stdin=NEW + "\n")
    told = site.told()
    assert "reset by an administrator" in told and "escrow key can open your mailbox: Example Ltd, Berlin." in told


def test_whether_mail_is_sealed_is_told(site, alice):
    for plan, text in ("plain", "without encryption"), ("private", "stored sealed"), ("private", ""):
        site.ok("account", "plan", alice, plan, *ONE, stdin=PASSWORD + "\n")
        assert text in site.told() if text else site.told() == ""


def test_a_new_key_is_told(site, alice):
    site.told()
    site.ok("key", "rotate", alice, *ONE, stdin=PASSWORD + "\n")
    assert "New mail is sealed to a new key" in site.told()


def test_session_end_of_nobody(site, alice):
    site.fails(1, "session", "end", "nobody@example.org", says="does not exist")
    assert site.ok("session", "end", alice) == "0 ended\n"


def prompted(site, alice):
    t = terminal.Terminal([CTL, "-c", site.conf, "account", "passwd", alice])
    t.asked("Old password")
    t.asked(": ")
    assert not t.echoes()
    return t


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt(site, keyd, alice, sig):
    """The terminal echoes again."""
    with prompted(site, alice) as t:
        t.type({signal.SIGINT: "half a pass\x03", signal.SIGQUIT: "\x1c"}[sig]) if sig in (signal.SIGINT, signal.SIGQUIT) else os.kill(t.pid, sig)
        assert t.ended() == -sig and t.echoes()
    assert keyd.login_status(alice, PASSWORD) == kp.OK


def test_stopped_at_the_prompt(site, keyd, alice):
    """Asked again when it goes on; then it is answered."""
    with prompted(site, alice) as t:
        t.type("\x1a")
        t.asked("Old password")
        for text in PASSWORD, NEW, NEW:
            t.asked(": ")
            assert not t.echoes()
            t.type(text + "\n")
        assert t.ended() == 0 and t.echoes() and NEW not in t.shown
    assert keyd.login_status(alice, NEW) == kp.OK


def test_reset_heal(site, keyd, alice):
    site.fails(1, "key", "reset", alice, *ONE, stdin=NEW + "\n", says="not reset")
    site.ok("key", "reset", alice, "--yes", *ONE, stdin=NEW + "\n")
    assert "reset by an administrator" in site.told() and site.json("key", "show", alice)["kept"] == 1
    site.fails(1, "key", "heal", alice, *TWO, stdin=f"wrong\n{NEW}\n", says="neither its password")
    assert site.ok("key", "heal", alice, *TWO, stdin=f"{PASSWORD}\n{NEW}\n") == ""
    assert site.json("key", "show", alice)["kept"] == 0 and "opens again" in site.told()


@pytest.mark.parametrize("notify", ["/nonexistent/sendmail", "/bin/false", "/bin/sh -c true x"])
def test_a_notice_that_fails_undoes_nothing(site, keyd, alice, notify):
    site.conf.write_text(site.conf.read_text().replace(str(site.mailer) + " -i -f postmaster", notify))
    status, out, err = site.run("account", "passwd", alice, *TWO, stdin=f"{PASSWORD}\n{NEW}\n")
    assert status == 0 and ("was not told by mail" in err) == ("false" in notify or "nonexistent" in notify)
    assert keyd.login_status(alice, NEW) == kp.OK


def test_panel(site, keyd, alice):
    """basalt-passwd: an exit status for each answer, nothing but two lines on standard input."""
    link = site.dir / "basalt-passwd"
    link.symlink_to(CTL)

    def run(*words, stdin):
        p = subprocess.run([link, "-c", site.conf, alice, *words], input=stdin.encode(), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env={}, timeout=60)
        assert NEW.encode() not in p.stderr and PASSWORD.encode() not in p.stderr and p.stdout == b""
        return p.returncode

    assert run(stdin=f"wrong\n{NEW}\n") == 10 and run(stdin=f"{PASSWORD}\nshort\n") == 11
    assert run("sometime", stdin=f"{PASSWORD}\n{NEW}\n") == USAGE and run(stdin="") == run(stdin=PASSWORD + "\n") == USAGE
    for odd in "", "x" * 1025, "x" * 1024, "x" * 5000, PASSWORD + "\0", "\0":
        assert run(stdin=f"{odd}\n{NEW}\n") == 10, odd
        assert len(odd) == 1024 or run(stdin=f"{PASSWORD}\n{odd}\n") == 11, odd
    assert run("pending", stdin=f"{PASSWORD}\n{NEW}\n") == 0
    assert len(site.slots(alice, "password")) == 2 and "new, has not logged in yet" in site.ok("key", "show", alice)
    site.told()
    assert run("undo", stdin=NEW + "\n") == 10 and site.told() == "", "that is the password to be taken back"
    assert run("undo", stdin=PASSWORD + "\n") == 0 and keyd.login_status(alice, NEW) == kp.DENIED
    assert "taken back" in site.told()
    assert run("undo", stdin=PASSWORD + "\n") == 1 and site.told() == "", "nothing is pending"
    assert run(stdin=f"{PASSWORD}\n{NEW}\n") == 0 and keyd.login_status(alice, NEW) == kp.OK


def test_panel_on_a_terminal(site, keyd, alice):
    """By a person: nothing of it is shown."""
    with terminal.Terminal([CTL, "-c", site.conf, "passwd", alice]) as t:
        t.asked("Old password")
        t.type(PASSWORD + "\n")
        t.asked("New password")
        t.type(NEW + "\n")
        assert t.ended() == 0 and NEW not in t.shown and PASSWORD not in t.shown
    assert keyd.login_status(alice, NEW) == kp.OK


def test_restore_and_doctor():
    with Keyd(escrow=ESCROW) as keyd:
        folder = tempfile.mkdtemp(prefix="basalt-ctl-")
        try:
            site = Site(folder, keyd.run)
            site.ok("domain", "add", "example.org")
            alice = site.add("alice@example.org")
            status, out, _ = site.run("doctor", "--json")
            assert (status, [f["finding"] for f in json.loads(out)]) == (1, ["no-recovery", "no-homes"])
            home = site.dir / "example.org" / "alice" / "basalt"
            home.mkdir(parents=True)
            status, out, _ = site.run("doctor", "--json")
            assert (status, [f["finding"] for f in json.loads(out)]) == (0, ["no-recovery"]), "advice wakes nobody"
            code = site.ok("key", "add-recovery", alice, "--stdout", *ONE, stdin=PASSWORD + "\n")
            assert site.run("doctor") == (0, "", "")
            with keyd.session(alice, PASSWORD) as m:
                (home / "keyset").write_bytes(m.keyset())
                (home / "record").write_bytes(m.record(alice))
            site.fails(1, "key", "restore", alice, *ONE, stdin=PASSWORD + "\n", says="nothing to restore")
            old = keyd.rows(alice)[-1]
            keyd.sql("DELETE FROM keysets WHERE account = ? AND generation > 1", alice)
            if old[0] != 1:
                keyd.sql("DELETE FROM keysets")
            assert keyd.stop() == 0
            keyd.start()
            status, out, _ = site.run("doctor")
            assert status == 1 and ("knows newer keys" in out or "has no keys" in out)
            site.fails(1, "key", "restore", alice, *ONE, stdin="wrong password\n", says="neither")
            site.ok("key", "restore", alice, *ONE, stdin=code)
            assert "restored from a copy" in site.told()
            assert keyd.login_status(alice, PASSWORD) == kp.OK and site.run("doctor")[0] == 0
            keyd.replace_keyset(alice, b"junk")
            assert "damaged, forged" in site.run("doctor")[1]
            (home / "keyset").write_bytes(b"junk")
            site.fails(1, "key", "restore", alice, *ONE, stdin=code, says="damaged, or not made")
        finally:
            shutil.rmtree(folder)
