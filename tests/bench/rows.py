"""rows: what is measured. A row is a function (server, data) -> number of operations, run between two CPU readings.

A new row is a function and a line in ROWS. `before` runs ahead of the readings and costs nothing; `after` may add
facts of its own to the sample.
"""
import collections
import concurrent.futures
import time

import corpus
from clients import Imap, Lmtp, Pop3
from servers import DOMAIN, PASSWORD, RECEIVERS

Row = collections.namedtuple("Row", "title unit before run after")


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


def fill_reader(server, data):
    """Once a run: delivers the mixed set, reads it back and compares each message with what was sent."""
    if server.stored("reader"):
        return
    mails = data.mails("mixed")
    deliver(server, mails, ["reader"])
    server.check_stored("reader")
    client = imap(server)
    client.command(b"SELECT INBOX")
    answer = client.literals(b"FETCH 1:* (BODY.PEEK[])")
    for number, (mail, stored) in enumerate(zip(mails, answer, strict=True), 1):
        if not stored.endswith(mail):
            raise RuntimeError(f"{server.name}: message {number} came back changed")
    client.close()


def empty_receivers(server, _data):
    for user in RECEIVERS:
        server.empty(user)


def delivery(name, connections):
    def run(server, data):
        return deliver(server, data.mails(name), RECEIVERS[:connections])

    def after(server, data):
        files = [path for user in RECEIVERS[:connections] for path in server.stored(user)]
        if len(files) != len(data.mails(name)):
            raise RuntimeError(f"{server.name}: {len(files)} files of {len(data.mails(name))} messages")
        server.check_stored(RECEIVERS[0])
        return {"disk_bytes": sum(path.stat().st_size for path in files), "bytes": sum(map(len, data.mails(name)))}
    title = f"LMTP delivery, {name}, {connections} connection{'s'[:connections > 1]}"
    return Row(title, "message", empty_receivers, run, after)


def reading(title, command, sessions=1, cold=False):
    """One IMAP command over the whole mailbox. Cold: without the index cache, as after a move to another server.
    More than one session where one alone is too short for a clock that ticks each 10 ms."""
    def before(server, data):
        fill_reader(server, data)
        if cold:
            forget_cache(server, "reader")
        else:
            run(server, data)

    def run(server, data):
        for _ in range(sessions):
            client = imap(server)
            client.command(b"SELECT INBOX")
            client.command(command)
            client.close()
        return sessions * data.count
    return Row(title, "message", before, run, None)


def forget_cache(server, user):
    for path in server.mail_dir(user).rglob("dovecot.index.cache"):
        path.unlink()


def pop3_all(server, data):
    client = Pop3(server.pop3_port, f"reader@{DOMAIN}", PASSWORD)
    for number in range(1, data.count + 1):
        client.retrieve(number)
    client.close()
    return data.count


def fill_big(server, _data):
    if not server.stored("big"):
        deliver(server, [corpus.big(size) for size in (5_000_000, 5_000_000, 20_000_000, 20_000_000)], ["big"])


def big_part(title, first, section, times):
    """A part of one of two large mails in turn, in one session: zlib and mail_crypt keep the last mail they decoded."""
    def run(server, _data):
        client = imap(server, "big")
        client.command(b"SELECT INBOX")
        for i in range(times):
            client.command(b"FETCH %d (BODY.PEEK[%s)" % (first + i % 2, section))
        client.close()
        return times
    return Row(title, "read", fill_big, run, None)


def logins(server, _data, count=200):
    for _ in range(count):
        imap(server).close()
    return count


def one_login(server, _data):
    """A first login of the day may pay for a password hash: not in this row."""
    imap(server).close()


ROWS = {
    "lmtp-small-1": delivery("small", 1),
    "lmtp-small-4": delivery("small", 4),
    "lmtp-mixed-1": delivery("mixed", 1),
    "lmtp-mixed-4": delivery("mixed", 4),
    "bodies": reading("IMAP FETCH of all bodies", b"FETCH 1:* (BODY.PEEK[])", sessions=3),
    "login": Row("IMAP LOGIN and LOGOUT, warm", "login", one_login, logins, None),
    "list-cold": reading("IMAP ENVELOPE BODYSTRUCTURE, cold", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)", cold=True),
    "list-warm": reading("IMAP ENVELOPE BODYSTRUCTURE, warm", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE)", sessions=3),
    "headers": reading("IMAP FETCH of all headers", b"FETCH 1:* (BODY.PEEK[HEADER])", sessions=3),
    "search-subject": reading("IMAP SEARCH SUBJECT, cold", b"SEARCH SUBJECT zebra", cold=True),
    "search-text": reading("IMAP SEARCH TEXT", b"SEARCH TEXT zebra"),
    "pop3": Row("POP3 RETR of all", "message", fill_reader, pop3_all, None),
    "header-5mb": big_part("IMAP header of a 5 MB mail", 1, b"HEADER]", 200),
    "tail-20mb": big_part("IMAP last 4 KB of a 20 MB mail", 3, b"]<19990000.4096>", 50),
}
USUAL = ["lmtp-small-1", "lmtp-small-4", "lmtp-mixed-1", "lmtp-mixed-4", "bodies", "login"]
# row, against whom, at most how many times its CPU (issue 2)
TARGETS = [("lmtp-small-1", "plain", 1.25), ("lmtp-mixed-1", "plain", 1.25), ("bodies", "zlib-lz4", 1.3)]


def measure(row, server, data):
    """One sample: CPU seconds of the whole server and wall seconds of the client."""
    if row.before:
        row.before(server, data)
    cpu_before, wall_before = server.cpu_seconds(), time.monotonic()
    operations = row.run(server, data)
    wall_s = time.monotonic() - wall_before
    cpu_s = server.cpu_seconds() - cpu_before
    facts = row.after(server, data) if row.after else {}
    return {"cpu_s": round(cpu_s, 3), "wall_s": round(wall_s, 4), "operations": operations, **facts}
