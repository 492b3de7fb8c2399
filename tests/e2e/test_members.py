"""Shared mailboxes: members log in through Dovecot as MAILBOX*MEMBER, each by the own password, until they are removed."""
import imaplib
import json

import pytest

import clients
import probes
import sealedfiles
import systems
from test_plugin_settings import Configured

MEMBERS = """auth_master_user_separator = *
mail_plugins = $mail_plugins acl
plugin {{
  acl = vfile
}}
passdb {{
  driver = basalt
  args = {run}/auth
  master = yes
}}
"""
KEY_ID = slice(44, 60)  # of a sealed message


class Mailbox:
    """A shared mailbox with two members and two mails."""

    def __init__(self, system):
        self.system, self.info, self.bob, self.carol = system, *(system.account() for _ in range(3))
        for member in (self.bob, self.carol):
            self.ctl("add-member", member.address)
        self.sent = [probes.marked(f"shared {i}") for i in range(2)]
        for message in self.sent:
            assert probes.lmtp(system, self.info, message) == 250

    def ctl(self, verb, what):
        return self.system.ctl("key", verb, self.info.address, what, "--password-stdin",
                               stdin=self.info.password.encode() + b"\n")

    def slot(self, member):
        slots = json.loads(self.system.ctl("key", "show", self.info.address, "--json").stdout)["slots"]
        (found,) = [s["id"] for s in slots if s["label"] == member.address]
        return found

    def name(self, member):
        return f"{self.info.address}*{member.address}"

    def login(self, member, password=None):
        return clients.Imap(self.system.port("imap"), self.name(member), password or member.password)

    def refused(self, name, password):
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            clients.Imap(self.system.port("imap"), name, password)
        return True

    def reads(self, mail):
        mail.select()
        return [probes.word(mail.part(uid)) for uid in mail.uids()] == [probes.word(m) for m in self.sent]

    def key_ids(self):
        return [m.read()[KEY_ID] for m in sealedfiles.messages(self.system, self.info)]


@pytest.fixture(scope="module", params=[("sdbox", "sqlite"), ("maildir", "mariadb")], ids="+".join)
def site(request, tmp_path_factory, pool):
    file = tmp_path_factory.mktemp("members") / "more.conf"
    file.write_text("")
    storage, db = request.param
    system = systems.System([*systems.CHEAP_KDF, "--set", f"dovecot.include={file}"], storage=storage, db=db).start()
    file.write_text(MEMBERS.format(run=system.env["KEYD_RUN"]))
    configured = Configured(system, file)
    configured.set(file.read_text())
    yield configured
    system.remove()


@pytest.fixture
def shared(site):
    return Mailbox(site.system)


def test_members_until_they_leave(site, shared):
    system, bob, carol = site.system, shared.bob, shared.carol
    with shared.login(bob) as one, shared.login(carol) as two, system.imap(shared.info) as own:
        assert shared.reads(one) and shared.reads(two) and shared.reads(own)
        one.ok("uid", "STORE", "1", "+FLAGS", r"(\Flagged)")
        shared.sent.append(probes.marked("stored by a member"))
        two.append(shared.sent[-1])
    pop = clients.pop3(system.port("pop3"), shared.name(carol), carol.password)
    assert [probes.word(clients.retr(pop, n)) for n in (1, 2, 3)] == [probes.word(m) for m in shared.sent]
    pop.quit()
    assert set(system.suites(shared.info)) == {systems.SUITE_SEALED}
    before = set(shared.key_ids())
    assert len(before) == 1, "what a member stores is sealed to the shared mailbox, as all its mail"
    with system.imap(bob) as mail:
        assert mail.select() == 0, "his own mailbox is another one"

    with shared.login(carol) as still_here:
        still_here.select()
        shared.ctl("remove", shared.slot(carol))
        shared.sent.append(probes.marked("after she left"))
        assert probes.lmtp(system, shared.info, shared.sent[-1]) == 250
        with pytest.raises(imaplib.IMAP4.abort, match="keys have changed"):  # her session ended with her slot
            probes.wait_for(lambda: still_here.ok("noop") is None)
    assert shared.refused(shared.name(carol), carol.password)
    (new,) = set(shared.key_ids()) - before
    assert shared.key_ids().count(new) == 1, "the key that she had is renewed away: new mail is sealed to another"
    with shared.login(bob) as one, system.imap(shared.info) as own:
        assert shared.reads(one) and shared.reads(own)
    with system.imap(carol) as mail:
        assert mail.select() == 0, "her own mailbox is as it was"


def test_who_is_no_member(site, shared):
    system, eve = site.system, site.system.account()
    since = len(system.log("dovecot"))
    assert shared.refused(shared.name(eve), eve.password)
    assert shared.refused(shared.name(shared.bob), "wrong") and shared.refused(shared.name(shared.bob), shared.info.password)
    assert shared.refused(f"{eve.address}*{shared.bob.address}", shared.bob.password), "no shared mailbox of his"
    assert shared.refused(f"nobody@example.org*{shared.bob.address}", shared.bob.password)
    assert shared.refused(f"{shared.bob.address}*{shared.info.address}", shared.info.password), "not the other way round"
    assert shared.refused(f"{shared.name(shared.bob)}*{shared.bob.address}", shared.bob.password)
    assert shared.refused(shared.info.address, shared.bob.password)
    assert not [line for line in system.log("dovecot")[since:].splitlines() if "Error: " in line or "Panic" in line]


def test_app_passwords_and_submission_of_members(site, shared):
    system, bob = site.system, shared.bob
    code = system.ctl("key", "add-app-password", bob.address, "--password-stdin", "--stdout",
                      stdin=bob.password.encode() + b"\n").stdout.split()[-1].decode()
    with shared.login(bob, code) as mail:
        assert shared.reads(mail)
    with clients.smtp(system.port("submission")) as s:
        assert s.login(shared.name(bob), bob.password)[0] == 235
