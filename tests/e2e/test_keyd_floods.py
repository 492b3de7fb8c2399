"""basalt-keyd under floods of wrong logins, asked as Dovecot's auth process asks: by one connection, with up to a thousand
requests under way, and BUSY asked again a moment later. Others still get in: warm at once, cold when the queue before them is done."""
import collections
import contextlib
import os
import select
import threading
import time

import keyproto as kp
import pytest
from keydserver import Keyd, wait_for

PASSWORD = "correct horse battery staple"
UNDERWAY = 100         # of imap-login Dovecot runs so many processes by default
BUSY_WAIT_S, BUSY_TRIES = 0.2, 50
ACCOUNTS = 300
COLD = [f"cold{i}@example.org" for i in range(6)]
WARM = [f"warm{i}@example.org" for i in range(20)]


class Login:
    def __init__(self, user, password, flags=0):
        self.payload = kp.str16(user) + kp.str16(password) + kp.str16("imap") + bytes([flags])
        self.tries, self.began, self.took, self.status, self.done = 0, time.monotonic(), None, None, threading.Event()


class AuthProcess(contextlib.AbstractContextManager):
    """dovecot-plugin/passdb_client.c in Python. guess() gives the next login of the flood, which is kept at UNDERWAY."""

    def __init__(self, keyd, guess):
        self.client, self.guess = keyd.client("auth"), guess
        self.waiting, self.again, self.under_way = collections.deque(), [], {}
        self.answers, self.flooding = collections.Counter(), 0
        self.wake_read, self.wake = os.pipe()
        self.out, self.stop = b"", False
        self.client.sock.setblocking(False)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __exit__(self, *exc):
        self.stop = True
        os.write(self.wake, b"x")
        self.thread.join()
        self.client.sock.close()
        os.close(self.wake)
        os.close(self.wake_read)

    def login(self, user):
        """One of somebody who knows his password."""
        login = Login(user, PASSWORD)
        self.waiting.append(login)
        os.write(self.wake, b"x")
        return login

    def send(self, login):
        login.tries += 1
        self.under_way[self.client.next_id] = login
        self.out += kp.frame(kp.LOGIN, login.payload, self.client.next_id)
        self.client.next_id += 1

    def send_what_is_due(self):
        now = time.monotonic()
        while self.waiting:
            self.send(self.waiting.popleft())
        for at, login in [a for a in self.again if a[0] <= now]:
            self.send(login)
        self.again = [a for a in self.again if a[0] > now]
        while self.flooding < UNDERWAY:
            login = Login(*self.guess())
            login.flood = True
            self.flooding += 1
            self.send(login)

    def take(self, status, request_id):
        login = self.under_way.pop(request_id)
        if status == kp.BUSY and login.tries < BUSY_TRIES:
            self.again.append((time.monotonic() + BUSY_WAIT_S, login))
            return
        login.status, login.took = status, time.monotonic() - login.began
        login.done.set()
        if hasattr(login, "flood"):
            self.flooding -= 1
            self.answers[status] += 1

    def run(self):
        data = b""
        while not self.stop:
            self.send_what_is_due()
            ready, writable, _ = select.select([self.client.sock, self.wake_read], [self.client.sock] if self.out else [], [], 0.05)
            if writable:
                self.out = self.out[self.client.sock.send(self.out):]
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
            if self.client.sock in ready:
                data += self.client.sock.recv(65536)
            while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "big"):
                size = 4 + int.from_bytes(data[:4], "big")
                self.take(int.from_bytes(data[6:8], "big"), int.from_bytes(data[8:12], "big"))
                data = data[size:]


def one_account():
    n = 0
    while True:
        n += 1
        yield "flooded0@example.org", f"guess number {n}"


def many_accounts():
    n = 0
    while True:
        n += 1
        yield f"flooded{n % ACCOUNTS}@example.org", f"guess number {n}"


def unknown_names():
    n = 0
    while True:
        n += 1
        yield f"nobody{n}@example.org", "a guess"


@pytest.fixture(scope="module")
def keyd():
    """Argon2id an eighth of what it is by default, so that a crowd of accounts is there soon."""
    with Keyd(kdf={"memory_kib": 8192, "passes": 1, "workers": 2}) as k:
        with k.client("control", 60) as c:
            for name in (*COLD, *WARM, *(f"flooded{i}@example.org" for i in range(ACCOUNTS))):
                c.enrol(name, PASSWORD)
        yield k


def forget(keyd):
    """All keys are shut again, so that logins are cold."""
    keyd.stop()
    keyd.start()


@pytest.mark.limit(180)
@pytest.mark.parametrize("flood", [one_account, many_accounts, unknown_names])
def test_others_get_in(keyd, flood):
    forget(keyd)
    for name in WARM:
        assert keyd.login_status(name, PASSWORD) == kp.OK
    guesses = flood()
    with AuthProcess(keyd, lambda: next(guesses)) as auth, keyd.client("delivery") as d:
        assert wait_for(lambda: keyd.status()["kdf_queue"] > 0 and sum(auth.answers.values()) > 20, 30), "the flood is there"
        warm = []
        for name in WARM:
            warm.append(auth.login(name))
            assert warm[-1].done.wait(20), "a warm login waits for the flood"
            assert warm[-1].status == kp.OK
        start = time.monotonic()
        d.record(WARM[0])
        record = time.monotonic() - start
        cold = [auth.login(name) for name in COLD]
        assert all(login.done.wait(40) for login in cold), "a cold login never gets in"
        statuses, longest = [login.status for login in cold], max(login.took for login in cold)
        queue, answered = keyd.status()["kdf_queue"], dict(auth.answers)
    warm_worst = max(login.took for login in warm)
    print(f"{flood.__name__}: warm worst {warm_worst * 1e3:.0f} ms, record {record * 1e3:.0f} ms, cold worst {longest:.1f} s, "
          f"queue {queue}, flood answers {answered}")
    assert statuses == [kp.OK] * len(COLD)
    assert warm_worst < 1 and record < 1
    assert longest < 20


def test_the_queue_has_an_end():
    """96 logins a worker wait for Argon2id, more are BUSY at once; a warm login and a changed password still find a place."""
    with Keyd(kdf={"memory_kib": 8192, "passes": 1, "workers": 1}) as keyd, keyd.client("auth", 60) as crowd, keyd.client("auth") as a:
        keyd.enrol(WARM[0], PASSWORD)
        a.login(WARM[0], PASSWORD)
        for i in range(400):
            crowd.send(kp.LOGIN, Login(f"nobody{i}@example.org", "a guess").payload)
        busy = [crowd.read_frame()[1] for _ in range(150)]
        assert set(busy) <= {kp.BUSY, kp.DENIED} and busy.count(kp.BUSY) > 100, "those that were turned away hear it first"
        queue = keyd.status()["kdf_queue"]
        assert 50 < queue <= 96
        start = time.monotonic()
        a.login(WARM[0], PASSWORD)
        assert time.monotonic() - start < 1
        with keyd.client("control", 60) as c:
            change = kp.str16(WARM[0]) + kp.str16(PASSWORD) + kp.str16(PASSWORD + "!")
            assert c.call(kp.PASSWD, change)[0] in (kp.OK, kp.TIMEOUT), "it waits its turn, as long as there is time"


class Visitors(contextlib.AbstractContextManager):
    """Clients of the socket mail that never attach, each with requests for the records of names that there are not."""

    COUNT, PIPELINED = 100, 64

    def __init__(self, keyd):
        self.clients = [keyd.client("mail") for _ in range(self.COUNT)]
        self.answers, self.stop = collections.Counter(), False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __exit__(self, *exc):
        self.stop = True
        self.thread.join()
        for client in self.clients:
            client.sock.close()

    def ask(self, client, n):
        client.sock.sendall(b"".join(kp.frame(kp.RECORD, kp.str16(f"nobody{os.urandom(4).hex()}@example.org")) for _ in range(n)))

    def run(self):
        """Each answer is followed by the next request; all answers of such names are as long as their header."""
        for client in self.clients:
            self.ask(client, self.PIPELINED)
        while not self.stop:
            for sock in select.select([c.sock for c in self.clients], [], [], 0.1)[0]:
                client = next(c for c in self.clients if c.sock is sock)
                _, status, _, _ = client.read_frame()
                self.answers[status] += 1
                self.ask(client, 1)


def test_who_is_no_session_keeps_none_out(keyd):
    """A process of the mail user's, without anybody's password."""
    took = []
    with keyd.session(WARM[0], PASSWORD) as m, Visitors(keyd) as visitors:
        assert wait_for(lambda: sum(visitors.answers.values()) > 1000)
        for _ in range(60):
            for ask in (lambda: m.record(WARM[1]), m.keyset, lambda: m.record(WARM[0])):
                began = time.monotonic()
                ask()  # BUSY would be an error
                took.append(time.monotonic() - began)
        assert visitors.answers[kp.BUSY] and visitors.answers[kp.NOENT], "they are served, but not all at once"
        assert keyd.status()["busy"] >= visitors.answers[kp.BUSY]
    print(f"{len(took)} requests of a session took {max(took) * 1000:.0f} ms at worst; the others: {dict(visitors.answers)}")
