"""Passwords on the whole system: wrong ones, odd ones, changed ones, and a change that is cut off at any moment."""
import base64
import contextlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest

import clients
import databases
import keyproto
import probes

ROUNDS = 20  # on each database


@pytest.fixture
def system(request, pool):
    return pool.get(*getattr(request, "param", ("sdbox", "sqlite")))


@pytest.fixture
def alice(system):
    account = system.account()
    account.first = probes.marked("first")
    assert probes.lmtp(system, account, account.first) == 250
    return account


def change(system, account, old, new, check=True):
    return system.ctl("account", "passwd", account.address, "--old-password-stdin", "--password-stdin",
                      stdin=f"{old}\n{new}\n".encode(), check=check)


# --- the same answer to all that is wrong ---

def answer(system, port, *lines):
    """The last line that the server says to these, without time and host; "" when it hung up."""
    with socket.create_connection(("127.0.0.1", system.port(port)), timeout=30) as s, s.makefile("rb") as f:
        reply = f.readline()
        try:
            for line in lines:
                s.sendall(line + b"\r\n")
                reply = f.readline()
                while reply.startswith(b"* ") or reply[3:4] == b"-":
                    reply = f.readline()
        except ConnectionError:
            return b""
    return re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|<[^>]*>", b"", reply)


def sasl(user, password):
    return base64.b64encode(b"\0" + user.encode() + b"\0" + password)


WAYS = {
    "imap-login": lambda s, u, p: answer(s, "imap", b'a LOGIN "%s" "%s"' % (u.encode(), p)),
    "imap-literal": lambda s, u, p: answer(s, "imap", b"a LOGIN %s {%d+}\r\n%s" % (u.encode(), len(p), p)),
    "imap-plain": lambda s, u, p: answer(s, "imap", b"a AUTHENTICATE PLAIN", sasl(u, p)),
    "pop3": lambda s, u, p: answer(s, "pop3", b"USER " + u.encode(), b"PASS " + p),
    "pop3-plain": lambda s, u, p: answer(s, "pop3", b"AUTH PLAIN", sasl(u, p)),
    "submission": lambda s, u, p: answer(s, "submission", b"EHLO a.example", b"AUTH PLAIN " + sasl(u, p)),
}
WRONG = {"wrong": b"not the password", "empty": b"", "space": b" ", "long": b"x" * 900, "too-long": b"x" * 3000,
         "huge": b"x" * 60_000, "nul": b"be\0fore", "high": bytes(range(128, 256))}


@pytest.mark.parametrize("way", ["imap-login", "imap-plain", "pop3"])
def test_who_exists_is_not_told(system, alice, way):
    """An account and none: the same words to each wrong password; the system goes on."""
    for name, password in WRONG.items():
        mine, nobodys = (WAYS[way](system, u, password) for u in (alice.address, "no-such-user@example.org"))
        assert mine == nobodys and not re.match(rb"a OK|\+OK|235", mine), name
        if name in ("wrong", "long"):
            assert re.match(rb"a NO \[AUTHENTICATIONFAILED\]|-ERR \[AUTH\]", mine), mine
    assert probes.shown(system, alice) == [probes.word(alice.first)]


def test_password_with_the_right_one_before_a_nul(system, alice):
    """Nothing that ends at a NUL takes it for the password; but Dovecot itself ends IMAP literals and POP3 lines there."""
    for way in WAYS:
        if way not in ("imap-literal", "pop3"):
            assert not re.match(rb"a OK|\+OK|235", WAYS[way](system, alice.address, alice.password.encode() + b"\0more")), way
        assert not re.match(rb"a OK|\+OK|235", WAYS[way](system, alice.address, alice.password.encode() + b"x" * 1024)), way


# --- changed ---

def test_changed_password(system, alice):
    """The old mail opens, the old password is dead though its login was warm; a session that was open goes on."""
    old, new = alice.password, "quite another password"
    second, third = probes.marked("second"), probes.marked("third")
    assert probes.lmtp(system, alice, second) == 250
    sealed = [f.read_bytes() for f in system.mail_files(alice)]
    one, two = system.imap(alice), system.imap(alice)
    assert one.select() == two.select() == 2
    assert probes.word(one.part(1)) == probes.word(alice.first)
    change(system, alice, old, new)
    assert "AUTHENTICATIONFAILED" in probes.imap_refusal(system, alice)
    assert "[AUTH]" in probes.pop3_refusal(system, alice)
    with pytest.raises(clients.smtplib.SMTPAuthenticationError):
        system.submission(alice)
    alice.password = new
    assert probes.lmtp(system, alice, third) == 250
    assert [probes.word(two.part(u)) for u in (1, 2)] == [probes.word(alice.first), probes.word(second)]
    two.ok("noop")
    assert probes.word(two.part(3)) == probes.word(third)
    two.append(alice.first)
    one.close(), two.close()
    assert probes.shown(system, alice) == list(map(probes.word, (alice.first, second, third, alice.first)))
    assert sealed == [f.read_bytes() for f in system.mail_files(alice)][:2], "mail is not rewritten"
    system.submission(alice).quit()
    assert change(system, alice, old, "a third password", check=False).returncode == 1


def test_two_sessions_at_once(system, alice):
    """What one stores the other reads; one's end is not the other's."""
    sent = [probes.marked(str(i)) for i in range(2)]
    one, two = system.imap(alice), system.imap(alice)
    pop = system.pop3(alice)
    one.select(), two.select()
    one.append(sent[0])
    two.ok("noop")
    assert probes.word(two.part(2)) == probes.word(sent[0])
    one.close()
    assert probes.word(clients.retr(pop, 1)) == probes.word(alice.first)
    two.append(sent[1])
    pop.quit()
    assert probes.word(two.part(3)) == probes.word(sent[1]) and probes.word(two.part(1)) == probes.word(alice.first)
    two.close()
    assert probes.sealed_only(system, alice) == 3


# --- cut off ---

@pytest.mark.parametrize("system", [("sdbox", "sqlite"), ("maildir", "mariadb")], indirect=True, ids=lambda c: c[1])
@pytest.mark.limit(240)
def test_keyd_killed_while_a_password_changes(system, alice):
    """At any moment: afterwards the old or the new one opens all mail, and the other does not."""
    second, rng = probes.marked("second"), random.Random(5)
    assert probes.lmtp(system, alice, second) == 250
    start = time.monotonic()
    change(system, alice, alice.password, "password 0")
    alice.password, moment = "password 0", time.monotonic() - start
    changed, cut = 0, 0
    for i in range(1, ROUNDS + 1):
        pids, new = system.pids("keyd"), f"password {i}"
        status = change_and_kill(system, alice, new, pids, moment * rng.uniform(0.6, 1.1))
        cut += status != 0
        probes.wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids))
        system.start()
        opens = [p for p in (alice.password, new) if not probes.imap_refusal(system, alice, p)]
        assert len(opens) == 1, (i, opens)
        assert status != 0 or opens == [new], "who was told that it is changed can rely on it"
        changed += opens == [new]
        moment *= 0.85 if opens == [new] else 1.2  # stays near the moment of the commit
        alice.password = opens[0]
        assert probes.shown(system, alice) == [probes.word(alice.first), probes.word(second)]
    assert 0 < changed < ROUNDS and cut > 0, "some kills came before, some after"
    assert len(databases.Keys(system).rows(alice)) <= 2, "what is superseded is pruned"


def change_and_kill(system, account, new, pids, after):
    """The exit status of a password change in which keyd is killed so many seconds after its start."""
    p = subprocess.Popen([*shlex.split(system.env["BASALTCTL"]), "account", "passwd", account.address,
                          "--old-password-stdin", "--password-stdin"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p.stdin.write(f"{account.password}\n{new}\n".encode())
    p.stdin.close()
    time.sleep(after)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # roles end with their supervisor
            os.kill(pid, signal.SIGKILL)
    return p.wait(30)


# --- tokens ---

def test_token_from_the_wire(system, alice):
    """Used before, by another user, for another service, after the logout: nothing; the owner's session goes on."""
    bob, run = system.account(), system.env["KEYD_RUN"]
    mail = system.imap(alice)
    mail.select()

    def token():
        with keyproto.Client(f"{run}/auth") as c:
            return c.login(alice.address, alice.password, "imap")[1]

    def attach(token, user, service="imap"):
        c = keyproto.Client(f"{run}/mail")
        return c, c.call(keyproto.ATTACH, token + keyproto.str16(user) + keyproto.str16(service))[0]

    good = token()
    owner, status = attach(good, alice.address)
    assert status == keyproto.OK
    assert attach(good, alice.address)[1] == keyproto.TOKEN, "twice"
    owner.call(keyproto.CLOSE)
    assert attach(good, alice.address)[1] == keyproto.TOKEN, "after the logout"
    for user, service in ((bob.address, "imap"), (alice.address, "pop3")):
        stolen = token()
        assert attach(stolen, user, service)[1] == keyproto.TOKEN
        assert attach(stolen, alice.address)[1] == keyproto.TOKEN, "burnt"
    assert len([a for a in probes.alarms(system, alice) if "tried the token" in a]) == 2
    assert probes.word(mail.part(1)) == probes.word(alice.first)
    mail.close()
