"""keydserver: a real basalt-keyd alone, on a folder of its own with SQLite; no Postfix, no Dovecot.

    with Keyd(session={"token_s": 1}) as keyd:
        with keyd.client("control") as c:
            c.enrol("alice@example.org", "long enough")
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import keyproto

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BASALT_BUILD", ROOT / "build"))
PROGRAM = BUILD / "basalt-keyd"
SANITIZED = str(BUILD).endswith("asan")  # its quarantine grows, and it needs what the jail forbids
# Numbers without passwd entries, as in the sandbox.
UID_VAULT, UID_KDF, UID_KEYSTORE, UID_FRONT, UID_POLICY = 62001, 62002, 62003, 62004, 62005
ROLE_OF_UID = {0: "supervisor", UID_VAULT: "vault", UID_KDF: "kdf", UID_KEYSTORE: "keystore", UID_FRONT: "front",
               UID_POLICY: "policy"}
DEFAULTS = {
    "keyd": {"database_timeout_ms": 500, "log_level": "debug"},
    "roles": {"vault_user": str(UID_VAULT), "kdf_user": str(UID_KDF), "keystore_user": str(UID_KEYSTORE),
              "front_user": str(UID_FRONT), "policy_user": str(UID_POLICY)},
    "sockets": {"auth_group": "0", "mail_group": "0", "delivery_group": "0", "control_group": "0"},
    "kdf": {"memory_kib": 8192, "passes": 1, "workers": 2},
    "session": {"max": 2000},
}

sys.path.insert(0, str(ROOT / "tests" / "vectors"))
import message  # noqa: E402


def conf_text(sections):
    out = []
    for section, values in sections.items():
        out.append(section + " {")
        out += [f'\t{key} = {json.dumps(value)}' for key, value in values.items()]
        out.append("}")
    return "\n".join(out) + "\n"


def wait_for(what, timeout=10, step=0.02):
    """Polls until what() is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


class Refused(int):
    """The status of an operation that failed. It equals that number, and is no success in any other light: neither true nor above 0."""

    def __bool__(self):
        return False

    def __gt__(self, other):
        return False


class Keyd(contextlib.AbstractContextManager):
    def __init__(self, escrow=None, **changes):
        """escrow: the text of the file of that name."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="basalt-keyd-"))
        self.dir.chmod(0o755)
        self.run, self.log, self.db = self.dir / "run", self.dir / "log", self.dir / "db" / "keys.db"
        self.db.parent.mkdir()
        os.chown(self.db.parent, UID_KEYSTORE, UID_KEYSTORE)
        sections = {name: dict(values) for name, values in DEFAULTS.items()}
        sections["keyd"].update(run_dir=str(self.run), database=f"sqlite:{self.db}", site_key=str(self.dir / "site.key"),
                                log=str(self.log))
        if escrow is not None:
            (self.dir / "escrow").write_text(escrow)
            (self.dir / "escrow").chmod(0o644)
            sections["keyd"]["escrow"] = str(self.dir / "escrow")
        for name, values in changes.items():
            sections[name].update(values)
        self.conf, self.sections, self.program, self.prefix, self.env = self.dir / "keyd.conf", sections, PROGRAM, [], {}
        self.conf.write_text(conf_text(sections))
        subprocess.run([PROGRAM, "--make-site-key", self.dir / "site.key"], check=True, stdout=subprocess.DEVNULL)
        self.process = None
        self.start()

    def start(self):
        before = self.log_text().count("processes serve")
        self.process = subprocess.Popen([*self.prefix, self.program, "-c", self.conf], stdin=subprocess.DEVNULL,
                                        env={"LANG": "C", **self.env})
        if not wait_for(lambda: self.log_text().count("processes serve") > before or self.logs_elsewhere(), 15):
            self.process.kill()
            self.process.wait()
            raise RuntimeError("basalt-keyd does not start:\n" + self.log_text())

    def logs_elsewhere(self):
        """With another log than a file, being ready is answering."""
        if str(self.log) in self.conf.read_text():
            return False
        with contextlib.suppress(OSError, keyproto.Closed):
            return bool(self.status())
        return False

    def configure(self, **changes):
        """Changes the file; keyd hears of it by a reload."""
        for name, values in changes.items():
            self.sections[name].update(values)
        self.conf.write_text(conf_text(self.sections))

    def hup(self):
        """Where the log ended before it."""
        mark = len(self.log_text())
        self.process.send_signal(signal.SIGHUP)
        return mark

    def reload(self, seconds=40):
        """A reload, to its end: what the log says meanwhile."""
        mark = self.hup()
        wait_for(lambda: "processes serve" in self.log_text()[mark:] or "no reload" in self.log_text()[mark:], seconds)
        return self.log_text()[mark:]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def kill(self):
        """-9 for the supervisor; the roles follow it."""
        pids = self.processes()
        self.process.kill()
        self.process.wait()
        return bool(wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids), 5))

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.stop()
        if any(exc):
            print(self.log_text()[-6000:])
        shutil.rmtree(self.dir)

    def client(self, name, timeout=15):
        return keyproto.Client(f"{self.run}/{name}", timeout)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def alarms(self):
        return [line for line in self.log_text().splitlines() if ": alarm: " in line]

    def status(self):
        with self.client("control") as c:
            return json.loads(c.status())

    def enrol(self, user, password="a good password", flags=keyproto.SEALED):
        with self.client("control") as c:
            return c.enrol(user, password, flags)[0]

    @contextlib.contextmanager
    def session(self, user, password="a good password", service="imap"):
        with self.client("auth") as a, self.client("mail") as m:
            token = a.login(user, password, service)[1]
            m.attach(token, user, service)
            yield m

    def login_status(self, user, password):
        """The status of one login."""
        with self.client("auth") as a:
            try:
                a.login(user, password)
            except keyproto.KeydError as e:
                return e.status
        return keyproto.OK

    def change(self, method, *args):
        """An operation of the control socket: its value, or the status when it fails."""
        with self.client("control") as c:
            try:
                return getattr(c, method)(*args)
            except keyproto.KeydError as e:
                return Refused(e.status)

    def opens(self, user, password, prefixes):
        """What a session gets for messages' prefixes: data keys, or statuses."""
        with self.session(user, password) as m:
            return m.unwrap(prefixes)

    def works(self, user="alice@example.org", password="correct horse battery staple"):
        """A whole round: login, attach, and a message's key."""
        key = os.urandom(32)
        with self.session(user, password) as m:
            return m.unwrap([sealed_prefix(m.record(user), key)]) == [key]

    def works_again(self):
        def tried():
            with contextlib.suppress(keyproto.Closed, keyproto.KeydError, OSError):
                return self.works()
        return wait_for(tried, 20, 0.1)

    # --- what lies in the database ---

    def sql(self, text, *args):
        with contextlib.closing(sqlite3.connect(self.db, timeout=5)) as db, db:
            return db.execute(text, args).fetchall()

    def rows(self, user):
        """[(generation, keyset)], the newest first"""
        return self.sql("SELECT generation, keyset FROM keysets WHERE account = ? ORDER BY generation DESC", user)

    def replace_keyset(self, user, blob):
        self.sql("UPDATE keysets SET keyset = ? WHERE account = ?", blob, user)

    # --- processes ---

    def processes(self):
        """{pid: role}; fronts are told apart by their listening socket elsewhere."""
        found = {self.process.pid: "supervisor"}
        for path in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
                if int(fields["PPid"]) == self.process.pid:
                    found[int(path.parent.name)] = ROLE_OF_UID[int(fields["Uid"].split()[0])]
        return found

    def pids(self, role):
        return [pid for pid, its in self.processes().items() if its == role]


# --- messages ---

def record_fields(record):
    """What docs/FORMAT.keys.md says of a record: (account id, key id, public key, generation, flags)"""
    assert record[:4] == b"BSR1"
    return (record[26:42], record[42:58], record[58:90], int.from_bytes(record[10:18], "big"),
            int.from_bytes(record[6:10], "big"))


def sealed_prefix(record, data_key, account=None):
    """A message's prefix with its commitment, sealed to a record's key by the independent implementation."""
    its_account, _key_id, public, _generation, _flags = record_fields(record)
    prefix = message.make_prefix(2, 1, account or its_account, os.urandom(16), public, os.urandom(32), data_key)
    return prefix + message.Keys(1, prefix, data_key).commitment
