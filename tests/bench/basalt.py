"""basalt: the contender that all is about: Dovecot with our plugin and auth module, and basalt-keyd beside it."""
import os
import pathlib
import shutil
import time

from servers import DOMAIN, MODULES, PASSWORD, PEERS, START_S, USERS, Server, run

BUILD = pathlib.Path(os.environ.get("BASALT_BUILD", pathlib.Path(__file__).resolve().parent.parent.parent / "build"))
KEYSTORE_ID, POLICY_ID = 62003, 0
CTL_CONF = """ctl {{
    database = "sqlite:{dir}/db/policy/policy.db"
    keyd = "{dir}/keyd"
    milter_control = "{dir}/none"
}}
"""


class Basalt(Server):
    parts = ["common.conf"]
    mark = b"\x89BSL\r\n\x1a\n"

    def __init__(self, name, root):
        super().__init__(name, root)
        self.plugins = self.dir / "lib"
        self.auth = self.dir / "auth"

    def prepare(self):
        """Modules, databases, site key; keyd starts before Dovecot."""
        self.copy_modules()
        for name, owner in (("keys", KEYSTORE_ID), ("policy", POLICY_ID)):
            (self.dir / "db" / name).mkdir(parents=True)
            shutil.chown(self.dir / "db" / name, owner, owner)
            (self.dir / "db" / name).chmod(0o700)
        for sub in ("etc", "keyd"):
            (self.dir / sub).mkdir()
        run(str(BUILD / "basalt-keyd"), "--make-site-key", str(self.dir / "etc" / "site.key"))
        conf = self.dir / "etc" / "keyd.conf"
        conf.write_text((PEERS / "keyd.conf").read_text().replace("@DIR@", str(self.dir)))
        (self.dir / "etc" / "ctl.conf").write_text(CTL_CONF.format(dir=self.dir))
        self.launch([str(BUILD / "basalt-keyd"), "-c", str(conf)])
        self.wait_file(self.dir / "keyd" / "control")

    def copy_modules(self):
        """Copies of ours, since the mail user may not be able to enter this checkout."""
        for target in (self.plugins, self.auth):
            target.mkdir()
        for path in pathlib.Path(MODULES).iterdir():
            (self.plugins / path.name).symlink_to(path)
        for path in pathlib.Path(MODULES, "auth").iterdir():
            shutil.copy(path, self.auth)
        shutil.copy(BUILD / "dovecot" / "lib10_basalt_plugin.so", self.plugins)
        shutil.copy(BUILD / "dovecot" / "auth" / "libauthdb_basalt.so", self.auth)

    def wait_file(self, path):
        end = time.monotonic() + START_S
        while not path.exists():
            if time.monotonic() > end or self.children[-1].poll() is not None:
                raise RuntimeError(f"basalt-keyd does not start: {self.complaint()}")
            time.sleep(0.05)

    def dovecot_argv(self):
        """The folder of auth modules is compiled into Dovecot: ours is mounted over it, for this process tree only."""
        script = f'mount --bind "$1" {MODULES}/auth && exec dovecot -F -c "$2"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", str(self.auth), str(self.conf)]

    def enrol(self):
        self.ctl("domain", "add", DOMAIN)
        for user in USERS:
            self.ctl("account", "add", f"{user}@{DOMAIN}", "--plan", "private", "--password-stdin",
                     input=f"{PASSWORD}\n".encode())

    def ctl(self, *args, **kwargs):
        return run(str(BUILD / "basaltctl"), "-c", str(self.dir / "etc" / "ctl.conf"), *args, **kwargs)

    def complaint(self):
        log = self.dir / "keyd.log"
        return (log.read_text(errors="replace")[-1500:] if log.exists() else "") + super().complaint()

    def errors(self):
        words = ("error", "fatal", "alarm")
        log = (self.dir / "keyd.log").read_text(errors="replace").splitlines()
        return super().errors() + [line for line in log if any(word in line.lower() for word in words)]
