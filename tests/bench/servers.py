"""servers: a contender: a private Dovecot in a directory of its own on a tmpfs.

All of them get the same accounts: `reader@bench.example` and `big`, whose mailboxes are filled once, and `to1` .. `to4`,
whose mailboxes are emptied before every delivery.
"""
import pathlib
import shutil
import socket
import subprocess
import time

import cpu

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers"
MODULES = "/usr/lib/dovecot/modules"
PASSWORD = "bench-password"
DOMAIN = "bench.example"
MAIL_ID = 62000
START_S = 20
RECEIVERS = ["to1", "to2", "to3", "to4"]
USERS = ["reader", "big", *RECEIVERS]


def free_ports(count):
    """Ports that were free a moment ago."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def run(*argv, **kwargs):
    done = subprocess.run(argv, capture_output=True, check=False, **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Server:
    """Plain Dovecot, and the base of all others."""

    plugins = MODULES
    parts = ["common.conf", "passwd.conf"]
    passdb_fields = ""
    mark = b"DKIM-Signature: v=1"  # stands near the start of a stored file

    def __init__(self, name, root):
        self.name = name
        self.dir = root / name
        self.conf = self.dir / "dovecot.conf"
        self.imap_port, self.pop3_port, self.lmtp_port = free_ports(3)
        self.children = []
        self.kept = {}

    def start(self):
        self.make_dirs()
        self.conf.write_text(self.config())
        self.prepare()
        self.launch(self.dovecot_argv())
        self.wait_port(self.lmtp_port)
        self.enrol()

    def make_dirs(self):
        for sub in ("home", "tmp", "run", "state"):
            (self.dir / sub).mkdir(parents=True)
        for sub in ("home", "tmp"):
            shutil.chown(self.dir / sub, MAIL_ID, MAIL_ID)
        users = "".join(f"{user}@{DOMAIN}:{PASSWORD}\n" for user in USERS)
        (self.dir / "users").write_text(users)

    def config(self):
        text = "".join((PEERS / part).read_text() for part in [*self.parts, f"{self.name}.conf"])
        for key, value in self.values().items():
            text = text.replace(f"@{key}@", str(value))
        return text

    def values(self):
        return {"DIR": self.dir, "NAME": self.name, "PLUGINS": self.plugins, "PASSDB_FIELDS": self.passdb_fields,
                "IMAP_PORT": self.imap_port, "POP3_PORT": self.pop3_port, "LMTP_PORT": self.lmtp_port}

    def prepare(self):
        """Before Dovecot starts."""

    def enrol(self):
        """After it has started: what accounts need."""

    def dovecot_argv(self):
        return ["/usr/sbin/dovecot", "-F", "-c", str(self.conf)]

    def launch(self, argv):
        log = open(self.dir / "stderr.log", "ab")
        with log:
            self.children.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def wait_port(self, port):
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or any(child.poll() is not None for child in self.children):
                    raise RuntimeError(f"{self.name} does not start: {self.complaint()}") from None
                time.sleep(0.05)

    def complaint(self):
        logs = [self.dir / "stderr.log", self.dir / "dovecot.log"]
        return " | ".join(log.read_text(errors="replace")[-1500:] for log in logs if log.exists())

    def stop(self):
        """Last started, first stopped; then nothing of it runs."""
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    def cpu_seconds(self):
        return cpu.settled_seconds([child.pid for child in self.children])

    def mail_dir(self, user):
        return self.dir / "home" / user / "mail"

    def empty(self, user):
        shutil.rmtree(self.mail_dir(user), ignore_errors=True)

    def stored(self, user):
        """The files that hold a user's messages."""
        return sorted(self.mail_dir(user).rglob("dbox-Mails/u.*"))

    def beside(self, user):
        """Every other file of a user's mailboxes: indexes, logs, caches."""
        return [path for path in self.mail_dir(user).rglob("*") if path.is_file() and not path.name.startswith("u.")]

    def mailbox_bytes(self, user):
        return sum(path.stat().st_size for path in [*self.stored(user), *self.beside(user)])

    def keep(self, user):
        """Remembers those files as they are now, for restore()."""
        self.kept[user] = {path: path.read_bytes() for path in self.beside(user)}

    def restore(self, user):
        """Nobody may be logged in; the last session may still be closing."""
        self.cpu_seconds()
        for path in self.beside(user):
            path.unlink()
        for path, content in self.kept[user].items():
            path.write_bytes(content)
            path.chmod(0o600)
            shutil.chown(path, MAIL_ID, MAIL_ID)

    def forget_cache(self, user):
        for path in self.mail_dir(user).rglob("dovecot.index.cache"):
            path.unlink()

    def check_stored(self, user):
        """A contender that does not do its work would win."""
        head = self.stored(user)[0].read_bytes()[:4096]
        if self.mark not in head:
            raise RuntimeError(f"{self.name}: a stored message begins with {head[:80]!r}")

    def errors(self):
        """Lines of Dovecot's log that no measurement should have."""
        words = ("Error:", "Fatal:", "Panic:")
        log = (self.dir / "dovecot.log").read_text(errors="replace").splitlines()
        return [line for line in log if any(word in line for word in words)]
