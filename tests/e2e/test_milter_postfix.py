"""basalt-milter behind a real Postfix on the fragments of postfix/; mail is delivered to a small LMTP server here."""
import re
import subprocess
import threading
import time

import pytest

import milter_box
import milter_client

MAIL = b"From: a@example.net\r\nTo: b@example.org\r\nSubject: %s\r\nMessage-ID: <%s@example.net>\r\n\r\nHello %s\r\n"


def mail(tag):
    return MAIL.replace(b"%s", tag.encode())


def fill(b):
    b.domain("example.org")
    for name in ("alice", "bob"):
        b.account(f"{name}@example.org")
    b.account("off@example.org", enabled=False)
    b.alias("team@example.org", "alice@example.org", "bob@example.org")
    b.account("lent@example.org")
    b.alias("lent@example.org", "alice@example.org")
    b.alias("ring1@example.org", "ring2@example.org")
    b.alias("ring2@example.org", "ring1@example.org")
    b.alias("stale@example.org", "gone@example.org")


def start(engine=milter_box.Sqlite, **settings):
    b = milter_box.MilterBox(engine, cache_s=0, cache_unknown_s=0, **settings)
    fill(b)
    b.start()
    return b, milter_box.PostfixBox(b).start()


@pytest.fixture(scope="module", params=["native", "libmilter"])
def pair(request):
    b, p = start(transport=request.param)
    yield b, p
    p.stop()
    b.stop()


# --- recipients ---

@pytest.mark.parametrize("address,code,text", [
    ("alice@example.org", 250, "2.1.5"),
    ("Alice@EXAMPLE.org", 250, "2.1.5"),
    ("alice+lists@example.org", 250, "2.1.5"),
    ("team@example.org", 250, "2.1.5"),
    ("nobody@example.org", 550, "5.1.1"),
    ("stale@example.org", 550, "5.1.1"),
    ("off@example.org", 550, "5.2.1 This mailbox is disabled"),
    ("ring1@example.org", 451, "4.3.0"),
    ("someone@elsewhere.example", 554, "5.7.1"),
])
def test_answer_at_rcpt(pair, address, code, text):
    _, p = pair
    with p.client() as c:
        c.ehlo()
        c.mail("sender@example.net")
        got, words = c.rcpt(address)
        assert got == code and text in words.decode(), words


def test_an_account_is_disabled_and_enabled(pair):
    b, p = pair
    conf = b.dir / "basaltctl.conf"
    conf.write_text(f'ctl {{ database = "{b.db.url}" }}\n')
    for verb, code, text in (("disable", 550, "5.2.1 This mailbox is disabled"), ("enable", 250, "2.1.5")):
        subprocess.run([milter_box.BUILD / "basaltctl", "-c", conf, "account", verb, "bob@example.org"], check=True)
        with p.client() as c:
            c.ehlo()
            c.mail("sender@example.net")
            got, words = c.rcpt("bob@example.org")
            assert got == code and text in words.decode(), words


def test_an_alias_reaches_all_and_the_extension_goes_along(pair):
    b, p = pair
    answers, (code, _) = p.send(["team+x@example.org", "nobody@example.org"], mail("to-team"))
    assert code == 250 and answers["nobody@example.org"][0] == 550
    milter_box.wait_for(lambda: len([1 for _, data in p.sink.mails if b"to-team" in data]) >= 1)
    milter_box.wait_for(lambda: sorted(sum((r for r, d in p.sink.mails if b"to-team" in d), [])) ==
                        ["alice+x@example.org", "bob+x@example.org"])
    line = b.message(message_id="<to-team@example.net>")
    assert line["outcome"] == "accepted"
    verdicts = {r["to"]: (r["verdict"], r.get("by")) for r in line["rcpt"]}
    assert verdicts == {"team+x@example.org": ("accept", None), "nobody@example.org": ("reject", "postfix")}
    assert line["queue_id"] in p.log()


def test_refused_by_milter_alone_is_in_the_log(pair):
    b, p = pair
    answers, data = p.send(["off@example.org"], b"", sender="off-log@example.net")
    assert data is None and answers["off@example.org"][0] == 550
    line = b.message(**{"from": "off-log@example.net"})
    assert line["outcome"] == "rejected" and line["rcpt"][0]["reply"] == "5.2.1" and line["rcpt"][0]["reason"] == "disabled"


def test_no_bounce_is_ever_made_for_an_address_of_ours(pair):
    _, p = pair
    p.send(["nobody@example.org", "stale@example.org", "off@example.org"], b"")
    assert "status=bounced" not in p.log()


# --- headers ---

def headers_of(data):
    head = data.split(b"\r\n\r\n", 1)[0].decode("latin-1")
    return re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")


def test_forged_results_are_gone_and_ours_stands_on_top(pair):
    _, p = pair
    forged = [b"Authentication-Results: mx.example.org; dkim=pass 1",
              b"AUTHENTICATION-RESULTS:mx.example.org; dkim=pass 2",
              b"Authentication-Results:\r\n\tMX.example.org;\r\n\tdkim=pass 3",
              b"Authentication-Results: (x) \"mx.example.org\" 1; dkim=pass 4",
              b"Authentication-Results : mx.example.org; dkim=pass 5",
              b"Authentication-Results: other.example; dkim=pass 6",
              b"X-Basalt-Verdict: pass 7",
              b"Authentication-Results: mx.example.org; dkim=pass 8"]
    for name, order in (("forged-a", forged), ("forged-b", forged[::-1])):
        data = b"\r\n".join(order[:4]) + b"\r\nSubject: x\r\n" + b"\r\n".join(order[4:]) + b"\r\n" + mail(name)
        assert p.send(["alice@example.org"], data)[1][0] == 250
        got = headers_of(p.sink.mail_with(f"Hello {name}")[1])
        assert [h for h in got if re.search(r"pass \d", h)] == ["Authentication-Results: other.example; dkim=pass 6"]
        ours = [i for i, h in enumerate(got) if h.startswith("Authentication-Results: mx.example.org;")]
        assert len(ours) == 1
        received = min(i for i, h in enumerate(got) if h.startswith("Received:"))
        assert ours[0] < received, "above the trace line of the server that added it"


def test_submission_wants_a_login_and_names_it(pair):
    b, p = pair
    with p.client(p.submission) as c:
        c.ehlo()
        c.mail("alice@example.org")
        assert c.rcpt("bob@example.org")[0] == 554
    with p.client(p.submission) as c:
        c.login("alice@example.org", "any")
        c.mail("alice@example.org")
        assert c.rcpt("nobody@example.org")[0] == 550
        assert c.rcpt("bob@example.org")[0] == 250
        assert c.data(b"Authentication-Results: mx.example.org; auth=pass smtp.auth=boss\r\n" + mail("by-login"))[0] == 250
    got = headers_of(p.sink.mail_with("Hello by-login")[1])
    assert [h for h in got if "smtp.auth" in h] == [
        "Authentication-Results: mx.example.org; auth=pass (PLAIN) smtp.auth=alice@example.org"]
    assert b.message(message_id="<by-login@example.net>")["auth"] == "alice@example.org"


@pytest.mark.parametrize("login,sender,code", [
    ("alice@example.org", "alice@example.org", 250),
    ("Alice@example.org", "ALICE+tag@example.org", 250),
    ("alice@example.org", "team@example.org", 250),
    ("alice@example.org", "", 250),
    ("alice@example.org", "bob@example.org", 553),
    ("alice@example.org", "lent@example.org", 553),
    ("lent@example.org", "lent@example.org", 250),
    ("off@example.org", "off@example.org", 553),
    ("alice@example.org", "nobody@example.org", 553),
    ("alice@example.org", "alice@elsewhere.example", 553),
    ("alice@example.org", "alice", 553),
    ("alice@example.org", "ring1@example.org", 451),
])
def test_who_may_send_as_whom(pair, login, sender, code):
    _, p = pair
    with p.client(p.submission) as c:
        c.login(login, "any")
        c.mail(sender)
        got, words = c.rcpt("bob@example.org")
        assert got == code, words
        assert code != 553 or b"not owned by user" in words


def test_the_inbound_port_offers_no_login(pair):
    _, p = pair
    with p.client() as c:
        c.ehlo()
        assert not c.has_extn("auth")


def test_the_rest_of_a_message_is_untouched(pair):
    _, p = pair
    data = (b"Subject:  two blanks\r\nX-Fold: a\r\n   b\r\n\tc\r\nX-Empty:\r\nX-8bit: \xfc\xe4\r\nMessage-ID: <rest@x>\r\n"
            b"\r\n..dots\r\n\xff\x00 odd \r\n")
    assert p.send(["alice@example.org"], data)[1][0] == 250
    got = p.sink.mail_with("<rest@x>")[1]
    assert got.endswith(data[data.index(b"\r\n\r\n..dots"):].replace(b"..dots", b"..dots"))
    for part in (b"Subject:  two blanks\r\n", b"X-Fold: a\r\n   b\r\n\tc\r\n", b"X-Empty:\r\n", b"X-8bit: \xfc\xe4\r\n"):
        assert part in got


# --- the milter dies ---

def test_killed_in_mid_message_is_451_and_it_recovers(pair):
    b, p = pair
    with p.client() as c:
        c.ehlo()
        c.mail("killed@example.net")
        assert c.rcpt("alice@example.org")[0] == 250
        assert c.docmd("DATA")[0] == 354
        c.send(b"Subject: killed\r\n\r\nkilled in mid-message\r\n")
        b.kill()
        c.send(b"\r\n.\r\n")
        code, text = c.getreply()
        assert code == 451, text
    # Until it is back nobody is let in, and nothing hangs.
    before = time.monotonic()
    with p.client() as c:
        c.ehlo()
        assert c.mail("while-dead@example.net")[0] == 451
    assert time.monotonic() - before < 10
    b.start()
    assert p.send(["alice@example.org"], mail("after-kill"))[1][0] == 250
    p.sink.mail_with("Hello after-kill")
    assert not [1 for _, d in p.sink.mails if b"killed in mid-message" in d]


# --- the database hangs ---

def slowest(p, n, tag, rcpt="alice@example.org"):
    """n clients at once; ([their codes at RCPT], seconds of the slowest)."""
    codes, times = [], []

    def one(i):
        before = time.monotonic()
        answers, _ = p.send([rcpt], mail(f"{tag}{i}"), sender=f"{tag}{i}@example.net")
        times.append(time.monotonic() - before)
        codes.append(answers[rcpt][0])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert len(codes) == n
    return codes, max(times)


def straight_to_the_milter(b, n):
    """The same without Postfix, whose own look-ups fail first: all of libmilter's threads in a look-up that hangs."""
    codes, before = [], time.monotonic()

    def one(i):
        c = milter_client.Milter(b.socket, timeout=60)
        c.connect()
        c.helo()
        c.mail()
        code, text = c.rcpt(f"<straight{i}@example.org>")
        codes.append(code + text[:9])
        c.quit()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert len(codes) == n
    return codes, time.monotonic() - before


def test_a_hung_database_defers_within_its_deadline_and_hangs_nobody():
    b, p = start(milter_box.Mariadb)
    try:
        assert p.send(["team@example.org"], mail("before-hang"))[1][0] == 250
        b.db.freeze()
        codes, seconds = slowest(p, 12, "hung")
        assert set(codes) == {451} and seconds < 10, (codes, seconds)
        # It goes on like this: no thread is used up.
        for i in range(3):
            codes, seconds = slowest(p, 4, f"still{i}x")
            assert set(codes) == {451} and seconds < 10, (codes, seconds)
            time.sleep(1)
        assert p.greets()
        codes, seconds = straight_to_the_milter(b, 8)
        assert set(codes) == {b"y451 4.3.0"} and seconds < 10, (codes, seconds)
        b.db.thaw()
        milter_box.wait_for(lambda: p.send(["alice@example.org"], mail("thawed"))[0]["alice@example.org"][0] == 250, 15, 0.5)
        p.sink.mail_with("Hello thawed")
        assert "policy database: answering again" in b.log.read_text()
        p.sink.mail_with("Hello before-hang")
    finally:
        p.stop()
        b.stop()


def test_a_dead_database_defers_at_once_and_comes_back():
    b, p = start(milter_box.Mariadb)
    try:
        assert p.send(["alice@example.org"], mail("still-up"))[1][0] == 250
        b.db.stop_server()
        before = time.monotonic()
        for _ in range(3):
            assert p.send(["alice@example.org"], mail("dead"), "dead@example.net")[0]["alice@example.org"][0] == 451
        assert time.monotonic() - before < 8
        assert b.message(**{"from": "dead@example.net"})["outcome"] == "deferred"
        b.db.start_server()
        # The same sender and recipient: smtpd would remember a look-up of the domain that failed.
        milter_box.wait_for(lambda: p.send(["alice@example.org"], mail("alive"), "dead@example.net")[1] is not None, 15, 0.5)
    finally:
        p.stop()
        b.stop()


def test_accepted_mail_waits_in_the_queue_while_the_database_hangs():
    """Aliases are expanded after DATA too: a hang there must defer, not bounce or lose."""
    b, p = start(milter_box.Mariadb)
    try:
        with p.client() as c:
            c.ehlo()
            c.mail("sender@example.net")
            assert c.rcpt("team@example.org")[0] == 250
            b.db.freeze()
            code, _ = c.data(mail("in-queue"))
        time.sleep(3)
        b.db.thaw()
        if code == 250:
            milter_box.wait_for(lambda: {r for rs, d in p.sink.mails if b"Hello in-queue" in d for r in rs} ==
                                {"alice@example.org", "bob@example.org"}, 40)
        else:
            assert code == 451
        assert "status=bounced" not in p.log()
    finally:
        p.stop()
        b.stop()
