"""A site's own passdb judges, and Basalt behind it opens: a password that was changed behind keyd's back is refused with a reason, or
opens a locked mailbox, as the admin wants it. The old password heals it."""
import imaplib
import json
import poplib
import re
import time

import pytest

import clients
import probes
import sealedfiles
import systems
from test_unreadable import LISTING, flat, refusal

NEW = "changed at the site alone"
CHAIN = """passdb {{
  driver = basalt
  args = {socket} app_passwords=only
}}
passdb {{
  driver = passwd-file
  args = {users}
  result_success = continue
}}
passdb {{
  driver = basalt
  args = {socket}{policy}
  skip = unauthenticated
}}
"""
DENY = """passdb {{
  driver = passwd-file
  args = username_format=%s/%u {denied}
  deny = yes
}}
"""


class Site:
    """A system whose Dovecot has a passwd-file before Basalt."""

    def __init__(self, system, users):
        self.system, self.users, self.conf = system, users, system.path("etc", "dovecot.conf")
        self.original, self.passwords = self.conf.read_text(), {}

    def policy(self, words="", first=""):
        self.chain(first + CHAIN.format(users=self.users, socket=f"{self.system.env['KEYD_RUN']}/auth", policy=words))

    def chain(self, passdbs):
        before = set(self.system.pids("dovecot", "auth"))
        text, n = re.subn(r"passdb \{\n  driver = basalt\n[^}]*\}\n", lambda _m: passdbs, self.original)
        assert n == 1
        self.conf.write_text(text)
        assert self.system.doveadm("reload")[0] == 0
        probes.wait_for(lambda: not before & set(self.system.pids("dovecot", "auth")))

    def password(self, account, password):
        self.passwords[account.address] = password
        self.users.write_text("".join(f"{name}:{{PLAIN}}{word}\n" for name, word in self.passwords.items()))
        self.users.chmod(0o644)
        # Dovecot looks at the file once in each second of its clock.
        written = int(time.time())
        probes.wait_for(lambda: time.time() > written + 2)

    def account(self):
        """With three mails; the site and Basalt agree about the password."""
        account = self.system.account()
        self.password(account, account.password)
        return filled(self.system, account)


def filled(system, account):
    account.sent = [probes.marked(f"mail {i}") for i in range(3)]
    for message in account.sent:
        assert probes.lmtp(system, account, message) == 250, system.log("dovecot")[-1500:]
    with system.imap(account) as mail:
        assert mail.select() == 3
    return account


@pytest.fixture(scope="module")
def site(tmp_path_factory, pool):
    system = systems.System([*systems.CHEAP_KDF]).start()
    yield Site(system, system.path("etc", "users"))
    system.remove()


@pytest.fixture(params=["locked", "refuse", "default"])
def policy(request, site):
    site.policy("" if request.param == "default" else f" no_slot={request.param}")
    return request.param


def told(site, account, password):
    with pytest.raises(imaplib.IMAP4.error) as told_:
        site.system.imap(account, password)
    return str(told_.value)


def test_right_and_wrong_passwords(site, policy):
    """What both agree about opens; what neither knows is refused without a word of why, whatever the policy."""
    alice = site.account()
    assert probes.shown(site.system, alice) == [probes.word(m) for m in alice.sent]
    assert "does not open" not in told(site, alice, "neither's")
    site.password(alice, NEW)
    assert "does not open" not in told(site, alice, alice.password), "the site alone judges"
    stranger = systems.Account("stranger@example.org", "never enrolled", "none")
    site.password(stranger, stranger.password)
    assert "does not open" not in told(site, stranger, stranger.password), "of no account there is nothing to lock"


def test_changed_behind_our_back(site, policy):
    system, alice = site.system, site.account()
    before = [m.read() for m in sealedfiles.messages(system, alice)]
    site.password(alice, NEW)
    if policy == "locked":
        with system.imap(alice, NEW) as mail:
            assert mail.select() == 3
            listing = flat(mail.fetch("1:*", LISTING))
            assert listing.count(b"X-Basalt-Unreadable: locked") == 3 and listing.count(b"this password does not open it") >= 3
            assert not [m for m in alice.sent if probes.word(m) in listing]
            assert "recovery code" in refusal(mail, 1)
            mail.ok("create", "elsewhere")
            mail.copy(1, "elsewhere", "MOVE")
            mail.ok("uid", "STORE", "2", "+FLAGS", r"(\Deleted)")
            mail.ok("expunge")
            late = probes.marked("received while locked")
            assert probes.lmtp(system, alice, late) == 250
            mail.ok("noop")
            assert len(mail.uids()) == 2
        pop = clients.pop3(system.port("pop3"), alice.address, NEW)
        assert pop.stat()[0] == 2
        pop.quit()
        assert set(system.suites(alice)) == {systems.SUITE_SEALED} and {m.read() for m in sealedfiles.messages(system, alice)} & set(before)
        inbox, elsewhere = [alice.sent[2], late], [alice.sent[0]]
    else:
        assert "does not open the mailbox's keys" in told(site, alice, NEW)
        with pytest.raises(poplib.error_proto, match="does not open the mailbox's keys"):
            clients.pop3(system.port("pop3"), alice.address, NEW)
        inbox, elsewhere = alice.sent, []
    assert "no key slot opens" in system.log("dovecot")
    system.ctl("account", "passwd", alice.address, "--old-password-stdin", "--password-stdin",
               stdin=f"{alice.password}\n{NEW}\n".encode())
    assert probes.shown(system, alice, NEW) == [probes.word(m) for m in inbox], "the old password heals it"
    if elsewhere:
        assert probes.shown(system, alice, NEW, folder="elsewhere") == [probes.word(m) for m in elsewhere]


def test_app_passwords_come_before_the_site(site):
    """Basalt judges them, and asks keyd of nothing else before the site has judged."""
    site.policy()
    system, alice = site.system, site.account()
    code = system.ctl("key", "add-app-password", alice.address, "--password-stdin", "--stdout",
                      stdin=alice.password.encode() + b"\n").stdout.decode().strip()
    since = len(system.log("keyd"))
    assert probes.shown(system, alice, code) == [probes.word(m) for m in alice.sent]
    assert "does not open" not in told(site, alice, "neither's")
    assert probes.shown(system, alice) == [probes.word(m) for m in alice.sent]
    assert "refused" not in system.log("keyd")[since:], "neither's and the right one came to it once at most"
    assert probes.lmtp(system, alice, probes.marked("still delivered")) == 250
    slots = json.loads(system.ctl("key", "show", alice.address, "--json").stdout)["slots"]
    (slot,) = [s["id"] for s in slots if s["kind"] == "app-password"]
    system.ctl("key", "remove", alice.address, slot, "--password-stdin", stdin=alice.password.encode() + b"\n")
    assert "AUTHENTICATIONFAILED" in told(site, alice, code)


def test_a_denied_user_has_no_app_password(site):
    """The site's own database is not asked about those: a passdb that denies stands before, and his mail comes in."""
    system, alice, bob = site.system, site.account(), site.account()
    code = system.ctl("key", "add-app-password", alice.address, "--password-stdin", "--stdout",
                      stdin=alice.password.encode() + b"\n").stdout.decode().strip()
    denied = system.path("etc", "denied")
    denied.write_text("".join(f"{service}/{alice.address}\n" for service in ("imap", "pop3", "smtp")))
    denied.chmod(0o644)
    site.policy(first=DENY.format(denied=denied))
    for password in code, alice.password:
        told(site, alice, password)
    assert probes.shown(system, bob) == [probes.word(m) for m in bob.sent]
    assert probes.lmtp(system, alice, probes.marked("for whom may not log in")) == 250
    site.policy()
    assert len(probes.shown(system, alice, code)) == 4


def test_keyd_away_is_no_locked_mailbox(site):
    site.policy(" no_slot=locked")
    system, alice = site.system, site.account()
    site.password(alice, NEW)
    system.stop("keyd")
    try:
        assert "UNAVAILABLE" in told(site, alice, NEW)
    finally:
        system.start()
        site.policy(" no_slot=locked")
    system.imap(alice, NEW).close()


@pytest.mark.parametrize("words", [" no_slot=open", " locked", " no_slot=locked x"])
def test_words_that_are_no_policy(site, words):
    since = len(site.system.log("dovecot"))
    site.policy(words)
    alice = systems.Account("alice@example.org", "password", "none")
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        imaplib.IMAP4("127.0.0.1", site.system.port("imap"), timeout=3).login(alice.address, alice.password)
    assert site.system.logged("dovecot", "passdb basalt: args: what is", since)
    site.policy()
