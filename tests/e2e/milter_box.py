"""A basalt-milter of its own with a policy database, and for some tests a real Postfix with a small LMTP server behind
it. Dovecot and keyd are not needed for what the milter does; whole systems are tests/sandbox's."""
import base64
import contextlib
import json
import os
import pathlib
import pwd
import re
import shlex
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

import systems

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BASALT_BUILD", ROOT / "build"))
MILTER_UID = 62005
NOW = int(time.time())


def wait_for(what, seconds=20, every=0.05):
    """What what() gives once it is true; fails after seconds."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for {getattr(what, '__name__', what)}"
        time.sleep(every)


def connects(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(str(path))
            return True
        except OSError:
            return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def migrations():
    return [(int(f.stem), f.read_text()) for f in sorted((ROOT / "sql" / "policy").glob("*.sql"))]


class Sqlite:
    """A policy database in a file."""

    def __init__(self, folder):
        folder.mkdir()
        self.file = folder / "policy.db"
        self.url, self.password_file = f"sqlite:{self.file}", ""
        with self.open() as db:
            db.execute("PRAGMA journal_mode=WAL")
            for number, text in migrations():
                db.executescript(text)
            db.execute("CREATE TABLE schema_version (number BIGINT NOT NULL, applied BIGINT NOT NULL, PRIMARY KEY (number))")
            db.execute("INSERT INTO schema_version VALUES (?, ?)", (migrations()[-1][0], NOW))
        for path in (folder, *folder.iterdir()):
            os.chown(path, MILTER_UID, MILTER_UID)

    @contextlib.contextmanager
    def open(self):
        """A connection that is closed at the end, not when Python collects it: whatever this process reads of the file would take
        away the locks of those left open (POSIX), and they and the milter would write two different journals."""
        with contextlib.closing(sqlite3.connect(self.file, timeout=10)) as db, db:
            yield db

    def run(self, sql, *args):
        with self.open() as db:
            db.execute(sql, args)

    def stop(self):
        pass


class Mariadb:
    """The same on a private server."""

    def __init__(self, folder):
        self.folder = folder
        self.start_server()
        self.url = f"mariadb://basalt_milter@localhost/basalt_policy?socket={self.env['MARIADB_SOCKET']}"
        self.password_file = str(folder.parent / "policy.password")
        shutil.copyfile(self.env["POLICY_PASSWORD_FILE"], self.password_file)
        os.chown(self.password_file, MILTER_UID, MILTER_UID)
        for number, text in migrations():
            self.script(text)
        self.script("CREATE TABLE schema_version (number BIGINT NOT NULL, applied BIGINT NOT NULL, PRIMARY KEY (number));"
                    f"INSERT INTO schema_version VALUES ({migrations()[-1][0]}, {NOW})")

    def start_server(self):
        out = subprocess.run([ROOT / "tests/tools/mariadb", "start", self.folder], check=True, stdout=subprocess.PIPE)
        self.env = dict(v.split("=", 1) for v in shlex.split(out.stdout.decode()))
        self.pid = int(self.env["MARIADB_PID"])

    def stop_server(self):
        subprocess.run([ROOT / "tests/tools/mariadb", "stop", self.folder], check=False, timeout=60)

    def script(self, text):
        password = pathlib.Path(self.password_file).read_text().strip()
        subprocess.run(["mariadb", "--no-defaults", "-u", "basalt_milter", "-S", self.env["MARIADB_SOCKET"],
                        "basalt_policy"], input=text.encode(), check=True, env={**os.environ, "MYSQL_PWD": password})

    def run(self, sql, *args):
        for arg in args:
            sql = sql.replace("?", str(arg) if isinstance(arg, int) else f"'{arg}'", 1)
        self.script(sql)

    def freeze(self):
        systems.proc.freeze(self.pid)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        self.thaw()
        self.stop_server()


class MilterBox:
    """A folder with a milter that runs as a user of its own (pytest's tmp_path is closed to others: not that)."""

    def __init__(self, engine=Sqlite, **settings):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="basalt-milter-"))
        self.dir.chmod(0o755)
        self.run = self.dir / "run"
        self.run.mkdir(mode=0o755)
        self.log = self.dir / "milter.log"
        self.socket, self.socketmap, self.control = (self.run / n for n in ("milter", "socketmap", "control"))
        self.db = engine(self.dir / "db")
        self.trace_key = self.dir / "trace.key"
        self.trace_key.write_text(os.urandom(32).hex() + "\n")
        self.trace_key.chmod(0o600)
        self.settings = {
            "socket": f"unix:{self.socket}", "socketmap": f"unix:{self.socketmap}", "control": str(self.control),
            "database": self.db.url, "database_password_file": self.db.password_file,
            "authserv_id": "mx.example.org", "log": "stderr", "dns_servers": "none", "trace_key_file": str(self.trace_key), "user": str(MILTER_UID),
            "socket_group": str(pwd.getpwnam("postfix").pw_gid), **settings}
        self.conf = self.dir / "milter.conf"
        self.proc = None

    def start(self):
        lines = [f"  {k} = {v if isinstance(v, int) else json.dumps(v)}" for k, v in self.settings.items()]
        self.conf.write_text("milter {\n" + "\n".join(lines) + "\n}\n")
        with self.log.open("ab") as log:
            self.proc = subprocess.Popen([BUILD / "basalt-milter", "-c", self.conf], stderr=log, stdout=log,
                                         stdin=subprocess.DEVNULL)
        wait_for(lambda: self.alive() and all(connects(p) for p in (self.socket, self.socketmap, self.control)))
        return self

    def alive(self):
        assert self.proc.poll() is None, self.log.read_text()
        return True

    def worker(self):
        """The pid of the process that does the work."""
        children = pathlib.Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
        return wait_for(lambda: [int(p) for p in children.read_text().split()])[0]

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def stop_milter(self):
        if self.proc is not None and self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait(20)

    def stop(self):
        self.stop_milter()
        self.db.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- the policy database ---

    def domain(self, name):
        self.db.run("INSERT INTO domains VALUES (?, ?)", name, NOW)

    def account(self, address, enabled=True):
        self.db.run("INSERT INTO accounts VALUES (?, ?, 'private', ?, ?)", address, address.split("@")[1], int(enabled), NOW)

    def prefer(self, account, item, value):
        """An account's preference (docs/POLICY.md)."""
        self.db.run("REPLACE INTO preferences VALUES (3, ?, ?, ?)", account, item, value)

    def alias(self, alias, *targets):
        for target in targets:
            self.db.run("INSERT INTO aliases VALUES (?, ?, ?, ?)", alias, target, alias.split("@")[1], NOW)

    # --- the log ---

    def messages(self):
        """The objects of all log lines about messages."""
        found = re.findall(r"info: message (\{.*\})$", self.log.read_text(), re.M)
        return [json.loads(m) for m in found]

    def message(self, to=None, **wanted):
        """The newest message line that has these values, and this recipient; waits for it."""
        def newest():
            fits = [m for m in self.messages() if all(m.get(k) == v for k, v in wanted.items())
                    and (to is None or any(r.get("to") == to for r in m["rcpt"]))]
            return fits[-1:]
        return wait_for(newest, 5)[0]


class LmtpSink(threading.Thread):
    """Takes every mail, keeps (recipients, bytes). A recipient at refuse@ gets 550."""

    def __init__(self):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.mails = []

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, client.makefile("rwb") as f:
            f.write(b"220 sink LMTP\r\n")
            f.flush()
            rcpts = []
            for line in f:
                rcpts = self.command(f, line.strip(), rcpts)
                f.flush()

    def command(self, f, line, rcpts):
        verb = line[:4].upper()
        if verb == b"LHLO":
            f.write(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == b"RCPT":
            rcpts = rcpts + [re.search(rb"<(.*?)>", line)[1].decode()]
            f.write(b"250 2.1.5 ok\r\n")
        elif verb == b"DATA":
            f.write(b"354 go\r\n")
            f.flush()
            data = b""
            for part in f:
                if part == b".\r\n":
                    break
                data += part[1:] if part.startswith(b".") else part
            self.mails.append((rcpts, data))
            f.write(b"250 2.0.0 taken\r\n" * len(rcpts))
            rcpts = []
        elif verb == b"QUIT":
            f.write(b"221 bye\r\n")
        else:
            f.write(b"250 2.0.0 ok\r\n")
        return rcpts

    def mail_with(self, text, seconds=20):
        """The mail whose bytes hold text; waits for it."""
        return wait_for(lambda: [m for m in self.mails if text.encode() in m[1]], seconds)[0]

    def stop(self):
        self.server.close()


class FakeSasl(threading.Thread):
    """Dovecot's auth protocol for Postfix: PLAIN, and every password is right."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        os.chmod(path, 0o666)
        self.server.listen()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, client.makefile("rwb") as f:
            f.write(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t" + b"0" * 32 + b"\nDONE\n")
            f.flush()
            for line in f:
                words = line.rstrip(b"\n").split(b"\t")
                if words[0] == b"AUTH":
                    login = base64.b64decode([w for w in words if w.startswith(b"resp=")][0][5:]).split(b"\0")[1]
                    f.write(b"OK\t" + words[1] + b"\tuser=" + login + b"\n")
                    f.flush()

    def stop(self):
        self.server.close()


BASE_CF = """
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {dir}/log/maillog
maillog_file_prefixes = {dir}/log
myhostname = mail.example.org
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
default_transport = error:5.1.2 nothing leaves this test
relay_transport = error:5.1.2 nothing leaves this test
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 5s
"""
BASE_MASTER = """
pickup unix n - n 60 1 pickup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixBox:
    """Postfix on the fragments of postfix/, in front of a MilterBox and an LmtpSink."""

    def __init__(self, milter, **extra):
        self.dir = milter.dir / "postfix"
        self.sink = LmtpSink()
        self.sink.start()
        self.port, self.submission = free_port(), free_port()
        for name in ("etc", "log", "queue", "data"):
            (self.dir / name).mkdir(parents=True)
        os.chown(self.dir / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (self.dir / "data").chmod(0o700)
        values = {"MILTER": f"unix:{milter.socket}", "SOCKETMAP": f"unix:{milter.socketmap}", "SASL": self.dir / "sasl",
                  "LMTP": f"inet:127.0.0.1:{self.sink.port}", "CONFIG": self.dir / "etc",
                  "SMTP": f"127.0.0.1:{self.port}", "SUBMISSION": f"127.0.0.1:{self.submission}",
                  "SUBMISSION_TLS": "none"}
        main = BASE_CF.format(dir=self.dir) + filled("main.cf", values) + "".join(f"{k} = {v}\n" for k, v in extra.items())
        (self.dir / "etc/main.cf").write_text(main)
        (self.dir / "etc/master.cf").write_text(filled("master.cf", values) + BASE_MASTER)
        for checks in ("header_checks", "bounce_checks"):
            shutil.copy(ROOT / "postfix" / checks, self.dir / "etc")
        self.sasl = FakeSasl(self.dir / "sasl")
        self.sasl.start()

    def start(self):
        p = subprocess.run(["postfix", "-c", self.dir / "etc", "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL)
        assert p.returncode == 0, p.stdout.decode() + self.log()
        wait_for(self.greets)
        return self

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as s:
                return s.recv(3) == b"220"
        except OSError:
            return False

    def log(self):
        file = self.dir / "log/maillog"
        return file.read_text() if file.exists() else ""

    def client(self, port=None):
        return smtplib.SMTP("127.0.0.1", port or self.port, "client.example.net", timeout=60)

    def send(self, rcpts, data, sender="sender@example.net"):
        """({address: (code, text)} of recipients, (code, text) after DATA or None)."""
        with self.client() as c:
            c.ehlo()
            c.mail(sender)
            answers = {r: c.rcpt(r) for r in rcpts}
            if not any(code == 250 for code, _ in answers.values()):
                return answers, None
            return answers, c.data(data)

    def stop(self):
        subprocess.run(["postfix", "-c", self.dir / "etc", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.sink.stop()
        self.sasl.stop()


def filled(name, values):
    """A fragment of postfix/ with its placeholders filled in; one that is left is an error."""
    text = (ROOT / "postfix" / name).read_text()
    lines = [ln for ln in text.splitlines() if not ln.startswith("#")]
    text = "\n".join(lines) + "\n"
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    assert not re.search(r"@[A-Z_]+@", text), text
    return text
