"""An older keys database comes back while the mail home knows newer keys: nothing is changed over them, and where it was, nothing is lost."""
import json
import os
import shlex
import subprocess

import pytest

import databases
import probes

ONE, TWO = ("--password-stdin",), ("--old-password-stdin", "--password-stdin")
OTHER_KEYS = 12
NEW = "a later password"


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def system(request, pool):
    return pool.get("sdbox", request.param)


class Story:
    def __init__(self, system):
        self.system, self.alice, self.keys = system, system.account(), databases.Keys(system)
        self.sent = []
        self.mail("before the backup")
        self.reads_all()
        night = self.keys.rows(self.alice)
        self.ctl("key", "rotate", *ONE, stdin=[self.alice.password])
        probes.wait_for(lambda: self.active() != self.record_key(night[-1][1]))
        self.forget()
        self.mail("to the newer key")
        self.reads_all()
        self.newer = self.keys.newest(self.alice)[1]
        assert (self.home / "keyset").read_bytes() == self.newer
        system.stop("keyd")
        self.keys.put(self.alice, night)
        system.start()

    @property
    def home(self):
        return self.system.home(self.alice) / "basalt"

    def record_key(self, keyset):
        return keyset[7 + 42:7 + 58].hex()

    def active(self):
        return json.loads(self.system.ctl("key", "show", self.alice.address, "--json").stdout)["active_key"]

    def forget(self):
        """What Dovecot and keyd remember of the record has passed."""
        self.system.stop("keyd")
        self.system.start()

    def mail(self, about):
        self.sent.append(probes.marked(about))
        probes.wait_for(lambda: probes.lmtp(self.system, self.alice, self.sent[-1]) == 250)

    def ctl(self, noun, verb, *options, stdin, check=True):
        words = [noun, verb, self.alice.address, *options]
        return self.system.ctl(*words, stdin="".join(f"{line}\n" for line in stdin).encode(), check=check)

    def refused(self, noun, verb, *options, stdin):
        p = self.ctl(noun, verb, *options, stdin=stdin, check=False)
        assert p.returncode == OTHER_KEYS, (noun, verb, p.returncode, p.stderr)
        assert f"basaltctl key restore {self.alice.address}" in p.stderr.decode()

    def words(self, password=None):
        return probes.opened(self.system, self.alice, self.sent, password)

    def reads_all(self, password=None):
        assert self.words(password) == {probes.word(s) for s in self.sent}

    def others(self):
        return sorted(p for p in self.home.iterdir() if p.name.startswith("keyset.other."))

    def findings(self):
        p = self.system.ctl("doctor", "--json", check=False)
        return [f["finding"] for f in json.loads(p.stdout) if f["account"] == self.alice.address]


def test_nothing_is_changed_over_newer_keys(system):
    story, alice = Story(system), None
    alice = story.alice
    before = story.keys.rows(alice)
    for _ in range(3):
        story.refused("account", "passwd", *TWO, stdin=[alice.password, NEW])
    story.refused("key", "reset", "--yes", *ONE, stdin=[NEW])
    for verb in ("rotate", "add-recovery", "add-app-password"):
        more = ("--stdout",) if verb.startswith("add") else ()
        story.refused("key", verb, *more, *ONE, stdin=[alice.password])
    story.refused("account", "passwd", "--compromised", *TWO, stdin=[alice.password, NEW])
    p = system.ctl("passwd", alice.address, stdin=f"{alice.password}\n{NEW}\n".encode(), check=False)
    assert p.returncode == OTHER_KEYS
    assert story.keys.rows(alice) == before and "older-than-mail" in story.findings()
    story.ctl("key", "restore", *ONE, stdin=[alice.password])
    story.mail("after it")
    story.reads_all()
    assert "older-than-mail" not in story.findings()
    story.ctl("account", "passwd", *TWO, stdin=[alice.password, NEW])
    story.reads_all(NEW)


def test_every_command_that_changes_keys_looks_at_the_home(system):
    story = Story(system)
    alice, pair = story.alice, [story.alice.password, NEW]
    slot = json.loads(system.ctl("key", "show", alice.address, "--json").stdout)["slots"][0]["id"]
    before = story.keys.rows(alice)
    story.refused("account", "plan", "plain", *ONE, stdin=[alice.password])
    story.refused("key", "remove", slot, *ONE, stdin=[alice.password])
    story.refused("key", "heal", *TWO, stdin=pair)
    story.refused("key", "add-member", system.account().address, *ONE, stdin=[alice.password])
    story.refused("key", "add-escrow", *ONE, stdin=[alice.password])
    assert story.keys.rows(alice) == before


def overtake(story, last):
    """As a panel does that can't read the mail home: three passwords."""
    old = story.alice.password
    for new in ("one of three", "two of three", last):
        story.ctl("account", "passwd", "--despite-home", *TWO, stdin=[old, new])
        old = new
    story.mail("to the older key again")


@pytest.mark.parametrize("login", [False, True])
def test_overtaken_by_passwords(system, login):
    """The newer keyset is kept beside the copy when a login would write over it; restore and heal open all."""
    story = Story(system)
    overtake(story, NEW)
    if login:
        assert len(story.words(NEW)) == 2
        assert [p.read_bytes() for p in story.others()] == [story.newer]
        assert "older-than-mail" in story.findings()
        story.refused("key", "rotate", *ONE, stdin=[NEW])
        for _ in range(2):
            story.words(NEW)
        assert len(story.others()) == 1
    out = story.ctl("key", "restore", *ONE, stdin=[NEW]).stdout.decode()
    assert f"basaltctl key heal {story.alice.address}" in out
    story.ctl("key", "heal", *TWO, stdin=[story.alice.password, NEW])
    story.reads_all(NEW)
    assert not [p for p in os.listdir(story.home) if p.startswith("keyset.")] and story.findings() == ["no-recovery"]


def test_overtaken_by_a_reset(system):
    story = Story(system)
    story.ctl("key", "reset", "--yes", "--despite-home", *ONE, stdin=[NEW])
    story.mail("after the reset")
    story.words(NEW)
    assert [p.read_bytes() for p in story.others()] == [story.newer]
    story.ctl("key", "restore", *ONE, stdin=[NEW])
    for _ in range(2):
        story.ctl("key", "heal", *TWO, stdin=[story.alice.password, NEW])
    story.reads_all(NEW)


def forged(record):
    """A record that whoever may write to the mail home can make: of the far future, signed by nobody."""
    return record[:10] + (2**60).to_bytes(8, "big") + record[18:]


def with_other_site_key(system, address):
    conf, other = system.path("etc", "overtaken.conf"), system.path("etc", "overtaken.pub")
    other.write_text("0" * 64 + "\n")
    conf.write_text(system.path("etc", "basaltctl.conf").read_text().replace(system.env["SITE_KEY_PUB"], str(other)))
    p = subprocess.run([shlex.split(system.env["BASALTCTL"])[0], "-c", conf, "account", "passwd", address, *TWO], input=b"no\nmatter at all\n",
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode


@pytest.mark.parametrize("name", ["record", "keyset", "keyset.other.0123456789abcdef"])
def test_a_forged_copy_stops_nobody(system, name):
    """Who has the mail uid may put off deliveries, but not a change of keys."""
    alice = system.account()
    assert probes.lmtp(system, alice, probes.marked("before it")) == 250
    with system.imap(alice):
        pass
    home = system.home(alice) / "basalt"
    probes.wait_for(lambda: (home / "keyset").exists())
    record = (home / "record").read_bytes()
    if name == "record":
        (home / name).write_bytes(forged(record))
    else:
        keyset = (home / "keyset").read_bytes()
        assert keyset[7 : 7 + len(record)] == record
        (home / name).write_bytes(keyset[:7] + forged(record) + keyset[7 + len(record) :])
    assert with_other_site_key(system, alice.address) == OTHER_KEYS  # nobody knows, then, that it is forged
    system.ctl("account", "passwd", alice.address, *TWO, stdin=f"{alice.password}\n{NEW}\n".encode())
    p = system.ctl("doctor", "--json", check=False)
    found = {f["finding"] for f in json.loads(p.stdout) if f["account"] == alice.address}
    assert found == ({"no-recovery", "bad-copy"} if name == "record" else {"no-recovery"})
    if name == "record":
        (home / name).unlink()
    assert probes.lmtp(system, alice, probes.marked("after it")) == 250


def test_a_forged_record_does_not_stop_a_restore(system):
    story = Story(system)
    (story.home / "record").write_bytes(forged(story.newer[7 : 7 + 156 + len(story.alice.address)]))
    story.ctl("key", "restore", *ONE, stdin=[story.alice.password])
    (story.home / "record").unlink()
    story.mail("after it")
    story.reads_all()
