"""basaltctl probe: the plugin is there for deliveries, it is not, the mail is lost, and who can't be probed."""
import json
import shlex
import subprocess
import tempfile

import pytest

import probes
import systems

WITHOUT = "protocol lmtp {\n  mail_plugins =\n}\n"


@pytest.fixture(scope="module", params=["sdbox", "maildir", "mdbox"])
def place(request, tmp_path_factory):
    """A system whose keys' notices go through its own Postfix, and a file of Dovecot's configuration."""
    where = tempfile.mkdtemp(prefix=f"{systems.PREFIX}probe-", dir="/tmp")
    more = tmp_path_factory.mktemp("probe") / "more.conf"
    more.write_text("")
    system = systems.System([*systems.CHEAP_KDF, "--set", f"dovecot.include={more}", "--set",
                             f"ctl.notify=/usr/sbin/sendmail -C {where}/etc/postfix -i"], where=where, storage=request.param)
    yield system.start(), more
    system.remove()


def probe(system, address, status):
    p = subprocess.run([*shlex.split(system.env["BASALTCTL"]), "probe", address, "--json"], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=100)
    assert p.returncode == status, p
    return json.loads(p.stdout) if p.stdout else p.stderr.decode()


def reload(system, file, text):
    old = set(system.pids("dovecot", "lmtp"))
    file.write_text(text)
    assert system.doveadm("reload")[0] == 0
    probes.wait_for(lambda: not old & set(system.pids("dovecot", "lmtp")))


def test_sealed_and_in_clear(place):
    system, more = place
    account = system.account()
    assert probe(system, account.address, 0)["outcome"] == "sealed", "its first mail, and there was no mail home"
    assert probe(system, account.address, 0)["outcome"] == "sealed"
    reload(system, more, WITHOUT)
    try:
        found = probe(system, account.address, 1)
    finally:
        reload(system, more, "")
    assert found["outcome"] == "clear" and found["path"].startswith(str(system.home(account))), found
    # What was found stays there, and is not found once more.
    assert probe(system, account.address, 0)["outcome"] == "sealed"


def test_who_cannot_be_probed(place):
    system, _ = place
    assert "is a plain account" in probe(system, system.account("plain").address, 1)
    assert "has no keys" in probe(system, "nobody@example.org", 1)


def test_text_for_people(place):
    system, _ = place
    address = system.account().address
    p = system.ctl("probe", address)
    assert p.stdout.decode().startswith(f"{address}: it arrived, and lies sealed on the disk ("), p


@pytest.mark.long
def test_lost(place):
    """A queue that stands still."""
    system, _ = place
    account = system.account()
    system.stop("postfix")
    try:
        assert probe(system, account.address, 1)["outcome"] == "missing"
    finally:
        system.start()
    system.settle()


def test_without_a_program_that_sends(pool):
    system = pool.get()
    p = system.ctl("probe", system.account().address, check=False)
    assert p.returncode == 78 and b"ctl.notify is empty" in p.stderr, p
