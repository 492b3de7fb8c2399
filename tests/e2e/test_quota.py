"""Full mailboxes: Dovecot's quota-status is asked at RCPT; real Postfix, Dovecot and basalt-milter."""
import smtplib
import time

import pytest

import messages


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


def test_behind_an_alias_the_others_get_theirs(quota_system):
    system = quota_system
    full, other = system.account("private"), system.account("plain")
    make_full(system, full)
    alias = f"team-{full.local}@example.org"
    for account in (full, other):
        system.ctl("alias", "add", alias, account.address)
    assert system.send("x@out.example", [alias], TOO_MUCH) == {}
    until(lambda: count(system, other) == 1)
    assert count(system, full) == 2


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
