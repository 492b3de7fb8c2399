"""The canary in folders that are not simply an account's own: those of somebody else, virtual ones, and an account that is sealed
while a session of it is open. Each search has its control: with a plain account the same words are found.
"""
import re

import pytest

import messages
import probes
import systems

CONF = """
plugin {{
  acl = vfile
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = {kind}:{root}/%%d/%%n/{folder}
  subscriptions = no
  list = children
}}
namespace virtual {{
  separator = /
  prefix = virtual/
  location = virtual:~/virtual
}}
service auth {{
  unix_listener auth-userdb {{
    mode = 0777
  }}
}}
"""
FOLDERS = {"sdbox": "mail", "maildir": "Maildir"}
LISTING = "(FLAGS ENVELOPE BODYSTRUCTURE PREVIEW RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT FROM MESSAGE-ID REFERENCES)])"


def folders_of_others(storage, more, conf=""):
    """A running system with the acl plugin and folders of others, shared and virtual. more: a file to be written; conf: what else it says."""
    more.write_text("")
    system = systems.System([*systems.CHEAP_KDF, "--plugins", "basalt acl virtual", "--set", f"dovecot.include={more}"], storage=storage)
    more.write_text(CONF.format(kind=storage, root=system.path("mail"), folder=FOLDERS[storage]) + conf)
    yield system.start()
    reports = system.remove()
    assert not reports, reports


@pytest.fixture(scope="module", params=FOLDERS)
def system(request, tmp_path_factory, pool):
    yield from folders_of_others(request.param, tmp_path_factory.mktemp("folders") / "more.conf")


def told(mail, *command):
    """What the server says, whether it agrees or not."""
    status, data = mail.c.uid(*command)
    return status, b" ".join(d[0] + d[1] if isinstance(d, tuple) else d for d in data if d)


def look_around(mail):
    """As a client that shows the folder: everything that Dovecot would remember of it."""
    for command in (("FETCH", "1:*", LISTING), ("SORT", "(SUBJECT FROM)", "UTF-8", "ALL"), ("SEARCH", "SUBJECT", "canary"),
                    ("THREAD", "REFERENCES", "UTF-8", "ALL"), ("FETCH", "1:*", LISTING)):
        told(mail, *command)


def holders(system, word):
    """Files of mail, indexes and temporary files that hold the word."""
    return sorted(f.name for place in ("mail", "tmp-plain") for f in system.path(place).rglob("*") if f.is_file() and word in f.read_bytes())


def mail_with(n=0):
    """Its subject has its word, too."""
    sent = probes.marked("x")
    word = probes.word(sent).decode()
    return messages.make(sent.partition(b"\r\n\r\n")[2], subject=f"about {word}", ident=word, header=[f"References: <{n}-{word}@out.example>"])


def subject(sent):
    return re.search(rb"about (\S+)", sent)[1]


def seal(system, account):
    system.ctl("account", "plan", account.address, "private", "--password-stdin", stdin=account.password.encode() + b"\n")


@pytest.mark.parametrize("plan", ["private", "plain"])
def test_visitor_of_somebodys_folder(system, plan):
    """Who may store in another's folder leaves there what only its owner opens, and remembers nothing of it in the index: not of
    the mail from before that account was sealed either."""
    owner, visitor = system.account("plain"), system.account("private")
    sent, folder = [mail_with(), mail_with(), mail_with()], f"shared/{owner.address}"
    assert probes.lmtp(system, owner, sent[0]) == 250
    status, text = system.doveadm("acl", "set", "-u", owner.address, "INBOX", f"user={visitor.address}", "lookup", "read", "write", "insert",
                                  "post", "expunge", "write-seen", "write-deleted")
    assert status == 0, text
    if plan == "private":
        seal(system, owner)
    assert probes.lmtp(system, owner, sent[1]) == 250
    for cache in system.home(owner).rglob("dovecot.index.cache"):
        cache.unlink()  # and with it what its owner's processes forbid
    with system.imap(visitor) as mail:
        if plan == "private":
            assert mail.c.select(folder)[0] == "NO"
        else:
            mail.select(folder)
            look_around(mail)
        mail.append(sent[2], f'"{folder}"')
        mail.c.noop()
        if plan == "plain":
            look_around(mail)
    found = [holders(system, subject(s)) for s in sent]
    assert ["dovecot.index.cache" in names for names in found] == [plan == "plain"] * 3
    assert plan == "plain" or found[1:] == [[], []]
    with system.imap(owner) as mail:
        assert mail.select() == 3
        assert all(any(probes.word(s) in mail.part(uid) for uid in mail.uids()) for s in sent)


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "control"])
def test_session_from_before_the_account_was_sealed(system, sealed):
    """It has the cache of a plain account: nothing of what is sealed goes into it."""
    account = system.account("plain")
    assert probes.lmtp(system, account, mail_with()) == 250
    with system.imap(account) as mail:
        mail.select()
        look_around(mail)
        if sealed:
            seal(system, account)
        later = [mail_with(), mail_with()]
        assert probes.lmtp(system, account, later[0]) == 250
        mail.append(later[1])
        mail.c.noop()
        look_around(mail)
        readable = [told(mail, "FETCH", str(uid), "(BODY.PEEK[])")[0] for uid in (2, 3)]
        look_around(mail)
    if sealed:
        assert system.suites(account).count(systems.SUITE_SEALED) == 2  # files of one second stand in any order
        assert [holders(system, subject(s)) for s in later] == [[], []], readable
    else:
        assert all("dovecot.index.cache" in holders(system, subject(s)) for s in later)


@pytest.mark.parametrize("plan", ["private", "plain"])
def test_virtual_folder(system, plan):
    """A folder of searches over others has an index of its own: neither words nor who answers whom are left in it."""
    account = system.account(plan)
    sent = [mail_with(n) for n in range(4)]
    for s in sent:
        assert probes.lmtp(system, account, s) == 250
    definition = system.home(account) / "virtual" / "All" / "dovecot-virtual"
    definition.parent.mkdir(parents=True)
    definition.write_text("INBOX\n  all\n")
    for f in (definition, definition.parent, definition.parent.parent):
        f.chmod(0o777)
    with system.imap(account) as mail:
        assert mail.select("virtual/All") == 4
        look_around(mail)
    with system.imap(account) as mail:
        mail.select("virtual/All")
        assert told(mail, "THREAD", "REFERENCES", "UTF-8", "ALL")[1].count(b"(") == 4
    threads = [f for f in system.home(account).rglob("dovecot.index.thread") if f.stat().st_size > 8]
    words = [holders(system, subject(s)) for s in sent]
    if plan == "private":
        assert threads == [] and words == [[]] * 4
    else:
        assert definition.parent / "dovecot.index.thread" in threads and all(words), "the control"
