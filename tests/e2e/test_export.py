"""doveadm basalt export-sealed: mails as they lie on disk, without a key; nothing is overwritten, nothing leads out.
The other storages: test_damaged.py, which exports every mail that it damages."""
import json
import os

import pytest

import messages
import probes
import sealedexport
import sealedfiles


def inspected(system, file):
    """What basaltctl says of an exported file: its one message."""
    p = system.ctl("message", "inspect", "--json", str(file), check=False)
    message, = json.loads(p.stdout)["messages"]
    return p.returncode, message


def test_exported_as_stored(system):
    """Three mails, one in a folder with an odd name, none of which leaves a trace of what it says."""
    account, sent = system.account(), [probes.marked(f"export {i}", 2000 + 90_000 * i) for i in range(3)]
    for message in sent[:2]:
        assert probes.lmtp(system, account, message) == 250
    with system.imap(account) as mail:
        mail.ok("create", '"odd &AOk- %2F~"')
        mail.append(sent[2], '"odd &AOk- %2F~"')
    stored = {m.read() for m in sealedfiles.messages(system, account)}
    folder = sealedexport.folder_for(system, f"export-{account.local}")
    found, err = sealedexport.export(system, account, folder, "mailbox", "INBOX", "all")
    other, _ = sealedexport.export(system, account, folder, "mailbox", "odd*", "all")
    assert err == "" and sorted(found) == [1, 2] and sorted(other) == [1]
    rows = [*found.values(), *other.values()]
    assert {r["file"].read_bytes() for r in rows} == stored
    assert {r["file"].parent.name for r in rows} == {"INBOX", "odd%20%C3%A9%20%252F%7E"}
    for r in rows:
        assert r["kind"] == "sealed" and r["file"].stat().st_mode & 0o777 == 0o600
        assert int(r["size"]) == r["file"].stat().st_size and r["file"].resolve().is_relative_to(folder.resolve())
        status, said = inspected(system, r["file"])
        assert (status, said["sealed"], said["damage"], said["chunks_complete"]) == (0, True, None, True)
        assert not [m for m in sent if probes.word(m) in r["file"].read_bytes()]
    again, err = sealedexport.export(system, account, folder, "mailbox", "INBOX", "all")
    assert again == {} and err.count("File exists") == 2
    assert {r["file"].read_bytes() for r in rows} == stored


def test_damaged_and_clear_mail(system):
    """What is left of a mail is exported; a plain account's mail is called what it is."""
    alice, bob = system.account(), system.account("plain")
    for account in (alice, alice, bob):
        assert probes.lmtp(system, account, messages.make(messages.noise(9000))) == 250
    os.truncate(sealedfiles.messages(system, alice)[0].path, 3000)
    folder = sealedexport.folder_for(system, f"export-{alice.local}")
    found, err = sealedexport.export(system, alice, folder, "all")
    assert err == "" and [found[u]["kind"] for u in sorted(found)] == ["sealed", "sealed"]
    cut, whole = (inspected(system, found[u]["file"]) for u in (1, 2))
    assert cut[0] == 1 and "cut off" in cut[1]["damage"] and whole[0] == 0
    assert 2900 < found[1]["file"].stat().st_size < 3000
    clear, _ = sealedexport.export(system, bob, folder, "all")
    assert clear[1]["kind"] == "clear" and inspected(system, clear[1]["file"])[1]["suite"] == 0


@pytest.mark.parametrize("args, status, text", [
    (["all"], 64, "-d <directory> <search query>"),
    (["-d", "DIR"], 64, "-d <directory> <search query>"),
    (["-d", "/proc/none", "all"], 75, "can't make the folder"),
    (["-d", "DIR", "uid", "999"], 0, ""),
], ids=["no-folder", "no-query", "no-such-folder", "nothing-found"])
def test_wrong_usage(system, args, status, text):
    account = system.account()
    assert probes.lmtp(system, account, probes.marked("one")) == 250
    folder = sealedexport.folder_for(system, f"export-{account.local}")
    args = [str(folder) if a == "DIR" else a for a in args]
    code, out, err = sealedexport.doveadm(system, "basalt", "export-sealed", "-u", account.address, *args)
    assert code == status and text in out + err, (code, out, err)
    assert list(folder.rglob("*")) == []


def test_without_the_mail_plugin(system):
    code, out, err = sealedexport.doveadm(system, "-o", "mail_plugins=", "basalt", "export-sealed", "-u",
                                          system.account().address, "-d", "/tmp", "all")
    assert code == 78 and "mail_plugins" in err
