"""Preferences at work: one message to an alias whose accounts are in two plans, something set in each of the four scopes;
catch-alls; a database of an older schema. A milter of its own, spoken to as Postfix does."""
import contextlib
import subprocess

import pytest

import milter_box
import milter_client as mc
import private_dns

ZONE = """$ORIGIN example.
$TTL 300
@    IN SOA ns hostmaster 1 7200 3600 604800 60
     IN NS ns
ns   IN A 127.0.0.1
hard IN TXT "v=spf1 -all"
"""
ENGINES = [milter_box.Sqlite, milter_box.Mariadb]
SITE, PLAN, DOMAIN, ACCOUNT = range(4)


@pytest.fixture(scope="module", params=ENGINES, ids=["sqlite", "mariadb"])
def box(request):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(private_dns.Server(ZONE))
        b = milter_box.MilterBox(request.param, cache_s=0, cache_unknown_s=0, dns_servers=f"127.0.0.1@{server.port}")
        stack.callback(b.stop)
        b.domain("example.org")
        b.domain("example.net")
        for address in ("own@example.org", "domain@example.org", "plan@example.net", "site@example.net"):
            b.account(address)
        b.db.run("UPDATE accounts SET plan = 'plain' WHERE address = 'site@example.net'")
        b.account("off@example.org", enabled=False)
        b.alias("team@example.org", "own@example.org", "domain@example.org", "plan@example.net", "site@example.net",
                "off@example.org", "gone@example.org")
        b.alias("@example.net", "own@example.org")
        for scope, name, spf in ((SITE, "", "label"), (PLAN, "private", "folder"), (DOMAIN, "example.org", "header"),
                                 (ACCOUNT, "own@example.org", "drop")):
            prefer(b, scope, name, "spf", spf)
        yield b.start()


def prefer(box, scope, name, item, value):
    box.db.run("REPLACE INTO preferences VALUES (?, ?, ?, ?)", scope, name, item, value)


def verdicts(box, rcpt, sender):
    """What each account's verdict is, by the log line of a message that is accepted."""
    m = mc.Milter(box.socket)
    m.connect()
    m.helo()
    m.message([rcpt], sender=f"<{sender}>")
    m.quit()
    line = box.message(**{"from": sender})
    return {a["account"]: a["verdict"] for a in line["rcpt"][0]["accounts"]}


def test_each_account_behind_one_alias_gets_its_own(box):
    expected = {"own@example.org": "drop", "domain@example.org": "accept", "plan@example.net": "folder",
                "site@example.net": "label"}
    assert verdicts(box, "<team@example.org>", "one@hard.example") == expected
    prefer(box, ACCOUNT, "site@example.net", "spf", "folder")
    assert verdicts(box, "<team@example.org>", "two@hard.example") == {**expected, "site@example.net": "folder"}
    box.db.run("DELETE FROM preferences WHERE scope = 3 AND name = 'site@example.net'")
    assert verdicts(box, "<team@example.org>", "three@hard.example") == expected


def test_a_preference_that_is_not_understood_stops_no_mail(box):
    prefer(box, ACCOUNT, "domain@example.org", "telepathy", "on")
    prefer(box, ACCOUNT, "domain@example.org", "spf", "incinerate")
    for i in range(3):
        assert verdicts(box, "<domain@example.org>", f"odd{i}@hard.example") == {"domain@example.org": "accept"}
    box.db.run("DELETE FROM preferences WHERE scope = 3 AND name = 'domain@example.org'")
    assert box.log.read_text().count("2 are not understood") == 1


@pytest.mark.parametrize("name, key, expected", [
    ("aliases", "stray@example.net", "OK own@example.org"), ("aliases", "stray+x@example.net", "OK own@example.org"),
    ("aliases", "plan@example.net", "NOTFOUND "), ("aliases", "@example.net", "NOTFOUND "),
    ("recipients", "stray@example.net", "NOTFOUND "), ("senders", "stray@example.net", "NOTFOUND "),
    ("senders", "@example.net", "NOTFOUND "), ("aliases", "stray@example.org", "NOTFOUND ")])
def test_catch_all_look_ups(box, name, key, expected):
    maps = mc.Socketmap(box.socketmap)
    assert maps.ask(name, key) == expected
    maps.close()


def test_mail_for_a_caught_address_has_the_verdict_of_the_account_behind_it(box):
    assert verdicts(box, "<stray@example.net>", "caught@hard.example") == {"own@example.org": "drop"}


@pytest.mark.parametrize("engine", ENGINES, ids=["sqlite", "mariadb"])
def test_an_older_database_defers_and_the_log_says_what_brings_it_up(engine):
    b = milter_box.MilterBox(engine, cache_s=0)
    try:
        b.domain("example.org")
        b.account("alice@example.org")
        b.db.run("DROP TABLE preferences")
        b.db.run("DELETE FROM schema_version")
        b.db.run("INSERT INTO schema_version (number, applied) VALUES (1, 1)")
        b.start()

        def rcpt():
            m = mc.Milter(b.socket)
            m.connect()
            m.helo()
            m.mail()
            answer = m.rcpt("<alice@example.org>")
            m.quit()
            return answer

        assert rcpt()[1].startswith(b"451 4.3.0")
        assert "basaltctl db migrate" in b.log.read_text()
        conf = b.dir / "ctl.conf"
        conf.write_text(f'ctl {{\n database = "{b.db.url}"\n database_password_file = "{b.db.password_file}"\n}}\n')
        subprocess.run([milter_box.BUILD / "basaltctl", "-c", conf, "db", "migrate"], check=True, timeout=60)
        milter_box.wait_for(lambda: rcpt()[0] == mc.CONTINUE)
    finally:
        b.stop()
