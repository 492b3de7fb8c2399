"""A session that keyd ends, or that ends with keyd: the client hears of it at once, whatever it is doing, and logs in again."""
import poplib
import socket
import time

import pytest

import clients
import idlers
import messages
import probes
import rawimap

SOON_S = 5  # it is less than one on a machine that has nothing else to do
MANY = 1500


ENDINGS = [(idlers.session_end, b"* BYE Session ended by an administrator", "session ended by an administrator"),
           (idlers.vault_dies, b"* BYE [UNAVAILABLE] The key service", "basalt-keyd is gone")]
endings = pytest.mark.parametrize("end, bye, why", ENDINGS, ids=["session-end", "vault-dies"])


@endings
@pytest.mark.parametrize("doing", ["idle", "nothing", "selected"])
def test_imap(system, doing, end, bye, why):
    """Waiting, before and behind SELECT; another's session has nothing to do with an end of this one."""
    alice, bob, plain = system.account(), system.account(), system.account("plain")
    idlers.fill(system, alice, 2)
    since = len(system.log("dovecot"))
    with idlers.raw(system, alice) as c, idlers.raw(system, bob) as other, idlers.raw(system, plain) as third:
        if doing != "nothing":
            c.ok("SELECT INBOX")
        for one in (other, third):
            one.ok("SELECT INBOX")
            idlers.idle(one)
        if doing == "idle":
            idlers.idle(c)
        start = time.monotonic()
        end(system, alice)
        assert c.response().startswith(bye)
        assert time.monotonic() - start < SOON_S
        assert idlers.hung_up(c)
        assert system.logged("dovecot", f"imap({alice.address})", since) and system.logged("dovecot", f"Disconnected: basalt: {why}", since)
        if end is idlers.session_end:
            assert probes.lmtp(system, bob, probes.marked("still there")) == 250
            assert other.until(b"* 1 EXISTS")
            other.send("DONE")
            other.until(b"x OK")
            assert b"canary-" in b"".join(other.ok("FETCH 1 (BODY.PEEK[])"))
        else:
            assert other.response().startswith(bye)
            assert probes.wait_for(lambda: system.pids("keyd")) and idlers.back(system, alice)
        assert probes.lmtp(system, plain, probes.marked("needs no key")) == 250
        assert third.until(b"* 1 EXISTS"), "a plain account's session outlives keyd"
    assert idlers.back(system, alice)
    idlers.quiet(system, since)


class Slow(rawimap.Raw):
    """A client whose system takes little that it has not read."""

    def __init__(self, port):
        self.s = socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.s.settimeout(rawimap.TIMEOUT_S)
        self.s.connect(("127.0.0.1", port))
        self.f = self.s.makefile("rb", buffering=4096)
        self.greeting = self.response()


@pytest.fixture(scope="module")
def crowded(pool):
    """An account with more mail, and more of it in its envelopes, than the system takes for a client that reads nothing."""
    system = pool.get()
    alice = system.account()
    idlers.fill(system, alice, MANY, "a word " * 800, 20000)
    with idlers.raw(system, alice) as c:
        c.ok("SELECT INBOX")
        c.ok("FETCH 1:* (ENVELOPE)")
    return alice


@endings
@pytest.mark.parametrize("what", ["BODY.PEEK[]", "ENVELOPE"])
@pytest.mark.limit(240)
def test_in_the_middle_of_a_fetch(system, crowded, what, end, bye, why):
    """Whole responses to the last, then BYE; and not all of them."""
    since, of_keyd = len(system.log("dovecot")), len(system.log("keyd"))
    with Slow(system.port("imap")) as c:
        c.login(crowded.address, crowded.password)
        c.ok("SELECT INBOX")
        c.send(f"x FETCH 1:* ({what})")
        for _ in range(5):
            assert b" FETCH " in c.response()
        end(system, crowded)
        assert system.logged("keyd", "ended by pid" if end is idlers.session_end else "was killed by signal 9", of_keyd)
        answer = c.until(b"* BYE")
        assert answer[-1].startswith(bye) and idlers.hung_up(c)
        assert all(r.startswith(b"x NO") or b" FETCH (" in r and r.endswith(b")\r\n") for r in answer[:-1])
        assert sum(what.removesuffix("[]").removesuffix(".PEEK").encode() in r for r in answer) < MANY - 100
    assert system.logged("dovecot", f"Disconnected: basalt: {why}", since)
    assert idlers.back(system, crowded)
    idlers.quiet(system, since)


def test_a_client_that_takes_nothing(system):
    """It is hung up on, in the middle of a message if need be; one that takes its message slowly gets all of it."""
    alice, bob = system.account(), system.account()
    for account in alice, bob:
        assert probes.lmtp(system, account, messages.make(messages.noise(30 << 20))) == 250
    since = len(system.log("dovecot"))
    with Slow(system.port("imap")) as dead, Slow(system.port("imap")) as slow:
        for c, account in (dead, alice), (slow, bob):
            c.login(account.address, account.password)
            c.ok("SELECT INBOX")
            c.send("x FETCH 1 (BODY.PEEK[])")
            c.f.read(100)
            idlers.session_end(system, account)
        taken = 100
        while not system.logged("dovecot", "Disconnected: basalt: session ended", since, seconds=5):
            taken += len(slow.f.read(20000))
        slow.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        assert slow.f.read(31 << 20).endswith(b"* BYE Session ended by an administrator, log in again\r\n") and taken > 20000
    line, = system.logged("dovecot", "Disconnected: basalt: session ended", since, count=2)[:-1]
    assert alice.address in line
    assert idlers.back(system, alice)
    idlers.quiet(system, since)


@endings
def test_pop3(system, end, bye, why):
    """POP3 has no word for it but -ERR at the next command; nothing that was marked is deleted."""
    alice = system.account()
    for letter in "one", "two":
        assert probes.lmtp(system, alice, probes.marked(letter)) == 250
    since = len(system.log("dovecot"))
    p = system.pop3(alice)
    clients.retr(p, 1)
    p.dele(1)
    end(system, alice)
    assert system.logged("dovecot", f"Disconnected: basalt: {why}", since)
    with pytest.raises(poplib.error_proto) as caught:
        p.noop()
    assert bye.split(b"]")[-1].removeprefix(b"* BYE ").strip() in caught.value.args[0] and b"[SYS/TEMP]" in caught.value.args[0]
    p.close()
    assert idlers.back(system, alice)
    assert len(probes.shown(system, alice)) == 2
    idlers.quiet(system, since)


def test_pop3_in_the_middle_of_a_mail(system):
    """The mail comes to its end, then -ERR."""
    alice = system.account()
    mail = messages.make(messages.noise(20 << 20))
    assert probes.lmtp(system, alice, mail) == 250
    since = len(system.log("dovecot"))
    p = clients.poplib.POP3("127.0.0.1", system.port("pop3"), timeout=rawimap.TIMEOUT_S)
    p.user(alice.address)
    p.pass_(alice.password)
    p._shortcmd("RETR 1")
    assert p.file.readline()
    idlers.session_end(system, alice)
    rest = p.file.read()
    assert rest.endswith(b"\r\n.\r\n-ERR [SYS/TEMP] Session ended by an administrator, log in again\r\n") and len(rest) > 20 << 20
    p.close()
    idlers.quiet(system, since)


def test_why(system):
    """What ends sessions besides: keys that have changed, an account that is removed."""
    alice = system.account()
    with idlers.raw(system, alice) as c:
        idle_too = idlers.raw(system, alice)
        system.ctl("account", "passwd", alice.address, "--compromised", "--old-password-stdin", "--password-stdin",
                   stdin=f"{alice.password}\n{alice.password}-new\n".encode())
        for one in c, idle_too:
            assert one.response().startswith(b"* BYE The account's keys have changed")
            assert idlers.hung_up(one)
        idle_too.close()
    alice.password += "-new"
    with idlers.raw(system, alice) as c:
        system.ctl("account", "remove", alice.address, "--yes", check=False)
        assert c.response().startswith(b"* BYE The account was removed")
