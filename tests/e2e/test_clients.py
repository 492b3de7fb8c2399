"""No client can tell a sealed account from one on a Dovecot without Basalt: the same mail, the same commands, the same bytes.

What is said: tests/clients.d. To what mail: hardmail.py, tests/data/messages, and where it is there ../shared/data/mime.tar.xz.
"""
import os
import pathlib
import random
import re
import tarfile

import pytest

import clients
import hardmail
import messages
import sessions
import systems
import twins

SHARED = pathlib.Path(os.environ.get("BASALT_SHARED", systems.ROOT.parent / "shared"))
MAIL = [*hardmail.ALL.values(), *(p.read_bytes() for p in messages.samples())]
FETCH, SEARCH, SORT = (twins.script(name) for name in ("fetch", "search", "sort"))
COMMANDS = [*FETCH, *SEARCH, *SORT]
# Enough of them to notice a copy that does not read, or a header that was taken from another mail.
SOME = [b"FETCH 1:* FULL", b"FETCH 1:* (BODYSTRUCTURE PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT X-LONG)])", b"FETCH 1:* (BODY.PEEK[])",
        b"SEARCH SUBJECT e", b"SEARCH BODY e", b"SORT (SUBJECT) UTF-8 ALL", b"THREAD REFERENCES UTF-8 ALL"]


@pytest.fixture(scope="module")
def both(pool):
    """(a system with Basalt, a stock one)"""
    return pool.get(options=twins.OPTIONS), pool.get(options=("--plain", *twins.OPTIONS))


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_hard_messages(both, storage):
    """As APPEND left them, then with nothing cached, then with all that this cached; then their copies."""
    pair = twins.Twins(*both, storage)
    pair.append(MAIL)
    pair.compare(SOME, "fresh")
    pair.forget()
    pair.compare(COMMANDS, "cold")
    pair.compare(COMMANDS if storage == "sdbox" else SOME, "warm")
    assert set(both[0].suites(pair.accounts[0])) == {systems.SUITE_SEALED}
    pair.compare([b"CREATE Copies", b"CREATE Moved", b"COPY 1:* Copies", b"MOVE 1:60 Moved", *SOME], "copying")
    for folder in ("Copies", "Moved"):
        pair.compare(SOME, "copied", folder)
        pair.forget()
        pair.compare(SOME, "copied, cold", folder)


def test_an_account_that_is_not_sealed(both):
    """Its mails are compressed; that shows as little."""
    pair = twins.Twins(*both, "sdbox", "plain")
    pair.append(MAIL)
    pair.forget()
    pair.compare(SOME, "compressed, cold")
    pair.compare(SOME, "compressed, warm")
    assert set(both[0].suites(pair.accounts[0])) == {systems.SUITE_PLAIN}


def mutated(both, seed, count, commands):
    pair = twins.Twins(*both, twins.STORAGES[seed % 3])
    pair.append(hardmail.mutants(count, seed))
    pair.forget()
    pair.compare(commands, f"mutants of seed {seed}, cold")
    pair.compare(commands, f"mutants of seed {seed}, warm")


# A preview that ends in half a character is another one with LF and with CRLF, as which sealed mail is stored. And what SEARCH BODY
# finds where boundaries are broken hangs on what Dovecot has cached of this mail and of the one before it.
FOR_MUTANTS = [c.replace(b" PREVIEW", b"") for c in SOME if b"BODY e" not in c]


def test_mutants(both):
    mutated(both, 3, 300, FOR_MUTANTS)


@pytest.mark.long
@pytest.mark.limit(3600)
def test_many_mutants(both):
    # A part from behind a bare CR: Dovecot hangs up; with BINARY it miscounts, or hangs up, where line ends are mixed.
    commands = [c for c in COMMANDS if not re.search(rb"PREVIEW|\]<|BINARY|(SEARCH|UTF-8|ASCII) .*(BODY|TEXT)", c)]
    for seed in range(4, 40):
        mutated(both, seed, 600, FOR_MUTANTS if seed % 4 else commands)


@pytest.mark.parametrize("seed", range(3))
def test_any_order(both, seed):
    """What was asked first decides what is cached, and the next question may be answered from that."""
    pair = twins.Twins(*both, "sdbox")
    rng = random.Random(seed)
    pair.append(rng.sample(MAIL, 40))
    for n in range(6):
        pair.compare(rng.sample(COMMANDS, 15), f"seed {seed}, session {n}")
        if n % 3 == 1:
            pair.forget()


def test_a_login_for_each_command(both):
    """A webmail without a memory of its own."""
    pair = twins.Twins(*both, "sdbox")
    pair.append(MAIL)
    pair.forget()
    for command in (*SOME, *FETCH[4:16], *SEARCH[8:16], *SORT[2:6]):
        pair.compare([command], "alone")


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_partials(both, storage):
    large = [m for m in MAIL if len(m) > 60_000]
    pair = twins.Twins(*both, storage)
    pair.append(large)
    pair.compare(twins.partials(200, 7, large), "partials")


def pop3(system, account):
    """All that POP3 shows of a mailbox, but for the part of a UIDL that is the mailbox's own number."""
    p = system.pop3(account)
    found = [p.stat(), p.list()[1], [re.sub(rb"[0-9a-f]{8}$", b"", line) for line in p.uidl()[1]]]
    for n in range(1, p.stat()[0] + 1):
        found.append([clients.retr(p, n), p.top(n, 0)[1:], p.top(n, 7)[1:], p.list(n)])
    p.quit()
    return found


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_pop3(both, storage):
    pair = twins.Twins(*both, storage)
    pair.append([m for m in MAIL if len(m) < 400_000])
    pair.forget()
    for how in ("cold", "warm"):
        ours, theirs = (pop3(s, a) for s, a in zip(both, pair.accounts))
        assert len(ours) == len(theirs)
        for n, (a, b) in enumerate(zip(ours, theirs)):
            assert a == b, (how, n, a, b)


def deliver(system, account, mails):
    with system.lmtp() as lmtp:
        for mail in mails:
            ((code, text),) = lmtp.deliver("sender@out.example", [account.address], mail)[account.address]
            assert code == 250, text


# What delivery writes into a mail or notes beside it that no two deliveries have in common; as long as what it stands for.
TRACE = [(re.compile(rb"(\tid )[\w+/]+"), rb"\1ID"), (re.compile(rb"(\tfor <\S+>; )[^\r]*"), rb"\1DATE"),
         (re.compile(rb'INTERNALDATE "[^"]*"'), b"INTERNALDATE")]


def traceless(response):
    for pattern, instead in TRACE:
        response = pattern.sub(instead, response, count=1)
    return response


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_delivered(both, storage):
    """By LMTP, which has no session and leaves what it cached to the first reader."""
    pair = twins.Twins(*both, storage)
    for system, account in zip(both, pair.accounts):
        deliver(system, account, [b"", *MAIL])
    pair.compare(SOME, "delivered", mask=traceless)
    pair.compare(SOME, "warm", mask=traceless)
    pair.forget()
    pair.compare(SOME, "cold", mask=traceless)


@pytest.mark.parametrize("name", sorted(p.stem for p in twins.SCRIPTS.glob("*.session")))
@pytest.mark.parametrize("storage", ["sdbox", "maildir"])
def test_session(both, storage, name):
    """What Thunderbird, Roundcube and others say, each to a new account."""
    pair = twins.Twins(*both, storage)
    sessions.prepare(pair)
    pair.forget()
    ours, theirs = (sessions.speak(name, s, a) for s, a in zip(both, pair.accounts))
    assert len(ours) == len(theirs) == len(sessions.lines(name))
    for (what, a), (_, b) in zip(ours, theirs):
        pair.check((a, b), f"{name}, {storage}: {what}")


def shared_messages():
    """The messages of ../shared/data/mime.tar.xz; nothing of it is unpacked on disk."""
    with tarfile.open(SHARED / "data" / "mime.tar.xz") as tar:
        return [tar.extractfile(m).read() for m in tar if m.isfile()]


def shared_twins(both, storage):
    """Twins that have them; their caches forgotten."""
    if not (SHARED / "data" / "mime.tar.xz").exists():
        pytest.skip(f"shared data absent: {SHARED}/data/mime.tar.xz")
    pair = twins.Twins(*both, storage)
    pair.append([m for m in shared_messages() if m])
    pair.forget()
    return pair


@pytest.mark.limit(240)
def test_shared_messages(both):
    """3,250 messages of other projects' tests."""
    pair = shared_twins(both, "mdbox")
    pair.compare(SOME, "shared, cold")
    pair.compare(SOME, "shared, warm")


@pytest.mark.long
@pytest.mark.limit(3600)
@pytest.mark.parametrize("storage", twins.STORAGES)
def test_shared_messages_by_all_commands(both, storage):
    pair = shared_twins(both, storage)
    pair.compare(COMMANDS, "shared, cold")
    pair.compare(COMMANDS, "shared, warm")
