"""The SQL side: files for SQLite, or a private MariaDB by tests/tools/mariadb."""
import box as boxes
import part
import proc

TOOL = boxes.ROOT / "tests" / "tools" / "mariadb"


def wanted(b):
    return not b.plain


def log(b):
    return b.log("mariadb")


def alive(b):
    return b.path("db").is_dir() if b.db == "sqlite" else mariadb_alive(b)


def mariadb_alive(b):
    return False


def ready(b):
    return True


def start(b):
    b.make_dir("db")
    b.make_dir("db", "keys", uid=boxes.UID_KEYSTORE, gid=boxes.UID_KEYSTORE, mode=0o700)
    b.make_dir("db", "policy", uid=boxes.UID_MILTER, gid=boxes.UID_MILTER, mode=0o700)


def stop(b):
    pass


def urls(b):
    """(keys, policy) as bs_sql_open() takes them."""
    return f"sqlite:{b.path('db', 'keys', 'keys.db')}", f"sqlite:{b.path('db', 'policy', 'policy.db')}"


def env(b):
    keys, policy = urls(b)
    return {"DB_URL": policy, "KEYS_DB_URL": keys}
