"""databases: what somebody with write access to a system's SQL can do to it. The same statements on both engines.

    keys = databases.Keys(system)
    blob = keys.newest(account)[1]
    keys.replace(account, forged)
"""
import pathlib
import sqlite3
import struct
import subprocess

RECORD_AT = 7  # of a keyset: behind magic, version and the record's length
FLAGS, GENERATION, KEY_ID, PUBLIC_KEY = slice(6, 10), slice(10, 18), slice(42, 58), slice(58, 90)  # of a record


def record(blob):
    """The signed record in a keyset."""
    length, = struct.unpack_from(">H", blob, 5)
    return blob[RECORD_AT:RECORD_AT + length]


def with_record(blob, changed):
    assert len(changed) == len(record(blob))
    return blob[:RECORD_AT] + changed + blob[RECORD_AT + len(changed):]


def patch(data, where, new):
    """data with the bytes of a slice exchanged."""
    assert len(data[where]) == len(new)
    return data[:where.start] + new + data[where.stop:]


class Database:
    """One of a system's two databases, opened as root."""

    def __init__(self, system, name):
        self.system, self.name = system, name

    def sql(self, *statements):
        """Runs them in one transaction; the rows of the last one, as text."""
        if self.system.env["DB_URL"].startswith("sqlite:"):
            return self.sqlite(statements)
        return self.mariadb(statements)

    def file(self):
        return self.system.path("db", self.name, f"{self.name}.db")

    def sqlite(self, statements):
        db = sqlite3.connect(self.file(), timeout=20, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            for s in statements:
                rows = [[str(v) for v in row] for row in db.execute(s)]
            db.execute("COMMIT")
            return rows
        finally:
            db.close()

    def mariadb(self, statements):
        text = "".join(f"{s};\n" for s in ("START TRANSACTION", *statements, "COMMIT"))
        p = subprocess.run(["mariadb", "--no-defaults", "--socket", self.system.path("db", "mysql", "s"), "--batch",
                            "--skip-column-names", f"basalt_{self.name}"], input=text.encode(), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60)
        assert p.returncode == 0, p.stderr.decode(errors="replace")
        return [line.split("\t") for line in p.stdout.decode().splitlines()]


class Keys(Database):
    def __init__(self, system):
        super().__init__(system, "keys")

    def rows(self, account):
        """[(generation, keyset)], oldest first."""
        rows = self.sql("SELECT generation, HEX(keyset) FROM keysets WHERE account = "
                        f"'{account.address}' ORDER BY generation")
        return [(int(g), bytes.fromhex(h)) for g, h in rows]

    def newest(self, account):
        return self.rows(account)[-1]

    def put(self, account, rows):
        """Makes these the account's rows."""
        self.sql(f"DELETE FROM keysets WHERE account = '{account.address}'",
                 *(f"INSERT INTO keysets (account, generation, keyset, created) VALUES ('{account.address}', {g}, "
                   f"X'{blob.hex()}', 1)" for g, blob in rows))

    def replace(self, account, blob):
        """Other bytes in the newest row."""
        rows = self.rows(account)
        self.put(account, [*rows[:-1], (rows[-1][0], blob)])


class Policy(Database):
    def __init__(self, system):
        super().__init__(system, "policy")


def mariadb_pid(system):
    return int(pathlib.Path(system.path("db", "mysql", "mariadbd.pid")).read_text())
