"""systems: sandboxes from Python. A System is one running sandbox; a Pool keeps those of a test session.

    system = pool.get(storage="maildir", db="mariadb")
    alice = system.account("private")
    system.send("x@out.example", [alice.address], message)
    system.settle()                                          # the queue is empty
    mail = system.imap(alice)                                # imaplib, logged in

Folders are /tmp/basalt-test-PID-...: what a killed run left there, with mounts, is cleaned up by the next one.
"""
import contextlib
import os
import pathlib
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import clients

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SANDBOX = ROOT / "tests" / "sandbox"
PREFIX = "basalt-test-"
BUILD = os.environ.get("BASALT_BUILD", str(ROOT / "build"))
MAGIC = b"\x89BSL\r\n\x1a\n\x02"  # docs/FORMAT.message.md: magic, version; the next byte is the suite
SUITE_PLAIN, SUITE_SEALED = 0, 1
CHEAP_KDF = ["--set", "kdf.memory_kib=8192", "--set", "kdf.passes=1"]  # hundreds of accounts are made here
DOMAINS = ("example.org", "example.net")

sys.path.insert(0, str(ROOT / "tests" / "sandbox.d"))
import proc  # noqa: E402


OURS = re.compile(r"^ *#\d+ .*basalt", re.M | re.I)


def has_sieve():
    """Is Debian's dovecot-sieve installed? tests/sandbox --sieve needs it."""
    return pathlib.Path("/usr/lib/dovecot/modules/lib90_sieve_plugin.so").exists()


def is_dovecots_own(report):
    """Leaks alone, with stacks that have no frame of ours: now and then a stock process is ended in mid-request."""
    return ("LeakSanitizer" in report and report.count("ERROR:") == 1 and "ERROR: LeakSanitizer" in report
            and not OURS.search(report))


class Account:
    def __init__(self, address, password, plan):
        self.address, self.password, self.plan = address, password, plan
        self.local, self.domain = address.split("@")

    def __repr__(self):
        return f"<{self.plan} {self.address}>"


class System:
    def __init__(self, options=(), where=None, **named):
        """options: as tests/sandbox start takes them; named: storage=, db=."""
        self.dir = pathlib.Path(where or tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
        self.options = ["--build", BUILD, *options]
        for key, value in named.items():
            self.options += [f"--{key}", str(value)]
        self.env, self.accounts = {}, 0

    def start(self):
        """Starts what is not running; the whole, or one part that a test has killed."""
        p = subprocess.run([SANDBOX, "start", self.dir, *self.options], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
        assert p.returncode == 0, p.stdout.decode(errors="replace")
        text = (self.dir / "env").read_text()
        first = not self.env
        self.env = dict(v.split("=", 1) for v in shlex.split(text))
        if first and "BASALTCTL" in self.env:
            for domain in DOMAINS:
                self.ctl("domain", "add", domain, check=False)
        return self

    def stop(self, part=None):
        subprocess.run([SANDBOX, "stop", self.dir, *(["--part", part] if part else [])], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True, timeout=180)

    def remove(self):
        """Returns what sanitizers reported, the leaks of the ending programs too."""
        self.stop()
        reports = self.sanitizer_reports()
        shutil.rmtree(self.dir, ignore_errors=True)
        return reports

    def port(self, name):
        return int(self.env[f"{name.upper()}_PORT"])

    def path(self, *names):
        return self.dir.joinpath(*names)

    # --- basaltctl and accounts ---

    def ctl(self, *args, stdin=b"", check=True):
        """Runs basaltctl; the CompletedProcess with bytes in stdout and stderr."""
        p = subprocess.run([*shlex.split(self.env["BASALTCTL"]), *args], input=stdin, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60)
        assert not check or p.returncode == 0, (args, p.stderr.decode(errors="replace"))
        return p

    def account(self, plan="private", name=None, domain=DOMAINS[0]):
        """A new account with a name and password of its own. On a --plain system every name exists."""
        self.accounts += 1
        address = f"{name or f'{plan}{self.accounts}-{secrets.token_hex(3)}'}@{domain}"
        if "PLAIN_PASSWORD" in self.env:
            return Account(address, self.env["PLAIN_PASSWORD"], "plain")
        password = secrets.token_urlsafe(12)
        self.ctl("account", "add", address, "--plan", plan, "--password-stdin", stdin=password.encode() + b"\n")
        return Account(address, password, plan)

    # --- mail in and out ---

    def send(self, sender, recipients, message):
        """By SMTP, as a stranger; raises smtplib's exceptions. Returns the refused recipients."""
        with clients.smtp(self.port("smtp")) as s:
            return s.sendmail(sender, list(recipients), message, mail_options=["BODY=8BITMIME"])

    def queue(self):
        """Queue files of Postfix that wait or are on their way."""
        return [f for q in ("maildrop", "incoming", "active", "deferred")
                for f in self.path("postfix", q).rglob("*") if f.is_file()]

    def settle(self, seconds=60):
        """Waits until Postfix has delivered everything. With a sandbox's short times between two tries its queue manager may meet
        a message that its delivery agent has not let go of ("skipped, still being delivered"), and then leaves it in incoming/
        for as long as no other mail comes: so the queue is flushed from time to time."""
        now = time.monotonic()
        end, flush = now + seconds, now + 5
        while self.queue():
            now = time.monotonic()
            assert now < end, self.why_queued()
            if now > flush:
                self.flush()
                flush = now + 5
            time.sleep(0.05)

    def why_queued(self):
        """What is known of mail that stays in the queue; the queue's own reasons come last, where a cut leaves them."""
        logs = "\n".join(self.complaints(part) for part in ("dovecot", "lmtp-proxy", "milter", "postfix"))
        return f"{logs}\nmail still in the queue: {self.queue()}\n{self.postfix('postqueue', '-p')}"

    def complaints(self, part, most=10):
        """The last lines of a log that are no information."""
        return "\n".join(re.findall(r"(?m)^.*(?:Error|Warning|Panic|Fatal|error|warning|fatal): .*$", self.log(part))[-most:])

    def flush(self):
        self.postfix("postqueue", "-f")

    def postfix(self, program, *args):
        p = subprocess.run([program, "-c", self.env["POSTFIX_CONF"], *args], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return p.stdout.decode(errors="replace")

    def imap(self, account, password=None):
        return clients.Imap(self.port("imap"), account.address, password or account.password)

    def pop3(self, account, password=None):
        return clients.pop3(self.port("pop3"), account.address, password or account.password)

    def lmtp(self):
        return clients.Lmtp(self.port("lmtp"))

    def submission(self, account):
        s = clients.smtp(self.port("submission"))
        s.login(account.address, account.password)
        return s

    # --- what lies on disk ---

    def home(self, account):
        return pathlib.Path(self.env["MAIL_ROOT"]) / account.domain / account.local

    def mail_files(self, account, folder=None):
        """The files that hold messages: sdbox u.N, mdbox m.N, maildir cur/ and new/."""
        found = []
        for f in sorted(self.home(account).rglob("*")):
            if f.is_file() and (f.name.startswith(("u.", "m.")) and f.name[2:].isdigit()
                                or f.parent.name in ("cur", "new")):
                if folder is None or f"/{folder}/" in str(f) or f"/.{folder}/" in str(f):
                    found.append(f)
        return found

    def suites(self, account, folder=None):
        """The suite of each message of Basalt's format in the account's mail files."""
        found = []
        for f in self.mail_files(account, folder):
            raw = f.read_bytes()
            found += [raw[m.end()] for m in re.finditer(re.escape(MAGIC), raw)]
        return found

    def doveadm(self, *args):
        """doveadm on this system's configuration."""
        p = subprocess.run(["doveadm", "-c", self.env["DOVECOT_CONF"], *args], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return p.returncode, p.stdout.decode(errors="replace")

    # --- logs and processes ---

    def log(self, name):
        """The whole text of DIR/log/NAME.log; "" when there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self.path("log", f"{name}.log").read_text(errors="replace")
        return ""

    def logged(self, name, mark, since=0, count=1, seconds=20):
        """The lines with mark beyond offset since; waits for count of them: Dovecot's log is written by a process of its own."""
        end = time.monotonic() + seconds
        while True:
            lines = [line for line in self.log(name)[since:].splitlines() if mark in line]
            if len(lines) >= count or time.monotonic() > end:
                return lines
            time.sleep(0.05)

    def log_tails(self, lines=40):
        return {p.name: proc.tail(p, lines) for p in sorted(self.path("log").glob("*.log"))}

    def sanitizer_reports(self):
        """What AddressSanitizer or UBSan wrote, in a --build build-asan system."""
        texts = [p.read_text(errors="replace") for p in sorted(self.path("log").glob("asan/*"))]
        return "\n".join(t for t in texts if not is_dovecots_own(t))

    def pids(self, part, command=None):
        """Live processes of a part ("keyd", "milter", "dovecot", "postfix"); of one name in it ("lmtp")."""
        found = []
        for entry in proc.marked(self.dir, part):
            with contextlib.suppress(OSError):
                argv0 = pathlib.Path(f"/proc/{entry['pid']}/cmdline").read_bytes().split(b"\0")[0].decode()
                if command is None or os.path.basename(argv0.rstrip()) == command:
                    found.append(entry["pid"])
        return found

    def kill(self, part, command=None, sig=signal.SIGKILL):
        pids = self.pids(part, command)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
        return pids


class Pool:
    """Systems by their options, started when first asked for, removed together."""

    def __init__(self):
        self.systems = {}

    def get(self, storage="sdbox", db="sqlite", options=()):
        key = (storage, db, tuple(options))
        if key not in self.systems:
            self.systems[key] = System([*CHEAP_KDF, *options], storage=storage, db=db)
            self.systems[key].start()
        assert self.systems[key].env, "it did not start: see the first test that wanted it"
        return self.systems[key]

    def close(self):
        reports = ""
        for s in self.systems.values():
            if os.environ.get("BASALT_KEEP"):
                print(f"kept: {s.dir}", file=sys.stderr)
            else:
                reports += s.remove()
        assert not reports, reports


def clean_stale():
    """Removes what test runs that are dead left in /tmp: processes, mounts, files."""
    for d in pathlib.Path("/tmp").glob(PREFIX + "[0-9]*-*"):
        owner = d.name[len(PREFIX):].split("-")[0]
        if not owner.isdigit() or proc.start_time(int(owner)) is not None:
            continue
        if (d / "state.json").exists():
            subprocess.run([SANDBOX, "stop", d], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120)
        if os.path.ismount(d):
            subprocess.run(["umount", "-l", d], stderr=subprocess.DEVNULL)
        if not os.path.ismount(d / "tmp-plain"):
            shutil.rmtree(d, ignore_errors=True)
