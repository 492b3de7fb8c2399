"""probes: what tests of attacks and faults ask of a system again and again.

    sent = probes.marked("swapped key")                      # a message with a word that is nowhere else
    assert probes.lmtp(system, alice, sent) // 100 == 4
    assert not probes.traces(system, alice, sent)            # the word lies in no file
"""
import re
import secrets
import time

import clients
import keyproto
import messages
import systems

UID_MAIL = 62000
STRANGER = "stranger@out.example"


def marked(about, length=2000, filling=messages.text):
    """A message whose body has a word of its own at both ends; messages.noise fills it with what hardly compresses."""
    word = f"canary-{secrets.token_hex(8)}"
    body = f"{word}\r\n".encode() + filling(length, seed=len(word)) + f"{word} ends\r\n".encode()
    return messages.make(body, subject=about, ident=word)


def word(message):
    return re.search(rb"canary-[0-9a-f]{16}", message)[0]


def wait_for(what, seconds=20, step=0.05):
    """Polls until what() is true; its value."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(step)
    return value


def lmtp(system, account, message):
    """The reply code of one delivery, at RCPT or after DATA."""
    with system.lmtp() as c:
        (code, _), = c.deliver(STRANGER, [account.address], message)[account.address]
    return code


def imap_refusal(system, account, password=None):
    """What the server says to a login that must fail; "" when it lets in."""
    try:
        clients.Imap(system.port("imap"), account.address, account.password if password is None else password).close()
    except clients.imaplib.IMAP4.error as e:
        return e.args[0].decode() if isinstance(e.args[0], bytes) else str(e.args[0])
    return ""


def pop3_refusal(system, account, password=None):
    try:
        clients.pop3(system.port("pop3"), account.address, account.password if password is None else password).quit()
    except clients.poplib.error_proto as e:
        return e.args[0].decode() if isinstance(e.args[0], bytes) else str(e.args[0])
    return ""


def unavailable(system, account):
    """Neither lets in, and both say that it is not the user's fault."""
    return "[UNAVAILABLE]" in imap_refusal(system, account) and "[SYS/TEMP]" in pop3_refusal(system, account)


def shown(system, account, password=None, folder="INBOX"):
    """The words of the account's messages as IMAP shows them, whole."""
    with system.imap(account, password) as mail:
        mail.select(folder)
        bodies = [mail.part(uid) for uid in mail.uids()]
    for body in bodies:
        assert body.count(word(body)) >= 2, "both ends are there"
    return [word(b) for b in bodies]


def opened(system, account, sent, password=None):
    """The words of those of the sent messages that open by their keys: an index cache has data keys of mails, too."""
    for cache in system.home(account).rglob("dovecot.index.cache"):
        cache.unlink()
    found = set()
    with system.imap(account, password) as mail:
        mail.select()
        for message in sent:
            typ, data = mail.c.uid("SEARCH", "TEXT", word(message).decode())
            if typ == "OK" and data[0]:
                found.add(word(message))
    return found


def traces(system, account, message):
    """Files of the account's home, of the temporary folder and of the logs in which the message's word lies."""
    places = [system.home(account), system.path("tmp-plain"), system.path("log")]
    return [f for place in places for f in place.rglob("*") if f.is_file() and word(message) in f.read_bytes()
            and not f.name.startswith(("dovecot.index.cache", "postfix", "milter"))]  # docs/THREATS.md


def sealed_only(system, account):
    """Every message that is stored is sealed; how many."""
    found = system.suites(account)
    assert set(found) <= {systems.SUITE_SEALED}
    return len(found)


def queued(system, account):
    """Does mail for it wait in Postfix's queue?"""
    return account.address in system.postfix("postqueue", "-p")


def alarms(system, account):
    """Lines of the logs that should wake somebody."""
    lines = (system.log("keyd") + system.log("dovecot")).splitlines()
    return [line for line in lines if "alarm" in line.lower() and account.address in line]


# Of a sealed account's record deliveries hear from memory: for half a second of auth's, and before that as long of keyd's.
AUTH_KEEPS_S = 0.6
RECORD_KEPT_S = 1.1


def keyd_noticed(system, account):
    """Waits until deliveries are refused: for half a second keyd may answer them with a record that it has verified, and for
    as long auth with what keyd answered."""
    with keyproto.Client(system.env["KEYD_RUN"] + "/delivery") as keyd:
        wait_for(lambda: keyd.call(keyproto.RECORD, keyproto.str16(account.address))[0] != keyproto.OK)
    time.sleep(AUTH_KEEPS_S)


def restart_keyd(system):
    """keyd forgets the generations that it has seen."""
    system.kill("keyd")
    wait_for(lambda: not system.pids("keyd"))
    system.start()
