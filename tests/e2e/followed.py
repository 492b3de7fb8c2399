"""followed: a host on which docs/INSTALL.md is followed to the letter: its own sh blocks, run by a shell.

    host = followed.host()
    host.step("3. Basalt's configuration, site key, start")   # runs the blocks of that chapter; output as text
    host.sh("doveconf -n")
    host.remove()

The host is a mount and a network namespace of its own over the files of `make install` (installed.py): /usr with them on top, an
/etc, /run and /var that nobody else sees, ports of its own. What is not there in a container stands below as a small
script: systemctl starts what a unit starts, with the unit's user, groups and capabilities.
"""
import grp
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

import installed

DOCUMENT = installed.ROOT / "docs" / "INSTALL.md"
MOUNTS = """
mount -t overlay overlay -o lowerdir={root}/usr:/usr /usr
for d in etc run var; do mount --bind {root}/$d /$d; done
ip link set lo up
echo ready
exec sleep infinity
"""
SYSTEMCTL = """#!/bin/sh
verb=$1; shift
[ "$1" = --now ] && verb=restart && shift
[ $verb = restart ] || exit 0
for unit; do
  case $unit in
  postfix) postfix start >/dev/null 2>&1 ;;
  dovecot) dovecot >/run/dovecot.start 2>&1 ;;
  *) . /usr/share/started/$unit; echo $! >/run/$unit.pid ;;
  esac
done
"""


def blocks(heading):
    """The sh blocks of a chapter of INSTALL.md."""
    chapter = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.M | re.S)[1]
    return re.findall(r"^```sh\n(.*?)^```", chapter, re.M | re.S)


def host():
    return ThisHost() if os.environ.get("BASALT_HOST") == "this" else Host()


class Shell:
    """What both kinds of host have. enter: the command that leads into it."""

    enter = ()
    seconds = 120

    def sh(self, script, check=True, shell="sh"):
        """What a root's shell prints, both ways; a command that fails ends it."""
        p = subprocess.run([*self.enter, shell, "-e", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=self.seconds, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})
        text = p.stdout.decode(errors="replace")
        assert not check or p.returncode == 0, (script, text)
        return text

    def step(self, heading):
        return "".join(self.sh(block) for block in blocks(heading))

    def written(self, path):
        """A file of the host."""
        return pathlib.Path(self.root, path.lstrip("/"))


class ThisHost(Shell):
    root = pathlib.Path("/")
    seconds = 600  # it may be emulated

    def stand_in(self):
        """What the first step's check says where Postfix has another name than the host: ours is not that of the examples."""
        self.sh("postconf -e myhostname=$(hostname -f)")

    def start(self, block):
        return self.sh(block)

    def log(self, name):
        return self.sh(f"journalctl --no-pager -o cat -u {name}")

    def gid(self, name):
        return grp.getgrnam(name).gr_gid

    def remove(self):
        """Whoever made the machine does that."""


class Host(Shell, installed.Installed):
    def __init__(self):
        super().__init__()
        self.make_etc()
        self.make_host()
        for folder in ("var/lib/dovecot", "var/spool/postfix", "var/tmp", "var/log", "var/lib/postfix", "usr/share/started"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        os.chown(self.root / "var/lib/postfix", self.uid("postfix"), self.gid("postfix"))
        self.stub("systemctl", SYSTEMCTL)
        for name in ("systemd-sysusers", "systemd-tmpfiles"):  # make_host() has done their work
            self.stub(name, "#!/bin/sh\n")
        for name in ("basalt-keyd", "basalt-milter", "basalt-lmtp"):
            (self.root / "usr/share/started" / name).write_text(
                shlex.join(self.service_argv(name)) + f" </dev/null >>/var/log/{name}.log 2>&1 &\n")
        self.namespace = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-e", "-c", MOUNTS.format(root=self.root)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.namespace.stdout.readline() == b"ready\n"
        self.enter = ["nsenter", f"--target={self.namespace.pid}", "--mount", "--net", "--root", "--wd"]

    def stand_in(self):
        """No journal: logs are files. The locked memory of few sessions fits where LimitMEMLOCK can't be had."""
        self.sh("postconf -e maillog_file=/var/log/postfix.log")
        self.sh("printf 'log_path = /var/log/dovecot.log\\nauth_verbose = yes\\n' >/etc/dovecot/conf.d/98-log.conf")
        example = self.files["usr/share/doc/basalt/examples/keyd.conf"]
        example.write_text(re.sub(r"max = \d+", "max = 2000", example.read_text()))

    def start(self, block):
        """Our systemctl does not wait until a daemon is ready, as the real one does: what asks for that comes later."""
        return self.sh(block.removesuffix("basaltctl status\n"))

    def log(self, name):
        return self.written(f"/var/log/{name}.log").read_text(errors="replace")

    def make_etc(self):
        """Debian's, as it is before anybody configured Postfix or Dovecot."""
        own = shutil.ignore_patterns("basalt", "dovecot*", "postfix*", "fstab", "mailname", *installed.FROM_ETC)
        shutil.copytree("/etc", self.root / "etc", symlinks=True, ignore=own)
        shutil.copytree("/usr/share/dovecot", self.root / "etc/dovecot")
        shutil.copytree("/etc/postfix", self.root / "etc/postfix", symlinks=True,
                        ignore=shutil.ignore_patterns("main.cf", "*_checks"))
        shutil.copy("/usr/share/postfix/master.cf.dist", self.root / "etc/postfix/master.cf")
        private = self.root / "etc/dovecot/private"  # where 10-ssl.conf looks; Debian makes a pair when it installs Dovecot
        private.mkdir(exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody", "-keyout", private / "dovecot.key",
                        "-out", private / "dovecot.pem"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)

    def stub(self, name, text):
        file = self.root / "usr/bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def remove(self):
        for file in (*self.root.glob("run/basalt-*.pid"), self.written("/run/dovecot/master.pid"),
                     self.written("/var/spool/postfix/pid/master.pid")):
            if file.exists():
                end(int(file.read_text()))
        self.namespace.kill()
        self.namespace.wait()
        super().remove()


def end(pid):
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
