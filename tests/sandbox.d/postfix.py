"""Postfix, as root, with configuration, queue and data of its own: nothing of /etc/postfix is read or written."""
import pathlib
import pwd

import box as boxes
import part
import proc

MASTER = """# made by tests/sandbox
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o syslog_name=postfix/submission -o smtpd_sasl_auth_enable=yes -o smtpd_milters=
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def basalt_cf(b):
    """What the milter answers; when it can't, mail waits."""
    maps = f"socketmap:unix:{b.path('run', 'milter', 'socketmap')}"
    return {
        "smtpd_milters": f"unix:{b.path('run', 'milter', 'milter')}",
        "milter_default_action": "tempfail",
        "virtual_mailbox_domains": f"{maps}:domains",
        "virtual_mailbox_maps": f"{maps}:recipients",
        "virtual_alias_maps": f"{maps}:aliases",
    }


PLAIN = {"virtual_mailbox_domains": "example.org, example.net", "virtual_mailbox_maps": "static:ok"}


def wanted(b):
    return True


def log(b):
    return b.log("postfix")


def main_cf(b):
    """Private places, loopback only, nothing leaves the machine, quick retries."""
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
        "mydestination": "",
        "mynetworks": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "disable_dns_lookups": "yes",
        "local_recipient_maps": "",
        "alias_maps": "",
        "alias_database": "",
        "default_transport": "error:5.1.2 a sandbox sends nothing to other hosts",
        "relay_transport": "error:5.1.2 a sandbox sends nothing to other hosts",
        "virtual_transport": f"lmtp:inet:127.0.0.1:{b.port('lmtp')}",
        "lmtp_send_xforward_command": "yes",
        "lmtp_line_length_limit": "0",  # long lines reach the mailbox as they came
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": b.path("run", "sasl"),
        "smtpd_client_connection_count_limit": "0",
        "smtpd_forbid_bare_newline": "normalize",
        "disable_vrfy_command": "yes",
        "enable_long_queue_ids": "yes",
        "message_size_limit": "104857600",
        "mailbox_size_limit": "0",
        "virtual_mailbox_limit": "0",
        "queue_run_delay": "5s",
        "minimal_backoff_time": "5s",
        "maximal_backoff_time": "20s",
        "biff": "no",
    }


def command(b, verb):
    return part.run(["postfix", "-c", b.path("etc", "postfix"), verb], proc.environment(b.dir, "postfix"))


def start(b):
    owner = pwd.getpwnam("postfix").pw_uid
    b.make_dir("postfix")
    b.make_dir("postfix-data", uid=owner, mode=0o700)
    values = main_cf(b)
    values.update(PLAIN if b.plain else basalt_cf(b))
    values.update(b.settings("postfix"))
    text = "".join(f"{k} = {v}\n" for k, v in values.items())
    b.write("# made by tests/sandbox\n" + text, "etc", "postfix", "main.cf")
    b.write(MASTER.format(**b.state["ports"]), "etc", "postfix", "master.cf")
    if b.path("postfix", "pid").is_dir():
        b.path("postfix", "quick-start").touch()  # its folders were made and checked before
    status, out = command(b, "start")
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
