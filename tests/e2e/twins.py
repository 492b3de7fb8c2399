"""twins: two accounts with the same mail, one sealed on our Dovecot, one on a Dovecot without any of ours, and the comparison.

    pair = twins.Twins(sealed_system, stock_system, "maildir")
    pair.append(hardmail.ALL.values())
    pair.compare(twins.script("fetch"), "cold")     # fails at the first answer that is not the same
"""
import pathlib
import random
import re

import rawimap

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "clients.d"
STORAGES = ("sdbox", "maildir", "mdbox")
# The first letters of an account's name say how its mail is stored: all storages in one system.
LOCATION = "%{if;%n;~;^maildir;maildir;%5n}:~/mail"
OPTIONS = ("--set", f"dovecot.mail_location={LOCATION}")
FLAGS = ("", "\\Seen", "\\Flagged \\Seen", "$Label1", "\\Answered", "\\Draft $Label2", "\\Deleted", "NonJunk \\Seen")


def literals(line):
    """'... {N+}~text~ ...' as it is sent: N is what it has to be."""
    charset = "iso-8859-1" if "ISO-8859-1" in line else "utf-8"
    return re.sub(rb"\{N\+\}~([^~]*)~", lambda m: b"{%d+}\r\n" % len(m[1]) + m[1], line.encode(charset))


def script(name):
    """The commands of tests/clients.d/NAME.imap."""
    lines = (SCRIPTS / f"{name}.imap").read_text().splitlines()
    return [literals(line) for line in lines if line and not line.startswith("#")]


def date(n):
    return f"{n % 27 + 1:02d}-Mar-2026 {n % 24:02d}:{n % 60:02d}:07 {('+0000', '+0530', '-0800')[n % 3]}"


def partials(count, seed, messages):
    """FETCHes of parts of messages: at random, at the ends of chunks, at and past the end. messages: their stored forms."""
    rng = random.Random(seed)

    def part(size):
        at = rng.choice([0, rng.randrange(size + 1), rng.randrange(size + 1), 65536 * rng.randrange(20), max(0, size - 1), size, size + 9])
        length = rng.choice([1, 7, 1000, 1000, 65536, 70000, 200_000])
        section = rng.choice(["", "", "TEXT", "TEXT", "HEADER", "1", "2", "HEADER.FIELDS (SUBJECT TO)", "2.MIME", "1.1"])
        return b"BODY.PEEK[%s]<%d.%d>" % (section.encode(), at, length)

    found = []
    for _ in range(count):
        n = rng.randrange(len(messages))
        parts = [part(len(messages[n])) for _ in range(rng.choice([1, 1, 3]))]
        found.append(b"FETCH %d (%s)" % (n + 1, b" ".join(parts)))
    return found


class Twins:
    def __init__(self, sealed, stock, storage, plan="private"):
        account = sealed.account(plan, name=f"{storage}-{sealed.accounts}")
        self.systems = (sealed, stock)
        self.accounts = (account, stock.account(name=account.local))
        self.who = storage
        self.known = {}

    def connect(self):
        """A logged in connection to each."""
        found = []
        for system, account in zip(self.systems, self.accounts):
            found.append(rawimap.Raw(system.port("imap")))
            found[-1].login(account.address, account.password)
        return found

    def append(self, messages, folder="INBOX", at_once=50):
        """With flags and dates that differ from mail to mail, many in one command. What the servers say is compared, too."""
        ours, theirs = self.connect()
        with ours, theirs:
            for first in range(0, len(messages), at_once):
                batch = [(m, FLAGS[n % len(FLAGS)], date(n)) for n, m in enumerate(messages[first:first + at_once], first)]
                said = [rawimap.same(c.append(folder, *batch)) for c in (ours, theirs)]
                self.check(said, f"{self.who}, APPEND of {first} and after")
                assert said[0][-1].startswith(b"x OK"), (first, said[0])

    def connect_stock(self):
        c = rawimap.Raw(self.systems[1].port("imap"))
        c.login(self.accounts[1].address, self.accounts[1].password)
        return c

    def forget(self, stock_alone=False):
        """What Dovecot has cached of the messages is gone: reading them begins cold."""
        for system, account in list(zip(self.systems, self.accounts))[stock_alone:]:
            for f in system.home(account).rglob("dovecot.index.cache"):
                f.unlink()

    def compare(self, commands, how, folder="INBOX", mask=lambda response: response):
        """On one new connection each. mask: takes out of a response what may differ."""
        ours, theirs = self.connect()
        with ours, theirs:
            for line in [f"SELECT {folder} (CONDSTORE)".encode(), *commands, b"NOOP", b"UNSELECT", b"LOGOUT"]:
                said = wrapped_around(*([mask(r) for r in rawimap.same(c.command(line))] for c in (ours, theirs)))
                if b"LAZY" in line:
                    said = lazy(*said)
                if said[0] != said[1] and not self.also_said(said, line, folder, mask):
                    self.check(said, f"{self.who}, {how}: {line[:300]!r}")

    def also_said(self, said, line, folder, mask):
        """Dovecot itself tells some odd mails differently when it has to read them, and when it has them cached; what is cached
        when is a server's own affair. So each item of ours has to be one that the stock server, too, gives in some state."""
        if len(said[0]) != len(said[1]):
            return False
        if not re.match(rb"(UID )?FETCH ", line):
            states = [self.told(line, folder, mask, cold) for cold in (False, True)]
            del self.known[line, folder, False]
            self.told(b"FETCH 1:* (BODY.PEEK[1])", folder, mask, False)  # now it has the parts of all, too, as the sealed cache does
            states.append(self.told(line, folder, mask, False))
            return said[0] in states or found_somewhere(said, states)
        head, items = re.fullmatch(rb"((?:UID )?FETCH \S+ )(.*)", line).groups()
        told = [self.told(head + b"(" + item + b")", folder, mask, cold) for item in items_of(items.replace(b" (LAZY)", b"")) for cold in (False, True)]
        choices = [{said[1][n]} | {told_there[n] for told_there in told if n < len(told_there)} for n in range(len(said[0]) - 1)]
        return said[0][-1] == said[1][-1] and all(
            a == b or made_of(inside(a), {inside(c) for c in choice}) for a, b, choice in zip(said[0], said[1], choices))

    def told(self, line, folder, mask, cold):
        """What the stock server says to it, with what it has cached, or with nothing. That does not change, so it is asked once."""
        if b"FLAGS" in line or (line, folder, cold) not in self.known:
            if cold:
                self.forget(stock_alone=True)
            with self.connect_stock() as c:
                c.command(f"SELECT {folder}")
                self.known[line, folder, cold] = [mask(r) for r in rawimap.same(c.command(line))]
        return self.known[line, folder, cold]

    @staticmethod
    def check(said, what):
        said = wrapped_around(*said)
        assert said[0] == said[1], f"{what}\n{difference(*said)}"


def found_somewhere(said, states):
    """Of SEARCH: each number that one of the two has too many or too few is told as we do in one of the states."""
    answers = [answer[0] for answer in (*said, *states)]
    if not all(a.startswith(b"* SEARCH") for a in answers) or said[0][1:] != said[1][1:]:
        return False
    ours, theirs, *others = [set(a.split()[2:]) for a in answers]
    return all(any((n in ours) == (n in other) for other in others) for n in ours ^ theirs)


MACROS = {b"FAST": b"FLAGS INTERNALDATE RFC822.SIZE", b"ALL": b"FLAGS INTERNALDATE RFC822.SIZE ENVELOPE",
          b"FULL": b"FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY"}


def items_of(text):
    """'(A B[C (D)])' or a macro: [A, B[C (D)]]"""
    text = MACROS.get(text, text)
    text = text[1:-1] if text.startswith(b"(") and text.endswith(b")") else text
    return re.findall(rb"[^\s(\[]+(?:\[[^]]*\](?:<[\d.]+>)?)?", text)


def inside(response):
    """What stands in the parentheses of a FETCH response, without \\Recent: the second session that looks does not get it."""
    response = re.sub(rb"\A\* \d+ FETCH \(|\)\r\n\Z", b"", response)
    return re.sub(rb" ?\\Recent", b"", response)


def made_of(text, choices):
    """Is text a row of choices, with blanks between?"""
    if text in choices:
        return True
    return any(text.startswith(c + b" ") and made_of(text[len(c) + 1:], choices - {c}) for c in choices)


# Of mail with bare LFs, Dovecot 2.3.19 takes more lines off a decoded part's size than it has bytes, and shows 2^64 less.
WRAPPED = re.compile(rb"(BINARY\.SIZE\[[^]]*\]) 1844674407\d{10}\b")


def long_strings(response):
    """A literal of many bytes that could stand in quotes does: Dovecot takes the one or the other as its buffers were filled."""
    m = re.search(rb"\{(\d{5,})\}\r\n", response)
    text = response[m.end():m.end() + int(m[1])] if m else b"\r"
    if re.search(rb'[\x80-\xff\r\n"\\]', text):
        return response
    return response[:m.start()] + b'"' + text + b'"' + response[m.end() + int(m[1]):]


def wrapped_around(ours, theirs):
    """Both, but for sizes below zero: ours is stored with CRLFs, and has a true one there."""
    ours, theirs = [long_strings(r) for r in ours], [long_strings(r) for r in theirs]
    for n, response in enumerate(theirs):
        for name in {m[1] for m in WRAPPED.finditer(response)}:
            either = re.compile(re.escape(name) + rb" \d+")
            theirs[n] = either.sub(name + b" W", theirs[n])
            if n < len(ours):
                ours[n] = either.sub(name + b" W", ours[n])
    return ours, theirs


def lazy(ours, theirs):
    """PREVIEW (LAZY) is NIL where a server has no preview at hand (RFC 8970): which mails that are is each server's affair."""
    if len(ours) != len(theirs):
        return ours, theirs
    none = [b"(PREVIEW NIL)" in a + b for a, b in zip(ours, theirs)]
    return tuple([b"lazy" if skip else r for skip, r in zip(none, said)] for said in (ours, theirs))


def difference(ours, theirs):
    """The first response that is not the same, for a reader."""
    for a, b in zip(ours, theirs):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            low = max(0, at - 200)
            return (f"they part at byte {at} (of {len(a)} and {len(b)})\nstarts: {a[:80]!r}\n  Basalt: {a[low:at + 300]!r}\n"
                    f"  plain:  {b[low:at + 300]!r}")
    return f"{len(ours)} responses and {len(theirs)}; Basalt: {ours[-2:]!r}; plain: {theirs[-2:]!r}"[:2000]
