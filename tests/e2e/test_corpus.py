"""Mail of the world through all of it, Postfix, milter, proxy, plugin, and out of IMAP again, beside a stock Postfix and Dovecot
that get the same: nothing differs but Authentication-Results and notes on top."""
import random
import re

import pytest

import clients
import corpus
import systems
import verdicts

SAMPLE = 200
SENDER = "sender@out.example"
OURS = {b"return-path", b"delivered-to", b"received", b"authentication-results", b"x-basalt-note"}
POSTFIX = re.compile(rb"Received: from [^\r]*\r\n(?:\t[^\r]*\r\n)*?\tby mail\.example\.org \(Postfix\)[^\r]*\r\n(?:\t[^\r]*\r\n)+")


RESULTS = re.compile(rb"(?mi)^authentication-results[ \t]*:.*\r\n(?:[ \t].*\r\n)*")


@pytest.fixture(scope="module")
def stock():
    s = systems.System(["--plain"]).start()
    yield s
    s.remove()


def as_it_came(mail):
    """Without what the servers put on top, up to Postfix's own Received field, which Postfix writes first."""
    end = POSTFIX.search(mail).end()
    top = [name.lower() for name in re.findall(rb"(?m)^([!-9;-~]+):", mail[:end])]
    assert set(top) <= OURS and top.count(b"authentication-results") <= 1, mail[:end]
    return mail[end:]


def without_results(mail):
    """(the rest, its Authentication-Results): those that claim to be ours, or can't be read, are taken out."""
    head, blank, body = mail.partition(b"\r\n\r\n")
    return RESULTS.sub(b"", head + b"\r\n") + blank + body, RESULTS.findall(head + b"\r\n")


def send(system, recipients, mails):
    """The last reply's code for each mail: 250, or what the server does not take."""
    codes = []
    with clients.smtp(system.port("smtp")) as c:
        c.ehlo()
        for mail in mails:
            c.mail(SENDER, ["BODY=8BITMIME"])
            assert all(c.rcpt(r.address)[0] == 250 for r in recipients)
            codes.append(c.data(mail)[0])
            if codes[-1] != 250:
                c.rset()
    return codes


def stored(system, account):
    """Of all folders: a From field that can't be read is sorted out."""
    return sorted(without_results(as_it_came(mail)) for mails in verdicts.folders(system, account).values() for mail in mails)


def same_on_both(system, stock, mails):
    """To one sealed account and one of which the milter has something to say to the proxy, in one transaction."""
    sealed, told, reference = system.account("private"), system.account("plain"), stock.account()
    system.ctl("pref", "set", "--account", told.address, "plus_folder", "yes")
    assert send(system, [sealed, told], mails) == send(stock, [reference], mails)
    for s in (system, stock):
        s.settle(240)
    want = stored(stock, reference)
    assert len(want) > len(mails) * 0.97, "stock servers take it"
    for account in (sealed, told):
        got = stored(system, account)
        assert len(got) == len(want)
        for (text, results), (stock_text, stock_results) in zip(got, want):
            assert text == stock_text and set(results) <= set(stock_results)
    assert set(system.suites(sealed)) == {systems.SUITE_SEALED}
    assert system.logged("lmtp-proxy", f'"to":"{told.address}"')[-1].count('"verdict":"ok"') == 1


@pytest.mark.limit(560)
def test_a_sample_of_the_mail_of_the_world(system, stock):
    same_on_both(system, stock, random.Random(11).sample(corpus.load(), SAMPLE))


@pytest.mark.long
@pytest.mark.limit(7200)
def test_all_mail_of_the_world(system, stock):
    everything = corpus.load()
    assert len(everything) == 3250
    for at in range(0, len(everything), 2 * SAMPLE):
        same_on_both(system, stock, everything[at:at + 2 * SAMPLE])
