"""The way of real mail: in by SMTP, LMTP and APPEND, sealed on disk, out by IMAP and POP3 byte for byte.

Told on sdbox + SQLite, maildir + MariaDB and mdbox + MariaDB. A plain account stands beside the private one: what stock
Dovecot storage gives back is the measure, and its file proves that the search for plaintext can find some.
"""
import hashlib
import random
import re

import pytest

import clients
import messages
import systems

STRANGER = "stranger@out.example"
MIB = 1 << 20


def pair(system):
    return system.account("private"), system.account("plain")


def sole(mail, folder="INBOX"):
    """The UID of the only message in a folder."""
    assert mail.select(folder) == 1
    return mail.uids()[0]


def original(got, sent):
    """got without what delivery put in front; fails unless the rest is what was sent, to the byte."""
    assert got.endswith(sent), (got[-300:], sent[-300:])
    front = got[:len(got) - len(sent)]
    for line in re.sub(rb"\r\n[ \t]", b" ", front).splitlines():
        assert re.match(rb"(Return-Path|Delivered-To|Received|Authentication-Results|X-[\w-]+): ", line), front
    return sent


def assert_sealed(system, account, sent, count=1):
    """Every message of a private account is sealed, and no line of it stands in a mail file."""
    suites = system.suites(account)
    assert len(suites) >= count and set(suites) == {systems.SUITE_SEALED}, suites
    raw = b"".join(f.read_bytes() for f in system.mail_files(account))
    for line in sent.splitlines():
        if len(line) >= 20:
            assert line[:60] not in raw, line


def wire(message):
    """As SMTP carries it and IMAP must show it: every line ends with CRLF."""
    return re.sub(rb"\r?\n", b"\r\n", message)


@pytest.mark.parametrize("sample", messages.samples(), ids=lambda p: p.stem)
def test_sample_by_smtp(every_system, sample):
    system, sent = every_system, sample.read_bytes()
    private, plain = pair(system)
    assert system.send(STRANGER, [private.address, plain.address], sent) == {}
    system.settle()
    for account in (private, plain):
        with system.imap(account) as mail:
            uid = sole(mail)
            got = mail.part(uid)
            original(got, sent.replace(b"\0", b"\x80"))
            assert mail.size(uid) == len(got)
            header, text = mail.part(uid, "HEADER"), mail.part(uid, "TEXT")
            assert header + text == got
            assert header.endswith(b"\r\n\r\n") or b"\r\n\r\n" not in sent
        pop = system.pop3(account)
        assert clients.retr(pop, 1).replace(b"\0", b"\x80") == got
        pop.quit()
    assert_sealed(system, private, sent)


def test_structure_is_what_a_plain_account_shows(every_system):
    system = every_system
    accounts = pair(system)
    with system.lmtp() as lmtp:
        for sample in messages.samples():
            for replies in lmtp.deliver(STRANGER, [a.address for a in accounts], sample.read_bytes()).values():
                assert [code for code, _ in replies] == [250]
    seen = []
    for account in accounts:
        with system.imap(account) as mail:
            assert mail.select() == len(messages.samples())
            seen.append([mail.fetch(uid, "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT REFERENCES)])")
                         for uid in mail.uids()])
    assert seen[0] == seen[1]


def test_partial_fetches(every_system):
    system, sent = every_system, messages.make(messages.text(400_000, seed=1))
    account = system.account("private")
    assert system.send(STRANGER, [account.address], sent) == {}
    system.settle()
    rng = random.Random(2)
    with system.imap(account) as mail:
        uid = sole(mail)
        whole = {s: mail.part(uid, s) for s in ("", "HEADER", "TEXT")}
        original(whole[""], sent)
        for n in range(60):
            section = rng.choice(["", "", "TEXT", "HEADER"])
            size = len(whole[section])
            offset = rng.choice([rng.randrange(size), 65536 * rng.randrange(7), size - 1, size, size + 9])
            length = rng.choice([1, 7, 1000, 65536, 70000, 200_000])
            got = mail.part(uid, f"{section}<{offset}.{length}>")
            assert got == whole[section][offset:offset + length], (section, offset, length)


def test_append_copy_move(every_system):
    system = every_system
    account = system.account("private")
    sent = [messages.make(messages.text(n, seed=n), subject=f"appended {n}") for n in (0, 900, 80_000)]
    with system.imap(account) as mail:
        for folder in ("Archive", "Moved"):
            mail.ok("create", folder)
        mail.select()
        uids = [mail.append(m) for m in sent]
        mail.select()
        assert [mail.part(u) for u in uids] == sent
        copies = [mail.copy(u, "Archive") for u in uids]
        moved = [mail.copy(u, "Moved", verb="MOVE") for u in uids]
        assert mail.uids() == []
        mail.select("Archive")
        assert [mail.part(u) for u in copies] == sent
        back = mail.copy(copies[1], "INBOX")
        mail.select("Moved")
        assert [mail.part(u) for u in moved] == sent
        mail.select()
        assert mail.part(back) == sent[1]
    with system.imap(account) as mail:
        mail.select("Moved")
        assert [mail.part(u) for u in mail.uids()] == sent
    assert_sealed(system, account, b"".join(sent), count=3)


@pytest.mark.parametrize("length", [0, 1, 2, 65534, 65535, 65536, 65537, 131072, MIB, MIB + 1])
def test_body_lengths(every_system, length):
    """Around the ends of chunks, and where whole messages are checked before the first byte (1 MiB)."""
    system = every_system
    sent = messages.make(b"x" * length if length < 3 else messages.text(length, seed=length))
    private, plain = pair(system)
    with system.lmtp() as lmtp:
        for replies in lmtp.deliver(STRANGER, [private.address, plain.address], sent).values():
            assert [code for code, _ in replies] == [250]
    for account in (private, plain):
        with system.imap(account) as mail:
            got = mail.part(sole(mail))
            original(got, clients.dot_stuffed(sent) if length in (1, 2) else sent)
    assert_sealed(system, private, sent)


@pytest.mark.limit(300)
def test_forty_megabytes(every_system):
    """By SMTP to two accounts; the private one reads it whole, by parts and by POP3."""
    system, sent = every_system, messages.make(messages.noise(40 * MIB, seed=40))
    private, plain = pair(system)
    assert system.send(STRANGER, [private.address, plain.address], sent) == {}
    system.settle(120)
    with system.imap(private) as mail:
        uid = sole(mail)
        got = mail.part(uid)
        original(got, sent)
        assert mail.part(uid, f"<{30 * MIB + 17}.5000>") == got[30 * MIB + 17:][:5000]
        assert mail.append(sent) > uid
        assert hashlib.sha256(mail.part(uid + 1)).digest() == hashlib.sha256(sent).digest()
    pop = system.pop3(private)
    assert clients.retr(pop, 1) == got
    pop.quit()
    with system.imap(plain) as mail:
        original(mail.part(sole(mail)), sent)
    assert system.suites(private) == [systems.SUITE_SEALED] * 2


ODD = {
    "bare-lf": messages.make(b"one\ntwo\n\nthree\nfour, and the end of the message\n"),
    "bare-lf-header": b"From: a@out.example\nSubject: only bare line feeds\nMessage-ID: <lf@out.example>\n\nbody of it\n",
    "bare-cr": messages.make(b"one\rtwo\r\rthree\r\nthe last line of this message\r\n"),
    "nul": messages.make(b"before\0after\r\n\0\0\0\r\n" + b"\0" * 70000 + b"\r\nthe last line of this message\r\n"),
    "eight-bit": messages.make(bytes(range(128, 256)) * 700 + b"\r\n"),
    "no-final-newline": messages.make(b"the last line has no line end at all"),
    "one-line-of-a-megabyte": messages.make(b"v" * MIB + b"\r\n"),
    "header-of-300k": messages.make(b"small body, long header\r\n", header=[f"X-Long-{i}: {'h' * 900}" for i in range(330)]),
    "looks-sealed": b"\x89BSL\r\n\x1a\n\x01\x01\x00\x00 this begins as a sealed message does\r\n\r\nand is none of them\r\n",
    "no-header": b"\r\nonly a body, its header is empty\r\n",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_bytes(every_system, name):
    """What IMAP and POP3 show of it is what they show in a plain account."""
    system, sent = every_system, ODD[name]
    private, plain = pair(system)
    with system.lmtp() as lmtp:
        for replies in lmtp.deliver(STRANGER, [private.address, plain.address], sent).values():
            assert [code for code, _ in replies] == [250]
    shown = []
    for account in (private, plain):
        with system.imap(account) as mail:
            uid = sole(mail)
            shown.append([mail.part(uid), mail.part(uid, "TEXT"), mail.part(uid, "<70.2000>"), mail.size(uid),
                          mail.fetch(uid, "(BODYSTRUCTURE)")])
        pop = system.pop3(account)
        shown[-1].append(clients.retr(pop, 1))
        pop.quit()
    own = [[v.replace(a.local.encode(), b"LOCAL") if isinstance(v, bytes) else v for v in values[:2]]
           for a, values in zip((private, plain), shown)]
    assert same_but_for_delivery(own[0][0]) == same_but_for_delivery(own[1][0])
    assert shown[0][1] == shown[1][1] and shown[0][4] == shown[1][4]
    for values in shown:
        assert values[2] == values[0][70:2070]
        assert values[3] == len(values[0])
        assert values[5].replace(b"\0", b"\x80") == values[0]
    assert set(system.suites(private)) == {systems.SUITE_SEALED}


def same_but_for_delivery(text):
    """Without the trace that delivery put in front: it names recipient and session."""
    return re.sub(rb"\A(?:(?:Return-Path|Delivered-To|Received): .*\r\n(?:[ \t].*\r\n)*)+", b"", text)


@pytest.mark.parametrize("verb", ["LMTP", "APPEND"])
def test_five_hundred_parts(every_system, verb):
    system, sent = every_system, messages.many_parts(500)
    account = system.account("private")
    with system.imap(account) as mail:
        mail.select()
        if verb == "APPEND":
            mail.append(sent)
        else:
            with system.lmtp() as lmtp:
                assert lmtp.deliver(STRANGER, [account.address], sent)[account.address][0][0] == 250
        uid = sole(mail)
        original(mail.part(uid), sent)
        for n in (1, 2, 250, 499, 500):
            assert mail.part(uid, str(n)) == f"leaf number {n}".encode()
        assert mail.fetch(uid, "(BODYSTRUCTURE)")[0].count(b'"text" "plain"') == 500


def test_five_recipients_by_smtp(every_system):
    """Some sealed, some plain, one twice: Postfix delivers to that one once."""
    system = every_system
    accounts = [system.account(p) for p in ("private", "plain", "private", "plain", "private")]
    addresses = [a.address for a in accounts] + [accounts[2].address]
    sent = messages.make(messages.text(90_000, seed=5), subject="to five of you")
    assert system.send(STRANGER, addresses, sent) == {}
    system.settle()
    for account in accounts:
        with system.imap(account) as mail:
            original(mail.part(sole(mail)), sent)
        if account.plan == "private":
            assert_sealed(system, account, sent)
        else:
            assert systems.SUITE_SEALED not in system.suites(account)


def test_five_recipients_in_one_lmtp_dialogue(every_system):
    """The same without Postfix; Dovecot, too, delivers one copy to who is named twice. Sealed copies share no bytes."""
    system = every_system
    accounts = [system.account(p) for p in ("plain", "private", "private", "plain", "private")]
    order = [accounts[i].address for i in (0, 1, 2, 1, 3, 4)]
    sent = messages.make(messages.text(150_000, seed=6), subject="one dialogue")
    with system.lmtp() as lmtp:
        replies = lmtp.deliver(STRANGER, order, sent)
    assert sorted(code for r in replies.values() for code, _ in r) == [250] * 6
    for account in accounts:
        with system.imap(account) as mail:
            original(mail.part(sole(mail)), sent)
        if account.plan == "private":
            assert_sealed(system, account, sent)
    sealed = [f.read_bytes() for a in accounts if a.plan == "private" for f in system.mail_files(a)]
    pieces = {raw[at:at + 32] for raw in sealed for at in range(2000, len(raw) - 32, 4096)}
    assert not [p for p in pieces if sum(p in raw for raw in sealed) > 1]


def test_nobody_sends_as_somebody_else(system):
    alice, bob = system.account(), system.account()
    alias = alice.address.replace("@", "-alias@")
    system.ctl("alias", "add", alias, alice.address)
    message = b"Subject: who\r\n\r\nwho\r\n"
    with system.submission(alice) as s:
        for sender in (alice.address, alias, alice.address.replace("@", "+tag@"), ""):
            assert s.sendmail(sender, [bob.address], message) == {}
        for sender in (bob.address, "alice@out.example"):
            with pytest.raises(clients.smtplib.SMTPRecipientsRefused) as refused:
                s.sendmail(sender, [bob.address], message)
            assert refused.value.recipients[bob.address][0] == 553


def test_unknown_recipient_is_refused_in_the_dialogue(every_system):
    system = every_system
    account = system.account("private")
    refused = system.send(STRANGER, [account.address, "nobody-at-all@example.org"], messages.make(b"to one\r\n"))
    assert {a: r[0] // 100 for a, r in refused.items()} == {"nobody-at-all@example.org": 5}
    system.settle()
    with system.imap(account) as mail:
        assert mail.select() == 1
    with system.lmtp() as lmtp:  # Postfix asked before: an account without keys here has lost them, and its mail waits
        replies = lmtp.deliver(STRANGER, ["nobody-at-all@example.org"], messages.make(b"to nobody\r\n"))
    assert replies["nobody-at-all@example.org"][0][0] == 451


def test_wrong_password_opens_nothing(every_system):
    system = every_system
    account = system.account("private")
    assert system.send(STRANGER, [account.address], messages.make(b"for one reader\r\n")) == {}
    system.settle()
    for wrong in (account.password + "x", account.password[:-1], "", " "):
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED|Authentication failed|[Ee]mpty|BAD"):
            clients.Imap(system.port("imap"), account.address, wrong)
    with pytest.raises(Exception, match="Authentication failed"):
        clients.pop3(system.port("pop3"), account.address, "wrong")
    with system.imap(account) as mail:
        assert mail.select() == 1
