"""tests/tools/milter_act as a milter of its own, alone or behind a real Postfix without any look-up of ours."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import milter_box

TOOL = milter_box.BUILD / "tools/milter_act"


class Acting:
    def __init__(self, engine="native", sessions_max=1000, drain_ms=5000, address=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="basalt-act-"))
        self.dir.chmod(0o755)
        self.socket, self.socketmap = self.dir / "milter", self.dir / "none"
        self.log_file = self.dir / "log"
        self.address = address or f"unix:{self.socket}"
        self.argv = [TOOL, engine, self.address, str(sessions_max), str(drain_ms)]
        self.start()

    def start(self):
        with self.log_file.open("ab") as log:
            self.proc = subprocess.Popen(self.argv, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        milter_box.wait_for(self.worker)
        if self.address.startswith("unix:"):
            os.chmod(self.socket, 0o666)

    def log(self):
        return self.log_file.read_text()

    def workers(self):
        children = pathlib.Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
        return [int(p) for p in children.read_text().split()]

    def worker(self):
        return milter_box.wait_for(self.workers)[0]

    def crashes(self):
        return len(re.findall(r"the worker (?:was killed|ended)", self.log()))

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait(40)
        shutil.rmtree(self.dir, ignore_errors=True)


class Postfix(milter_box.PostfixBox):
    """Everything at example.org goes to the sink; nothing is asked of a socketmap."""

    def __init__(self, acting, **extra):
        super().__init__(acting)
        # A line in the place of each, not behind it: of settings that stand twice every process warns, postlogd to itself,
        # which waits for ever once its own socket is full.
        main = self.dir / "etc/main.cf"
        text = main.read_text()
        for name, value in {"smtpd_milters": acting.address, "virtual_mailbox_domains": "example.org",
                            "virtual_mailbox_maps": "static:1", "virtual_alias_maps": "", "smtpd_sender_login_maps": "",
                            **extra}.items():
            text = re.sub(rf"(?m)^{name} =.*\n(?:[ \t].*\n)*", "", text) + f"{name} = {value}\n"
        main.write_text(text)

    def queue(self, name):
        """The files of one of Postfix's queues."""
        return [p for p in (self.dir / "queue" / name).rglob("*") if p.is_file()]

    def command(self, *args):
        p = subprocess.run([args[0], "-c", self.dir / "etc", *args[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return p.stdout.decode()
