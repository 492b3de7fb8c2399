"""Every check with every action, and with its source down: seen in the mailbox, the dialogue and the bounce. One site for all of
it, so each account stands for one action: of each message exactly one check finds something."""
import concurrent.futures
import contextlib
import secrets
import signal

import pytest

import inbound
import messages
import systems

BY_DNS, BY_DATABASE = ("dnsbl", "spf", "dkim", "dmarc"), ("limits", "greylist")  # what a check asks
PLACES = [("sdbox", "sqlite", BY_DNS), ("maildir", "mariadb", BY_DATABASE)]
CHECKS = ("dnsbl", "spf", "limits", "greylist", "dkim", "dmarc")
ACTIONS = ("off", "header", "label", "folder", "drop", "reject")
DOWN = ("skip", "defer", "hit")
EARLY = {"dnsbl": (550, "5.7.1 "), "spf": (550, "5.7.23 "), "greylist": (451, "4.7.1 Greylisted")}  # known at RCPT
LATE = {"limits": (552, "5.3.4 "), "dkim": (550, "5.7.20 No DKIM signature"), "dmarc": (550, "5.7.1 Rejected by the DMARC policy")}
SIZE = 4000
UNASKED = iter([f"192.0.2.{n}" for n in range(70, 120)])  # for the block list alone: its answer about an address is kept


class Case:
    """A message in which one check finds something; fresh: by names of the DNS that nobody has asked for."""

    def __init__(self, check, fresh=False):
        self.ident = f"{check}-{secrets.token_hex(5)}"
        self.client = inbound.LISTED if check == "dnsbl" and not fresh else inbound.CLEAN
        if fresh:
            self.client = next(UNASKED) if check == "dnsbl" else f"192.0.2.{120 + secrets.randbelow(120)}"
        below = f"{self.ident}." if fresh else ""
        self.sender = f"a@{below}{'hard' if check == 'spf' else 'pass'}.example"
        selector = f"{self.ident}.late" if fresh else "s"
        author = f"{below}strict" if check == "dmarc" else "pass"
        plain = messages.make(messages.text(2 * SIZE if check == "limits" else 300), ident=self.ident).replace(
            b"tester@out.example", f"tester@{author}.example".encode())
        self.message = inbound.signed(plain, selector=selector)
        if check == "dkim":
            self.message += b"And more than was signed.\r\n"


class Place:
    """The site and its accounts: by[action] has all checks but the greylist, grey[action] that one alone."""

    def __init__(self, site, silent):
        """silent: the checks whose source is going to be silent."""
        self.site, self.silent = site, silent
        site.prefer_all([(0, "", c, "off") for c in CHECKS])
        self.by = {a: site.account("plain") for a in ACTIONS}
        self.grey = {a: site.account("private") for a in ACTIONS}
        others = [c for c in CHECKS if c != "greylist"]
        self.down = {(c, d): site.account("plain") for c in silent for d in DOWN}
        site.prefer_all(
            [(3, self.by[a].address, c, a) for a in ACTIONS for c in others] +
            [(3, a.address, "limits.size", str(SIZE)) for a in self.by.values()] +
            [(3, self.grey[a].address, "greylist", a) for a in ACTIONS] +
            [(3, a.address, c, "folder") for (c, d), a in self.down.items()] +
            [(3, a.address, f"{c}.down", d) for (c, d), a in self.down.items()] +
            [(3, a.address, "limits.account", "1000") for (c, _), a in self.down.items() if c == "limits"] +
            [(3, a.address, "greylist.passes", "0") for (c, _), a in self.down.items() if c == "greylist"])

    def accounts(self, check):
        """{action: account}"""
        return self.grey if check == "greylist" else self.by

    def send(self, case, accounts):
        return self.site.send(case.sender, [a.address for a in accounts], case.message, client=case.client)

    def found(self, account, ident):
        """(folder, message) of one message in an account's mailbox; (None, b"")"""
        mails = [(f, m) for f, ms in self.site.folders(account).items() for m in ms if ident.encode() in m]
        assert len(mails) <= 1, mails
        return mails[0] if mails else (None, b"")


@pytest.fixture(scope="module", params=PLACES, ids=lambda p: f"{p[0]}+{p[1]}")
def place(request):
    storage, db, silent = request.param
    with inbound.Site(storage, db, milter__cache_s=600) as site:
        yield Place(site, silent)


def seen(folder, message):
    """What one can see of an action, in words."""
    subject = b"[SPAM] made to measure" in message
    note = message.partition(b"X-Basalt-Note: ")[2].partition(b"\r\n")[0].decode()
    return folder, "label" if subject else "", note


@pytest.mark.parametrize("check", CHECKS)
def test_every_action_of_a_check(place, check):
    case, accounts = Case(check), place.accounts(check)
    answers, data = place.send(case, accounts.values())
    refused = accounts["reject"].address
    for a in accounts.values():
        wanted = EARLY.get(check, (250,)) if a.address == refused else (250,)
        assert answers[a.address][0] == wanted[0], (a, answers)
        assert answers[a.address][1].startswith(wanted[1] if len(wanted) > 1 else ""), answers
    assert data[0] == 250, data
    place.site.system.settle()
    got = {action: seen(*place.found(a, case.ident)) for action, a in accounts.items()}
    assert got == {"off": ("INBOX", "", ""), "header": ("INBOX", "", check), "label": ("INBOX", "label", check),
                   "folder": ("Junk", "", check), "drop": (None, "", ""), "reject": (None, "", "")}
    bounces = [t for t in place.site.outside.taken if case.ident.encode() in t.data]
    assert len(bounces) == (check in LATE)
    if bounces:
        code, text = LATE[check]
        said = b" ".join(bounces[0].data.split())
        assert (bounces[0].sender, bounces[0].recipients) == ("", [case.sender])
        assert f"{code} {text.strip()}".encode() in said and f"Final-Recipient: rfc822; {refused} ".encode() in said


@pytest.mark.parametrize("check", CHECKS)
def test_alone_it_is_refused_in_the_dialogue_and_dropped_without_a_trace(place, check):
    case, accounts = Case(check), place.accounts(check)
    before = len(place.site.outside.taken)
    answers, data = place.send(case, [accounts["reject"]])
    reply = data or answers[accounts["reject"].address]
    code, text = {**EARLY, **LATE}[check]
    assert reply[0] == code and reply[1].startswith(text), reply
    assert (data is None) == (check in EARLY)
    dropped = Case(check)
    assert place.send(dropped, [accounts["drop"]])[1][0] == 250
    place.site.system.settle()
    assert place.site.logged(f"{dropped.ident}@out.example")["outcome"] == "discarded"
    assert place.found(accounts["drop"], dropped.ident) == (None, b"")
    assert len(place.site.outside.taken) == before


# --- sources that do not answer ---

def outcome(place, check, down):
    """What an account got that wants a folder for a hit, and down for a silent source."""
    case, account = Case(check, fresh=True), place.down[check, down]
    answers, data = place.send(case, [account])
    code = (data or answers[account.address])[0]
    return case, account, code


def outcomes(place):
    """{(check, down): what outcome() says}; all at the same time, each waits for its deadline."""
    with concurrent.futures.ThreadPoolExecutor(len(place.down)) as pool:
        return dict(zip(place.down, pool.map(lambda p: outcome(place, *p), place.down)))


def table(place, sent):
    """{(check, down): the folder, or the code of a refusal}"""
    place.site.system.settle()
    return {p: place.found(a, case.ident)[0] if code == 250 else code for p, (case, a, code) in sent.items()}


def expected(place):
    return {(c, d): {"skip": "INBOX", "defer": 451, "hit": "Junk"}[d] for c, d in place.down}


@contextlib.contextmanager
def stopped(system, part, way):
    """frozen: it stops in mid-work, its port is open; dead: kill -9."""
    pids = system.kill(part, sig=signal.SIGSTOP if way == "frozen" else signal.SIGKILL)
    assert pids
    try:
        yield
    finally:
        system.kill(part, sig=signal.SIGCONT)
        system.start()


def make_silent(place, way):
    """Each account wants to have been looked up before, for who lives here is known from memory then."""
    for a in place.down.values():
        place.send(Case("dnsbl"), [a])
    place.site.system.settle()
    return stopped(place.site.system, "dns" if place.silent == BY_DNS else "database", way)


@pytest.mark.limit(240)
@pytest.mark.parametrize("way", ["frozen", "dead"])
def test_the_source_does_not_answer(place, way):
    with make_silent(place, way):
        sent = outcomes(place)
    assert table(place, sent) == expected(place)
    # And by itself all is as before, within half a minute.
    check, account = ("spf", place.by["reject"]) if place.silent == BY_DNS else ("limits", place.down["limits", "defer"])

    def as_before():
        answers, _ = place.send(Case(check, fresh=True), [account])
        return answers[account.address][0] == (550 if check == "spf" else 250)

    place.site.until(as_before, 30)
