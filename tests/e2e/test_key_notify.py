"""basaltctl key notify: whoever got keys at a first login is told by mail, once, and not before."""
import os
import signal
import subprocess

import pytest
from keydserver import Keyd
from test_ctl import CONFIG, CTL, TEMPFAIL
from test_ctl_keys import ONE, PASSWORD, site  # noqa: F401 (a fixture)
from test_keyd_enrol import enrol
from test_keyd_slots import ESCROW

MADE, ESCROWED = "Keys were made for your mailbox when you logged in", "escrow key can open your mailbox: Example Ltd, Berlin."


@pytest.fixture(scope="module")
def keyd():
    with Keyd(escrow=ESCROW, keyd={"enrol_at_login": "sealed"}) as k:
        yield k


def fresh(domain="example.org"):
    return f"u{os.urandom(4).hex()}@{domain}"


def whom(text):
    return [line.removeprefix("To: ") for line in text.splitlines() if line.startswith("To: ")]


def notify(site):
    said = site.ok("key", "notify")
    return said, site.told()


def test_told_once_and_after_the_login(site, keyd):  # noqa: F811
    early, late, never = fresh(), fresh("escrow.example"), fresh()
    assert enrol(keyd, early) == 0
    for name in (early, late, never):
        site.ok("account", "expect", name)
    site.ok("account", "add", fresh(), *ONE, stdin=PASSWORD + "\n")
    said, text = notify(site)
    assert said == "1 told\n" and whom(text) == [early] and MADE in text and "recovery code" in text
    assert enrol(keyd, late) == 0
    said, text = notify(site)
    assert said == "1 told\n" and whom(text) == [late, late] and MADE in text and ESCROWED in text
    assert notify(site) == ("0 told\n", "") and site.ok("key", "notify", "--quiet") == ""


def test_more_than_a_page(site, keyd):  # noqa: F811
    names = sorted(fresh() for _ in range(105))
    for name in names:
        site.ok("account", "expect", name)
    chosen = names[::9]
    for name in chosen:
        assert enrol(keyd, name) == 0
    said, text = notify(site)
    assert said == f"{len(chosen)} told\n" and whom(text) == chosen


def test_a_mail_that_fails_is_tried_again(site, keyd):  # noqa: F811
    name, good = fresh(), site.conf.read_text()
    site.ok("account", "expect", name)
    assert enrol(keyd, name) == 0
    site.conf.write_text(good.replace(str(site.mailer), "/bin/false"))
    status, out, err = site.run("key", "notify")
    assert (status, out) == (1, "0 told\n") and f"{name} was not told by mail" in err
    site.conf.write_text(good)
    assert whom(notify(site)[1]) == [name]


def test_killed_in_the_middle(site, keyd):  # noqa: F811
    """The mail is out before it is noted: twice is better than never."""
    name = fresh()
    site.ok("account", "expect", name)
    assert enrol(keyd, name) == 0
    mailer = site.mailer.read_text()
    site.mailer.write_text(mailer + "kill -KILL $PPID\n")
    assert subprocess.run([CTL, "-c", site.conf, "key", "notify"], stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    site.mailer.write_text(mailer)
    assert whom(site.told()) == [name] and whom(notify(site)[1]) == [name] and notify(site)[1] == ""


def test_removed_and_made_again(site, keyd):  # noqa: F811
    name = fresh()
    site.ok("account", "expect", name)
    site.ok("account", "remove", name, "--yes")
    site.ok("account", "add", name, *ONE, stdin=PASSWORD + "\n")
    assert notify(site) == ("0 told\n", "")


def test_what_is_missing_is_said(site, keyd):  # noqa: F811
    good = site.conf.read_text()
    site.conf.write_text(good.replace(f"{site.mailer} -i -f postmaster", ""))
    site.fails(CONFIG, "key", "notify", says="ctl.notify in .* is empty")
    site.conf.write_text(good.replace(str(keyd.run), "/nonexistent"))
    site.fails(TEMPFAIL, "key", "notify", says="basalt-keyd")
