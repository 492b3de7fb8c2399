"""Twelve recipients of one message, twelve outcomes, in one SMTP transaction: the whole way from a stranger's client to
IMAP, the bounce, the log, and what `basaltctl explain` says of it."""
import email.header
import json
import os
import re
import secrets

import pytest

import inbound
import systems

PAIRS = [("sdbox", "sqlite"), ("maildir", "mariadb")]
SENDER = "list@pass.example"  # SPF passes: a bounce to it goes to who sent this
SUBJECT = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_aus_K=C3=B6ln?=\r\n"
# The blank is in the label's word: one between two encoded-words is not shown (RFC 2047 section 6.2).
LABELLED = SUBJECT.replace(b"Subject: ", b"Subject: =?UTF-8?B?W1Byw7xmZW5dIA==?= ")
DMARC_TEXT = b"550 5.7.1 Rejected by the DMARC policy of strict.example"
FRIEND = "friend@elsewhere.example"
ALL_OFF = ("dnsbl", "spf", "limits", "greylist", "dkim", "dmarc")


def make(ident):
    """From a domain that asks to refuse it, with a signature that does not fit: dkim and dmarc hit, after the data."""
    head = (b"From: Boss <boss@strict.example>\r\nTo: undisclosed-recipients:;\r\n" + SUBJECT + b"Date: Mon, 02 Mar 2026 08:00:00 +0000\r\n"
            b"Message-ID: <" + ident.encode() + b"@pass.example>\r\nX-Basalt-Verdict: forged\r\nX-Basalt-Note: forged\r\n\r\n")
    return inbound.signed(head + b"What was signed\r\n").replace(b"was signed", b"was not signed\r\n.\r\n..")


def bare(message):
    """Without the fields that are forged: they are taken out for everybody."""
    return message.replace(b"X-Basalt-Verdict: forged\r\nX-Basalt-Note: forged\r\n", b"")


class Cast:
    """The accounts of one site, and what each is to get: address -> folders of the mail, and how it differs."""

    def __init__(self, site):
        self.site, account = site, site.account
        for check in ALL_OFF:
            site.prefer("--site", check, "off")
        site.system.ctl("plan", "set", "family", "sealed=yes", "compress=yes")
        site.prefer("--plan", "family", "dmarc", "folder")
        self.plain = account("plain")
        self.noted = account("private", dnsbl="header", dkim="header", dmarc="header")
        self.subject = account("private", dmarc="label", label="[Prüfen]")
        self.field = account("plain", dkim="label", label="suspect", label__in="header")
        self.junk = account("family")
        self.lists = account("private", dnsbl="folder", folder="Lists/Suspicious")
        self.dropped = account("private", dkim="drop")
        self.refused = account("private", dmarc="reject")
        self.one, self.other = account("family", folder="Team"), account("plain", dmarc="drop")
        self.team = site.alias(self.one, self.other, name="team@example.org")
        self.plus = account("private", plus_folder="yes")
        self.here = account("private", dmarc="label", label__in="header", label="x")
        self.away = site.alias(self.here, FRIEND, name="away@example.org")
        self.bcc = account("private", dmarc="folder", folder="Private")
        self.disabled, self.grey = account("private"), account("private", greylist="reject")
        self.off_too = account("private", dmarc="reject", unverified="drop")
        site.system.ctl("account", "disable", self.disabled.address)
        self.unknown = "nobody-at-all@example.org"

    def recipients(self):
        one_each = [self.plain, self.noted, self.subject, self.field, self.junk, self.lists, self.dropped, self.refused, self.bcc]
        return [a.address for a in one_each] + [self.team, self.plus.address.replace("@", "+Shop@"), self.away]

    def outcomes(self):
        """{account: (folder, label or note in the header, subject)}"""
        return {
            self.plain: ("INBOX", b"", SUBJECT), self.noted: ("INBOX", b"X-Basalt-Note: dnsbl, dkim, dmarc\r\n", SUBJECT),
            self.subject: ("INBOX", b"X-Basalt-Note: dmarc\r\n", LABELLED),
            self.field: ("INBOX", b"X-Basalt-Label: suspect\r\nX-Basalt-Note: dkim\r\n", SUBJECT),
            self.junk: ("Junk", b"X-Basalt-Note: dmarc\r\n", SUBJECT), self.lists: ("Lists/Suspicious", b"X-Basalt-Note: dnsbl\r\n", SUBJECT),
            self.one: ("Team", b"X-Basalt-Note: dmarc\r\n", SUBJECT), self.plus: ("Shop", b"", SUBJECT),
            self.here: ("INBOX", b"X-Basalt-Label: x\r\nX-Basalt-Note: dmarc\r\n", SUBJECT),
            self.bcc: ("Private", b"X-Basalt-Note: dmarc\r\n", SUBJECT),
        }

    def everybody(self):
        return [v for v in vars(self).values() if isinstance(v, systems.Account)]


@pytest.fixture(scope="module", params=PAIRS, ids="+".join)
def cast(request):
    with inbound.Site(*request.param) as site:
        yield Cast(site)


@pytest.fixture(scope="module")
def told(cast):
    """The one transaction: (cast, id, message, answers)."""
    ident = f"twelve-{secrets.token_hex(6)}"
    message = make(ident)
    refused = [cast.unknown, cast.disabled.address, cast.grey.address]
    answers, data = cast.site.send(SENDER, cast.recipients()[:5] + refused + cast.recipients()[5:], message, client=inbound.LISTED)
    assert data[0] == 250, (answers, data)
    cast.site.system.settle()
    return cast, ident, message, answers


def test_who_is_refused_at_rcpt_is_refused_there_alone(told):
    cast, _, _, answers = told
    assert [answers[r][0] for r in cast.recipients()] == [250] * 12
    assert answers[cast.unknown][0] == 550 and "5.1.1" in answers[cast.unknown][1]
    assert answers[cast.disabled.address][0] == 550 and answers[cast.disabled.address][1].startswith("5.2.1")
    assert answers[cast.grey.address][0] == 451 and answers[cast.grey.address][1].startswith("4.7.1 Greylisted")


def test_each_mailbox_has_its_own(told):
    cast, _, message, _ = told
    wanted = cast.outcomes()
    for account in cast.everybody():
        folder, mail = inbound.folder_of(cast.site.folders(account))
        if account not in wanted:
            assert folder is None, account
            continue
        where, fields, subject = wanted[account]
        assert folder == where, account
        assert mail.endswith(bare(message).replace(SUBJECT, subject)), (account, mail)
        ours = mail[:-len(bare(message).replace(SUBJECT, subject))]
        assert b"".join(re.findall(rb"(?m)^X-Basalt-.*\r\n", ours)) == fields, (account, ours)
    assert str(email.header.make_header(email.header.decode_header(LABELLED.decode()[9:].strip()))) == "[Prüfen] Grüße aus Köln"


def test_nobodys_mail_names_another(told):
    cast, _, _, _ = told
    addresses = [a.address.encode() for a in cast.everybody()] + [cast.team.encode(), cast.away.encode(), FRIEND.encode()]
    own = {cast.one: [cast.team.encode()], cast.here: [cast.away.encode()]}
    for account in cast.outcomes():
        _, mail = inbound.folder_of(cast.site.folders(account))
        allowed = [account.address.encode(), *own.get(account, [])]
        assert b"x-basalt-verdict" not in mail.lower()
        assert [a for a in addresses if a in mail and a not in allowed] == [], account


def test_the_one_bounce_says_what_the_check_said(told):
    cast, _, message, _ = told
    (bounce,) = cast.site.bounces(b"multipart/report")
    assert (bounce.sender, bounce.recipients) == ("", [SENDER])
    assert DMARC_TEXT in re.sub(rb"\s+", b" ", bounce.data)
    assert re.findall(rb"Final-Recipient: rfc822; (.*)\r\n", bounce.data) == [cast.refused.address.encode()]
    assert b"x-basalt" not in bounce.data.lower()
    others = [a.address.encode() for a in cast.everybody() if a is not cast.refused]
    assert [a for a in others if a in bounce.data] == []


def test_the_friend_outside_gets_it_without_anything_of_ours(told):
    cast, _, message, _ = told
    (mail,) = [t for t in cast.site.outside.taken if t.recipients == [FRIEND]]
    assert mail.data.endswith(bare(message)) and b"x-basalt" not in mail.data.lower()
    assert len(cast.site.outside.taken) == 2, "the friend's mail and the bounce"


def test_what_is_sealed_is_sealed(told):
    cast, _, _, _ = told
    for account in cast.outcomes():
        assert cast.site.system.suites(account) == [systems.SUITE_PLAIN if account.plan == "plain" else systems.SUITE_SEALED], account


def by_account(line):
    """{(recipient, account): what was decided}, of a log line or of explain."""
    keys = ("verdict", "by", "reason", "folder", "label", "noted", "reply", "no_bounce")
    return {(r["to"], a["account"]): {k: a[k] for k in keys if k in a} for r in line["rcpt"] for a in r.get("accounts", [])}


def test_the_log_line_and_explain_say_the_same(told, tmp_path):
    cast, ident, message, _ = told
    line = cast.site.logged(f"{ident}@pass.example")
    assert line["outcome"] == "accepted" and len(line["rcpt"]) == 15
    logged = by_account(line)
    verdict = {a: v["verdict"] for (_, a), v in logged.items()}
    some = (cast.noted, cast.subject, cast.field, cast.junk, cast.dropped, cast.refused, cast.other)
    assert [verdict[a.address] for a in some] == ["accept", "label", "label", "folder", "drop", "reject", "drop"]
    file = tmp_path / "mail.eml"
    file.write_bytes(message)
    rcpt = [w for r in [*cast.recipients(), cast.disabled.address] for w in ("--rcpt", r)]
    argv = ["explain", str(file), "--from", SENDER, "--client", inbound.LISTED, "--helo", "mx.pass.example", *rcpt]
    said = by_account(json.loads(cast.site.system.ctl(*argv, "--json").stdout))
    assert said == {k: v for k, v in logged.items() if k[0] != cast.grey.address}
    table = cast.site.system.ctl(*argv).stdout.decode()
    assert f"{cast.refused.address}: reject by dmarc" in table
    assert re.findall(r"(?m)^\+ X-Basalt-Verdict: (.*)$", table) == ["sealed, for basalt-lmtp: what is said above of each recipient"]
    assert not re.search(r"[A-Za-z0-9+/]{60}", table), "nobody reads sealed bytes"


@pytest.mark.parametrize("sender", ["somebody@strange.example", ""])
def test_to_who_is_not_verified_no_bounce_goes(told, sender):
    cast = told[0]
    ident = f"spared-{secrets.token_hex(6)}"
    before = len(cast.site.outside.taken)
    at_first = {a: cast.site.folders(a) for a in (cast.refused, cast.off_too, cast.plain)}
    to = [cast.refused.address, cast.off_too.address, cast.plain.address]
    answers, data = cast.site.send(sender, to, make(ident), client="203.0.113.9", helo="h.strange.example")
    assert data[0] == 250 and all(code == 250 for code, _ in answers.values()), (answers, data)
    cast.site.system.settle()
    new = {a: {f: [m for m in messages if ident.encode() in m] for f, messages in cast.site.folders(a).items()} for a in at_first}
    got = [[f for f, messages in new[a].items() for _ in messages] for a in (cast.refused, cast.off_too, cast.plain)]
    assert got == [["Junk"], [], ["INBOX"]]
    assert len(cast.site.outside.taken) == before, "nothing has left"
    told_so = {a: v.get("no_bounce") for (_, a), v in by_account(cast.site.logged(f"{ident}@pass.example")).items()}
    assert told_so == {cast.refused.address: True, cast.off_too.address: True}


def test_who_alone_refuses_is_refused_in_the_dialogue(told):
    cast = told[0]
    before = len(cast.site.outside.taken)
    _, data = cast.site.send(SENDER, [cast.refused.address], make("alone"))
    assert data[0] == 550 and data[1].encode() == DMARC_TEXT[4:]
    _, data = cast.site.send(SENDER, [cast.dropped.address], make("dropped-alone"))
    assert data[0] == 250
    cast.site.system.settle()
    assert cast.site.logged("dropped-alone@pass.example")["outcome"] == "discarded"
    assert len(cast.site.outside.taken) == before
    assert b"dropped-alone" not in b"".join(m for ms in cast.site.folders(cast.dropped).values() for m in ms)


# --- what leaves the house ---

SCRIPT = """require ["vacation", "copy"];
redirect :copy "{away}";
vacation :addresses ["{own}"] "I am away";
"""


@pytest.mark.skipif(not systems.has_sieve(), reason="dovecot-sieve is not installed")
def test_nothing_of_it_leaves_by_bounces_vacations_and_redirects():
    relay = dict(postfix__mynetworks="127.0.0.0/8", postfix__smtpd_relay_restrictions="permit_mynetworks,reject_unauth_destination")
    with inbound.Site(more=["--sieve"], **relay) as site:
        cast = Cast(site)
        own = site.account("plain", dmarc="label", label__in="header", label="secret", dkim="header")
        home = site.system.home(own)
        home.mkdir(parents=True, exist_ok=True)
        (home / ".dovecot.sieve").write_text(SCRIPT.format(away=cast.away, own=own.address))
        for path in (home.parent, home, home / ".dovecot.sieve"):
            os.chown(path, *(2 * [os.stat(site.system.env["MAIL_ROOT"]).st_uid]))
        message = make("leaves").replace(b"undisclosed-recipients:;", own.address.encode())
        everybody = [*cast.recipients(), own.address]
        answers, data = site.send(SENDER, everybody, message, client=inbound.LISTED, options=["RET=FULL"])
        assert data[0] == 250 and {code for code, _ in answers.values()} == {250}
        site.until(lambda: len([t for t in site.outside.taken if t.recipients == [FRIEND]]) == 2, 30)
        site.system.settle()
        _, mine = inbound.folder_of(site.folders(own))
        assert b"X-Basalt-Label: secret\r\n" in mine and b"X-Basalt-Note: dkim, dmarc\r\n" in mine
        sent_on = [t.data for t in site.outside.taken if t.recipients == [FRIEND]]
        notices = [t.data for t in site.outside.taken if t.recipients == [SENDER]]
        assert any(b"Action: failed" in n for n in notices) and any(b"I am away" in n for n in notices)
        for text in sent_on + notices:
            assert b"x-basalt" not in text.lower() and b"secret" not in text


@pytest.mark.parametrize("options, notify", [(["RET=HDRS"], []), ([], ["NOTIFY=SUCCESS,FAILURE"])], ids=["headers", "success"])
def test_nothing_of_it_leaves_by_notices_that_quote_the_header_alone(told, options, notify):
    cast = told[0]
    before = len(cast.site.outside.taken)
    to = [cast.refused.address, cast.subject.address, cast.team]
    assert cast.site.send(SENDER, to, make("quoted"), options=options, notify=notify)[1][0] == 250
    cast.site.system.settle()
    notices = [t.data for t in cast.site.outside.taken[before:]]
    assert notices
    assert [n for n in notices if b"x-basalt" in n.lower()] == []
