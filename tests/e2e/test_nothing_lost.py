"""
Nothing is lost: mail flows while Dovecot's lmtp, keyd, the milter and the database are killed -9, in the middle of open
deliveries. Every recipient of every message that got its 250 is found afterwards, sealed, and no oftener than LMTP allows.
"""
import collections
import random
import re
import time

import pytest

import chaos

# The milter is killed in an open SMTP transaction, the others while a mail is half saved: those are the thirty.
ROUNDS = {"lmtp": 19, "keyd": 9, "database": 5, "milter": 5}
HITS_WANTED = 30
# Postfix should try again soon, not after five minutes.
QUICK = ["postfix.minimal_backoff_time=1s", "postfix.maximal_backoff_time=2s", "postfix.queue_run_delay=1s",
         "postfix.default_destination_concurrency_failed_cohort_limit=1000"]
MAGIC = b"\x89BSL\r\n\x1a\n"


@pytest.fixture
def stormy(own_system):
    return own_system(*[w for s in QUICK for w in ("--set", s)], db="mariadb")


def dovecot_master(system):
    return min(system.pids("dovecot", "dovecot"))


def strike(system, part, senders):
    """One kill of part while a delivery is open. True: it was one."""
    roots = (system.env["MAIL_ROOT"], system.env["TMP_PLAIN"])
    if part == "milter":
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if any(s.transaction for s in senders):
                return bool(system.kill("milter"))
        return False
    victims = {
        "lmtp": lambda lmtp: [lmtp],
        "keyd": lambda _: [random.choice(system.pids("keyd"))],
        "database": lambda _: [int(system.path("db", "mysql", "mariadbd.pid").read_text())],
    }
    return chaos.kill_in_delivery(dovecot_master(system), roots, victims[part])


def stored_ids(system, account):
    """{chaos id: how often it lies in the INBOX}, and the id of each is read by IMAP, as the user would."""
    with system.imap(account) as mail:
        mail.select()
        answers = mail.fetch("1:*", f"(BODY.PEEK[HEADER.FIELDS ({chaos.ID_HEADER})])")
    text = b"".join(a[1] for a in answers if isinstance(a, tuple)).decode()
    return collections.Counter(re.findall(rf"{chaos.ID_HEADER}: ([0-9a-f]+)", text))


@pytest.mark.limit(420)
def test_kills_lose_nothing(stormy):
    sealed = [stormy.account("private") for _ in range(3)]
    plain = stormy.account("plain")
    accounts = {a.address: a for a in [*sealed, plain]}
    senders = [chaos.Sender(stormy.port("smtp"), list(accounts), seed) for seed in (1, 2)]
    for s in senders:
        s.start()
    order = [part for part, n in ROUNDS.items() for _ in range(n)]
    random.Random(7).shuffle(order)
    hits = collections.Counter()
    for part in order:
        hits[part] += strike(stormy, part, senders)
        if part != "lmtp":
            time.sleep(random.random() / 2)
            stormy.start()
    for s in senders:
        s.stop()
    stormy.start()
    stormy.flush()
    stormy.settle(120)

    journal = [entry for s in senders for entry in s.journal]
    stored = {address: stored_ids(stormy, account) for address, account in accounts.items()}
    again = sum(n - 1 for ids in stored.values() for n in ids.values() if n > 1)
    print(f"{again} doubled; hits: {dict(hits)}; accepted {sum(len(s.journal) for s in senders)} recipients, "
          f"{sum(s.refused for s in senders)} transactions refused")
    assert sum(n for part, n in hits.items() if part != "milter") >= HITS_WANTED, hits
    assert all(hits[part] > 0 for part in ROUNDS), hits
    assert len(journal) > HITS_WANTED
    lost = [(number, address) for number, address in journal if stored[address][number] == 0]
    assert not lost, f"{len(lost)} of {len(journal)} lost: {lost[:5]}"
    # LMTP has no second phase: what was saved when lmtp died before its reply comes again. Nothing else may.
    assert again <= 4 * hits["lmtp"], f"{again} duplicates after {hits['lmtp']} kills of lmtp"
    for account in sealed:
        files = stormy.mail_files(account)
        assert files
        for path in files:
            head = path.read_bytes()[:1024]
            assert MAGIC in head and head[head.index(MAGIC) + 9] == 1, f"{path} is not sealed"
