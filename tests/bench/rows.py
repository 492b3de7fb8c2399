"""rows: what is measured. A row is a function (server, data, meter) that measures its work by the meter.

A new row is such a function and a line in ROWS. What it does outside of `with meter` costs nothing.
"""
import collections

from clients import Pop3
from mailboxes import BIG_5MB, BIG_20MB, big, deliver, imap, reader
from meter import Meter
from servers import DOMAIN, PASSWORD, RECEIVERS

Row = collections.namedtuple("Row", "title unit run")

LISTING = b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
FIELDS = b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID REFERENCES IN-REPLY-TO CONTENT-TYPE)])"
HEADERS = b"FETCH 1:* (BODY.PEEK[HEADER])"
BODIES = b"FETCH 1:* (BODY.PEEK[])"
SUBJECT = b"SEARCH SUBJECT zebra"
TEXT = b"SEARCH TEXT zebra"
CLICK_SHOWS = 50


def empty_receivers(server):
    for user in RECEIVERS:
        server.empty(user)


def delivery(name, connections):
    users = RECEIVERS[:connections]

    def run(server, data, meter):
        mails = data.mails(name)
        empty_receivers(server)
        with meter:
            meter.done(deliver(server, mails, users))
        files = [path for user in users for path in server.stored(user)]
        if len(files) != len(mails):
            raise RuntimeError(f"{server.name}: {len(files)} files of {len(mails)} messages")
        server.check_stored(users[0])
        meter.facts = {"bytes": sum(map(len, mails)), "disk_bytes": sum(path.stat().st_size for path in files)}
        empty_receivers(server)
    return Row(f"LMTP delivery, {name}, {connections} connection{'s'[:connections > 1]}", "message", run)


def sessions(server, command, meter, count=1):
    """From SELECT to the end of the session, one after the other; the login has a row of its own. Bytes that came back."""
    clients = [imap(server) for _ in range(count)]
    received = 0
    with meter:
        for client in clients:
            client.command(b"SELECT INBOX")
            received += client.command(command)
            client.close()
    return received


def cold(title, command):
    """Indexes and caches as delivery left them, a fresh login."""
    def run(server, data, meter):
        received = 0
        while meter.wants_more():
            reader(server, data)
            received += sessions(server, command, meter)
            meter.done(data.count)
        meter.facts["received"] = received
    return Row(f"{title}, cold", "message", run)


def bare(title, command):
    """Without any index cache, as after a move of the files to another server."""
    def run(server, data, meter):
        while meter.wants_more():
            reader(server, data)
            server.forget_cache("reader")
            sessions(server, command, meter)
            meter.done(data.count)
    return Row(f"{title}, no index cache", "message", run)


def warm(title, command, at_once=5):
    """The same command was given in an earlier session. at_once: sessions between two readings of the clock."""
    def run(server, data, meter):
        reader(server, data)
        sessions(server, command, Meter(server))
        received = 0
        while meter.wants_more():
            received += sessions(server, command, meter, at_once)
            meter.done(at_once * data.count)
        meter.facts = {"received": received, "mailbox_bytes": server.mailbox_bytes("reader")}
    return Row(f"{title}, warm", "message", run)


def pop3_all(server, data, meter):
    reader(server, data)
    client = Pop3(server.pop3_port, f"reader@{DOMAIN}", PASSWORD)
    with meter:
        for number in range(1, data.count + 1):
            client.retrieve(number)
        client.close()
    meter.done(data.count)


def part_of_big(title, first, count, section, times):
    """A part of large mails in turn, again and again, in a session that has seen each once."""
    def run(server, _data, meter):
        big(server)
        client = imap(server, "big")
        client.command(b"SELECT INBOX")
        parts = [b"FETCH %d (BODY.PEEK[%s)" % (first + i % count, section) for i in range(times)]
        for part in parts[:count]:
            client.command(part)
        while meter.wants_more():
            with meter:
                for part in parts:
                    client.command(part)
            meter.done(times)
        client.close()
    return Row(title, "read", run)


def logins(server, _data, meter, count=100):
    """Warm: a first login of the day may pay for a password hash."""
    imap(server).close()
    with meter:
        for _ in range(count):
            imap(server).close()
    meter.done(count)


def click(server, number):
    """What a webmail without state does for one click: everything anew."""
    client = imap(server)
    client.command(b'LIST "" "*"')
    client.command(b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")
    client.command(b"SELECT INBOX")
    first = max(1, number - CLICK_SHOWS + 1)
    client.command(LISTING.replace(b"1:*", b"%d:%d" % (first, number)))
    client.command(FIELDS.replace(b"1:*", b"%d:%d" % (first, number)))
    client.command(b"FETCH %d (BODY.PEEK[])" % number)
    client.close()


def clicks(server, data, meter, count=30):
    """Through the mailbox, a page each; every page was seen once before."""
    pages = [data.count - i * (data.count // count) for i in range(count)]
    reader(server, data)
    for command in (LISTING, FIELDS):
        sessions(server, command, Meter(server))
    with meter:
        for number in pages:
            click(server, number)
    meter.done(count)


ROWS = {
    "lmtp-small-1": delivery("small", 1),
    "lmtp-small-4": delivery("small", 4),
    "lmtp-mixed-1": delivery("mixed", 1),
    "lmtp-mixed-4": delivery("mixed", 4),
    "list-cold": cold("ENVELOPE and BODYSTRUCTURE of all", LISTING),
    "list-warm": warm("ENVELOPE and BODYSTRUCTURE of all", LISTING),
    "fields-cold": cold("nine header fields of all", FIELDS),
    "fields-warm": warm("nine header fields of all", FIELDS),
    "headers-cold": cold("whole headers of all", HEADERS),
    "headers-warm": warm("whole headers of all", HEADERS),
    "subject-bare": bare("SEARCH SUBJECT", SUBJECT),
    "subject-cold": cold("SEARCH SUBJECT", SUBJECT),
    "subject-warm": warm("SEARCH SUBJECT", SUBJECT),
    "text": warm("SEARCH TEXT", TEXT, at_once=1),
    "bodies": warm("all bodies", BODIES, at_once=1),
    "pop3": Row("POP3 RETR of all", "message", pop3_all),
    "header-5mb": part_of_big("header of a 5 MB mail", 1, BIG_5MB, b"HEADER]", 200),
    "tail-20mb": part_of_big("last 4 KB of a 20 MB mail", 1 + BIG_5MB, BIG_20MB, b"]<19990000.4096>", 20),
    "login": Row("IMAP LOGIN and LOGOUT", "login", logins),
    "click": Row("webmail click", "click", clicks),
}


def measure(name, server, data):
    """One sample."""
    meter = Meter(server)
    ROWS[name].run(server, data, meter)
    return meter.sample()
