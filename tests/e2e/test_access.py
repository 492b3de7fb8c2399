"""A part of a mail costs a part: what is read of the file for a header, a tail, any slice; and that it is the right slice.

Counted are bytes (/proc/PID/io), not time.
"""
import base64
import os
import random
import re
import sys

import pytest

import clients
import messages
import systems
import twins

sys.path.insert(0, str(systems.ROOT / "tests" / "vectors"))
import message as vectors  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
CHUNK = 64 * KIB
# Dovecot's indexes and logs, the beginning of the file, its last 2 KiB.
AROUND = 40 * KIB


@pytest.fixture(scope="module")
def system(pool):
    """All storages in one: an account's name says which."""
    return pool.get(options=twins.OPTIONS)


def account_of(system, storage):
    return system.account("private", name=f"{storage}-access-{system.accounts}")


def forget_caches(system, account):
    for f in system.home(account).rglob("dovecot.index.cache"):
        f.unlink()


class Counted:
    """A session that has its mailbox open, and what its process has read since."""

    def __init__(self, system, account):
        before = set(system.pids("dovecot", "imap"))
        self.mail = system.imap(account)
        self.mail.select()
        (self.pid,) = set(system.pids("dovecot", "imap")) - before

    def total(self):
        with open(f"/proc/{self.pid}/io") as f:
            return int(f.readline().split()[1])

    def part(self, uid, section):
        """(the bytes, how many were read for them)"""
        at = self.total()
        found = self.mail.part(uid, section)
        return found, self.total() - at

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.mail.close()


# --- what it costs ---

def test_the_header_of_a_huge_mail_costs_that_of_a_small_one(system):
    account = account_of(system, "sdbox")
    huge = messages.noise(MIB, seed=1) * 100
    with system.imap(account) as mail:
        for body in (huge[:10 * KIB], huge):
            mail.append(messages.make(body, header=[f"X-Long: {'x' * 60}"] * 20, ident="same"))
    forget_caches(system, account)
    with Counted(system, account) as session:
        session.part(1, "HEADER")
    forget_caches(system, account)
    with Counted(system, account) as session:
        small, small_cost = session.part(1, "HEADER")
        large, large_cost = session.part(2, "HEADER")
        assert len(small) == len(large) and large.endswith(b"x\r\n\r\n")
        # The index of 1,601 chunks is three bytes for each.
        assert large_cost <= small_cost + 3 * 1601 + 4 * KIB, (small_cost, large_cost)
        assert large_cost < AROUND, large_cost
        assert session.mail.size(2) > 100 * MIB


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_the_tail_of_a_large_mail_costs_two_chunks(system, storage):
    account = account_of(system, storage)
    sent = messages.make(messages.noise(MIB, seed=2) * 20)
    with system.imap(account) as mail:
        mail.select()
        mail.append(sent)
    forget_caches(system, account)
    with Counted(system, account) as session:
        for at in (len(sent) - 4096, 11 * MIB, 5 * CHUNK - 100, len(sent) - 1):
            found, cost = session.part(1, f"<{at}.4096>")
            assert found == sent[at:at + 4096]
            assert cost < 2 * (CHUNK + KIB) + AROUND, (at, cost)
    with Counted(system, account) as session:
        found, cost = session.part(1, f"TEXT<{len(sent) - 6000}.4096>")
        header = sent.index(b"\r\n\r\n") + 4
        assert found == sent[header:][len(sent) - 6000:][:4096]
        assert cost < 2 * (CHUNK + KIB) + AROUND, cost


# --- that it is right ---

def slices(rng, length, count):
    """Anywhere, around the ends of chunks, at and past the end."""
    for _ in range(count):
        at = rng.choice([rng.randrange(length + 1), rng.randrange(length + 1), CHUNK * rng.randrange(length // CHUNK + 1),
                         max(0, CHUNK * rng.randrange(length // CHUNK + 1) - 1), max(0, length - 1), length, length + 7])
        yield at, rng.choice([1, 2, 100, 4096, CHUNK, CHUNK + 1, 3 * CHUNK, length + 10])


def check_slices(mail, uid, whole, seed, count=40):
    rng = random.Random(seed)
    head = whole.index(b"\r\n\r\n") + 4
    sections = {"": whole, "TEXT": whole[head:], "HEADER": whole[:head]}
    assert mail.part(uid) == whole
    assert mail.size(uid) == len(whole)
    for at, length in slices(rng, len(whole), count):
        section = rng.choice(["", "", "TEXT", "TEXT", "HEADER"])
        found = mail.part(uid, f"{section}<{at}.{length}>")
        assert found == sections[section][at:at + length], (section, at, length, len(found))


def bodies():
    text, noise = messages.text(3 * MIB, seed=3), messages.noise(3 * MIB, seed=4)
    return [b"short\r\n", text[:3000], text[:CHUNK], noise[:CHUNK], text[:700_000], noise[:MIB - 150], noise[:MIB + 1], text, noise,
            b"y" * 300_000]


@pytest.mark.parametrize("storage", twins.STORAGES)
def test_any_slice(system, storage):
    account = account_of(system, storage)
    sent = [messages.make(body, subject=str(n)) for n, body in enumerate(bodies())]
    sent.append(messages.make(messages.text(200_000, seed=5), header=[f"X-{i}: {'h' * 70}" for i in range(2000)]))
    with system.imap(account) as mail:
        mail.select()
        for m in sent:
            mail.append(m)
        for uid, m in enumerate(sent, 1):
            check_slices(mail, uid, m, uid, 15)
    forget_caches(system, account)
    with system.imap(account) as mail:
        mail.select()
        for uid, m in reversed(list(enumerate(sent, 1))):
            check_slices(mail, uid, m, 100 + uid, 15)
    pop = system.pop3(account)
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert sizes == [len(m) for m in sent]
    for number, m in enumerate(sent, 1):
        # POP3 has no mail without a line end.
        assert clients.retr(pop, number) == (m if m.endswith(b"\r\n") else m + b"\r\n")
    pop.quit()


def record(system, account):
    """(account id, public key) of the signed record in the mail home: common/record.h."""
    raw = (system.home(account) / "basalt" / "record").read_bytes()
    at = raw.index(b"BSR1") + 4 + 1 + 1 + 4 + 8 + 8
    return raw[at:at + 16], raw[at + 32:at + 64]


def test_mail_stored_with_bare_lfs(system):
    """As a Basalt before this one stored it: made by the independent encoder, of both suites, put in place by hand."""
    account = account_of(system, "maildir")
    with system.imap(account) as mail:
        mail.select()
        mail.append(messages.make(b"makes the folders\r\n"))
    account_id, public = record(system, account)
    cur = next(d for d in system.home(account).rglob("cur"))
    st, sent = cur.stat(), {}
    for n, body in enumerate(bodies()[:8]):
        whole = messages.make(body, subject=f"number {n}.")
        # Its compressor is as slow as it is simple.
        stored, *_ = vectors.seal(whole.replace(b"\r\n", b"\n"), (1, 0)[n % 2], account_id, os.urandom(16), public, os.urandom(32),
                                  os.urandom(32), lambda index, _: index < 2 and len(body) < 10_000)
        path = cur / f"1500000000.M{n}P1.host:2,S"
        path.write_bytes(stored)
        os.chown(path, st.st_uid, st.st_gid)
        sent[n] = whole
    for session in range(2):
        with system.imap(account) as mail:
            assert mail.select() == 1 + len(sent)
            for uid in mail.uids()[1:]:
                subject = re.search(rb"Subject: number (\d+)\.", mail.part(uid, "HEADER"))
                check_slices(mail, uid, sent[int(subject[1])], uid + session, 12)


def test_line_ends_are_those_of_dovecot(system):
    """An LF gets its CR; of several CRs before an LF one is lost; a CR elsewhere stays. In a mail that crosses Dovecot's buffers."""
    odd = b"one\r\r\ntwo\n three\r\r\r\nfour\rfive\r\n\n\r\n\r\r\r"
    body = b"".join(b"x" * n + odd for n in range(400)) + b"\r\r\nend\r\n"
    with_crlf = re.sub(rb"\r?\n", lambda m: b"\n", body)
    with_crlf = re.sub(rb"(?<!\r)\n", b"\r\n", with_crlf)
    for storage in twins.STORAGES:
        account = account_of(system, storage)
        head = messages.make(b"")
        with system.imap(account) as mail:
            mail.select()
            data = head + body
            # imaplib mends line ends; the literal goes as it is.
            mail.c._command("APPEND", "INBOX", b"{%d+}\r\n%s" % (len(data), data))
            mail.c._get_response()
            while not mail.c.tagged_commands or None in mail.c.tagged_commands.values():
                mail.c._get_response()
            mail.ok("noop")
            assert mail.part(1) == head + with_crlf
            assert mail.size(1) == len(head + with_crlf)


def test_binary(system):
    account = account_of(system, "sdbox")
    raw = bytes(range(256)) * 8000  # 2 MB, NULs among it
    coded = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    body = (b"--edge\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--edge\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + coded + b"--edge--\r\n")
    sent = messages.make(body, header=["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=edge"])
    with system.imap(account) as mail:
        mail.select()
        mail.append(sent)
        (answer, *_) = mail.fetch(1, "(BINARY.SIZE[2])")
        assert b"BINARY.SIZE[2] %d" % len(raw) in answer
        for section in ("", "<0.1000>", "<1999990.5>", "<70001.70000>", "<2047990.100>"):
            (answer, *_) = mail.fetch(1, f"(BINARY.PEEK[2]{section})")
            at, length = map(int, re.findall(r"\d+", section) or (0, len(raw)))
            assert answer[1] == raw[at:at + length]
        assert mail.part(1, "2") == coded.removesuffix(b"\r\n")
