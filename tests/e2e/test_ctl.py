"""basaltctl with a real basalt-keyd on SQLite; no Postfix, no Dovecot. Sealed files come from the independent encoder."""
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

import pytest

import keydserver
import keyproto
import message

CTL = keydserver.BUILD / "basaltctl"
USAGE, TEMPFAIL, CONFIG = 2, 75, 78
PASSWORD = "a good password"


class Ctl:
    """basaltctl with a configuration of its own in a folder."""

    def __init__(self, folder, keyd_run, **settings):
        self.dir = pathlib.Path(folder)
        self.db = self.dir / "policy.db"
        self.conf = self.dir / "basaltctl.conf"
        values = {"database": f"sqlite:{self.db}", "keyd": str(keyd_run), "timeout_ms": 4000, **settings}
        self.conf.write_text(keydserver.conf_text({"ctl": values}))

    def run(self, *args, stdin=""):
        """(exit status, stdout, stderr)"""
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        p = subprocess.run([CTL, "-c", self.conf, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env={"LANG": "C"}, timeout=60, start_new_session=True)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def ok(self, *args, stdin=""):
        status, out, err = self.run(*args, stdin=stdin)
        assert status == 0, err
        assert err == ""
        return out

    def json(self, *args, stdin="", status=0):
        got, out, err = self.run(*args, "--json", stdin=stdin)
        assert got == status, err
        return json.loads(out)

    def fails(self, status, *args, stdin="", says=""):
        got, out, err = self.run(*args, stdin=stdin)
        assert (got, out) == (status, ""), (got, out, err)
        assert err.startswith("basaltctl: ") and re.search(says, err), err
        return err

    def sql(self, text, *args):
        db = sqlite3.connect(self.db, timeout=5)
        with db:
            rows = db.execute(text, args).fetchall()
        db.close()
        return rows


@pytest.fixture(scope="module")
def keyd():
    with keydserver.Keyd() as k:
        yield k


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="basalt-ctl-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ctl(folder, keyd):
    c = Ctl(folder, keyd.run)
    c.ok("domain", "add", "example.org")
    return c


@pytest.fixture
def alone(folder):
    """Without a keyd."""
    return Ctl(folder, folder / "nobody")


@pytest.fixture
def name(request):
    """An address that no other test uses."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60] + "@example.org"


# --- the command line ---

def test_help_at_every_level(alone):
    top = alone.ok("--help")
    rows = re.findall(r"^  ([\w-]+)(?: ([\w-]+))? ", top, re.M)
    assert ("account", "add") in rows and ("scrub", "") in [(n, v if v.islower() else "") for n, v in rows]
    for noun, verb in rows:
        if verb.islower():
            assert f"{noun} {verb}" in alone.ok(noun, "--help")
            assert alone.ok(noun, verb, "--help").startswith(f"usage: basaltctl {noun} {verb}")
        else:
            assert alone.ok(noun, "--help").startswith(f"usage: basaltctl {noun}")
    assert not alone.db.exists(), "help needs nothing"


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["account"], ["account", "nonsense"], ["domain", "add"], ["domain", "add", "a.b", "c.d"],
    ["domain", "list", "--yes"], ["account", "add", "a@b.c", "--plan"], ["account", "add", "a@b.c", "--password=x"],
    ["account", "add", "a@b.c", "--password-stdin=x"], ["--nonsense"], ["scrub"], ["domain", "add", "no domain"],
    ["account", "add", "noaddress"], ["account", "add", "a+b@example.org"], ["alias", "add", "x"],
], ids=" ".join)
def test_wrong_usage(alone, args):
    status, out, err = alone.run(*args)
    assert (status, out) == (USAGE, "") and err


def test_configuration(alone, folder):
    assert "no errors" in alone.ok("--check-config")
    text = alone.ok("--defaults")
    assert "database" in text and "keyd" in text
    alone.conf.unlink()
    alone.fails(CONFIG, "domain", "list", says="No such file.*-c FILE.*--defaults")
    alone.conf.write_text("ctl {\n\tkeyd = \"/x\"\n\tnonsense = 1\n}\n")
    alone.fails(CONFIG, "--check-config", says=r"basaltctl.conf:3: .*nonsense")
    alone.fails(CONFIG, "domain", "list", says="nonsense")
    for key, value in (("database", "sqlite:relative.db"), ("database", "mariadb://host/db"), ("keyd", "run/basalt"),
                       ("milter_control", "control")):
        alone.conf.write_text(f"ctl {{ {key} = \"{value}\" }}\n")
        alone.fails(CONFIG, "--check-config", says=f"ctl.{key} = \"{value}\": must be ")
    alone.conf.write_text("ctl { database = \"oracle://x\" }\n")
    alone.fails(CONFIG, "domain", "list", says="sqlite:/PATH")
    alone.conf.write_text(f"ctl {{ database = \"sqlite:{folder}/x.db\" database_password_file = \"/nonexistent\" }}\n")
    alone.fails(CONFIG, "domain", "list", says="/nonexistent")
    alone.conf.write_text("ctl { database = \"sqlite:/nonexistent/x.db\" }\n")
    alone.fails(TEMPFAIL, "domain", "list", says="/nonexistent/x.db")


def test_newer_schema(alone):
    alone.ok("db", "migrate")
    alone.ok("db", "migrate")
    alone.sql("INSERT INTO schema_version (number, applied) VALUES (999, 0)")
    alone.fails(1, "domain", "list", says="newer Basalt")
    alone.fails(1, "db", "migrate", says="newer Basalt")


# --- policy alone ---

def test_domains_aliases_plans(alone):
    alone.ok("domain", "add", "Example.ORG")
    alone.fails(1, "domain", "add", "example.org", says="exists already")
    assert "basaltctl alias add postmaster@a.example ADDRESS" in alone.ok("domain", "add", "a.example")
    alone.sql("DELETE FROM domains WHERE domain = 'a.example'")
    alone.sql("INSERT INTO aliases VALUES ('postmaster@a.example', 'a@example.org', 'a.example', 1)")
    assert alone.ok("domain", "add", "a.example") == ""
    alone.ok("alias", "remove", "postmaster@a.example", "a@example.org")
    assert alone.ok("domain", "list") == "a.example\nexample.org\n"
    alone.ok("alias", "add", "Info@example.org", "Bob+x@Elsewhere.example")
    alone.fails(1, "alias", "add", "info@example.org", "bob+x@elsewhere.example", says="exists already")
    alone.fails(1, "alias", "add", "info@other.example", "a@b.c", says="domain add other.example")
    assert alone.json("alias", "list") == [{"alias": "info@example.org", "target": "bob+x@elsewhere.example"}]
    alone.fails(1, "domain", "remove", "example.org", says="aliases")
    alone.ok("alias", "remove", "info@example.org", "bob+x@elsewhere.example")
    alone.fails(1, "alias", "remove", "info@example.org", "bob+x@elsewhere.example", says="does not exist")
    alone.ok("domain", "remove", "example.org")
    alone.fails(1, "domain", "remove", "example.org", says="does not exist")
    assert alone.json("domain", "list") == ["a.example"]
    assert [(p["name"], p["sealed"], p["compress"]) for p in alone.json("plan", "list")] == [
        ("plain", False, True), ("private", True, True)]
    alone.ok("plan", "set", "brief", "linger_s=0", "compress=no")
    alone.ok("plan", "set", "brief", "linger_s=5")
    assert alone.json("plan", "list")[0] == {"name": "brief", "sealed": True, "compress": False, "linger_s": 5,
                                             "preferences": {}}
    alone.ok("plan", "set", "brief", "linger_s=default")
    assert alone.json("plan", "list")[0]["linger_s"] is None
    for word in ("sealed=maybe", "linger_s=-1", "linger_s=4294967296", "linger_s=", "nonsense=1", "sealed"):
        alone.fails(USAGE, "plan", "set", "brief", word, says="sealed=yes")
    alone.fails(USAGE, "plan", "set", "No Name", "sealed=yes", says="a-z")
    alone.fails(USAGE, "plan", "set", "brief", says="KEY=VALUE")


def test_alias_of_an_account(ctl, name):
    ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
    ctl.fails(1, "alias", "add", name, "b@elsewhere.example", says="instead of its mailbox.*--divert")
    assert ctl.json("alias", "list", name) == []
    ctl.ok("alias", "add", name, "b@elsewhere.example", "--divert")
    ctl.ok("alias", "remove", name, "b@elsewhere.example")
    ctl.ok("alias", "add", name, name)
    ctl.ok("alias", "add", name, "b@elsewhere.example")
    assert [row["target"] for row in ctl.json("alias", "list", name)] == ["b@elsewhere.example", name]
    ctl.fails(1, "alias", "add", name, name.replace("@", "+x@"), says="loop")


def test_alias_loops(alone):
    alone.ok("domain", "add", "x.org")
    alone.fails(1, "alias", "add", "a@x.org", "a@x.org", says="no account of that name")
    alone.fails(1, "alias", "add", "a@x.org", "a+more@x.org", says=r"loop.*: a@x\.org -> a\+more@x\.org$")
    alone.ok("alias", "add", "a@x.org", "b@x.org")
    alone.ok("alias", "add", "a@x.org", "out@elsewhere.example")
    alone.fails(1, "alias", "add", "b@x.org", "a@x.org", says=r"loop.*: b@x\.org -> a@x\.org -> b@x\.org$")
    alone.ok("alias", "add", "b@x.org", "c+ext@x.org")
    alone.fails(1, "alias", "add", "c@x.org", "a+other@x.org", says="c@x.org -> a@x.org -> b@x.org -> c@x.org")
    alone.ok("alias", "add", "c@x.org", "d@x.org")
    alone.ok("alias", "add", "a@x.org", "d@x.org")
    assert len(alone.json("alias", "list")) == 5, "the same end by two ways is no loop"


def test_alias_chains_end(alone):
    alone.ok("domain", "add", "x.org")
    for i in range(10):
        alone.ok("alias", "add", f"n{i + 1}@x.org", f"n{i}@x.org")
    alone.fails(1, "alias", "add", "n11@x.org", "n10@x.org", says="longer than 10")
    alone.sql("INSERT INTO aliases VALUES ('n0@x.org', 'n3@x.org', 'x.org', 1)")
    alone.ok("alias", "add", "z@x.org", "n1@x.org")


def test_locked_database(alone):
    alone.ok("domain", "add", "example.org")
    alone.conf.write_text(alone.conf.read_text().replace("ctl {", "ctl {\n\tdatabase_timeout_ms = 300"))
    db = sqlite3.connect(alone.db)
    db.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    alone.fails(TEMPFAIL, "domain", "add", "b.example", says="locked")
    assert time.monotonic() - start < 5
    db.close()


# --- accounts ---

def test_account_life(ctl, keyd, name):
    made = ctl.json("account", "add", name, "--password-stdin", stdin=PASSWORD + "\n")
    assert made == {"address": name, "plan": "private", "sealed": True}
    assert keyd.login_status(name, PASSWORD) == keyproto.OK
    shown = ctl.json("account", "show", name)
    assert shown["plan"] == "private" and shown["enabled"] and abs(shown["created"] - time.time()) < 60
    with keyd.client("control") as c:
        fields = keydserver.record_fields(c.ask(keyproto.RECORD, keyproto.str16(name)).str16())
    assert shown["keys"]["account_id"] == fields[0].hex() and shown["keys"]["key_id"] == fields[1].hex()
    assert shown["keys"]["sealed"] and shown["keys"]["compress"] and shown["keys"]["generation"] == 1
    assert fields[0].hex() in ctl.ok("account", "show", name)
    assert [a["address"] for a in ctl.json("account", "list")] == [name]
    assert name in ctl.ok("account", "list", "--domain", "example.org")
    assert ctl.ok("account", "list", "--domain", "other.example") == ""
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin=PASSWORD, says="exists already")

    ctl.ok("account", "passwd", name, "--old-password-stdin", "--password-stdin", stdin=f"{PASSWORD}\nanother good one\n")
    assert keyd.login_status(name, PASSWORD) == keyproto.DENIED
    assert keyd.login_status(name, "another good one") == keyproto.OK
    ctl.fails(1, "account", "passwd", name, "--old-password-stdin", "--password-stdin", stdin=f"{PASSWORD}\nx y z x y z\n",
              says="neither its password nor")
    ctl.fails(1, "account", "passwd", name, "--old-password-stdin", "--password-stdin",
              stdin="another good one\nshort\n", says="too weak")
    assert keyd.login_status(name, "another good one") == keyproto.OK

    ctl.fails(1, "account", "remove", name, says="--yes")
    ctl.fails(2, "account", "passwd", name, "--password-stdin", says="give --old-password-stdin")
    ctl.fails(2, "account", "plan", name, "plain", says="give --password-stdin")
    ctl.ok("account", "remove", name, "--yes")
    assert keyd.rows(name) == [] and ctl.json("account", "list") == []
    ctl.fails(1, "account", "remove", name, "--yes", says="does not exist")
    ctl.fails(1, "account", "show", name, says="does not exist")


def test_disable_and_enable(ctl, name):
    ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
    for verb, enabled in (("disable", False), ("disable", False), ("enable", True)):
        ctl.ok("account", verb, name)
        assert ctl.json("account", "show", name)["enabled"] is enabled
        assert [a["enabled"] for a in ctl.json("account", "list") if a["address"] == name] == [enabled]
        assert ("enabled:     yes" in ctl.ok("account", "show", name)) is enabled
    ctl.fails(1, "account", "disable", "nobody@example.org", says="does not exist")


def test_plain_account_and_its_plan(ctl, keyd, name):
    ctl.ok("account", "add", name, "--plan", "plain", "--password-stdin", stdin=PASSWORD)
    assert ctl.json("account", "show", name)["keys"]["sealed"] is False
    ctl.fails(1, "account", "plan", name, "private", "--password-stdin", stdin="not this one", says="password is wrong")
    shown = ctl.json("account", "show", name)
    assert (shown["plan"], shown["keys"]["sealed"]) == ("plain", False)
    ctl.ok("account", "plan", name, "private", "--password-stdin", stdin=PASSWORD)
    shown = ctl.json("account", "show", name)
    assert (shown["plan"], shown["keys"]["sealed"]) == ("private", True)
    ctl.ok("plan", "set", "other", "linger_s=1")
    ctl.ok("account", "plan", name, "other")  # nothing changes for the keys: no password
    assert ctl.json("account", "show", name)["plan"] == "other"
    assert keyd.login_status(name, PASSWORD) == keyproto.OK


def test_account_add_refusals(ctl, keyd, name):
    ctl.fails(1, "account", "add", "a@other.example", "--password-stdin", stdin=PASSWORD, says="domain add other.example")
    ctl.fails(1, "account", "add", name, "--plan", "none", "--password-stdin", stdin=PASSWORD, says="plan list")
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin="short", says="too weak")
    for bad in ("password", name.upper(), name.split("@")[0], "with\ttab", b"Latin-1 \xe4\n"):
        ctl.fails(1, "account", "add", name, "--password-stdin", stdin=bad, says="no control characters")
    ctl.fails(USAGE, "account", "add", name, "--password-stdin", stdin="", says="before a password came")
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin="\nsecond line\n", says="nothing was given")
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin="x" * 1025, says="too long")
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin=b"with a\0NUL in it\n", says="NUL")
    ctl.fails(USAGE, "account", "add", name, says="--password-stdin")
    assert keyd.rows(name) == [] and ctl.json("account", "list") == []
    ctl.ok("account", "add", name, "--password-stdin", stdin="y" * 1024 + "\r\n")
    assert keyd.login_status(name, "y" * 1024) == keyproto.OK


def test_add_after_a_crash_between_keys_and_row(ctl, keyd, name):
    """Keys without a row, as a crash leaves them: the right password finishes the job, another one does not."""
    keyd.enrol(name, PASSWORD, flags=0)
    before = keyd.rows(name)
    err = ctl.fails(1, "account", "add", name, "--password-stdin", stdin="somebody else's", says="does not open them")
    assert "account remove" in err and ctl.json("account", "list") == [] and keyd.rows(name) == before
    ctl.ok("account", "add", name, "--plan", "private", "--password-stdin", stdin=PASSWORD)
    shown = ctl.json("account", "show", name)
    assert shown["plan"] == "private" and shown["keys"]["sealed"], "the keys follow the plan that was asked for"
    assert keyd.login_status(name, PASSWORD) == keyproto.OK


def test_remove_finishes_what_a_crash_left(ctl, keyd, name):
    keyd.enrol(name)
    ctl.ok("account", "remove", name, "--yes")
    assert keyd.rows(name) == []
    ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
    with keyd.client("control") as c:
        c.ask(keyproto.REMOVE, keyproto.str16(name)).done()
    ctl.fails(1, "account", "show", name, says="no keys")
    ctl.ok("account", "remove", name, "--yes")
    assert ctl.json("account", "list") == []


def test_keys_taken_back_in_the_database(ctl, keyd, name):
    """An older or missing row in keyd's database is no reason to make new keys."""
    ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
    old = keyd.rows(name)
    ctl.ok("account", "passwd", name, "--old-password-stdin", "--password-stdin", stdin=f"{PASSWORD}\n{PASSWORD}2\n")
    keyd.sql("DELETE FROM keysets WHERE account = ?", name)
    keyd.sql("INSERT INTO keysets (account, generation, keyset, created) VALUES (?, ?, ?, 0)", name, *old[0])
    ctl.fails(1, "account", "show", name, says="restored or changed")
    ctl.sql("DELETE FROM accounts WHERE address = ?", name)
    ctl.fails(1, "account", "add", name, "--password-stdin", stdin=PASSWORD, says="restored or changed")
    assert keyd.rows(name) == old


def test_killed_at_any_moment(ctl, keyd, name):
    """kill -9 of basaltctl after any time: the same command always finishes the job."""
    interrupted, start = 0, time.monotonic()
    ctl.ok("account", "add", f"whole-{name}", "--password-stdin", stdin=PASSWORD)
    whole = time.monotonic() - start
    for i in range(20):
        address = f"k{i}-{name}"
        p = subprocess.Popen([CTL, "-c", ctl.conf, "account", "add", address, "--password-stdin"], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p.stdin.write(PASSWORD.encode() + b"\n")
        p.stdin.close()
        time.sleep(whole * i / 20)
        p.kill()
        p.wait()
        keydserver.wait_for(lambda: keyd.status() is not None)
        rows = ctl.sql("SELECT 1 FROM accounts WHERE address = ?", address)
        interrupted += p.returncode == -signal.SIGKILL
        assert keyd.rows(address) or not rows, "never a row without keys"
        if not rows:
            status, _, err = ctl.run("account", "add", address, "--password-stdin", stdin=PASSWORD)
            assert status == 0, err
        assert keyd.login_status(address, PASSWORD) == keyproto.OK
    assert interrupted >= 5


def test_keyd_down_then_up(folder, name):
    with keydserver.Keyd() as keyd:
        ctl = Ctl(folder, keyd.run, timeout_ms=1500)
        ctl.ok("domain", "add", "example.org")
        ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
        keyd.stop()
        for args in (("account", "add", "x" + name, "--password-stdin"), ("account", "remove", name, "--yes"),
                     ("account", "show", name), ("account", "passwd", name, "--old-password-stdin", "--password-stdin")):
            ctl.fails(TEMPFAIL, *args, stdin=f"{PASSWORD}\n{PASSWORD}\n", says="basalt-keyd does not answer")
        status, out, _ = ctl.run("status")
        assert status == TEMPFAIL and "keyd: NOT AVAILABLE" in out and "database: ok" in out
        assert f"does basalt-keyd run, and is its keyd.run_dir what ctl.keyd in {ctl.conf} says?" in out
        assert [a["address"] for a in ctl.json("account", "list")] == [name], "nothing is removed by halves"
        keyd.start()
        ctl.ok("account", "remove", name, "--yes")


def test_silent_keyd(folder):
    """Something listens and never answers: a deadline, not a hang."""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(folder / "control"))
        s.listen()
        ctl = Ctl(folder, folder, timeout_ms=500)
        ctl.ok("domain", "add", "example.org")
        start = time.monotonic()
        ctl.fails(TEMPFAIL, "account", "add", "a@example.org", "--password-stdin", stdin=PASSWORD, says="in time")
        assert ctl.run("status")[0] == TEMPFAIL
        assert time.monotonic() - start < 4


def test_password_from_the_terminal(ctl, keyd, name):
    """Asked twice, without echo."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(CTL, [CTL, "-c", str(ctl.conf), "account", "add", name])
    shown = b""
    for expected, answer in ((b"Password: ", PASSWORD), (b"again: ", PASSWORD)):
        while expected not in shown:
            shown += os.read(fd, 100)
        time.sleep(0.1)
        os.write(fd, answer.encode() + b"\n")
        shown = b"" if expected == b"Password: " else shown
    try:
        while chunk := os.read(fd, 100):
            shown += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert PASSWORD.encode() not in shown
    assert keyd.login_status(name, PASSWORD) == keyproto.OK


def test_no_password_in_sight(ctl, keyd, name):
    """While basaltctl waits for keyd, neither argv nor environment nor anything it prints holds the password."""
    secret = "do not show me anywhere"
    for args in (("account", "add", name, "--password-stdin"), ("account", "add", name, "--password-stdin"),
                 ("account", "plan", name, "plain", "--password-stdin")):
        p = subprocess.Popen([CTL, "-c", ctl.conf, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        p.stdin.write(secret.encode() + b"\n")
        p.stdin.flush()
        seen = b""
        while p.poll() is None:
            for part in ("cmdline", "environ"):
                try:
                    seen += pathlib.Path(f"/proc/{p.pid}/{part}").read_bytes()
                except OSError:
                    pass
            time.sleep(0.002)
        assert secret.encode() not in seen + p.stdout.read()
    assert secret not in keyd.log_text()


# --- status ---

def milter_like(path, answer):
    """Answers one status question on path."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    asked = []

    def serve():
        with server, server.accept()[0] as s:
            asked.append(s.recv(4096))
            s.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return asked


def test_status(folder, keyd, name):
    ctl = Ctl(folder, keyd.run, milter_control=str(folder / "milter"))
    ctl.ok("domain", "add", "example.org")
    ctl.ok("account", "add", name, "--password-stdin", stdin=PASSWORD)
    asked = milter_like(folder / "milter", b'{"ok":true,"program":"basalt-milter","counters":{"messages":3}}\n')
    status = ctl.json("status")
    assert asked == [b'{"op":"status"}\n']
    assert status["database"] == {"ok": True, "domains": 1, "accounts": 1}
    assert status["milter"]["counters"] == {"messages": 3} and status["keyd"]["ok"]
    got, out, _ = ctl.run("status")  # nobody answers there any more
    assert got == TEMPFAIL and "milter: NOT AVAILABLE" in out and "keyd: ok" in out
    assert f"does basalt-milter run, and is its milter.control what ctl.milter_control in {ctl.conf} says?" in out
    (folder / "milter").unlink()
    milter_like(folder / "milter", b"\x1b]0;garbage\n")
    assert ctl.json("status", status=TEMPFAIL)["milter"]["ok"] is False


def test_status_changes_nothing(alone):
    status = alone.json("status", status=TEMPFAIL)
    assert "db migrate" in status["database"]["error"]
    assert alone.sql("SELECT name FROM sqlite_master") == []


# --- sealed files ---

def seal(plain, suite=1, compress=True):
    return message.seal(plain, suite, b"A" * 16, os.urandom(16), message.crypto_scalarmult_base(b"\1" * 32), os.urandom(32),
                        os.urandom(32), lambda _n, _text: compress)[0]


def mail(body_len=300):
    return b"Subject: x\nTo: a@b.c\n\n" + (b"All work and no play. " * (body_len // 22 + 1))[:body_len]


MAIL = mail()
DBOX_HEADER = b"2 M1e C5f3ec9a1\n"


def dbox(*messages):
    """A dbox file as Dovecot writes it: lib-storage/index/dbox-common/dbox-file.h."""
    out = DBOX_HEADER
    for m in messages:
        out += b"\1\2N " + b" " * 8 + b" " + b"%016x" % len(m) + b"\n" + m
        out += b"\n\1\3\nR5f3ec9a1\nGdeadbeef\nV12c\n\n"
    return out


def test_inspect_one(alone, folder):
    sealed = seal(mail(100_000))
    path = folder / "m"
    path.write_bytes(sealed)
    found = alone.json("message", "inspect", str(path))
    assert found["path"] == str(path)
    m, = found["messages"]
    assert (m["version"], m["suite"], m["damage"], m["sealed"]) == (1, 1, None, True)
    assert m["account_id"] == (b"A" * 16).hex() and m["message_id"] == sealed[28:44].hex()
    assert m["key_id"] == message.key_id(1, message.crypto_scalarmult_base(b"\1" * 32)).hex()
    assert [c["kind"] for c in m["chunks"]] == ["header", "body", "body"] and m["chunks_complete"]
    assert [c["final"] for c in m["chunks"]] == [False, False, True]
    assert sum(c["plain_length"] for c in m["chunks"]) == len(mail(100_000))
    assert m["chunks"][0]["offset"] == m["prefix_length"]
    assert m["trailer_offset"] + m["trailer_length"] + 48 == len(sealed) == m["length"]
    out = alone.ok("message", "inspect", str(path))
    assert "digest          ok" in out and m["message_id"] in out and "the last" in out
    assert "work" not in out
    path.write_bytes(seal(MAIL, suite=0))
    m = alone.json("message", "inspect", str(path))["messages"][0]
    assert (m["suite"], m["sealed"], m["damage"]) == (0, False, None)


def test_inspect_refusals(alone, folder):
    path = folder / "m"
    path.write_bytes(MAIL)
    assert alone.json("message", "inspect", str(path), status=1)["messages"][0]["sealed"] is False
    path.write_bytes(b"")
    assert alone.run("message", "inspect", str(path))[0] == 1
    alone.fails(1, "message", "inspect", str(folder / "none"), says="No such file")
    alone.fails(1, "message", "inspect", str(folder), says="is no file")
    os.mkfifo(folder / "fifo")
    alone.fails(1, "message", "inspect", str(folder / "fifo"), says="is no file")


def test_every_byte_counts(alone, folder):
    """Any bit flip, any truncation of a sealed file is found by its digest, and nothing crashes."""
    sealed = seal(MAIL)
    tree = folder / "tree"
    tree.mkdir()
    for i in range(len(sealed)):
        (tree / f"flip{i}").write_bytes(sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1:])
        if i >= 8:  # what is left of a shorter one is no longer ours
            (tree / f"cut{i}").write_bytes(sealed[:i])
    (tree / "tail").write_bytes(sealed + b"\n")
    (tree / "good").write_bytes(sealed)
    report = alone.json("scrub", str(tree), status=1)
    assert {pathlib.Path(d["path"]).name for d in report["damaged"]} == {f.name for f in tree.iterdir()} - {"good"}
    assert report["errors"] == [] and report["files"] == len(list(tree.iterdir()))


def test_crlf_mangled(alone, folder):
    (folder / "m").write_bytes(seal(MAIL).replace(b"\r\n", b"\n"))
    assert "line ends" in alone.json("scrub", str(folder / "m"), status=1)["damaged"][0]["reason"]


def test_scrub_a_tree(alone, folder):
    home = folder / "home"
    maildir = home / "Maildir"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    (maildir / "cur" / "1:2,S").write_bytes(seal(MAIL))
    (maildir / "new" / "2").write_bytes(MAIL)
    (maildir / "tmp" / "3").write_bytes(seal(MAIL)[:100])  # being written
    (maildir / "dovecot.index.log").write_bytes(os.urandom(500))
    sdbox = home / "mailboxes" / "INBOX" / "dbox-Mails"
    sdbox.mkdir(parents=True)
    (sdbox / "u.1").write_bytes(dbox(seal(MAIL)))
    (sdbox / "u.2").write_bytes(dbox(MAIL))
    (sdbox / "temp.123.host").write_bytes(dbox(seal(MAIL))[:200])
    storage = home / "storage"
    storage.mkdir()
    (storage / "m.1").write_bytes(dbox(seal(MAIL), MAIL, seal(MAIL, suite=0), seal(mail(0))))
    (home / "loop").symlink_to(home)
    os.mkfifo(home / "fifo")
    report = alone.json("scrub", str(home))
    assert (report["damaged"], report["errors"]) == ([], [])
    assert (report["sealed"], report["not_encrypted"], report["skipped_plaintext"]) == (4, 1, 4)
    assert report["files"] == 6
    out = alone.ok("scrub", str(home))
    assert "4 sealed messages" in out and "0 damaged" in out
    assert alone.ok("scrub", "--quiet", str(home)) == ""

    data = bytearray((storage / "m.1").read_bytes())
    third = data.index(message.MAGIC, data.index(message.MAGIC) + 8)
    data[third + 150] ^= 1
    (storage / "m.1").write_bytes(data)
    report = alone.json("scrub", str(home), status=1)
    assert [(d["path"], d["offset"]) for d in report["damaged"]] == [(str(storage / "m.1"), third)]
    assert report["sealed"] == 4 and report["not_encrypted"] == 1, "its neighbours were checked all the same"
    status, out, _ = alone.run("scrub", "--quiet", str(home))
    assert status == 1 and out.count("\n") == 1 and "m.1: message at offset" in out


def age(path):
    """As if nobody had written to it for an hour."""
    os.utime(path, (time.time() - 3600,) * 2)


def wrap_around(data):
    """The second message's length, modulo 2^64, leads back to the end of the first."""
    second = data.index(b"\1\2N ", data.index(b"\1\2N ") + 1)
    length = (data.index(b"\n\1\3\n") - (second + 30)) % 2**64
    return data[:second + 13] + b"%016x" % length + data[second + 29:]


@pytest.mark.parametrize("damage", [
    wrap_around, lambda d: d.replace(b"\1\2N ", b"\1\3N ", 1), lambda d: d.replace(b"\n\1\3\n", b"\n\1\4\n", 1),
    lambda d: d[:-1], lambda d: d[:len(DBOX_HEADER) + 10], lambda d: d + b"garbage",
    lambda d: d.replace(b"%016x" % len(MAIL), b"ffffffffffffffff", 1), lambda d: d.replace(b"2 M1e", b"3 M1e", 1),
    lambda d: d.replace(b"%016x" % len(MAIL), b"%016x" % (len(MAIL) + 1), 1),
    lambda d: d.replace(b"%016x" % len(MAIL), b"%015xg" % len(MAIL), 1),
], ids=["wrap", "pre", "post", "metadata", "head", "garbage", "huge", "version", "longer", "nohex"])
def test_damaged_dbox_frame(alone, folder, damage):
    good = dbox(MAIL, seal(MAIL))
    (folder / "m.1").write_bytes(good)
    assert alone.json("scrub", str(folder / "m.1"))["sealed"] == 1
    (folder / "m.1").write_bytes(damage(good))
    age(folder / "m.1")
    report = alone.json("scrub", str(folder / "m.1"), status=1)
    assert "dbox" in report["damaged"][-1]["reason"]
    assert alone.run("message", "inspect", str(folder / "m.1"))[0] == 1


def test_scrub_of_odd_names_and_missing_paths(alone, folder):
    path = os.fsencode(folder) + b"/\xff\x1b[31m\n"
    with open(path, "wb") as f:
        f.write(seal(MAIL)[:-1])
    report = alone.json("scrub", str(folder), status=1)
    assert report["damaged"][0]["path"].endswith(r"\xff\x1b[31m\x0a")
    p = subprocess.run([CTL, "scrub", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 1 and b"\x1b" not in p.stdout
    report = alone.json("scrub", str(folder / "none"), status=1)
    assert report["errors"][0]["path"].endswith("/none")


def test_scrub_while_mail_comes_in(alone, folder):
    """An mdbox file whose end is just being written is read again; if it stays so, it is named, not called damaged."""
    path = folder / "m.1"
    whole = dbox(*[seal(mail(200_000)) for _ in range(3)])
    path.write_bytes(whole[:-500])

    def finish():
        time.sleep(0.25)
        with open(path, "ab") as f:
            f.write(whole[-500:])

    writer = threading.Thread(target=finish)
    writer.start()
    report = alone.json("scrub", str(path))
    writer.join()
    assert (report["damaged"], report["in_use"], report["sealed"]) == ([], [], 3)

    path.write_bytes(whole[:-500])
    report = alone.json("scrub", str(path))
    assert (report["damaged"], report["in_use"], report["sealed"]) == ([], [str(path)], 2)
    age(path)
    report = alone.json("scrub", str(path), status=1)
    assert len(report["damaged"]) == 1 and report["in_use"] == []


def test_progress(alone, folder):
    (folder / "m").write_bytes(seal(MAIL))
    status, out, err = alone.run("scrub", "--progress", "--json", str(folder))
    assert status == 0 and json.loads(out)["sealed"] == 1 and "files" in err
    assert alone.run("scrub", str(folder))[2] == "", "no progress where nobody looks"


def test_real_dovecot_frames(alone, folder):
    """Files that Dovecot itself wrote, by doveadm on a configuration of its own."""
    if not shutil.which("doveadm"):
        pytest.fail("doveadm is missing: tools/deps build run test")
    folder.chmod(0o755)
    for kind in ("sdbox", "mdbox"):
        home = folder / kind
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, 62000, 62000)
        conf = folder / f"{kind}.conf"
        uid = 62000 if os.geteuid() == 0 else os.geteuid()
        conf.write_text(f"mail_location = {kind}:{home}/mail\nmail_uid = {uid}\nmail_gid = {uid}\nfirst_valid_uid = 1\n"
                        f"log_path = {folder}/log\nbase_dir = {folder}/run\nssl = no\nmail_home = {home}\n"
                        f"userdb {{\n  driver = static\n  args = uid={uid} gid={uid} home={home}\n}}\n")
        for i in range(3):
            # -k keeps the environment: without auth, the user is whoever USER says, with the settings' uid
            p = subprocess.run(["doveadm", "-c", conf, "-o", "log_path=/dev/stderr", "save", "-m", "INBOX"],
                               input=MAIL + b"%d\n" % i, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={"PATH": os.environ["PATH"], "USER": "test", "HOME": str(home)})
            assert p.returncode == 0, p.stdout
        files = [f for f in home.rglob("[um].*") if f.name[2:].isdigit()]
        assert files
        found = [m for f in files for m in alone.json("message", "inspect", str(f), status=1)["messages"]]
        assert len(found) == 3 and {m["length"] for m in found} == {len(MAIL) + 2}
        assert alone.json("scrub", str(home))["damaged"] == []


def test_frozen_mailbox(alone):
    """Every sealed file of tests/data/frozen*, for ever."""
    frozen = sorted((keydserver.ROOT / "tests" / "data").glob("frozen*/*.sealed"))
    assert frozen
    report = alone.json("scrub", *map(str, frozen))
    assert report["damaged"] == [] and report["sealed"] + report["not_encrypted"] == len(frozen)
    for path in frozen:
        m, = alone.json("message", "inspect", str(path))["messages"]
        assert hashlib.sha256(path.read_bytes()[:-32]).digest() == path.read_bytes()[-32:]
        assert m["chunks_complete"]


# --- real mailboxes ---

@pytest.mark.limit(300)
def test_scrub_what_dovecot_delivered(every_system, folder):
    """On each storage: clean as delivered; one flipped bit in a copy is found, and only that message."""
    alice, bob = every_system.account("private"), every_system.account("plain")
    for i in range(3):
        every_system.send("x@elsewhere.example", [alice.address, bob.address], mail(200 + 70_000 * i).replace(b"\n", b"\r\n"))
        every_system.settle()  # stock Dovecot may panic when several first mails meet in a new mailbox
    files = keydserver.wait_for(lambda: f if len(every_system.suites(alice)) == 3 == len(every_system.suites(bob)) and (
        f := every_system.mail_files(alice)) else None, timeout=30)
    assert files, "the mail did not arrive"
    homes = [str(every_system.home(a)) for a in (alice, bob)]
    report = json.loads(every_system.ctl("scrub", "--json", *homes).stdout)
    assert (report["sealed"], report["not_encrypted"], report["damaged"]) == (3, 3, [])

    data = bytearray(files[0].read_bytes())
    data[bytes(data).rindex(message.MAGIC) + 200] ^= 4
    copy = folder / files[0].name
    copy.write_bytes(data)
    p = every_system.ctl("scrub", "--json", str(copy), check=False)
    assert p.returncode == 1
    damaged, = json.loads(p.stdout)["damaged"]
    assert damaged["offset"] == bytes(data).rindex(message.MAGIC)


# --- verdict keys: no configuration, no daemon ---

def verdict_key(*args):
    p = subprocess.run([CTL, "verdict-key", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return p.returncode, p.stdout, p.stderr


def test_verdict_keys_are_made_rotated_and_listed(folder):
    path = pathlib.Path(folder) / "verdict.keys"
    assert verdict_key("new", path)[0] == 0
    assert path.stat().st_mode & 0o777 in (0o600, 0o640)
    first = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{16} [0-9a-f]{64} \d+\n", first)
    assert verdict_key("new", path)[0] == 1 and path.read_text() == first
    path.chmod(0o440)
    status, out, err = verdict_key("rotate", path)
    assert status == 0 and path.stat().st_mode & 0o777 == 0o440 and path.read_text().startswith(first)
    second = path.read_text().splitlines()[1]
    assert 590 < int(second.split()[2]) - time.time() < 601
    assert verdict_key("rotate", path)[0] == 1, "the new key's time has not come"
    status, listed, _ = verdict_key("list", "--json", path)
    assert [k["state"] for k in json.loads(listed)] == ["seals", "next"]
    status, plain, _ = verdict_key("list", path)
    for line in path.read_text().splitlines():
        assert line.split()[1] not in out + err + listed + plain and line.split()[0] in plain
    assert not path.with_name("verdict.keys.new").exists()


def test_retired_verdict_keys_go(folder):
    path = pathlib.Path(folder) / "old.keys"
    day, now = 86400, int(time.time())
    lines = [f"{i:016x} {i:064x} {now - ago * day}\n" for i, ago in ((1, 30), (2, 8), (3, 3))]
    path.write_text("# ours\n" + "".join(lines))
    path.chmod(0o600)
    states = json.loads(verdict_key("list", "--json", path)[1])
    assert [k["state"] for k in states] == ["retired", "opens", "seals"]
    assert verdict_key("rotate", "--start-in", "0", path)[0] == 0
    assert path.read_text().startswith(lines[1] + lines[2]) and len(path.read_text().splitlines()) == 3
    assert verdict_key("rotate", "--start-in", "soon", path)[0] == USAGE


def test_a_verdict_key_file_that_is_open_to_all_is_refused(folder):
    path = pathlib.Path(folder) / "open.keys"
    assert verdict_key("new", path)[0] == 0
    path.chmod(0o644)
    for verb in ("rotate", "list"):
        status, _, err = verdict_key(verb, path)
        assert status == CONFIG and "chmod" in err
