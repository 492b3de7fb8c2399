"""chaos: mail that flows while parts of a sandbox are killed, and the account of what became of it.

A Sender journals every recipient of every message for which it got the final 250. kill_in_delivery() freezes Dovecot's lmtp
processes, looks whether one of them is in the middle of saving a message, and only then kills its victim: such a kill is a hit.
"""
import os
import pathlib
import random
import signal
import smtplib
import threading
import time
import uuid

import canary

ID_HEADER = "X-Chaos-Id"


def process_name(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def send_signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def writes_below(pid, roots):
    """True when pid holds a file below one of roots open for writing: a delivery is half done."""
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return False
    for fd in fds:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            flags = pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split("flags:", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue
        name = os.path.basename(target)
        # In a chroot the kernel shows the whole way to a file of a process in another mount namespace.
        if any(root in target for root in roots) and int(flags, 8) & os.O_ACCMODE != os.O_RDONLY and not name.startswith("dovecot"):
            return True
    return False


class Sender(threading.Thread):
    """Sends messages of mixed sizes to some of the recipients, or to all, until stopped; client: the address it is to come from."""

    def __init__(self, port, recipients, seed, author="sender@elsewhere.test", sizes=(2, 5, 20, 20, 200, 1500), to_all=False,
                 client=None):
        super().__init__(daemon=True)
        self.port, self.recipients, self.rng = port, recipients, random.Random(seed)
        self.author, self.sizes, self.to_all, self.client = author, sizes, to_all, client
        self.journal = []        # (id, recipient)
        self.refused = 0         # transactions that ended in anything but 250
        self.transaction = False # MAIL was sent, the final reply is not here yet
        self.stopping = threading.Event()

    def message(self, number):
        kib = self.rng.choice(self.sizes)
        line = "".join(self.rng.choice("abcdefgh ijklmnop") for _ in range(70)) + "\r\n"
        return (f"From: {self.author}\r\nSubject: chaos\r\nMessage-ID: <{number}@chaos.test>\r\n{ID_HEADER}: {number}\r\n\r\n"
                + line * (kib * 1024 // len(line))).encode()

    def send_one(self, smtp):
        number = uuid.uuid4().hex
        wanted = self.recipients if self.to_all else self.rng.sample(self.recipients, self.rng.randint(1, min(4, len(self.recipients))))
        self.transaction = True
        try:
            smtp.mail(self.author)
            accepted = [r for r in wanted if smtp.rcpt(r)[0] == 250]
            code = smtp.data(self.message(number))[0] if accepted else 0
        finally:
            self.transaction = False
        if code == 250:
            self.journal += [(number, r) for r in accepted]
        else:
            self.refused += 1
            smtp.rset()

    def run(self):
        while not self.stopping.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
                    smtp.ehlo("elsewhere.test")
                    if self.client:
                        smtp.docmd("XCLIENT", f"ADDR={self.client} NAME=[UNAVAILABLE]")
                        smtp.ehlo("elsewhere.test")
                    while not self.stopping.is_set():
                        self.send_one(smtp)
            except (smtplib.SMTPException, OSError):
                self.refused += 1
                self.stopping.wait(0.1)

    def stop(self):
        self.stopping.set()
        self.join(timeout=120)
        assert not self.is_alive(), "a sender hangs"


def lmtp_processes(master):
    return [p for p in canary.descendants(master) if process_name(p) == "lmtp"]


def kill_in_delivery(dovecot_master, mail_roots, victim, deadline_s=30, number=signal.SIGKILL):
    """
    Waits until an lmtp process is in the middle of a delivery, then kills -9 what victim(pid of that lmtp) names, or sends it
    another signal. True: it was a hit. False: no delivery was seen open until the deadline and nothing was killed, or not all of them.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for lmtp in lmtp_processes(dovecot_master):
            if not writes_below(lmtp, mail_roots):
                continue
            send_signal(lmtp, signal.SIGSTOP)
            try:
                if writes_below(lmtp, mail_roots):
                    hit = [send_signal(pid, number) for pid in victim(lmtp)]
                    return bool(hit) and all(hit)
            finally:
                send_signal(lmtp, signal.SIGCONT)
        time.sleep(0.001)
    return False
