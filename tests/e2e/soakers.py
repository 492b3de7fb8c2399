"""soakers: those who use a system while a soak lasts: one Postman, an Owner for each account, a Reader of all.

Each is a thread that does one session after the other, with pauses, and keeps the book (book.py). hold() lets
no new session begin and sets `still` once the last one is over; go() lets it on.
"""
import collections
import contextlib
import imaplib
import poplib
import random
import re
import smtplib
import threading
import traceback

import messages
from chaos import ID_HEADER

FOLDERS = ("INBOX", "Archive", "Projects/2026")
SENDER = "sender@elsewhere.test"
KIB = (1, 2, 2, 5, 5, 20, 20, 70, 300)
RARELY_KIB, RARELY = 1500, 0.01
CROWDED = 25  # messages in a folder from which on its owner throws away
BROKEN = (OSError, EOFError, imaplib.IMAP4.abort, smtplib.SMTPServerDisconnected)
REFUSED = (smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, AssertionError)


def compose(book, rng):
    """(number, message)"""
    number = f"{rng.getrandbits(128):032x}"
    kib = RARELY_KIB if rng.random() < RARELY else rng.choice(KIB)
    filling = messages.text if rng.random() < 0.7 else messages.noise
    size, kind = kib * 1024 + rng.randrange(500), rng.getrandbits(8)

    def body():
        return number.encode() + b"\r\n" + filling(size, kind).rstrip(b"\r\n") + b"\r\n"  # no lone CR, which smtplib would complete

    return number, messages.make(book.write(number, body), subject=f"soak {number[:6]}", header=[f"{ID_HEADER}: {number}"], ident=number)


TEMPORARY = re.compile(r"\[UNAVAILABLE\]|\[SYS/TEMP\]|\(4\d\d,|while its storage is repaired")


class Soaker(threading.Thread):
    def __init__(self, system, book, seed, pause_s):
        super().__init__(daemon=True)
        self.system, self.book, self.rng, self.pause_s = system, book, random.Random(seed), pause_s
        self.gate, self.still, self.stopping = threading.Event(), threading.Event(), threading.Event()
        self.strict = True  # no kill but of single connections: the server has no reason to say NO

    def hold(self):
        """No new session; still is set once the last one is over."""
        self.gate.clear()
        if self.is_alive():
            self.still.clear()

    def go(self):
        self.gate.set()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.turn()
        except Exception:
            self.book.complain(f"{self.name} has a bug: {traceback.format_exc()}")
        finally:
            self.still.set()

    def turn(self):
        if not self.gate.is_set():
            self.still.set()
            self.gate.wait(0.1)
            return
        self.still.clear()
        try:
            self.session()
            self.book.did(type(self).__name__)
        except (*BROKEN, *REFUSED) as e:
            self.refused(e)
        self.stopping.wait(self.rng.uniform(0.5, 1.5) * self.pause_s)

    def refused(self, e):
        """A connection may always break; a refusal needs a reason, and a machine that is too slow is one, now and then."""
        if isinstance(e, BROKEN):
            self.book.did("broken session")
        elif TEMPORARY.search(str(e)):
            self.book.did("put off" if self.strict else "put off in the storm")
        elif self.strict:
            self.book.complain(f"{self.name}: {type(e).__name__}: {e}")


class Postman(Soaker):
    """Sends to one, two or three accounts at once."""

    def __init__(self, system, book, seed, pause_s, addresses):
        super().__init__(system, book, seed, pause_s)
        self.addresses = addresses

    def session(self):
        with smtplib.SMTP("127.0.0.1", self.system.port("smtp"), timeout=60) as smtp:
            smtp.ehlo("elsewhere.test")
            for _ in range(3):
                self.send(smtp)

    def send(self, smtp):
        number, message = compose(self.book, self.rng)
        smtp.mail(SENDER)
        wanted = self.rng.sample(self.addresses, self.rng.randint(1, 3))
        accepted = [r for r in wanted if smtp.rcpt(r)[0] == 250]
        if not accepted:
            raise smtplib.SMTPResponseException(450, b"no recipient")
        try:
            code, text = smtp.data(message)
        except BROKEN:
            for r in accepted:
                self.book.add(r, number, sure=False, why="sent")
            raise
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        for r in accepted:
            self.book.add(r, number, why="sent")
        self.book.did("sent")


class Owner(Soaker):
    """The one who changes things in an account. donor: an account from which it takes messages over."""

    def __init__(self, system, book, seed, pause_s, account, donor=None):
        super().__init__(system, book, seed, pause_s)
        self.account, self.address, self.donor = account, account.address, donor

    def session(self):
        with contextlib.closing(self.system.imap(self.account)) as mail:
            folder = self.rng.choice(FOLDERS)
            mail.select(folder)
            uids = mail.uids()
            for _ in range(self.rng.randint(2, 6)):
                self.one(mail, folder, uids)
        if self.rng.random() < 0.2:
            self.pop3()

    def one(self, mail, folder, uids):
        acts = [self.append]
        if uids:
            acts = [self.listing, self.read, self.search, self.flag, self.copy, self.move, self.append]
        if self.donor:
            acts.append(self.take_over)
        if len(uids) > CROWDED:
            acts += [self.expunge] * len(acts)
        act = self.rng.choice(acts)
        act(mail, folder, uids)
        self.book.did(act.__name__)

    def listing(self, mail, _folder, uids):
        mail.fetch(f"{uids[-30:][0]}:*", "(FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)")

    def search(self, mail, _folder, uids):
        mail.uids(f'SUBJECT "soak {self.rng.randrange(16):x}"')

    def flag(self, mail, _folder, uids):
        mail.ok("uid", "STORE", str(self.rng.choice(uids)), "+FLAGS", r"(\Flagged)")

    def read(self, mail, folder, uids):
        uid = self.rng.choice(uids)
        for number, body in fetched(mail, str(uid)):
            self.book.check(f"{self.address} {folder} UID {uid}", number, body)

    def number(self, mail, uid):
        return number_in(mail.part(uid, f"HEADER.FIELDS ({ID_HEADER})"))

    def changing(self, why, act, number, change):
        """Runs act(); then change(number) is in the book, as a doubt if the connection broke before the answer."""
        try:
            act()
        except BROKEN:
            change(self.address, number, sure=False, why=why)
            raise
        except REFUSED as e:
            self.book.note(self.address, number, f"{why}: {e}")
            raise
        change(self.address, number, why=why)

    def append(self, mail, _folder, _uids):
        number, message = compose(self.book, self.rng)
        self.changing("append", lambda: mail.append(message, quoted(self.rng.choice(FOLDERS))), number, self.book.add)

    def copy(self, mail, _folder, uids):
        uid = self.rng.choice(uids)
        number = self.number(mail, uid)
        self.changing("copy", lambda: mail.copy(uid, quoted(self.rng.choice(FOLDERS))), number, self.book.add)

    def move(self, mail, folder, uids):
        """The server copies, then expunges: cut off in between, both are there."""
        uid = self.rng.choice(uids)
        number = self.number(mail, uid)
        target = self.rng.choice([f for f in FOLDERS if f != folder])
        try:
            mail.copy(uid, quoted(target), "MOVE")
        except BROKEN:
            self.book.add(self.address, number, sure=False, why="move")
            raise
        uids.remove(uid)

    def expunge(self, mail, _folder, uids):
        uid = self.rng.choice(uids)
        number = self.number(mail, uid)
        mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Deleted)")
        self.changing("expunge", lambda: mail.ok("uid", "EXPUNGE", str(uid)), number, self.book.remove)
        uids.remove(uid)

    def take_over(self, mail, _folder, _uids):
        """A message of another account, plain perhaps, becomes one of this account."""
        with contextlib.closing(self.system.imap(self.donor)) as other:
            other.select("INBOX")
            theirs = other.uids()
            try:
                whole = other.part(self.rng.choice(theirs)) if theirs else b""
            except AssertionError:  # its owner has thrown it away meanwhile
                whole = b""
        if whole:
            self.changing("take_over", lambda: mail.append(whole, quoted(self.rng.choice(FOLDERS))), number_in(whole), self.book.add)

    def pop3(self):
        with contextlib.closing(self.system.pop3(self.account)) as pop:
            count = pop.stat()[0]
            if count:
                whole = b"".join(line + b"\r\n" for line in pop.retr(self.rng.randint(1, count))[1])
                self.book.check(f"{self.address} POP3", number_in(whole), whole.partition(b"\r\n\r\n")[2])
        self.book.did("pop3")


class Reader(Soaker):
    """Looks into mailboxes that others change at the same time: what it can't get has just gone."""

    def __init__(self, system, book, seed, pause_s, accounts):
        super().__init__(system, book, seed, pause_s)
        self.accounts = accounts

    def session(self):
        account, folder = self.rng.choice(self.accounts), self.rng.choice(FOLDERS)
        with contextlib.closing(self.system.imap(account)) as mail:
            mail.select(folder)
            try:
                mail.c.uid("FETCH", "1:*", "(ENVELOPE BODYSTRUCTURE)")
                for uid in mail.uids()[-3:]:
                    for number, body in fetched(mail, str(uid)):
                        self.book.check(f"{account.address} {folder} UID {uid}", number, body)
            except AssertionError:
                self.book.did("gone meanwhile")


def quoted(folder):
    return f'"{folder}"'


def number_in(text):
    m = re.search(rf"(?mi)^{ID_HEADER}: ([0-9a-f]+)".encode(), text)
    return m[1].decode() if m else ""


def fetched(mail, uids):
    """[(number, body)] of messages; one that is gone is left out."""
    answer = mail.fetch(uids, f"(BODY.PEEK[HEADER.FIELDS ({ID_HEADER})] BODY.PEEK[TEXT])")
    literals = [item for item in answer if isinstance(item, tuple)]
    heads = [text for what, text in literals if b"HEADER.FIELDS" in what]
    bodies = [text for what, text in literals if b"BODY[TEXT]" in what]
    assert len(heads) == len(bodies), answer
    return [(number_in(h), b) for h, b in zip(heads, bodies)]


def stored(system, account, book):
    """Counter of the numbers in all folders of the account; every body is checked."""
    found = collections.Counter()
    with contextlib.closing(system.imap(account)) as mail:
        for folder in FOLDERS:
            mail.select(folder)
            uids = mail.uids()
            for i in range(0, len(uids), 20):
                part = uids[i:i + 20]
                try:
                    got = fetched(mail, ",".join(map(str, part)))
                except (AssertionError, *BROKEN) as e:
                    book.complain(f"{account.address} {folder}: {e}")
                    return found
                if len(got) != len(part):
                    book.complain(f"{account.address} {folder}: {len(got)} of {len(part)} messages could be read")
                for number, body in got:
                    book.check(f"{account.address} {folder}", number, body)
                    found[number] += 1
    return found
