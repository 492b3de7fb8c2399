"""canary_scene: a sealed and a plain account get the same mail with different canaries, on every way in; clients use both.

A token's name is (who, way, kind): who is "sealed", "plain" or "both" (one mail to the two of them); kind says where in
the mail it stands. A Scene plays once on a system and keeps what the searches found, as Sight(who, way, kind, place).
"""
import base64
import collections
import contextlib
import os
import pathlib
import quopri
import random
import signal
import socket
import time
import urllib.parse

import canary
import clients
import messages
import probes
import systems

Sight = collections.namedtuple("Sight", "who way kind place")

HEADER = ("subject", "subject-word", "from-name", "from-address", "to-name", "to-address", "message-id")
BODY = ("body-8bit", "body-quoted", "body-base64", "attachment", "name", "name-2231", "tail")
KINDS = HEADER + BODY
ASCII = ("sender", "message-id", "from-address", "to-address", "subject", "from-name", "name")
ENVELOPE = ("sender", "message-id")  # what an MTA logs of a mail: exceptions that docs/THREATS.md names
WAYS = {"smtp": 0, "smtp-big": 300_000, "smtp-huge": 3_000_000, "submission": 0,
        "lmtp": 0, "lmtp-big": 300_000, "lmtp-huge": 3_000_000,
        "append": 0, "append-big": 200_000, "append-huge": 2_500_000, "copy": 70_000, "move": 70_000}
SHARED = {"smtp-both": 200_000, "lmtp-both": 200_000}  # to both accounts in one transaction
CUT = {"lmtp-open": 2_000_000, "append-open": 2_000_000}  # under way while the search runs, then cut by a kill -9
PARTS = 6


def all_tokens():
    names = [(who, way, kind) for who in ("sealed", "plain") for way in (*WAYS, *CUT) for kind in (*KINDS, "sender")]
    return tokens(names + [("both", way, kind) for way in SHARED for kind in (*KINDS, "sender")])


def tokens(names):
    """A letter that is not ASCII in each of those that stand where it may."""
    letters = {n: t for n, t in canary.ascii_tokens(names).items()}
    return {n: t if n[2] in ASCII else t[:12] + "ü" + t[13:] for n, t in letters.items()}


def message(t, pad):
    """One mail with the tokens t[kind]: in its header, in text of three encodings, in attachments and in their names."""
    def b64(data):
        return base64.encodebytes(data).replace(b"\n", b"\r\n")

    def leaf(kind, *header, body):
        lines = [f"Content-Type: {kind}", *header]
        return b"--edge-of-parts\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"

    quoted = quopri.encodestring(("words before it, so that the line is cut: " + t["body-quoted"]).encode())
    name_2231 = urllib.parse.quote(t["name-2231"])
    head = [f'From: "{t["from-name"]} of the senders" <{t["from-address"]}@out.example>',
            f"To: =?utf-8?q?{urllib.parse.quote(t['to-name']).replace('%', '=')}?= <{t['to-address']}@example.net>",
            f"Subject: about {t['subject']} =?utf-8?b?{base64.b64encode(('to ' + t['subject-word']).encode()).decode()}?=",
            "Date: Mon, 02 Mar 2026 08:00:00 +0000", f"Message-ID: <{t['message-id']}@out.example>", "MIME-Version: 1.0",
            'Content-Type: multipart/mixed; boundary="edge-of-parts"']
    text = 'text/plain; charset="utf-8"'
    return ("\r\n".join(head).encode() + b"\r\n\r\n"
            + leaf(text, "Content-Transfer-Encoding: 8bit", body=f"it says {t['body-8bit']} in the open".encode())
            + leaf(text, "Content-Transfer-Encoding: quoted-printable", body=quoted.replace(b"\n", b"\r\n"))
            + leaf(text, "Content-Transfer-Encoding: base64", body=b64(f"it says {t['body-base64']} once more".encode()))
            + leaf(f"application/octet-stream; name=\"{t['name']}.bin\"", "Content-Transfer-Encoding: base64",
                   f"Content-Disposition: attachment; filename=\"{t['name']}.bin\"",
                   body=b64(f"attached: {t['attachment']} ".encode() + random.Random(pad).randbytes(pad * 3 // 4)))
            + leaf("application/pdf", f"Content-Disposition: attachment; filename*0*=utf-8''{name_2231};\r\n filename*1=.pdf",
                   body=b"%PDF")
            + leaf(text, "Content-Transfer-Encoding: 8bit", body=f"the end: {t['tail']}".encode())
            + b"--edge-of-parts--\r\n")


def tcp_line(local, remote):
    """The fields of one loopback connection in /proc/net/tcp, by its ports; None: the kernel left it out of this reading."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(f.split(":")[1], 16) for f in fields[1:3]] == [local, remote]:
            return fields
    return None


def ports(sock):
    """The client's and the server's."""
    return sock.getsockname()[1], sock.getpeername()[1]


def links(pid):
    """What a process has open; a descriptor that is closed meanwhile is left out."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{fd}")


def server_process(system, sock):
    """The pid that holds the server's end of a loopback connection, once it was passed on and nobody else has it."""
    client, server = ports(sock)
    link = f"socket:[{probes.wait_for(lambda: tcp_line(server, client))[9]}]"

    def holder():
        pids = [pid for pid in system.pids("dovecot") if link in links(pid)]
        return pids[0] if len(pids) == 1 else None
    return probes.wait_for(holder, seconds=60)


class HalfSent:
    """A mail whose second half is never sent: by LMTP or APPEND. pid is the server process that has the first half."""

    def __init__(self, system, way, account, sender, mail):
        half = mail[:len(mail) // 2]
        if way == "lmtp-open":
            self.client = system.lmtp()
            self.sock = self.client.s
            assert self.client.command(f"MAIL FROM:<{sender}@out.example>")[0] == 250
            assert self.client.command(f"RCPT TO:<{account.address}>")[0] == 250
            assert self.client.command("DATA")[0] == 354
            self.sock.sendall(clients.dot_stuffed(half))
        else:
            self.client = system.imap(account)
            self.sock = self.client.c.sock
            self.sock.sendall(b"x1 APPEND INBOX {%d+}\r\n" % len(mail) + half)
        self.pid = server_process(system, self.sock)

    def is_read(self):
        """Nothing is under way any more, and the server waits for the rest: it has done with what it has."""
        client, server = ports(self.sock)
        lines = [tcp_line(client, server), tcp_line(server, client)]
        under_way = [line and line[4] for line in lines]
        state = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return under_way == ["00000000:00000000"] * 2 and state == "S"

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while systems.proc.start_time(self.pid) is not None:
            assert time.monotonic() < end
            time.sleep(0.02)
        self.sock.shutdown(socket.SHUT_RDWR)


class Scene:
    def __init__(self, system, tokens=None):
        self.system, self.tokens = system, tokens or all_tokens()
        self.began = time.time() - 1
        system.ctl("plan", "set", "plain", "compress=no")  # Zstandard leaves no word readable
        self.accounts = {"sealed": system.account("private"), "plain": system.account("plain")}
        self.wrong_password = canary.ascii_tokens(["wrong"])["wrong"]
        self.secrets = {("password", who): a.password for who, a in self.accounts.items()}
        self.secrets["password", "wrong"] = self.wrong_password
        self.sightings, self.secret_finds = {}, {}

    def mail(self, who, way, pad):
        t = {kind: self.tokens[who, way, kind] for kind in (*KINDS, "sender")}
        return t["sender"], message(t, pad)

    # --- in ---

    def fill(self):
        for who, account in self.accounts.items():
            with self.system.imap(account) as imap, self.system.lmtp() as lmtp:
                imap.ok("create", "Archive")
                imap.select()
                for way, pad in WAYS.items():
                    self.bring_in(imap, lmtp, [account], way, *self.mail(who, way, pad))
        with self.system.lmtp() as lmtp:
            for way, pad in SHARED.items():
                self.bring_in(None, lmtp, list(self.accounts.values()), way, *self.mail("both", way, pad))
        self.system.settle()

    def bring_in(self, imap, lmtp, accounts, way, sender, mail):
        recipients = [a.address for a in accounts]
        if way.startswith("smtp"):
            assert self.system.send(f"{sender}@out.example", recipients, mail) == {}
        elif way == "submission":
            with self.system.submission(accounts[0]) as s:
                own = accounts[0].address.replace("@", f"+{sender}@")  # no other sender is let through there
                assert s.sendmail(own, recipients, mail, mail_options=["BODY=8BITMIME"]) == {}
        elif way.startswith("lmtp"):
            replies = lmtp.deliver(f"{sender}@out.example", recipients, mail)
            assert [code for r in replies.values() for code, _ in r] == [250] * len(accounts), replies
        else:
            uid = imap.append(mail)
            if way in ("copy", "move"):
                imap.copy(uid, "Archive", verb=way.upper())

    # --- out ---

    def read(self, imap, who):
        """What mail clients ask for."""
        word = self.tokens[who, "smtp", "subject"]
        for folder in ("INBOX", "Archive"):
            imap.select(folder)
            for query in (f"SUBJECT {word}", f"TEXT {self.tokens[who, 'lmtp', 'body-base64'][:12]}", f"BODY {word}",
                          f"FROM {self.tokens[who, 'smtp', 'from-name']}", 'HEADER Message-ID "out.example"'):
                imap.uids(query)
            imap.ok("uid", "SORT", "(SUBJECT FROM TO DATE)", "UTF-8", "ALL")
            imap.ok("uid", "THREAD", "REFERENCES", "UTF-8", "ALL")
            imap.ok("uid", "THREAD", "ORDEREDSUBJECT", "UTF-8", "ALL")
            imap.fetch("1:*", "(FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE PREVIEW "
                       "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO CC MESSAGE-ID REFERENCES X-MAILER)])")
            imap.fetch("1:*", "(BINARY.SIZE[3] BINARY.PEEK[3] BINARY.PEEK[4] BODY.PEEK[1] BODY.PEEK[4.MIME])")
            imap.fetch("1:*", "(BODY.PEEK[]<900.70000> BODY.PEEK[])")
        imap.select()

    def refuse(self):
        """A wrong password, by each protocol."""
        for account in self.accounts.values():
            wrong = systems.Account(account.address, self.wrong_password, account.plan)
            for login in (self.system.imap, self.system.pop3, self.system.submission):
                try:
                    login(wrong)
                except Exception as e:
                    assert "uthentication" in str(e), e
                else:
                    raise AssertionError("a wrong password opened the mailbox")

    # --- the search ---

    def sieve(self, tokens):
        """With digests of each Message-ID, with its brackets and without."""
        sieve = canary.Sieve(tokens)
        for name, token in tokens.items():
            if name[-1] in ("message-id", "references", "in-reply-to"):
                for text in (f"{token}@out.example", f"<{token}@out.example>"):
                    sieve.also(name, canary.digests(text))
        return sieve

    def search(self, stage):
        sieve = self.sieve({**self.tokens, **self.secrets})
        canary.feed_tree(sieve, self.system.dir)
        for root in ("/tmp", "/var", "/run", "/dev/shm", "/root"):
            canary.feed_tree(sieve, root, newer=self.began, skip=["/tmp/" + systems.PREFIX, "/var/lib/dpkg", "/run/lock"])
        pids = [e["pid"] for e in systems.proc.marked(self.system.dir)]
        canary.feed_open_deleted(sieve, pids)
        closed = canary.feed_arguments(sieve)
        assert not [c for c in closed if int(c.split("/")[2]) in pids], "can't read what the canary has to search"
        finds = sieve.finds()
        self.sightings[stage] = [Sight(*f.token, self.place(f.where)) for f in finds if f.token in self.tokens]
        self.secret_finds[stage] = [f for f in finds if f.token in self.secrets]

    def place(self, where):
        """A path below the system's folder, an account's home as @sealed or @plain; "fd: TARGET" of what is deleted."""
        if where.startswith("/proc/") and " -> " in where:
            target = where.partition(" -> ")[2]
            before, folder, inside = target.partition(str(self.system.dir))  # in a chroot the kernel shows the way to it
            return "fd: " + self.place(folder + inside if folder else before)
        for who, account in self.accounts.items():
            where = where.replace(str(self.system.home(account)), f"@{who}")
        return where.replace(f"{self.system.dir}/", "")

    def play(self):
        self.fill()
        with contextlib.ExitStack() as stack:
            for who, account in self.accounts.items():
                self.read(stack.enter_context(self.system.imap(account)), who)
                pop = self.system.pop3(account)
                stack.callback(pop.close)
                for n in range(1, len(pop.list()[1]) + 1):
                    pop.retr(n)
            self.refuse()
            halves = [HalfSent(self.system, way, a, *self.mail(who, way, pad))
                      for way, pad in CUT.items() for who, a in self.accounts.items()]
            for half in halves:
                probes.wait_for(half.is_read, seconds=60)
            self.search("open")
            for half in halves:
                half.kill()
        self.system.settle()
        self.search("after")
        return self
