"""private_dns: the unbound of a sandbox alone, with a zone, without the mail servers around it.

    with private_dns.Server(zone_text) as dns:
        dns.port; dns.freeze(); dns.thaw(); dns.kill(); dns.start()
"""
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import systems

sys.path.insert(0, str(systems.ROOT / "tests" / "sandbox.d"))
import box  # noqa: E402
import dns  # noqa: E402
import parts  # noqa: E402
import proc  # noqa: E402


class Server:
    def __init__(self, zone):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{systems.PREFIX}{os.getpid()}-dns-", dir="/tmp"))
        (self.dir / "zone.in").write_text(zone)
        self.box = box.Box(self.dir / "box")
        for d in ("etc", "run", "log"):
            self.box.make_dir(d)
        self.box.state["options"]["dns"] = str(self.dir / "zone.in")

    def __enter__(self):
        for attempt in range(4):  # somebody else may take the port first
            self.box.state["ports"]["dns"] = box.free_ports(1)[0]
            try:
                return self.start()
            except parts.NotReady as e:
                self.kill()
                if not e.clash or attempt == 3:
                    raise

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def port(self):
        return self.box.port("dns")

    def start(self):
        dns.start(self.box)
        parts.wait_ready(self.box, "dns")
        return self

    def signal(self, number):
        entry = self.box.state["processes"].get("dns")
        if proc.alive(entry):
            os.kill(entry["pid"], number)

    def freeze(self):
        """It stops in mid-work: its port is open, nothing comes back."""
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        self.signal(signal.SIGKILL)
        dns.stop(self.box)
