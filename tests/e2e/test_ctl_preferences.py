"""basaltctl pref, plan remove, domain show and catch-alls; with a real basalt-keyd for the accounts, on SQLite."""
import pathlib
import shutil
import tempfile

import pytest

import keydserver
from test_ctl import PASSWORD, USAGE, Ctl

FAILED = 1


@pytest.fixture(scope="module")
def keyd():
    with keydserver.Keyd() as k:
        yield k


@pytest.fixture
def ctl(keyd):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="basalt-ctl-"))
    c = Ctl(folder, keyd.run)
    c.ok("domain", "add", "example.org")
    yield c
    shutil.rmtree(folder)


@pytest.fixture
def alice(ctl, request):
    address = f"{request.node.name.replace('_', '-')[:50]}@example.org"
    ctl.ok("account", "add", address, "--plan", "plain", "--password-stdin", stdin=PASSWORD + "\n")
    return address


def effective(ctl, item, *whose):
    row, = [r for r in ctl.json("pref", "show", *whose)["preferences"] if r["item"] == item]
    return row["value"], row["from"], row["name"]


def test_every_item_shows_what_it_takes_and_takes_its_own_value(ctl):
    items = ctl.json("pref", "items")
    assert {"recipient", "dnsbl", "spf", "limits", "greylist", "dkim", "dmarc", "folder"} <= {i["item"] for i in items}
    for i in items:
        assert i["help"] and i["takes"]
        ctl.ok("pref", "set", "--site", i["item"], i["default"])
    assert [r["item"] for r in ctl.json("pref", "list")] == sorted(i["item"] for i in items)


def test_the_narrowest_scope_counts_and_is_named(ctl, alice):
    account = ("--account", alice)
    assert effective(ctl, "spf", *account) == ("header", "default", "")
    for whose, value, name in (("--site", "label", ""), ("--plan", "folder", "plain"), ("--domain", "drop", "example.org"),
                               ("--account", "reject", alice)):
        ctl.ok("pref", "set", *[whose, name][:2 if name else 1], "spf", value)
        assert effective(ctl, "spf", *account) == (value, whose[2:], name)
    assert effective(ctl, "spf", "--domain", "example.org") == ("drop", "domain", "example.org")
    assert effective(ctl, "spf", "--plan", "plain") == ("folder", "plan", "plain")
    assert effective(ctl, "spf", "--plan", "private") == ("label", "site", "")
    assert f"account {alice}" in ctl.ok("pref", "show", *account)
    ctl.ok("pref", "unset", *account, "spf")
    assert effective(ctl, "spf", *account)[1] == "domain"
    ctl.fails(FAILED, "pref", "unset", *account, "spf", says="pref list")


@pytest.mark.parametrize("args, says", [
    (["spf", "label"], "--site, --plan NAME, --domain DOMAIN, --account ADDRESS"),
    (["--site", "--plan", "plain", "spf", "label"], "whose"),
    (["--site", "spf", "maybe"], "off, header, label, folder, drop, reject"),
    (["--site", "dnsbl.score", "1001"], "number from 1 to 1000"),
    (["--site", "dnsbl.score", "0"], "number from 1 to 1000"),
    (["--site", "folder", "../etc"], "letters, digits"),
    (["--site", "no_such", "1"], "pref items"),
    (["--site", "spf"], "ITEM VALUE"),
    (["--domain", "no domain", "spf", "label"], "no domain name"),
])
def test_wrong_usage_says_what_is_right_and_stores_nothing(ctl, args, says):
    ctl.fails(USAGE, "pref", "set", *args, says=says)
    assert ctl.json("pref", "list") == []


@pytest.mark.parametrize("args, says", [
    (["--domain", "elsewhere.example"], "domain list"),
    (["--plan", "gold"], "plan list"),
    (["--account", "nobody@example.org"], "account list"),
    (["--account", "team@example.org"], "is an alias.*alias list team@example.org"),
])
def test_what_does_not_exist_has_none(ctl, args, says):
    ctl.ok("alias", "add", "team@example.org", "x@elsewhere.example")
    ctl.fails(FAILED, "pref", "set", *args, "spf", "label", says=says)
    ctl.fails(FAILED, "pref", "show", *args, says=says)
    assert ctl.json("pref", "list") == []


def test_what_a_newer_version_wrote_is_marked_and_can_be_removed(ctl, alice):
    ctl.sql("INSERT INTO preferences (scope, name, item, value) VALUES (3, ?, 'telepathy', 'on')", alice)
    ctl.sql("INSERT INTO preferences (scope, name, item, value) VALUES (0, '', 'spf', 'incinerate')")
    assert "not understood" in ctl.ok("pref", "list", "--site")
    assert [r["understood"] for r in ctl.json("pref", "list")] == [False, False]
    shown = ctl.json("pref", "show", "--account", alice)
    assert {r["item"] for r in shown["not_understood"]} == {"telepathy", "spf"}
    assert effective(ctl, "spf", "--account", alice) == ("header", "default", "")
    ctl.ok("pref", "unset", "--account", alice, "telepathy")
    ctl.ok("pref", "unset", "--site", "spf")
    assert ctl.json("pref", "list") == []


def test_they_go_with_what_they_belong_to(ctl, alice):
    ctl.ok("plan", "set", "gold", "sealed=no")
    ctl.ok("account", "plan", alice, "gold")
    for whose in (["--plan", "gold"], ["--domain", "example.org"], ["--account", alice]):
        ctl.ok("pref", "set", *whose, "spf", "label")
    ctl.fails(FAILED, "plan", "remove", "gold", says="still has accounts")
    assert "spf=label" in ctl.ok("plan", "list")
    assert ctl.json("domain", "show", "example.org") == {
        "domain": "example.org", "accounts": 1, "catch_all": [], "preferences": {"spf": "label"}}
    ctl.ok("account", "remove", alice, "--yes")
    ctl.ok("plan", "remove", "gold")
    ctl.ok("domain", "remove", "example.org")
    assert ctl.json("pref", "list") == []


def test_catch_all(ctl, alice):
    ctl.ok("alias", "add", "@example.org", alice)
    ctl.ok("alias", "add", "@Example.org", "x@elsewhere.example")
    assert ctl.json("domain", "show", "example.org")["catch_all"] == sorted([alice, "x@elsewhere.example"])
    assert f"@example.org {alice}" in ctl.ok("alias", "list", "@example.org")
    ctl.fails(FAILED, "alias", "add", "@elsewhere.example", alice, says="domain add elsewhere.example")
    ctl.fails(USAGE, "alias", "add", "@", alice, says="no domain name")
    ctl.fails(FAILED, "domain", "remove", "example.org", says="accounts or aliases")
    ctl.ok("alias", "remove", "@example.org", alice)


def test_a_catch_all_that_leads_back_is_refused(ctl):
    ctl.fails(FAILED, "alias", "add", "@example.org", "stray@example.org", says="loop")
    ctl.ok("alias", "add", "info@example.org", "typo@example.org")
    ctl.fails(FAILED, "alias", "add", "@example.org", "info@example.org",
              says="@example.org -> info@example.org -> typo@example.org -> @example.org")
    ctl.ok("alias", "add", "@example.org", "x@elsewhere.example")
    ctl.ok("alias", "add", "@example.org", "typo@elsewhere.example")
