"""basalt-lmtp between a real Postfix and a real Dovecot: one message, a verdict for each recipient."""
import os
import re
import secrets
import time

import pytest

import clients
import messages
import smtpsink
import verdicts

SENDER = "sender@out.example"


def make(tag, subject="Hello there", header=()):
    return messages.make(f"Body of {tag}\r\n.dot\r\n..dots\r\n".encode(), subject=subject, ident=tag, header=header)


def tag():
    return f"t{secrets.token_hex(6)}"


def proxy(system):
    return clients.Lmtp(system.port("lmtp_proxy"))


def deliver(system, recipients, message, sender=SENDER):
    """By LMTP to the proxy: {recipient: [(code, text)]}"""
    with proxy(system) as c:
        return c.deliver(sender, recipients, message)


def one(system, account):
    """The only message of an account: (folder, bytes)"""
    found = verdicts.folders(system, account)
    assert sum(map(len, found.values())) == 1, {k: len(v) for k, v in found.items()}
    (folder, (message,)), = found.items()
    assert b"x-basalt-verdict" not in message.lower()
    return folder, message


def fields(message, name):
    return re.findall(rb"(?im)^" + name.encode() + rb":(?:.*\r\n(?:[ \t].*\r\n)*)", verdicts.header_of(message))


# --- twelve recipients, twelve outcomes ---

def test_twelve_recipients_have_twelve_outcomes(system):
    name = tag()
    people = [system.account("private" if i % 2 else "plain") for i in range(12)]
    address = [p.address for p in people]
    outcomes = [
        dict(), dict(folder="Junk"), dict(folder="Lists/Basalt dev"), dict(label="[SPAM?]", subject=True),
        dict(label="\u00dcbel", subject=True), dict(label="spam"), dict(note="score 7.1 of 5"),
        dict(folder="Junk", label="[SPAM]", subject=True, note="score 9"), "drop", "reject", dict(detail=True),
    ]
    header = verdicts.seal(system, dict(zip(address, outcomes)))  # the twelfth is not listed
    to = address[:10] + [address[10].replace("@", "+Shop@"), address[11].replace("@", "+Shop@")]
    sender = system.account("plain")
    verdicts.inject(system, sender.address, to, header + make(name))
    system.settle()
    got = [verdicts.folders(system, p) for p in people]
    where = [list(g) for g in got]
    assert where == [["INBOX"], ["Junk"], ["Lists/Basalt dev"], ["INBOX"], ["INBOX"], ["INBOX"], ["INBOX"], ["Junk"], [], [],
                     ["Shop"], ["INBOX"]]
    mails = [next(iter(g.values()))[0] if g else b"" for g in got]
    assert all(len(next(iter(g.values()))) == 1 for g in got if g)
    assert not any(b"x-basalt-verdict" in m.lower() for m in mails)
    subjects = [fields(m, "Subject") for m in mails]
    plain = [b"Subject: Hello there\r\n"]
    coded = b"Subject: =?UTF-8?B?w5xiZWw=?= Hello there\r\n"
    assert subjects == [plain, plain, plain, [b"Subject: [SPAM?] Hello there\r\n"], [coded], plain, plain,
                        [b"Subject: [SPAM] Hello there\r\n"], [], [], plain, plain]
    assert [fields(m, "X-Basalt-Label") for m in mails] == [[]] * 5 + [[b"X-Basalt-Label: spam\r\n"]] + [[]] * 6
    notes = [fields(m, "X-Basalt-Note") for m in mails]
    assert notes[6] == [b"X-Basalt-Note: score 7.1 of 5\r\n"] and notes[7] == [b"X-Basalt-Note: score 9\r\n"]
    assert sum(map(len, notes)) == 2
    for m in mails:
        assert not m or m.endswith(f"Body of {name}\r\n.dot\r\n..dots\r\n".encode())
    # The sender has one bounce, about the one who refused, and it quotes no header of ours.
    folder, bounce = one(system, sender)
    assert b"550 5.7.1 Refused by the account" in bounce and bounce.count(b"Final-Recipient") == 1
    assert address[9].encode() in bounce and b"x-basalt" not in bounce.lower()
    log = [verdicts.logged(system, t)[0] for t in to]
    assert [e["done"] for e in log] == ["deliver"] * 8 + ["drop", "reject", "deliver", "plain"]
    assert all(e["verdict"] == "ok" and e["copies"] == 6 for e in log)


def test_the_queue_id_stands_in_the_log(system):
    a = system.account()
    system.send(SENDER, [a.address], make(tag()))
    system.settle()
    entry, = verdicts.logged(system, a.address)
    assert re.search(rf"postfix/lmtp.*{entry['queue_id']}: to=<{a.address}>", system.log("postfix"))


# --- who is meant ---

def test_an_alias_is_matched_by_its_members_and_by_itself(system):
    x, y, name = system.account(), system.account(), tag()
    team = f"team{secrets.token_hex(3)}@example.org"
    for a in (x, y):
        system.ctl("alias", "add", team, a.address)
    header = verdicts.seal(system, {team: dict(folder="ByTeam"), y.address: dict(folder="ByName")})
    verdicts.inject(system, SENDER, [team], header + make(name))
    system.settle()
    assert one(system, x)[0] == "ByTeam" and one(system, y)[0] == "ByName"
    assert verdicts.logged(system, x.address)[0]["orcpt"] == team


def test_who_is_not_listed_gets_it_as_it_is(system):
    listed, bcc = system.account(), system.account()
    header = verdicts.seal(system, {listed.address: "drop"})
    before = verdicts.counters(system)["unlisted"]
    verdicts.inject(system, SENDER, [listed.address, bcc.address], header + make(tag()))
    system.settle()
    assert verdicts.folders(system, listed) == {} and one(system, bcc)[0] == "INBOX"
    assert verdicts.logged(system, bcc.address)[0]["done"] == "plain"
    assert verdicts.counters(system)["unlisted"] == before + 1


def test_detail_reaches_the_mailbox_only_with_a_verdict(system):
    for parts, folder in (({}, "INBOX"), (dict(detail=True), "Shop"), (dict(), "INBOX"), (dict(detail=True, folder="Junk"), "Junk")):
        a = system.account()
        header = verdicts.seal(system, {a.address: parts}) if folder != "INBOX" or parts else b""
        assert deliver(system, [a.address.replace("@", "+Shop@")], header + make(tag()))
        assert one(system, a)[0] == folder


@pytest.mark.parametrize("folder", ["a.b", "it's (1)", "[x]", "a@b", "x, y; z", "x.", "a+b", "a&b", "a/b/c d", "n" * 128])
def test_folder_names_survive(system, folder):
    a = system.account()
    (reply,), = deliver(system, [a.address], verdicts.seal(system, {a.address: dict(folder=folder)}) + make(tag())).values()
    assert reply[0] == 250 and one(system, a)[0] == folder


# --- headers that do not count ---

def forge(header):
    at = len(header) // 2
    return header[:at] + (b"A" if header[at:at + 1] != b"A" else b"B") + header[at + 1:]


@pytest.mark.parametrize("kind", ["absent", "expired", "forged", "broken", "empty", "foreign", "below"])
def test_what_does_not_open_is_taken_off_and_delivered(system, tmp_path, kind):
    a, drop = system.account(), "drop"
    header = verdicts.seal(system, {a.address: drop}, ago=7 * 86400 if kind == "expired" else 0)
    if kind == "absent":
        header = b""
    elif kind == "forged":
        header = forge(header)
    elif kind == "broken":
        header = header[:200] + b"\r\n"
    elif kind == "empty":
        header = b"X-Basalt-Verdict:\r\n"
    elif kind == "foreign":
        other = tmp_path / "keys"
        system.ctl("verdict-key", "new", str(other))
        header = verdicts.seal(system, {a.address: drop}, keys=other)
    elif kind == "below":
        header = b"X-Other: 1\r\n" + header
    before = verdicts.counters(system)
    (reply,), = deliver(system, [a.address], header + make(tag())).values()
    assert reply[0] == 250 and one(system, a)[0] == "INBOX"
    entry, = verdicts.logged(system, a.address)
    assert entry["done"] == "plain"
    words = {"absent": "none", "expired": "expired", "forged": "forged", "broken": "malformed", "empty": "malformed",
             "foreign": "unknown key", "below": "none"}
    assert entry["verdict"] == words[kind] or (kind == "broken" and entry["verdict"] == "forged")
    number = {"absent": "verdict_absent", "below": "verdict_absent", "expired": "verdict_expired",
              "foreign": "verdict_unknown_key"}.get(kind, "verdict_bad")
    assert verdicts.counters(system)[number] == before[number] + 1


def test_all_fields_of_the_name_go_and_the_first_counts(system):
    a = system.account()
    first = verdicts.seal(system, {a.address: dict(folder="First")})
    second = verdicts.seal(system, {a.address: dict(folder="Second")})
    odd = b"x-BASALT-verdict :\r\n\tfolded\r\n pass\r\n"
    mail = b"Received: from x\r\n\tby y\r\n" + first + odd + make(tag(), header=[second.decode().rstrip(), "X-Kept: 1"])
    (reply,), = deliver(system, [a.address], mail).values()
    assert reply[0] == 250
    folder, message = one(system, a)
    assert folder == "First" and b"pass" not in message and b"X-Kept: 1\r\n" in message
    assert message.endswith(mail.replace(first + odd, b"").replace(second, b""))


# --- subjects ---

@pytest.mark.parametrize("before,after", [
    (b"Subject: Hello\r\n", b"Subject: [SPAM] Hello\r\n"),
    (b"SUBJECT:Hello\r\n", b"SUBJECT: [SPAM] Hello\r\n"),
    (b"Subject:\r\n Hello\r\n\tthere\r\n", b"Subject: [SPAM]\r\n Hello\r\n\tthere\r\n"),
    (b"Subject: =?utf-8?q?h=C3=A4?=\r\n =?utf-8?q?llo?=\r\n", b"Subject: [SPAM] =?utf-8?q?h=C3=A4?=\r\n =?utf-8?q?llo?=\r\n"),
    (b"Subject: [SPAM] Hello\r\n", b"Subject: [SPAM] Hello\r\n"),
    (b"Subject: Re: [SPAM] Hello\r\n", b"Subject: [SPAM] Re: [SPAM] Hello\r\n"),
    (b"Subject: a\r\nSubject: b\r\n", b"Subject: [SPAM] a\r\nSubject: b\r\n"),
    (b"Subject:\r\n", b"Subject: [SPAM]\r\n"),
    (b"", b"Subject: [SPAM]\r\n"),
    (b"Subject: \xff\xfe raw\r\n", b"Subject: [SPAM] \xff\xfe raw\r\n"),
])
def test_a_label_in_the_subject_changes_nothing_else(system, before, after):
    a = system.account()
    front, back = b"From: x@out.example\r\n" + b"X-A: 1\r\n", b"\r\nbody\r\n"
    header = verdicts.seal(system, {a.address: dict(label="[SPAM]", subject=True)})
    (reply,), = deliver(system, [a.address], header + front + before + back).values()
    assert reply[0] == 250
    assert one(system, a)[1].endswith(front + after + back)


# --- the backend fails ---

def test_a_backend_that_is_down_defers_its_own_recipients_only(own_system):
    s = own_system()
    ok, drop, no = (s.account().address for _ in range(3))
    s.stop("dovecot")
    replies = deliver(s, [ok, drop, no], verdicts.seal(s, {drop: "drop", no: "reject"}) + make(tag()))
    assert [replies[r][0][0] for r in (ok, drop, no)] == [451, 250, 550]
    only = deliver(s, [drop, no], verdicts.seal(s, {drop: "drop", no: "reject"}) + make(tag()))
    assert [only[r][0][0] for r in (drop, no)] == [250, 550]


def test_the_backends_own_answer_comes_through(system):
    ok, label = system.account(), system.account()
    header = verdicts.seal(system, {label.address: dict(label="x"), "nobody@example.org": dict(label="y")})
    replies = deliver(system, [ok.address, "nobody@example.org", label.address], header + make(tag()))
    assert replies[ok.address][0][0] == 250 and "Saved" in replies[ok.address][0][1]
    assert replies[label.address][0][0] == 250
    with system.lmtp() as dovecot:
        (own,), = dovecot.deliver(SENDER, ["nobody@example.org"], b"x\r\n").values()
    assert own[0] >= 400 and replies["nobody@example.org"] == [own]


def test_too_many_copies_and_recipients_are_put_off(own_system):
    s = own_system("--set", "lmtp.copies_max=2", "--set", "lmtp.recipients_max=3")
    people = [s.account() for _ in range(4)]
    to = [p.address for p in people]
    header = verdicts.seal(s, {a: dict(label=f"l{i}") for i, a in enumerate(to)})
    replies = deliver(s, to, header + make(tag()))
    assert [replies[a][0][0] for a in to] == [250, 250, 452, 452]
    verdicts.inject(s, SENDER, to, header + make(tag()))
    s.settle()
    assert [sum(map(len, verdicts.folders(s, p).values())) for p in people] == [2, 2, 1, 1]


# --- keys ---

def test_keys_rotate_with_mail_in_the_queue(own_system):
    s = own_system()
    a, b = s.account(), s.account()
    s.stop("lmtp-proxy")
    old = verdicts.seal(s, {a.address: dict(folder="Old"), b.address: dict(folder="Old")})
    verdicts.inject(s, SENDER, [a.address], old + make(tag()))
    s.ctl("verdict-key", "rotate", "--start-in", "0", s.env["VERDICT_KEYS"])
    new = verdicts.seal(s, {a.address: dict(folder="New"), b.address: dict(folder="New")})
    assert old[18:36] != new[18:36], "another key id"
    verdicts.inject(s, SENDER, [b.address], new + make(tag()))
    s.start()
    s.flush()
    s.settle()
    assert one(s, a)[0] == "Old" and one(s, b)[0] == "New"
    # While it runs, too.
    s.ctl("verdict-key", "rotate", "--start-in", "0", s.env["VERDICT_KEYS"])
    c = s.account()
    newest = verdicts.seal(s, {c.address: dict(folder="Newest")})
    end = time.monotonic() + 20
    while deliver(s, [c.address], newest + make(tag())) and "Newest" not in verdicts.folders(s, c):
        assert time.monotonic() < end
    assert "lmtp.key_file" not in s.log("lmtp-proxy")


def test_postsuper_r_changes_nothing(own_system):
    s = own_system()
    a, sender = s.account(), s.account("plain")
    s.stop("lmtp-proxy")
    verdicts.inject(s, sender.address, [a.address], verdicts.seal(s, {a.address: dict(folder="Junk")}) + make(tag()))
    verdicts.inject(s, sender.address, [a.address], verdicts.seal(s, {a.address: "reject"}) + make(tag()))
    s.logged("postfix", "status=deferred", count=2)
    s.postfix("postsuper", "-r", "ALL")
    s.start()
    s.flush()
    s.settle()
    assert one(s, a)[0] == "Junk"
    assert b"550 5.7.1" in one(s, sender)[1]


# --- leaving the house ---

def test_nothing_of_ours_leaves_by_an_alias(own_system):
    with smtpsink.SmtpSink() as sink:
        s = own_system("--set", f"postfix.default_transport=smtp:[127.0.0.1]:{sink.port}")
        a = s.account()
        team = "out@example.org"
        for target in (a.address, "friend@elsewhere.example"):
            s.ctl("alias", "add", team, target)
        header = verdicts.seal(s, {team: dict(folder="Junk", note="secret"), a.address: dict(folder="Junk")})
        nested = (b"Content-Type: message/rfc822\r\n\r\n" + header + b"Subject: inner\r\n\r\nx\r\n")
        verdicts.inject(s, SENDER, [team], header + b"From: a@out.example\r\nX-Basalt-Note: n\r\n" + nested)
        s.settle()
        (mail,) = sink.mails
        assert b"x-basalt" not in mail.lower() and b"Subject: inner" in mail
        assert list(verdicts.folders(s, a)) == ["Junk"]


# --- the end, and a bad start ---

def test_it_ends_after_the_message_under_way(own_system):
    s = own_system()
    a = s.account()
    with proxy(s) as c, proxy(s) as idle:
        for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{a.address}>", "DATA"):
            c.command(line)
        c.s.sendall(b"Subject: x\r\n\r\nhalf")
        s.kill("lmtp-proxy", sig=15)
        assert idle.reply()[0] == 421, "who has no message under way goes at once"
        c.s.sendall(b" and half\r\n.\r\n")
        assert c.reply()[0] == 250
        assert c.reply()[0] in (421, None)
    s.start()
    assert one(s, a)[1].endswith(b"half and half\r\n")


def test_a_killed_worker_comes_back(own_system):
    s = own_system()
    a = s.account()
    worker = max(s.pids("lmtp-proxy"))
    os.kill(worker, 9)
    s.logged("lmtp-proxy", "the worker was killed by signal 9")
    assert deliver(s, [a.address], make(tag()))[a.address][0][0] == 250


def test_the_worker_is_shut_in(system):
    for pid in system.pids("lmtp-proxy"):
        status = open(f"/proc/{pid}/status").read()
        assert re.search(r"(?m)^Uid:\t62008\t62008\t62008\t62008$", status) and "NoNewPrivs:\t1" in status
        assert re.search(r"(?m)^Groups:\t62009 $", status) and re.search(r"(?m)^CapEff:\t0+$", status)
    assert "Seccomp:\t2" in open(f"/proc/{max(system.pids('lmtp-proxy'))}/status").read()
