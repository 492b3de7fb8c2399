"""basaltctl key restore and its neighbours with a real basalt-keyd: what a wrong file, a wrong secret, --yes and an old name may do to keys."""
import json

import keyproto as kp
import pytest
from keydserver import Keyd
from test_ctl_keys import NEW, ONE, PASSWORD, Site
from test_keyd_restore_damaged import flipped, where
from test_keyd_slots import ESCROW

OTHER_KEYS = 12


class Restoring(Site):
    """Knows who signs, and puts copies into mail homes as the plugin does."""

    def __init__(self, folder, keyd):
        super().__init__(folder, keyd.run)
        self.keyd = keyd
        self.conf.write_text(self.conf.read_text().rstrip().removesuffix("}") + f'\tsite_key = "{keyd.dir}/site.key.pub"\n}}\n')
        self.ok("domain", "add", "example.org")

    def home(self, name):
        local, domain = name.split("@")
        return self.dir / domain / local / "basalt"

    def copy(self, name, password=PASSWORD):
        """What a login leaves there."""
        home = self.home(name)
        home.mkdir(parents=True, exist_ok=True)
        with self.keyd.session(name, password) as m:
            (home / "keyset").write_bytes(m.keyset())
            (home / "record").write_bytes(m.record(name))
        self.keyd.change("end_sessions", name)
        return home / "keyset"

    def restore(self, name, *words, secret=PASSWORD):
        return self.run("key", "restore", name, *words, *ONE, stdin=secret + "\n")

    def findings(self, name):
        return {f["finding"]: f["text"] for f in json.loads(self.run("doctor", "--json")[1]) if f["account"] == name}


@pytest.fixture
def keyd():
    with Keyd(escrow=ESCROW) as k:
        yield k


@pytest.fixture
def site(keyd, tmp_path):
    return Restoring(tmp_path, keyd)


@pytest.mark.parametrize("secret", [PASSWORD, "judy's own password", "of nobody"])
def test_somebody_elses_file(site, keyd, secret):
    """Refused as such: there is nothing to say yes to."""
    ivan, judy = site.add("ivan@example.org"), "judy@example.org"
    site.ok("account", "add", judy, *ONE, stdin="judy's own password\n")
    file = site.copy(judy, "judy's own password")
    before = keyd.rows(ivan), keyd.rows(judy)
    for yes in (), ("--yes",):
        status, out, err = site.restore(ivan, str(file), *yes, secret=secret)
        assert (status, out) == (1, "") and f"made for {judy}, not for {ivan}" in err and "--yes" not in err
    assert (keyd.rows(ivan), keyd.rows(judy)) == before and keyd.login_status(ivan, PASSWORD) == kp.OK


def made_anew(site, keyd, name):
    """The copy of keys that were lost, and others that stand in the database."""
    file = site.copy(site.add(name))
    keyd.sql("DELETE FROM keysets WHERE account = ?", name)
    assert keyd.stop() == 0
    keyd.start()
    keyd.enrol(name, NEW)
    return file


def test_yes_replaces_what_its_secret_opens(site, keyd):
    alice = "alice@example.org"
    file = made_anew(site, keyd, alice)
    before = keyd.rows(alice)
    status, _, err = site.restore(alice)
    assert status == 1 and "--yes removes them for ever" in err
    for secret in NEW, "of nobody":
        assert site.restore(alice, "--yes", secret=secret)[0] == 1
    file.write_bytes(flipped(file.read_bytes(), where(file.read_bytes(), "ring").stop - 1))
    assert site.restore(alice, "--yes")[0] == 1
    assert keyd.rows(alice) == before and keyd.login_status(alice, NEW) == kp.OK
    file.write_bytes(flipped(file.read_bytes(), where(file.read_bytes(), "ring").stop - 1))
    assert site.restore(alice, "--yes")[0] == 0
    assert keyd.login_status(alice, PASSWORD) == kp.OK and keyd.login_status(alice, NEW) == kp.DENIED


@pytest.mark.parametrize("section", ["slot 0", "ring", "manifest"])
def test_a_damaged_row(site, keyd, section):
    """doctor names it, no --yes is needed, and the secret that opens the row is told from one that does not."""
    alice = site.add("alice@example.org")
    site.ok("key", "add-recovery", alice, "--stdout", *ONE, stdin=PASSWORD + "\n")
    file = site.copy(alice)
    assert site.findings(alice) == {}
    place = where(file.read_bytes(), section)
    keyd.replace_keyset(alice, flipped(file.read_bytes(), place.stop - 1 if section != "slot 0" else place.start + 72))
    assert keyd.login_status(alice, PASSWORD) != kp.OK
    assert list(site.findings(alice)) == ["bad-record"] and "key restore" in site.findings(alice)["bad-record"]
    assert site.restore(alice, secret="of nobody")[0] == 1
    status, out, err = site.restore(alice)
    assert (status, out, err) == (0, "", "") and "restored from a copy" in site.told()
    assert keyd.login_status(alice, PASSWORD) == kp.OK and site.findings(alice) == {}
    site.copy(alice)
    status, _, err = site.restore(alice)
    assert status == 1 and "nothing to restore" in err and site.findings(alice) == {}


def test_a_damaged_copy(site, keyd):
    alice = site.add("alice@example.org")
    site.ok("key", "add-recovery", alice, "--stdout", *ONE, stdin=PASSWORD + "\n")
    file = site.copy(alice)
    file.write_bytes(flipped(file.read_bytes(), len(file.read_bytes()) - 3))
    assert list(site.findings(alice)) == ["bad-record"]
    before = keyd.rows(alice)
    assert site.restore(alice)[0] == 1 and keyd.rows(alice) == before
    site.copy(alice)
    assert site.findings(alice) == {}


def test_a_damaged_row_that_was_newer(site, keyd):
    """What may be gone is told."""
    alice = site.add("alice@example.org")
    file = site.copy(alice)
    assert keyd.change("add_slot", alice, PASSWORD, kp.SLOT_APP)
    generation, blob = keyd.rows(alice)[0]
    keyd.replace_keyset(alice, flipped(blob, where(blob, "slot 1").stop - 1))
    status, out, _ = site.restore(alice)
    assert status == 0 and f"Generation {generation} of the keys" in out and "since generation 1" in out
    assert keyd.login_status(alice, PASSWORD) == kp.OK and file.exists()


@pytest.mark.parametrize("row", [False, True])
def test_a_copy_that_is_older_than_what_keyd_saw(site, keyd, row):
    """Both generations are named, and the way out; no restart."""
    alice = site.add("alice@example.org")
    file = site.copy(alice)
    assert keyd.change("change_password", alice, PASSWORD, NEW)
    keyd.sql("DELETE FROM keysets WHERE account = ?", alice)
    if row:
        keyd.sql("INSERT INTO keysets (account, generation, keyset, created) VALUES (?, 1, ?, 1)", alice, file.read_bytes())
    status, out, err = site.restore(alice)
    assert (status, out) == (1, "") and "holds generation 1 " in err and "saw generation 2 " in err and "--yes" in err and "forged" not in err
    assert site.restore(alice, "--yes", secret="of nobody")[0] == 1
    assert keyd.login_status(alice, PASSWORD) == kp.ROLLBACK
    status, out, err = site.restore(alice, "--yes")
    assert (status, err) == (0, "") and "Generation 2 of the keys is lost" in out
    assert keyd.login_status(alice, PASSWORD) == kp.OK and keyd.rows(alice)[0][0] == 3


def test_a_name_that_is_given_again(site, keyd):
    """Its old mail home is in the way, and the keys in it are not to come to the new holder."""
    alice = site.add("alice@example.org")
    site.copy(alice)
    site.ok("account", "remove", alice, "--yes")
    err = site.fails(OTHER_KEYS, "account", "add", alice, *ONE, stdin=NEW + "\n")
    home = site.home(alice).parent
    assert f"For somebody new move {home} away first" in err and err.index("move") < err.index("key restore")
    assert keyd.rows(alice) == []
    old = home.rename(home.parent / "alice.before")
    site.ok("account", "add", alice, *ONE, stdin=NEW + "\n")
    assert keyd.login_status(alice, NEW) == kp.OK and keyd.login_status(alice, PASSWORD) == kp.DENIED
    site.ok("account", "remove", alice, "--yes")
    old.rename(home)
    site.fails(OTHER_KEYS, "account", "add", alice, *ONE, stdin=PASSWORD + "\n", says="same person")
    assert site.restore(alice)[0] == 0
    site.ok("account", "add", alice, *ONE, stdin=PASSWORD + "\n")
    assert keyd.login_status(alice, PASSWORD) == kp.OK
