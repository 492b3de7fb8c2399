"""Dovecot, as root, with a configuration, plugin folder and (by a bind mount of its own) auth module folder of DIR."""
import os
import pathlib
import shutil

import asan
import box as boxes
import part
import proc

TEMPLATE = pathlib.Path(__file__).with_name("dovecot.conf")
MODULES = pathlib.Path("/usr/lib/dovecot/modules")
DOVEADM = pathlib.Path("doveadm/lib10_doveadm_basalt_plugin.so")
LOCATION = {"sdbox": "sdbox:~/mail", "mdbox": "mdbox:~/mail", "maildir": "maildir:~/Maildir"}
PLAIN_PASSWORD = "plain"
PLAIN_AUTH = f"""passdb {{
  driver = static
  args = password={PLAIN_PASSWORD}
}}
userdb {{
  driver = static
  args = allow_all_users=yes
}}
"""


def wanted(b):
    return True


def log(b):
    return b.log("dovecot")


def alive(b):
    return part.alive(b, "dovecot")


def build(b):
    return pathlib.Path(b.build) / "dovecot"


def write_modules(b):
    """The plugin folder: symlinks to the stock ones, copies of ours (the checkout may be closed to the mail user).
    Those of auth and doveadm are bind-mounted over the stock ones, so there symlinks would point at themselves: all copies."""
    lib, auth, doveadm = b.path("lib", "dovecot"), b.path("lib", "auth"), b.path("lib", "doveadm")
    for d in (lib, auth, doveadm):
        shutil.rmtree(d, ignore_errors=True)
        b.make_dir(*d.relative_to(b.dir).parts)
    for so in MODULES.glob("*.so"):
        (lib / so.name).symlink_to(so)
    for folder in ("settings", "doveadm"):
        if (MODULES / folder).is_dir():
            (lib / folder).symlink_to(MODULES / folder)
    for folder in (auth, doveadm):
        for so in (MODULES / folder.name).glob("*.so"):
            if so.name != DOVEADM.name:
                shutil.copy(so, folder)
    if not b.plain:
        shutil.copy(build(b) / "lib10_basalt_plugin.so", lib)
        shutil.copy(build(b) / "auth" / "libauthdb_basalt.so", auth)
        shutil.copy(build(b) / DOVEADM, doveadm)


def doveadm(b, arguments):
    """Becomes Dovecot's doveadm with the modules of DIR, in a mount of its own; for a sandbox that was started."""
    folder = b.path("lib", "doveadm")
    if not folder.exists():
        raise boxes.Trouble(f"{b.dir}: no sandbox", 2)
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec doveadm "$@"', "sh", folder,
                          MODULES / "doveadm", "-c", b.path("etc", "dovecot.conf"), *arguments])


def basalt_auth(b):
    return f"""passdb {{
  driver = basalt
  args = {b.path('run', 'keyd')}/auth
}}
userdb {{
  driver = static
}}
plugin {{
  basalt_keyd = {b.path('run', 'keyd')}
  basalt_site_key = {b.path('etc', 'site.key.pub')}
}}
"""


def sieve(b):
    """Scripts: ~/.dovecot.sieve. What it sends goes to the sandbox's Postfix."""
    return "" if not b.sieve else f"""protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
  sieve_extensions = +vnd.dovecot.debug
  sieve_user_log = {b.path('tmp-plain')}/%u.sieve.log
}}
submission_host = 127.0.0.1:{b.port('smtp')}
"""


def quota_socket(b):
    return b.path("run", "dovecot", "quota-status")  # below base_dir


def quota(b):
    """A mailbox of 1 MB for everybody, and the service that is asked at RCPT whether it is full. Its socket is everybody's:
    the milter's user has no name here, and Dovecot wants one."""
    return "" if not b.quota else f"""mail_plugins = $mail_plugins quota
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
service quota-status {{
  executable = quota-status -p postfix
  client_limit = 1
  unix_listener quota-status {{
    mode = 0666
  }}
}}
plugin {{
  quota = count:mailbox
  quota_vsizes = yes
  quota_rule = *:storage=1M
  quota_grace = 0
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = 552 5.2.2 Mailbox is full
}}
"""


def line(key, value):
    return f"!include {value}" if key == "include" else f"{key} = {value}"


def write_config(b):
    plugins = {"none": "", "basalt": "" if b.plain else "basalt"}.get(b.plugins, b.plugins)
    values = {
        "DIR": b.dir, "INSTANCE": proc.instance(b.dir), "MAIL_UID": boxes.UID_MAIL,
        "IMPORT": " ".join(f"{k}={v}" for k, v in asan.preload(b).items()),
        "GID_KEYD_MAIL": boxes.GID_KEYD_MAIL, "GID_KEYD_DELIVERY": boxes.GID_KEYD_DELIVERY,
        "GROUP_KEYD_AUTH": boxes.GROUP_KEYD_AUTH,
        "MAIL_LOCATION": LOCATION[b.storage], "MAIL_PLUGINS": plugins, "IMAP_PORT": b.port("imap"),
        "POP3_PORT": b.port("pop3"), "LMTP_PORT": b.port("lmtp"), "AUTH": PLAIN_AUTH if b.plain else basalt_auth(b),
        "SIEVE": sieve(b), "QUOTA": quota(b),
        "MORE": "\n".join(line(k, v) for k, v in [*asan.dovecot_conf(b), *b.settings("dovecot")]),
    }
    text = TEMPLATE.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return b.write(text, "etc", "dovecot.conf")


def start(b):
    b.make_dir("mail", uid=boxes.UID_MAIL, gid=boxes.UID_MAIL, mode=0o700)
    write_modules(b)
    conf = write_config(b)
    b.path("run", "dovecot", "master.pid").unlink(missing_ok=True)
    script = 'mount --bind "$1" /usr/lib/dovecot/modules/auth && '
    if b.sieve:  # Dovecot keeps large mails that Sieve sends on in /tmp, and DIR may be below the old one
        script += ('mount --rbind "$3" /mnt && mount -t tmpfs -o mode=1777 basalt-tmp /tmp && mkdir -p "$3" && '
                   'mount --rbind /mnt "$3" && ')
    script += 'exec dovecot -F -c "$2"'
    p = proc.spawn(["unshare", "--mount", "sh", "-c", script, "sh", b.path("lib", "auth"), conf, b.dir], log(b),
                   proc.environment(b.dir, "dovecot", asan.preload(b)))
    part.remember(b, "dovecot", p.pid)


def ready(b):
    return (part.greets(b.port("imap"), b"* OK") and part.greets(b.port("pop3"), b"+OK")
            and part.greets(b.port("lmtp"), b"220"))


def stop(b):
    part.end(b, "dovecot")


def env(b):
    values = {"IMAP_PORT": b.port("imap"), "POP3_PORT": b.port("pop3"), "LMTP_PORT": b.port("lmtp"),
              "MAIL_ROOT": b.path("mail"), "DOVECOT_CONF": b.path("etc", "dovecot.conf")}
    if b.quota:
        values["QUOTA_STATUS"] = f"unix:{quota_socket(b)}"
    if b.plain:
        values["PLAIN_PASSWORD"] = PLAIN_PASSWORD
    return values
