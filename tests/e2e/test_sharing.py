"""Single folders of a sealed account are not shared: who tries is told of shared mailboxes. Those of plain accounts are."""
import pytest

import databases
import probes
import systems
from test_canary_folders import FOLDERS, folders_of_others, seal

IMAP_ACL = "protocol imap {\n  mail_plugins = $mail_plugins imap_acl\n}\n"
WAY_OUT = "a shared mailbox with members can"
RIGHTS = ("lookup", "read", "write", "insert", "post")


@pytest.fixture(scope="module", params=FOLDERS)
def system(request, tmp_path_factory, pool):
    yield from folders_of_others(request.param, tmp_path_factory.mktemp("sharing") / "more.conf", IMAP_ACL)


def share(system, owner, visitor, *rights, verb="set"):
    return system.doveadm("acl", verb, "-u", owner.address, "INBOX", f"user={visitor.address}", *rights)


def untagged_no(mail):
    return b" ".join(mail.c.untagged_responses.get("NO", [])).decode()


def test_nobody_gets_a_right(system):
    """Neither by doveadm nor by IMAP; to take one away, and the owner's own, is no sharing."""
    owner, visitor = system.account("private"), system.account("private")
    for verb in ("set", "add"):
        status, text = share(system, owner, visitor, *RIGHTS, verb=verb)
        assert status != 0 and WAY_OUT in text, text
    with system.imap(owner) as mail:
        status, _ = mail.c.setacl("INBOX", visitor.address, "lr")
        assert status == "NO" and WAY_OUT in untagged_no(mail)
        mail.ok("setacl", "INBOX", owner.address, "lrswipkxtea")
        mail.ok("deleteacl", "INBOX", visitor.address)
    assert share(system, owner, visitor, *RIGHTS, verb="remove")[0] == 0
    assert visitor.address not in system.doveadm("acl", "get", "-u", owner.address, "INBOX")[1]


def test_what_was_shared_before(system):
    """The rights of a plain account's folder work, until that is sealed: then it takes mail and shows none."""
    owner, visitor = system.account("plain"), system.account("private")
    assert share(system, owner, visitor, *RIGHTS)[0] == 0
    sent, folder = probes.marked("before"), f'"shared/{owner.address}"'
    assert probes.lmtp(system, owner, sent) == 250
    with system.imap(visitor) as mail:
        assert mail.select(folder) == 1 and probes.word(sent) in mail.part(1)
    seal(system, owner)
    with system.imap(visitor) as mail:
        for command in ("SELECT", "EXAMINE"):
            status, text = mail.c._simple_command(command, folder)
            assert status == "NO" and WAY_OUT in text[0].decode(), text
        assert mail.c.status(folder, "(MESSAGES)")[0] == "NO"
        left = probes.marked("left there")
        mail.append(left, folder)
    home = system.home(owner) / "basalt"
    assert (home / "record").read_bytes()[databases.GENERATION][-1] == 1, "whom keyd tells no keyset writes no record"
    with system.imap(owner) as mail:
        assert mail.select() == 2 and probes.word(left) in mail.part(2)
    assert (home / "record").read_bytes() == databases.record((home / "keyset").read_bytes())
    assert system.suites(owner).count(systems.SUITE_SEALED) == 1
