"""One sandbox directory: its options, its state (ports, processes), its lock, its env file."""
import contextlib
import fcntl
import json
import os
import pathlib
import random
import shlex
import socket
import stat

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEFAULTS = {"db": "sqlite", "storage": "sdbox", "dns": None, "set": [], "plugins": "basalt", "plain": False, "sieve": False, "quota": False,
            "cores": False, "build": str(ROOT / "build")}
SECTIONS = ("keyd", "roles", "sockets", "kdf", "session", "milter", "lmtp", "ctl", "postfix", "dovecot")
FIXED = ("db", "storage", "plain")  # what the data in DIR depends on

# Numeric ids, without passwd entries, of what runs (docs/ARCHITECTURE.md).
UID_MAIL, UID_VAULT, UID_KDF, UID_KEYSTORE, UID_FRONT, UID_MILTER = range(62000, 62006)
# Groups that open one socket of keyd each: mail (imap, pop3), delivery (lmtp, doveadm), auth (Dovecot's auth). The
# group dovecot would not do for the last: Dovecot's mail processes are in it, too. Dovecot wants a group with a name
# there, and Debian's group mail has no member in a sandbox; a real system makes one.
GID_KEYD_MAIL, GID_KEYD_DELIVERY = 62006, 62007
UID_LMTP, GID_VERDICT = 62008, 62009  # basalt-lmtp; who may read the keys of verdict headers
GROUP_KEYD_AUTH = "mail"
DIR_MAX = 60  # a UNIX socket's path ends at 107 bytes


class Trouble(Exception):
    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


def check_settings(items):
    """SECTION.KEY=VALUE, each of a section that there is."""
    for item in items:
        section, dot, _ = item.partition("=")[0].partition(".")
        if not dot or "=" not in item:
            raise Trouble(f"--set {item}: must be SECTION.KEY=VALUE", 2)
        if section not in SECTIONS:
            raise Trouble(f"--set {item}: no section {section}; there are: {' '.join(SECTIONS)}", 2)


class Box:
    def __init__(self, where):
        self.dir = pathlib.Path(os.path.abspath(where))
        self.state = {"options": dict(DEFAULTS), "ports": {}, "processes": {}}
        if os.geteuid() != 0:
            raise Trouble("needs root: the servers it starts drop to ids of their own", 2)
        if len(str(self.dir)) > DIR_MAX:
            raise Trouble(f"{self.dir}: too long a path for UNIX sockets (at most {DIR_MAX} characters)", 2)
        self.load()

    def __getattr__(self, name):
        """box.db, box.storage ...: the options."""
        try:
            return self.__dict__["state"]["options"][name]
        except KeyError:
            raise AttributeError(name) from None

    def path(self, *names):
        return self.dir.joinpath(*names)

    def log(self, name):
        return self.path("log", name + ".log")

    def port(self, name):
        return self.state["ports"][name]

    def exists(self):
        return self.path("state.json").exists()

    def load(self):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.state = json.loads(self.path("state.json").read_text())
            self.state["options"] = {**DEFAULTS, **self.state["options"]}

    def save(self):
        new = self.path("state.json.new")
        new.write_text(json.dumps(self.state, indent=1))
        new.rename(self.path("state.json"))

    @contextlib.contextmanager
    def lock(self):
        """One start or stop at a time; what the other one wrote is read again."""
        self.check_own()
        self.dir.mkdir(parents=True, exist_ok=True)
        with open(self.path("lock"), "w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.load()
            yield

    def merged(self, given):
        """The options as they are and what is given now; of one setting the new value counts."""
        old = self.state["options"]
        new = {item.partition("=")[0] for item in given.get("set", [])}
        kept = [item for item in old["set"] if item.partition("=")[0] not in new]
        return {**old, **given, "set": kept + given.get("set", [])}

    def take_options(self, given):
        """Options of a new sandbox, or of one that is started again: its data fixes some of them."""
        old = self.state["options"]
        if self.exists():
            for k in FIXED:
                if k in given and given[k] != old[k]:
                    raise Trouble(f"{self.dir} was made with {k} = {old[k]}; use another directory", 2)
        self.state["options"] = self.merged(given)

    def refuse_other_options(self, given):
        """A running sandbox is what it is."""
        old, merged = self.state["options"], self.merged(given)
        other = [k for k, v in old.items() if (set(merged[k]) != set(v) if k == "set" else merged[k] != v)]
        if other:
            raise Trouble(f"{self.dir} is running with another --{', --'.join(other)}: stop it first", 2)

    def settings(self, section):
        """What --set gave for one section, in order: [(key, value)]."""
        out = []
        for item in self.set:
            name, _, value = item.partition("=")
            if name.partition(".")[0] == section:
                out.append((name.partition(".")[2], value))
        return out

    def check_access(self):
        """The servers' own users must be able to walk down to DIR."""
        for d in [self.dir, *self.dir.parents]:
            if d.exists() and not d.stat().st_mode & 0o001:
                raise Trouble(f"{d} can't be entered by other users, and the mail servers must: choose another DIR", 2)

    def check_own(self):
        """DIR is made here, or empty, or a sandbox: modes of what belongs to somebody else are never touched."""
        for d in [self.dir, *self.dir.parents]:
            if d.exists() and not d.is_dir():
                raise Trouble(f"{d} is no directory: choose another DIR", 2)
        if self.exists() or not self.dir.exists():
            return
        if {p.name for p in self.dir.iterdir()} - {"lock"}:
            raise Trouble(f"{self.dir} is neither empty nor a sandbox: choose a DIR of its own, such as "
                          f"{self.dir / 'box'}", 2)
        at = self.dir.stat()
        if at.st_uid != 0 or at.st_mode & (stat.S_ISVTX | stat.S_IWOTH):
            raise Trouble(f"{self.dir} belongs to others, too: choose a DIR of its own, such as {self.dir / 'box'}", 2)

    def make_dir(self, *names, uid=0, gid=0, mode=0o755):
        d = self.path(*names)
        d.mkdir(parents=True, exist_ok=True)
        os.chown(d, uid, gid)
        d.chmod(mode)
        return d

    def write(self, text, *names, uid=0, gid=0, mode=0o644):
        p = self.path(*names)
        p.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(fd, "w") as f:
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            f.write(text)
        return p

    def write_env(self, values):
        text = "".join(f"{k}={shlex.quote(str(v))}\n" for k, v in values.items() if v is not None)
        self.write(text, "env")


def free_ports(n):
    """Free loopback ports below the range that the kernel gives to outgoing connections."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.sample(range(15000, low), 200) if low > 16000 else [0] * n
    found = []
    for port in candidates:
        with socket.socket() as t, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            try:
                t.bind(("127.0.0.1", port))
                u.bind(("127.0.0.1", t.getsockname()[1]))
            except OSError:
                continue
            if t.getsockname()[1] not in found:
                found.append(t.getsockname()[1])
        if len(found) == n:
            return found
    raise Trouble("found no free ports")
