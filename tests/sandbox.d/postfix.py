"""Postfix, as root, with configuration, queue and data of its own: nothing of /etc/postfix is read or written.

What Basalt needs of Postfix comes from postfix/; here stands what makes it private."""
import os
import pwd

import box as boxes
import part
import proc

FRAGMENTS = boxes.ROOT / "postfix"
MASTER = """pickup unix n - n 60 1 pickup
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
# Of --plain: everybody in two domains exists, and there is no milter.
PLAIN = {"smtpd_milters": "", "virtual_mailbox_domains": "example.org, example.net",
         "virtual_mailbox_maps": "static:ok", "virtual_alias_maps": "", "smtpd_sender_login_maps": ""}


def wanted(b):
    return True


def log(b):
    return b.log("postfix")


def fragment(b, name):
    """A file of postfix/ without comments, its @NAMES@ filled in."""
    run = b.path("run")
    values = {
        "MILTER": f"unix:{run}/milter/milter", "SOCKETMAP": f"unix:{run}/milter/socketmap",
        "LMTP": f"inet:127.0.0.1:{b.port('lmtp' if b.plain else 'lmtp_proxy')}", "SASL": run / "sasl", "CONFIG": b.path("etc", "postfix"),
        "SMTP": f"127.0.0.1:{b.port('smtp')}", "SUBMISSION": f"127.0.0.1:{b.port('submission')}",
        "SUBMISSION_TLS": "none",
    }
    text = "".join(line + "\n" for line in (FRAGMENTS / name).read_text().splitlines() if not line.startswith("#"))
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def private_cf(b):
    """Private places, loopback only, nothing leaves the machine, no limits on tests, quick retries."""
    return {
        "compatibility_level": "3.6",
        "queue_directory": b.path("postfix"),
        "data_directory": b.path("postfix-data"),
        "command_directory": "/usr/sbin",
        "daemon_directory": "/usr/lib/postfix/sbin",
        "maillog_file": log(b),
        "maillog_file_prefixes": b.path("log"),
        "mail_owner": "postfix",
        "setgid_group": "postdrop",
        "myhostname": "mail.example.org",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "disable_dns_lookups": "yes",
        "default_transport": "error:5.1.2 a sandbox sends nothing to other hosts",
        "relay_transport": "error:5.1.2 a sandbox sends nothing to other hosts",
        "local_header_rewrite_clients": "",  # a client on loopback counts as a stranger
        "smtpd_client_connection_count_limit": "0",
        "message_size_limit": "104857600",
        "mailbox_size_limit": "0",
        "virtual_mailbox_limit": "0",
        "queue_run_delay": "5s",
        "minimal_backoff_time": "5s",
        "maximal_backoff_time": "20s",
        "biff": "no",
    }


def write_config(b):
    values = dict(line.split(" =", 1) for line in fragment(b, "main.cf").splitlines() if line)
    values.update(private_cf(b))
    values.update(PLAIN if b.plain else {})
    values.update(b.settings("postfix"))
    text = "# made by tests/sandbox of postfix/main.cf and what keeps it private\n"
    text += "".join(f"{k} = {str(v).strip()}\n" for k, v in values.items())
    b.write(text, "etc", "postfix", "main.cf")
    b.write("# made by tests/sandbox\n" + fragment(b, "master.cf") + MASTER, "etc", "postfix", "master.cf")
    for checks in ("header_checks", "bounce_checks"):
        b.write((FRAGMENTS / checks).read_text(), "etc", "postfix", checks)
    # Postfix waits two seconds for a file that is as new as this to "cool down".
    for file in b.path("etc", "postfix").iterdir():
        os.utime(file, (0, 0))


def start(b):
    owner = pwd.getpwnam("postfix").pw_uid
    b.make_dir("postfix")
    b.make_dir("postfix-data", uid=owner, mode=0o700)
    write_config(b)
    if b.path("postfix", "pid").is_dir():
        b.path("postfix", "quick-start").touch()  # its folders were made and checked before
    status, out = part.run(["postfix", "-c", b.path("etc", "postfix"), "start"], proc.environment(b.dir, "postfix"))
    if status != 0:
        raise boxes.Trouble(f"postfix does not start:\n{out}\n{proc.tail(log(b))}")
    pid = master_pid(b)
    if pid:
        part.remember(b, "postfix", pid)


def master_pid(b):
    try:
        return int(b.path("postfix", "pid", "master.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def alive(b):
    return part.alive(b, "postfix")


def ready(b):
    return part.greets(b.port("smtp"), b"220") and part.greets(b.port("submission"), b"220")


def stop(b):
    """`postfix stop` waits a second for nothing; what it sends is this signal."""
    part.end(b, "postfix")


def env(b):
    return {"SMTP_PORT": b.port("smtp"), "SUBMISSION_PORT": b.port("submission"),
            "POSTFIX_CONF": b.path("etc", "postfix")}
