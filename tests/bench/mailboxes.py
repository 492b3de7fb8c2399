"""mailboxes: the accounts that rows read: filled by LMTP once a run, checked, and put back as the delivery left them.

`reader` holds the mixed set, `big` a few very large messages. To put a mailbox back means every file but the messages
themselves: indexes, their logs and caches. What a contender wrote there since the delivery is gone.
"""
import concurrent.futures

import corpus
from clients import Imap, Lmtp
from servers import DOMAIN, PASSWORD

BIG_5MB, BIG_20MB = 4, 2  # in this order


class Data:
    """The corpora of this run, made once."""

    def __init__(self, count):
        self.count = count
        self.sets = {}

    def mails(self, name):
        if name not in self.sets:
            self.sets[name] = corpus.make(name, self.count)
        return self.sets[name]


def deliver(server, mails, users):
    """All mails, one connection a user, shared out evenly."""
    def one(share):
        user, part = share
        lmtp = Lmtp(server.lmtp_port)
        for mail in part:
            lmtp.deliver(f"{user}@{DOMAIN}", mail)
        lmtp.close()
    shares = [(user, mails[i::len(users)]) for i, user in enumerate(users)]
    with concurrent.futures.ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(one, shares))
    return len(mails)


def imap(server, user="reader"):
    return Imap(server.imap_port, f"{user}@{DOMAIN}", PASSWORD)


def reader(server, data):
    """Filled, and as delivery left it."""
    if not server.stored("reader"):
        fill(server, "reader", data.mails("mixed"))
    server.restore("reader")


def big(server):
    if not server.stored("big"):
        sizes = [5_000_000 + 50_000 * i for i in range(BIG_5MB)] + [20_000_000 + 50_000 * i for i in range(BIG_20MB)]
        fill(server, "big", [corpus.big(size) for size in sizes])


def fill(server, user, mails):
    """Each message is read back once and compared with what was sent."""
    deliver(server, mails, [user])
    server.check_stored(user)
    server.keep(user)
    client = imap(server, user)
    client.command(b"SELECT INBOX")
    answer = client.literals(b"FETCH 1:* (BODY.PEEK[])")
    for number, (mail, stored) in enumerate(zip(mails, answer, strict=True), 1):
        if not stored.endswith(mail):
            raise RuntimeError(f"{server.name}: message {number} of {user} came back changed")
    client.close()
