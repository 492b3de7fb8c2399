"""Damaged mail files: each costs a tagged NO and nothing else; it can be listed, copied, moved, deleted; scrub names it."""
import json
import os

import pytest

import clients
import damage
import messages
import probes


@pytest.fixture(params=[("sdbox", "sqlite"), ("maildir", "mariadb")], ids=lambda c: c[0])
def files(request, pool):
    """A system whose storage keeps one file for each message."""
    return pool.get(*request.param)


def three_chunks(about):
    """A message of a header chunk, two full body chunks of one length and a part of a third."""
    name = probes.word(probes.marked(about))
    return messages.make(name + b"\r\n" + messages.noise(150_000, seed=len(about)) + name + b"\r\n", subject=about)


def deliver(system, account, names):
    """A message for each name, and their files, in order of UID."""
    found, sent = [], {}
    with system.lmtp() as c:
        for name in names:
            sent[name] = three_chunks(name)
            c.command("RSET")
            assert c.deliver(probes.STRANGER, [account.address], sent[name])[account.address][0][0] == 250
            found.append(next(f for f in system.mail_files(account) if f not in found))
    return sent, found


def fetch(mail, uid, section=""):
    """The tagged status of FETCH BODY.PEEK[section], and the bytes."""
    status, data = mail.c.uid("FETCH", str(uid), f"(BODY.PEEK[{section}])")
    return status, b"".join(d[1] for d in data if isinstance(d, tuple))


def scrubbed(system, account):
    """The files that basaltctl scrub names."""
    p = system.ctl("scrub", "--json", str(system.home(account)), check=False)
    report = json.loads(p.stdout)
    assert report["errors"] == [] and p.returncode == (1 if report["damaged"] else 0)
    return [d["path"] for d in report["damaged"]]


def handled(mail, count, broken, items):
    """Everything that a client does to a mail that it can't read. broken: UIDs; the last one is whole."""
    mail.ok("create", "elsewhere")
    assert mail.uids() == list(range(1, count + 1))
    for uid in broken:
        mail.ok("uid", "FETCH", str(uid), items)
        mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Flagged)")
        mail.copy(uid, "elsewhere")
    half = len(broken) // 2
    for uid in broken[:half]:
        mail.copy(uid, "elsewhere", "MOVE")
    for uid in broken[half:]:
        mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Deleted)")
    mail.ok("expunge")
    assert mail.uids() == [u for u in range(1, count + 1) if u not in broken]
    assert mail.select("elsewhere") == len(broken) + half
    for uid in mail.uids():
        assert fetch(mail, uid)[0] == "NO"
        mail.ok("uid", "STORE", str(uid), "+FLAGS", r"(\Deleted)")
    mail.ok("expunge")
    assert mail.select("elsewhere") == 0
    mail.select()


def check(system, account, sent, broken):
    """broken: {UID: name}. The other messages are those of sent, whole."""
    names = list(sent)
    for _ in range(2):  # a second session finds the same
        with system.imap(account) as mail:
            assert mail.select() == len(names)
            seen = {}
            for uid, name in enumerate(names, 1):
                status, data = fetch(mail, uid)
                seen[name] = status if uid in broken else (status, data.endswith(sent[name]))
            assert seen == {n: "NO" if u in broken else ("OK", True) for u, n in enumerate(names, 1)}
            assert len([u for u in broken if fetch(mail, u, "TEXT")[0] == "OK"]) == 0
    pop = system.pop3(account)
    for uid, name in enumerate(names, 1):
        if uid in broken:
            with pytest.raises(clients.poplib.error_proto, match="-ERR"):
                pop.retr(uid)
        else:
            assert clients.retr(pop, uid).endswith(sent[name])
    pop.quit()


def run_damages(system, damages, items="(FLAGS RFC822.SIZE INTERNALDATE)"):
    """A mailbox with a message for each damage, a whole one before and one after them."""
    account = system.account()
    sent, found = deliver(system, account, ["whole", *damages, "last"])
    for file, name in zip(found, sent):
        if name in damages:
            damages[name](damage.Sealed(file))
            os.utime(file, (0, 0))  # scrub takes a file of the last minute for one that is being written
    broken = {uid: n for uid, n in enumerate(sent, 1) if n in damages}
    check(system, account, sent, broken)
    assert {base(f) for f in scrubbed(system, account)} == {base(f) for f in found[1:-1]}
    with system.imap(account) as mail:
        mail.select()
        handled(mail, len(sent), list(broken), items)
    assert [n for n in sent if n not in damages] == ["whole", "last"]
    with system.imap(account) as mail:
        mail.select()
        assert [fetch(mail, uid)[0] for uid in mail.uids()] == ["OK", "OK"]
    assert scrubbed(system, account) == []


def base(file):
    """A mail file's name without Maildir's flags."""
    return os.path.basename(file).split(":")[0]


def test_damaged_in_place(files):
    run_damages(files, damage.IN_PLACE)


def test_cut_off(files):
    """Dovecot keeps sdbox's INTERNALDATE at the end of the file: asking for it costs a disconnect, with Basalt or without."""
    run_damages(files, damage.CUT, *(["(FLAGS RFC822.SIZE)"] if "sdbox" in files.options else []))
