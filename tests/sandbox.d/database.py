"""The SQL side: files for SQLite, or a private MariaDB by tests/tools/mariadb. keyd and milter share nothing of it."""
import pathlib
import shlex
import subprocess

import box as boxes
import part
import proc

TOOL = boxes.ROOT / "tests" / "tools" / "mariadb"


def wanted(b):
    return not b.plain


def log(b):
    return b.path("db", "mysql", "mariadbd.log")


def alive(b):
    return part.alive(b, "database") if b.db == "mariadb" else b.path("db", "policy", "policy.db").exists()


def ready(b):
    return True


def start(b):
    b.make_dir("db")
    if b.db == "mariadb":
        return start_mariadb(b)
    for name, uid in (("keys", boxes.UID_KEYSTORE), ("policy", boxes.UID_MILTER)):
        b.make_dir("db", name, uid=uid, gid=uid, mode=0o700)
        file = b.path("db", name, f"{name}.db")
        if not file.exists():  # SQLite gives its other files the owner of this one
            b.write("", "db", name, f"{name}.db", uid=uid, gid=uid, mode=0o600)


def start_mariadb(b):
    p = subprocess.run([TOOL, "start", b.path("db", "mysql")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=proc.environment(b.dir, "database"), preexec_fn=proc.limits)
    if p.returncode != 0:
        raise boxes.Trouble(f"{TOOL} start: {p.stderr.decode(errors='replace')}")
    values = dict(v.split("=", 1) for v in shlex.split(p.stdout.decode()))
    part.remember(b, "database", int(values["MARIADB_PID"]))
    for name, uid in (("keys", boxes.UID_KEYSTORE), ("policy", boxes.UID_MILTER)):
        password = pathlib.Path(values[f"{name.upper()}_PASSWORD_FILE"]).read_text()
        b.write(password, "etc", f"{name}.password", uid=uid, gid=uid, mode=0o400)


def stop(b):
    if alive(b) and b.db == "mariadb":
        subprocess.run([TOOL, "stop", b.path("db", "mysql")], stdin=subprocess.DEVNULL, timeout=60)
        part.end(b, "database", grace=30)


def keys(b):
    """(URL, password file) as bs_sql_open() takes them, for keyd alone."""
    if b.db == "sqlite":
        return f"sqlite:{b.path('db', 'keys', 'keys.db')}", None
    return socket_url(b, "basalt_keyd", "basalt_keys"), b.path("etc", "keys.password")


def policy(b):
    if b.db == "sqlite":
        return f"sqlite:{b.path('db', 'policy', 'policy.db')}", None
    return socket_url(b, "basalt_milter", "basalt_policy"), b.path("etc", "policy.password")


def socket_url(b, user, name):
    """By socket, which stays where it is over restarts."""
    return f"mariadb://{user}@localhost/{name}?socket={b.path('db', 'mysql', 's')}"


def env(b):
    return {"DB_URL": policy(b)[0], "KEYS_DB_URL": keys(b)[0]}
