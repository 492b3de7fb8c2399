"""The keys database is lost or comes from another night, and mail was delivered since the account's last login: it opens with what lies in the mail home."""
import contextlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading

import keyproto as kp
import pytest

import databases
import probes

ONE, TWO = ("--password-stdin",), ("--old-password-stdin", "--password-stdin")
NEW = "a later password"
OTHER_KEYS = 12
AHEAD_MAX = 64  # dovecot-plugin/home_keyset.c


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def system(request, pool):
    return pool.get("sdbox", request.param)


class Story:
    def __init__(self, system, login=True):
        self.system, self.alice, self.keys = system, system.account(), databases.Keys(system)
        self.sent = []
        if login:
            self.mail("before the backup")
            self.reads_all()
            assert (self.home / "keyset").read_bytes() == self.newest() and not self.beside()
        self.sunday = self.keys.rows(self.alice)

    @property
    def home(self):
        return self.system.home(self.alice) / "basalt"

    def newest(self):
        return self.keys.newest(self.alice)[1]

    def generation(self):
        """Of the record in the mail home."""
        return struct.unpack(">Q", (self.home / "record").read_bytes()[databases.GENERATION])[0]

    def beside(self, name=""):
        found = sorted(p for p in self.home.iterdir() if p.name.startswith("keyset." + name))
        assert not [p for p in found if ".tmp." in p.name]
        return found

    def mail(self, about, code=250):
        message = probes.marked(about)
        probes.wait_for(lambda: probes.lmtp(self.system, self.alice, message) == code)
        if code == 250:
            self.sent.append(message)

    def mails_by_new_keys(self):
        """Deliveries until one has heard of the newest record, and two more."""
        newest = self.keys.newest(self.alice)[0]

        def heard():
            self.mail("around a change of keys")
            return self.generation() == newest

        probes.wait_for(heard)
        for _ in range(2):
            self.mail("to new keys")

    def ctl(self, noun, verb, *options, stdin=(), check=True):
        return self.system.ctl(noun, verb, self.alice.address, *options, stdin="".join(f"{line}\n" for line in stdin).encode(), check=check)

    def put(self, rows):
        self.system.stop("keyd")
        self.keys.put(self.alice, rows)
        self.system.start()

    def words(self, password=None):
        return probes.opened(self.system, self.alice, self.sent, password)

    def reads_all(self, password=None):
        assert self.words(password) == {probes.word(s) for s in self.sent}

    def findings(self):
        p = self.system.ctl("doctor", "--json", check=False)
        return [f["finding"] for f in json.loads(p.stdout) if f["account"] == self.alice.address]


CHANGES = {"rotate": (("key", "rotate", *ONE), ["{old}"], None),
           "passwd": (("account", "passwd", *TWO), ["{old}", NEW], NEW),
           "compromised": (("account", "passwd", "--compromised", *TWO), ["{old}", NEW], NEW),
           "reset": (("key", "reset", "--yes", *ONE), [NEW], NEW)}


def change(story, name):
    """The password of after it."""
    words, stdin, password = CHANGES[name]
    story.ctl(*words, stdin=[line.format(old=story.alice.password) for line in stdin])
    return password or story.alice.password


@pytest.mark.parametrize("database", ["of another night", "lost"])
@pytest.mark.parametrize("what", CHANGES)
def test_mail_to_newer_keys_opens_again(system, what, database):
    """Keys change, mail comes, nobody logs in."""
    story = Story(system)
    with system.imap(story.alice):
        password = change(story, what)
        story.mails_by_new_keys()
    assert (story.home / "keyset").read_bytes() == story.sunday[-1][1]
    assert [p.read_bytes() for p in story.beside("ahead.")] == [story.newest()]
    story.put(story.sunday if database == "of another night" else [])
    story.mail("not now", 451)
    if database == "of another night":
        assert "older-than-mail" in story.findings()
        assert story.ctl("key", "rotate", *ONE, stdin=[story.alice.password], check=False).returncode == OTHER_KEYS
    story.ctl("key", "restore", *ONE, stdin=[password])
    if what == "reset":
        story.ctl("key", "heal", *TWO, stdin=[story.alice.password, password])
    story.mail("after it")
    story.reads_all(password)
    assert story.findings() == ["no-recovery"]
    story.reads_all(password)
    assert not story.beside() and (story.home / "keyset").read_bytes() == story.newest()


def test_mail_before_the_first_login(system):
    story = Story(system, login=False)
    story.mail("before the first login")
    assert not (story.home / "keyset").exists() and [p.read_bytes() for p in story.beside()] == [story.newest()]
    story.put([])
    story.ctl("key", "restore", *ONE, stdin=[story.alice.password])
    story.reads_all()
    story.reads_all()
    assert not story.beside()


def begin(c, story):
    """Up to where a mail's text follows; auth has brought the record by then."""
    c.command(f"MAIL FROM:<{probes.STRANGER}>")
    assert c.command(f"RCPT TO:<{story.alice.address}>")[0] == 250


def test_without_the_keyset_mail_waits(system):
    """The record came with the RCPT; then keyd is gone."""
    story = Story(system, login=False)
    message = probes.marked("waits")
    with system.lmtp() as c:
        begin(c, story)
        system.stop("keyd")
        try:
            c.command("DATA")
            c.s.sendall(message + b".\r\n")
            assert c.reply()[0] == 451
        finally:
            system.start()
    assert not (story.home / "record").exists() and not probes.traces(system, story.alice, message) and not system.mail_files(story.alice)
    story.mail("now")
    story.reads_all()


def test_with_what_is_there_no_delivery_asks(system):
    story = Story(system)
    with system.lmtp() as c:
        begin(c, story)
        system.stop("keyd")
        try:
            c.command("DATA")
            c.s.sendall(probes.marked("known keys") + b".\r\n")
            assert c.reply()[0] == 250
        finally:
            system.start()


def dies_at_the_record(system, story, calls):
    """A delivery whose process is killed as it is about to put the record in its place, behind the keyset: its second rename(), of an account without
    mailboxes its fourth."""
    with system.lmtp() as c:
        begin(c, story)
        pids = system.pids("dovecot", "lmtp")
        tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-e", f"inject=rename:signal=SIGKILL:when={calls}",
                                   *(f"-p{pid}" for pid in pids)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            for _ in pids:
                assert b"attached" in tracer.stderr.readline()
            c.command("DATA")
            c.s.sendall(probes.marked("dies") + b".\r\n")
            return c.reply()[0]
        finally:
            tracer.terminate()
            tracer.wait(20)


@pytest.mark.parametrize("login", [False, True])
def test_killed_between_keyset_and_record(system, login):
    story = Story(system, login)
    if login:
        change(story, "rotate")
    story.put(story.keys.rows(story.alice))  # who remembers the older record is gone
    assert dies_at_the_record(system, story, 2 if login else 4) in (None, 451)
    assert [p.read_bytes() for p in story.beside("ahead.")] == [story.newest()]
    assert (story.generation() == 1) if login else not (story.home / "record").exists()
    story.mail("the next one")
    assert len(story.beside("ahead.")) == 1
    story.put([])
    story.ctl("key", "restore", *ONE, stdin=[story.alice.password])
    story.reads_all()


def test_nothing_of_it_is_a_finding(system):
    """Between changes, deliveries and logins all is as it was: doctor and changes of keys see nothing in what deliveries left."""
    story, password = Story(system), None
    password = story.alice.password
    for i in range(3):
        story.ctl("key", "rotate", *ONE, stdin=[password])
        story.mails_by_new_keys()
        assert story.findings() == ["no-recovery"]
        new = f"{NEW} {i}"
        p = system.ctl("passwd", story.alice.address, stdin=f"{password}\n{new}\n".encode(), check=False)
        assert p.returncode == 0, p.stderr
        password = new
        assert story.findings() == ["no-recovery"]
        story.mails_by_new_keys()
    assert len(story.beside("ahead.")) == 6
    p = story.ctl("key", "restore", *ONE, stdin=[password], check=False)
    assert b"nothing to restore" in p.stderr
    assert not probes.alarms(system, story.alice)
    story.reads_all(password)
    assert not story.beside() and (story.home / "keyset").read_bytes() == story.newest()
    assert not probes.alarms(system, story.alice)


def test_a_late_one_goes_at_the_next_login(system):
    """A delivery that was under way while a session looked through them."""
    story = Story(system)
    (story.home / "keyset.ahead.0123456789abcdef").write_bytes(story.newest())
    (story.home / "keyset.ahead.0123456789abcdef.tmp.0123456789abcdef").write_bytes(b"half of on")
    os.chown(story.home / "keyset.ahead.0123456789abcdef", probes.UID_MAIL, -1)
    story.words()
    assert not (story.home / "keyset.ahead.0123456789abcdef").exists()
    assert not probes.alarms(system, story.alice) and story.findings() == ["no-recovery"]


def test_what_keyd_has_not_is_kept(system):
    """Keys that an older database has overtaken (--despite-home) are set aside by the next login, and joined again."""
    story = Story(system)
    change(story, "rotate")
    story.mails_by_new_keys()
    lost = story.newest()
    story.put(story.sunday)
    old = story.alice.password
    for new in ("one of three", "two of three", NEW):
        story.ctl("account", "passwd", "--despite-home", *TWO, stdin=[old, new])
        old = new
    story.mails_by_new_keys()
    assert lost in [p.read_bytes() for p in story.beside("ahead.")]
    assert len(story.words(NEW)) < len(story.sent)
    assert [p.read_bytes() for p in story.beside()] == [lost] == [p.read_bytes() for p in story.beside("other.")]
    assert [line for line in probes.alarms(system, story.alice) if "keyset.other." in line]
    assert "older-than-mail" in story.findings()
    story.ctl("key", "restore", *ONE, stdin=[NEW])
    story.ctl("key", "heal", *TWO, stdin=[story.alice.password, NEW])
    story.reads_all(NEW)
    assert not story.beside() and story.findings() == ["no-recovery"]


def test_they_are_bounded(system):
    """Keys that were changed more often than that since the last login: mail waits for one."""
    story = Story(system)
    for i in range(AHEAD_MAX):
        path = story.home / f"keyset.ahead.{i:016x}"
        path.write_bytes(story.newest())
        os.chown(path, probes.UID_MAIL, -1)
    change(story, "rotate")
    story.mail("too many", 451)
    assert len(story.beside("ahead.")) == AHEAD_MAX and story.generation() == 1
    assert [line for line in probes.alarms(system, story.alice) if "waits for a login" in line]
    story.reads_all()
    assert not story.beside()
    story.mails_by_new_keys()
    story.reads_all()


class OlderKeyd(contextlib.AbstractContextManager):
    """In front of the socket delivery: refuses what keyd did not know before, as keyd refuses what it does not know."""

    def __init__(self, system):
        self.path = pathlib.Path(system.env["KEYD_RUN"], "delivery")
        self.real, self.refused = self.path.with_name("delivery.new"), 0
        self.path.rename(self.real)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def __exit__(self, *_):
        self.real.rename(self.path)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, client):
        with client, kp.Client(str(self.real)) as keyd, contextlib.suppress(struct.error, OSError, kp.Closed):
            while True:
                length, _version, opcode, _status, request = struct.unpack(">IBBHI", client.recv(12, socket.MSG_WAITALL))
                payload = client.recv(length - 8, socket.MSG_WAITALL)
                status, reply = (kp.PERM, b"") if opcode == kp.KEYSET_OF else keyd.call(opcode, payload)
                client.sendall(kp.frame(opcode, reply, request, status))
                if status == kp.PERM:
                    self.refused += 1
                    return


def test_an_older_keyd_gives_none(system):
    """As it was then: mail comes in, and the log says once what is missing."""
    story, since = Story(system, login=False), len(system.log("dovecot"))
    with OlderKeyd(system) as older:
        system.kill("dovecot", "lmtp")  # which has a connection
        story.mail("then")
        assert older.refused > 0 and not story.beside() and (story.home / "record").exists()
    assert len(system.logged("dovecot", "is older than this plugin", since)) == 1
    story.mail("now")
    story.reads_all()
