"""Full mailboxes: Dovecot's quota-status is asked at RCPT; real Postfix, Dovecot and basalt-milter."""
import smtplib
import time

import pytest

import messages
import slow
import test_reputation


@pytest.fixture(scope="module", params=[("sdbox", "sqlite"), ("maildir", "mariadb")], ids="+".join)
def quota_system(request, pool):
    storage, db = request.param
    return pool.get(storage, db, ["--quota"])


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def big(lines):
    return messages.make(b"".join(b"%07d\r\n" % i for i in range(lines)))


def make_full(system, account):
    """Two of three: a third one of that size (with a size of its own: answers are remembered) does not fit any more."""
    for _ in range(2):
        system.send("x@out.example", [account.address], big(45_000))
        system.settle()


TOO_MUCH = big(50_000)


def count(system, account):
    with system.imap(account) as mail:
        return mail.select()


def test_a_full_mailbox_is_refused_at_rcpt_and_others_get_the_message(quota_system):
    system = quota_system
    full, other = system.account("private"), system.account("private")
    make_full(system, full)
    refused = system.send("x@out.example", [full.address, other.address], TOO_MUCH)
    assert refused == {full.address: (552, b"5.2.2 Mailbox is full")}
    system.settle()
    assert (count(system, full), count(system, other)) == (2, 1)
    assert "Mailbox is full" not in system.log("dovecot"), "refused before it was taken, not bounced"
    # With an extension it is the same mailbox.
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        system.send("x@out.example", [full.address.replace("@", "+x@")], TOO_MUCH)


def test_behind_an_alias_nothing_bounces_to_who_did_not_send(quota_system):
    """No SPF record says that this sender sent it: his server keeps the mail until all of them can have it."""
    system = quota_system
    full, other = system.account("private"), system.account("plain")
    make_full(system, full)
    alias = f"team-{full.local}@example.org"
    for account in (full, other):
        system.ctl("alias", "add", alias, account.address)
    for sender in ("x@out.example", ""):  # without a sender there is no bounce: what one can't have would be gone
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            system.send(sender, [alias], TOO_MUCH)
        assert refused.value.recipients[alias] == (452, b"4.2.2 A mailbox behind this address is full, try again later")
    assert system.send("x@out.example", [alias], messages.make(b"small\r\n")) == {}
    until(lambda: count(system, other) == 1)
    system.settle()
    assert count(system, full) == 3
    before, *after = system.log("postfix").split(alias)
    assert after and "to=<x@out.example>" not in "".join(after)


def test_room_again_is_seen(quota_system):
    system = quota_system
    account = system.account("private")
    make_full(system, account)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        system.send("x@out.example", [account.address], TOO_MUCH)
    with system.imap(account) as mail:
        mail.select()
        mail.ok("store", "1:*", "+FLAGS", r"(\Deleted)")
        mail.ok("expunge")


    def taken():
        try:
            return system.send("x@out.example", [account.address], TOO_MUCH) == {}
        except smtplib.SMTPRecipientsRefused:
            return False

    until(taken)


def test_without_an_answer_mail_is_taken(own_system):
    system = own_system("--quota", "--set", "milter.quota_status=unix:/nonexistent/quota-status")
    account = system.account("private")
    assert system.send("x@out.example", [account.address], messages.make(b"hello\r\n")) == {}
    assert "not answering" in system.log("milter")
    system.settle()


# --- with a quota-status of our own, and SPF ---

FULL, FOR_NOW = "552 5.2.2 Mailbox is full", "452 4.2.2 Mailbox is full"
TOO_LARGE = "552 5.2.3 Message is too large for this mailbox"


class Place:
    """A site whose quota-status says what we like; answers are remembered, so every test has accounts of its own."""

    def __init__(self):
        self.quota = slow.Quota()
        self.site = test_reputation.Site(quota_status=f"inet:127.0.0.1:{self.quota.port}")

    def team(self, said):
        """(alias, the account of which it is said, another one)"""
        one, other = self.site.account(), self.site.account()
        self.quota.said[one] = said
        alias = f"team-{one}"
        self.site.box.alias(alias, one, other)
        return alias, one, other

    def stop(self):
        self.site.stop()
        self.quota.__exit__()


@pytest.fixture(scope="module")
def place():
    p = Place()
    yield p
    p.stop()


@pytest.mark.parametrize("said,sender,verdict", [  # where a bounce reaches who sent, the others get theirs
    (FULL, "a@pass.example", "reject"), (FULL, "", None), (FULL, "a@neutral.example", None), (FULL, "a@hard.example", None),
    (FOR_NOW, "a@pass.example", "accept"), (FOR_NOW, "", None), (FOR_NOW, "a@neutral.example", None),
    (TOO_LARGE, "a@pass.example", "reject"), (TOO_LARGE, "", None), (TOO_LARGE, "a@neutral.example", None)])
def test_an_alias_of_whom_one_is_full(place, said, sender, verdict):
    alias, one, other = place.team(said)
    if verdict is None:
        code, text = place.site.rcpt(alias, sender)
        assert f"{code} {text}".startswith(said[:9] if said == TOO_LARGE else FOR_NOW[:9]), text
        return
    assert place.site.send(alias, sender, tag=one)[0] == 250
    line = place.site.box.message(message_id=f"<{one}@example.net>")
    accounts = {a["account"]: a for a in line["rcpt"][0]["accounts"]}
    assert (accounts[one]["verdict"], accounts[other]["verdict"]) == (verdict, "accept") and "no_bounce" not in accounts[one]


def test_who_was_refused_alone_is_no_less_full_as_one_of_a_team(place):
    alias, one, _ = place.team(FULL)
    with place.site.client() as c:
        c.mail("a@neutral.example")
        assert c.rcpt(one)[0] == 552
        assert c.rcpt(alias)[0] == 452


def test_our_own_users_get_the_bounce(place):
    alias, _, other = place.team(FULL)
    with place.site.postfix.client(place.site.postfix.submission) as c:
        c.login(other, "anything")
        c.mail(other)
        assert c.rcpt(alias)[0] == 250
