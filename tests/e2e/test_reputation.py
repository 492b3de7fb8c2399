"""SPF and block lists in basalt-milter, behind a real Postfix, with a zone of an unbound of its own. Clients' addresses come by
XCLIENT: everything is on loopback."""
import contextlib
import time

import pytest

import milter_box
import milter_client
import private_dns
import slow

ZONE = r"""$ORIGIN example.
$TTL 300
@       IN SOA ns hostmaster 1 7200 3600 604800 60
        IN NS ns
ns      IN A 127.0.0.1
pass    IN TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
hard    IN TXT "v=spf1 ip4:203.0.113.1 exp=why.hard.example -all"
why.hard IN TXT "Not \"ours\": %{i}, 100%% sure <%{s}>"
soft    IN TXT "v=spf1 ip4:203.0.113.1 ~all"
neutral IN TXT "v=spf1 ?all"
broken  IN TXT "v=spf1 nonsense:x -all"
helo.hard IN TXT "v=spf1 -all"
2.0.0.127.bl IN A 127.0.0.2
66.2.0.192.bl IN A 127.0.0.2
67.2.0.192.bl IN A 127.0.0.10
68.2.0.192.bl IN A 127.255.255.254
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl IN A 127.0.0.2
2.0.0.127.white IN A 127.0.0.2
67.2.0.192.white IN A 127.0.4.3
69.2.0.192.white IN A 127.0.4.3
test.dbl IN A 127.0.1.2
spammer.example.dbl IN A 127.0.1.2
test.wl IN A 127.0.0.2
pass.example.wl IN A 127.0.0.2
neutral.example.wl IN A 127.0.0.2
lost.example.wl IN A 127.0.0.2
lost    IN CNAME lost2
lost2   IN CNAME lost
2.0.0.127.all IN A 127.0.0.2
*.all   IN A 127.0.0.2
"""
LISTS = ("ip bl.example 127.0.0.2=10,127.0.0.10-11=6; ip white.example 127.0.*.3=-5; domain dbl.example 10; "
         "ip all.example 100")
MAIL = b"From: a@example.net\r\nTo: b@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.net>\r\n\r\nHello\r\n"


class Site:
    """A milter with a resolver's zone, and a Postfix that believes XCLIENT."""

    def __init__(self, engine=milter_box.Sqlite, zone=ZONE, **settings):
        self.dns = contextlib.ExitStack()
        self.server = self.dns.enter_context(private_dns.Server(zone))
        self.box = milter_box.MilterBox(engine, **{
            "cache_s": 0, "cache_unknown_s": 0, "dns_servers": f"127.0.0.1@{self.server.port}", "trusted_networks": "127.0.0.0/8",
            **settings})
        self.box.domain("example.org")
        self.box.start()
        self.postfix = milter_box.PostfixBox(self.box, smtpd_authorized_xclient_hosts="127.0.0.1",
                                            inet_protocols="all").start()
        self.accounts = 0

    def account(self, **preferences):
        """A new account's address; preferences: greylist__delay_s="1" sets greylist.delay_s."""
        self.accounts += 1
        address = f"user{self.accounts}@example.org"
        self.box.account(address)
        for item, value in preferences.items():
            self.box.prefer(address, item.replace("__", "."), str(value))
        return address

    @contextlib.contextmanager
    def client(self, address="192.0.2.7", helo="mx.pass.example"):
        with self.postfix.client() as c:
            c.ehlo()
            code, text = c.docmd("XCLIENT", f"ADDR={'IPV6:' if ':' in address else ''}{address} NAME=[UNAVAILABLE]")
            assert code == 220, text
            c.ehlo(helo)
            yield c

    def rcpt(self, to, sender="a@pass.example", client="192.0.2.7", helo="mx.pass.example"):
        """The answer to RCPT: (code, text)."""
        with self.client(client, helo) as c:
            c.mail(sender)
            code, text = c.rcpt(to)
            c.rset()
            return code, text.decode()

    def send(self, to, sender="a@pass.example", client="192.0.2.7", helo="mx.pass.example", tag="x",
             mail=MAIL):
        """The answer to DATA; RCPT must be fine."""
        with self.client(client, helo) as c:
            c.mail(sender)
            code, text = c.rcpt(to)
            assert code == 250, text
            code, text = c.data(mail.replace(b"%s", tag.encode()))
            return code, text.decode()

    def finding(self, check, **wanted):
        """What the newest message's log line says of a check for the first account."""
        line = self.box.message(**wanted)
        for account in line["rcpt"][0].get("accounts", []):
            for found in account.get("checks", []):
                if found["check"] == check:
                    return found, account
        return None, None

    def status(self):
        return milter_client.control(self.box.control, {"op": "status"})

    def stop(self):
        self.postfix.stop()
        self.box.stop()
        self.dns.close()


@pytest.fixture(scope="module")
def site():
    s = Site(dnsbl_lists=LISTS)
    yield s
    s.stop()


# --- addresses ---

SPELLINGS = ("{0}%example.org", "example.org!{0}", "{0}@example.org@[127.0.0.1]", "{0}%example.org@[127.0.0.1]",
             '"{0}@example.org"', '"{0}@example.org"@[127.0.0.1]', "@[127.0.0.1]:{0}%example.org", "{0}@example.org(words)",
             "{0}@example.org@", "{0}@ example.org", "{0}+more%example.org", "{0}@example.org.", '"{0}"@example.org')


def answer(client, to, sender="a@pass.example"):
    """To RCPT, with the addresses as they stand here."""
    assert client.docmd("MAIL", f"FROM:<{sender}>")[0] == 250
    code, text = client.docmd("RCPT", f"TO:<{to}>")
    client.rset()
    return code, text.decode()


def test_no_spelling_of_a_recipient_leads_past_the_checks(site):
    local = site.account().partition("@")[0]
    for spelling in SPELLINGS:
        with site.client("192.0.2.66") as c:
            code, text = answer(c, spelling.format(local))
        assert code == 550 and "bl.example" in text, (spelling, code, text)


def test_what_postfix_itself_would_deliver_is_refused(site):
    """Whoever has an address of the host itself in brackets: no mailbox, and no bounce later."""
    site.account()
    with site.client() as c:
        for to in ("root@[127.0.0.1]", "user1@[127.0.0.1]"):
            code, text = answer(c, to)
            assert code == 550 and "5.1.1" in text, (to, code, text)


def test_no_spelling_of_a_sender_hides_whose_domain_it_is(site):
    to = site.account(spf="reject")
    for sender in ("a%hard.example", "hard.example!a", '"a@hard.example"', "a@hard.example(b@pass.example)",
                   "a@hard.example(@pass.example"):
        with site.client() as c:
            code, text = answer(c, to, sender)
        assert code == 550 and "hard.example (SPF)" in text, (sender, code, text)


def test_many_accounts_with_slow_sources_are_answered_in_time():
    """Longer in all than Postfix waits for a milter's answer."""
    with slow.Quota(0.4) as quota:
        s = Site(quota_status=f"inet:127.0.0.1:{quota.port}")
        try:
            s.box.alias("all@example.org", *(s.account() for _ in range(100)))
            began = time.monotonic()
            assert s.rcpt("all@example.org")[0] == 250
            assert time.monotonic() - began < 30
        finally:
            s.stop()


# --- SPF ---

def test_a_domain_that_says_no_is_refused_with_its_words(site):
    to = site.account(spf="reject")
    code, text = site.rcpt(to, "eve@hard.example")
    assert code == 550 and text.startswith("5.7.23 ")
    assert "192.0.2.7 may not send for hard.example" in text
    assert "Not 'ours': 192.0.2.7, 100? sure 'eve@hard.example'" in text
    assert site.rcpt(to, "a@pass.example")[0] == 250
    assert site.rcpt(to, "a@pass.example", client="2001:db8::7")[0] == 250
    assert site.rcpt(to, "a@pass.example", client="2001:db9::7")[0] == 550


@pytest.mark.parametrize("sender,outcome", [
    ("a@pass.example", "clean"), ("a@hard.example", "hit"), ("a@soft.example", "hit"), ("a@neutral.example", "clean"),
    ("a@broken.example", "clean"), ("a@nothing.example", "clean"), ("", "clean")])
def test_results_in_log_and_header(site, sender, outcome):
    to = site.account(spf="header")
    tag = sender.split("@")[-1].split(".")[0] or "null"
    assert site.send(to, sender, tag=tag)[0] == 250
    found, _ = site.finding("spf", to=to, outcome="accepted", **{"from": sender})
    assert found["outcome"] == outcome, found
    want = {"pass": "pass", "hard": "fail", "soft": "softfail", "neutral": "neutral", "broken": "permerror"}.get(tag, "none")
    head = site.postfix.sink.mail_with(f"<{tag}@example.net>")[1].split(b"\r\n\r\n")[0]
    assert b"spf=" + want.encode() in head, head


@pytest.mark.parametrize("action,hard,soft", [
    ("off", None, None), ("header", "accept", "accept"), ("label", "label", "label"), ("folder", "folder", "label"),
    ("drop", "drop", "label"), ("reject", "reject", "label")])
def test_every_action_and_softfail_labels_at_the_most(site, action, hard, soft):
    to = site.account(spf=action, dnsbl="off")
    for sender, want in (("a@hard.example", hard), ("a@soft.example", soft)):
        with site.client() as c:
            c.mail(sender)
            code, _ = c.rcpt(to)
            assert code == (550 if want == "reject" else 250)
            if code == 250:
                assert c.data(MAIL.replace(b"%s", b"action"))[0] == 250
        _, account = site.finding("spf", to=to, **{"from": sender})
        assert (account and account["verdict"]) == want, account


def test_a_helo_that_fails_counts_unless_the_sender_passes(site):
    to = site.account(spf="reject")
    assert site.rcpt(to, "a@neutral.example", helo="helo.hard.example")[0] == 550
    assert site.rcpt(to, "a@soft.example", helo="helo.hard.example")[0] == 550
    assert site.rcpt(to, "", helo="helo.hard.example")[0] == 550
    assert site.rcpt(to, "a@pass.example", helo="helo.hard.example")[0] == 250
    assert site.rcpt(to, "", helo="nothing.example")[0] == 250


def test_trusted_networks_are_not_asked_about(site):
    to = site.account(spf="reject", dnsbl="reject", dnsbl__score=1)
    assert site.rcpt(to, "a@hard.example", client="127.0.0.9")[0] == 250
    found, _ = site.finding("spf", to=to, client="127.0.0.9")
    assert found is None


# --- block lists ---

@pytest.mark.parametrize("client,score,code", [
    ("192.0.2.7", 10, 250), ("192.0.2.66", 10, 550), ("192.0.2.66", 11, 250), ("2001:db8::1", 10, 550),
    ("192.0.2.67", 2, 250), ("192.0.2.67", 1, 550), ("192.0.2.69", 1, 250), ("192.0.2.68", 6, 250)])
def test_weights_codes_and_allow_lists(client, score, code):
    """Lists of its own: a list that answers nonsense is set aside."""
    with Lists("ip bl.example 127.0.0.2=10,127.0.0.10-11=6; ip white.example 127.0.*.3=-5") as s:
        got, text = s.rcpt(s.account(dnsbl__score=score), client=client)
        assert got == code, text
        if code == 550:
            assert text.startswith("5.7.1 ") and "bl.example" in text and client in text


@contextlib.contextmanager
def Lists(lists, **settings):
    """The module's site with another milter configuration."""
    s = Site.current
    s.box.stop_milter()
    before = dict(s.box.settings)
    s.box.settings.update(dnsbl_lists=lists, **settings)
    s.box.start()
    try:
        yield s
    finally:
        s.server.thaw()
        s.box.stop_milter()
        s.box.settings = before
        s.box.start()


@pytest.fixture(autouse=True)
def current(site):
    Site.current = site


def test_domains_of_sender_and_helo(site):
    with Lists("domain dbl.example 10") as s:
        to = s.account()
        assert s.rcpt(to, "a@spammer.example")[0] == 550
        assert s.rcpt(to, "a@pass.example", helo="spammer.example")[0] == 550
        assert s.rcpt(to, "a@spammer.example", helo="spammer.example")[0] == 550
        assert s.finding("dnsbl", **{"from": "a@spammer.example"})[0]["reason"].startswith("score 10 of 10:"), "counted once"
        assert s.rcpt(to, "a@pass.example", helo="[192.0.2.7]")[0] == 250


@pytest.mark.parametrize("sender,helo,code", [
    ("w@pass.example", "mx.pass.example", 250), ("w@neutral.example", "pass.example", 250), ("", "pass.example", 250),
    ("w@pass.example", "pass.example", 250), ("w@neutral.example", "mx.pass.example", 550), ("w@soft.example", "neutral.example", 550),
    ("w@neutral.example", "neutral.example", 550), ("", "neutral.example", 550),
    ("w@lost.example", "mx.pass.example", None), ("w@neutral.example", "lost.example", None), ("w@lost.example", "lost.example", None)])
def test_an_allow_list_counts_for_names_that_spf_proves(site, sender, helo, code):
    with Lists("ip bl.example 10; domain wl.example -5") as s:
        got, text = s.rcpt(s.account(), sender, "192.0.2.66", helo)
        assert got == (code or 250), text
        found, _ = s.finding("dnsbl", **{"from": sender, "helo": helo})
        assert found["reason"].startswith(f"score {5 if code == 250 else 10} of 10"), found
        assert code or (found["outcome"] == "down" and found["reason"].endswith("no answer: SPF")), found


def test_a_helo_that_is_said_again_counts_once(site):
    with Lists("domain dbl.example 6") as s:
        to = s.account()
        with s.client(helo="spammer.example") as c:
            for _ in range(3):
                assert answer(c, to)[0] == 250
                c.ehlo("spammer.example")
            c.ehlo("mx.pass.example")
            assert answer(c, to, "said-once@pass.example")[0] == 250
        found, _ = s.finding("dnsbl", helo="mx.pass.example", **{"from": "said-once@pass.example"})
        assert found["reason"].startswith("score 0 of 10"), found


def test_a_list_of_everybody_is_found_out_and_reported(site):
    with Lists("ip all.example 100") as s:
        assert s.rcpt(s.account())[0] == 250
        assert s.rcpt(s.account(dnsbl__down="hit"))[0] == 550, "the account asked for that"
        state = s.status()["lists"]["all.example"]
        assert state["set_aside_s"] > 500 and state["because"] == "it lists everybody" and state["listed"] == 0
        assert "list all.example is not asked" in s.box.log.read_text()


@pytest.mark.parametrize("down,code", [("skip", 250), ("defer", 451), ("hit", 550)])
def test_an_error_code_is_down_and_never_a_hit(site, down, code):
    with Lists("ip bl.example 10") as s:
        for _ in range(2):  # the second time nobody asks the list
            assert s.rcpt(s.account(dnsbl__down=down, spf="off"), client="192.0.2.68")[0] == code
        assert s.status()["lists"]["bl.example"]["errors"] == 1
        assert s.rcpt(s.account(dnsbl__down=down, dnsbl__score=11), client="192.0.2.68")[0] == 250, "it can't matter"


def test_a_dead_server_costs_the_deadline_and_is_forgiven(site):
    with Lists("ip bl.example 10", dnsbl_timeout_ms=1000, spf_timeout_ms=1500) as s:
        skip, defer = s.account(spf="reject"), s.account(spf="reject", spf__down="defer", dnsbl__down="defer")
        s.server.freeze()
        began = time.monotonic()
        assert s.rcpt(skip, "a@late.hard.example", "192.0.2.66")[0] == 250
        assert s.rcpt(defer, "a@late.hard.example", "192.0.2.66")[0] == 451
        assert time.monotonic() - began < 15
        for i in range(12):  # lists that keep silent are left alone: what is left is SPF's deadline
            assert s.rcpt(skip, f"a@d{i}.late.example", f"192.0.3.{i}")[0] == 250
        assert s.status()["lists"]["bl.example"]["set_aside_s"] > 0
        s.server.thaw()
        milter_box.wait_for(lambda: s.rcpt(defer, "a@hard.example")[0] == 550, 60)


def test_all_deadlines_in_a_row_are_within_what_postfix_waits(site):
    """Every source is slow and none is silent: each within its own time, far more than half a minute in all."""
    with slow.Quota(0.9) as quota, slow.Dns(1.1) as dns, Lists("ip bl.example 10; domain dbl.example 10", dnsbl_timeout_ms=8000,
            spf_timeout_ms=20000, quota_status=f"inet:127.0.0.1:{quota.port}", dns_servers=f"127.0.0.1@{dns.port}") as s:
        everything = dict.fromkeys(("spf", "dnsbl", "dkim", "dmarc"), "reject")
        s.box.alias("all@example.org", *(s.account(limits__account=9, **everything) for _ in range(24)))
        with s.client("192.0.2.66", "h0.slow.example") as c:
            c.mail("a@m0.slow.example")
            began = time.monotonic()
            code, text = c.rcpt("all@example.org")
            took = time.monotonic() - began
            assert code == 250 and 18 < took < 26, (code, text, took)
            began = time.monotonic()
            signed = b"DKIM-Signature: v=1; a=rsa-sha256; d=slow.example; s=s; h=from; bh=eA==; b=eA==\r\n"
            code, text = c.data(signed + MAIL.replace(b"%s", b"sum").replace(b"example.net", b"slow.example"))
            assert time.monotonic() - began < 20, (code, text, time.monotonic() - began)


def test_a_client_that_leaves_waits_for_nothing(site):
    with Lists("ip bl.example 10; domain dbl.example 10", dnsbl_timeout_ms=8000) as s:
        s.server.freeze()
        began = time.monotonic()
        for i in range(20):
            m = milter_client.Milter(s.box.socket)
            m.connect(addr=f"198.51.100.{i}")
            m.helo(f"h{i}.late.example")
            m.mail(f"<a@m{i}.late.example>")
            m.abort()
            m.quit()
        milter_box.wait_for(lambda: s.status()["counters"]["sessions_open"] == 0, 7)
        assert time.monotonic() - began < 8


def test_the_resolver_s_counters_are_shown(site):
    before = site.status()["dns"]
    to = site.account(spf="header")
    assert site.rcpt(to, "a@counted.example")[0] == 250
    assert site.rcpt(to, "a@counted.example")[0] == 250
    after = site.status()["dns"]
    assert after["queries"] > before["queries"] and after["cache_hits"] > before["cache_hits"] and after["pending"] == 0
