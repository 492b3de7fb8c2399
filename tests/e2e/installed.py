"""installed: what `make install` places, in a folder, and commands that see it as the host's.

An Installed has the files below `root`; run() and start() give a command /etc, /run and /var/lib of its own, with the
users of basalt.sysusers and the folders of basalt.tmpfiles made by hand, so that no systemd has to be there.
"""
import grp
import os
import pathlib
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BASALT_BUILD", ROOT / "build"))
PLACES = {"/etc": "etc", "/run": "run", "/var/lib": "var/lib"}
FROM_ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "localtime", "resolv.conf")


def rows(text):
    """Fields of each line that is no comment; quoted ones as one."""
    return [shlex.split(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def unit(text):
    """[(key, value)] of a unit file."""
    return [tuple(line.split("=", 1)) for line in text.splitlines() if re.match(r"[A-Za-z]+=", line)]


class Installed:
    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="basalt-test-install-", dir="/tmp"))
        self.root.chmod(0o755)
        san = ["SAN=asan"] if BUILD.name == "build-asan" else []
        p = subprocess.run(["make", "--no-print-directory", *san, "install", f"DESTDIR={self.root}"], cwd=ROOT,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        assert p.returncode == 0, p.stdout.decode()
        self.files = {str(f.relative_to(self.root)): f for f in self.root.rglob("*") if not f.is_dir()}
        self.sysusers = rows(self.text("usr/lib/sysusers.d/basalt.conf"))
        self.tmpfiles = rows(self.text("usr/lib/tmpfiles.d/basalt.conf"))
        self.children = []

    def text(self, name):
        return self.files[name].read_text()

    def example(self, name):
        return self.text(f"usr/share/doc/basalt/examples/{name}")

    def names(self, kind):
        """Users ("u") or groups ("g", with those of the users) of basalt.sysusers."""
        return {r[1] for r in self.sysusers if r[0] in (kind, "u")}

    # --- the host that it makes ---

    def make_host(self):
        for place in PLACES.values():
            (self.root / place).mkdir(parents=True, exist_ok=True)
        for name in FROM_ETC:
            if pathlib.Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", self.root / "etc")
        self.ids = self.make_users()
        for kind, path, mode, user, group, _ in self.tmpfiles:
            assert kind == "d"
            at = self.root / path[1:]
            at.mkdir(parents=True, exist_ok=True)
            os.chown(at, self.uid(user), self.gid(group))
            at.chmod(int(mode, 8))
        return self

    def make_users(self):
        """Numbers from 64000 on, whatever the lines would like."""
        ids = {}
        with open(self.root / "etc/passwd", "a") as passwd, open(self.root / "etc/group", "a") as group:
            for n, (kind, name, *_) in enumerate(self.sysusers, 64000):
                ids[name] = n
                group.write(f"{name}:x:{n}:\n")
                if kind == "u":
                    passwd.write(f"{name}:x:{n}:{n}::/:/usr/sbin/nologin\n")
        return ids

    def uid(self, name):
        return self.ids[name] if name in self.ids else pwd.getpwnam(name).pw_uid

    def gid(self, name):
        return self.ids[name] if name in self.ids else grp.getgrnam(name).gr_gid

    def inside(self, *argv):
        mounts = "".join(f"mount --bind {self.root}/{src} {dst} && " for dst, src in PLACES.items())
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts + 'exec "$@"', "sh",
                *(str(self.root) + a if a.startswith("/usr/") else a for a in map(str, argv))]

    def run(self, *argv, stdin=""):
        p = subprocess.run(self.inside(*argv), input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=60)
        assert p.returncode == 0, (argv, p.stdout.decode())
        return p.stdout.decode()

    def keys_of(self, name):
        return dict(unit(self.text(f"usr/lib/systemd/system/{name}.service")))

    def rights(self, name):
        """What starts a program with the user, the groups and the capabilities that a service's unit gives it."""
        keys = self.keys_of(name)
        caps = ["-all", *("+" + c.removeprefix("CAP_").lower() for c in keys["CapabilityBoundingSet"].split())]
        more = keys.get("SupplementaryGroups")
        groups = f"--groups={self.gid(more)}" if more else "--clear-groups"
        who = [f"--reuid={self.uid(keys['User'])}", f"--regid={self.gid(keys['Group'])}", groups] if "User" in keys else []
        return ["prlimit", "--core=0", "setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={','.join(caps)}", *who]

    def service_argv(self, name):
        return [*self.rights(name), *self.keys_of(name)["ExecStart"].split()]

    def start(self, name, **env):
        log = open(self.root / f"{name}.log", "ab")
        p = subprocess.Popen(self.inside(*self.service_argv(name)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **env})
        self.children.append(p)
        return p

    def reload(self, name, process):
        """As systemctl does it: one command after the other, until one fails."""
        for command in self.keys_of(name)["ExecReload"].split(" ; "):
            self.run(*self.rights(name), *shlex.split(command.replace("$MAINPID", str(process.pid))))

    def log(self, name):
        return (self.root / f"{name}.log").read_text(errors="replace")

    def remove(self):
        for p in self.children:
            if p.poll() is None:
                p.terminate()
                try:
                    p.wait(10)
                except subprocess.TimeoutExpired:
                    p.kill()
        shutil.rmtree(self.root, ignore_errors=True)
