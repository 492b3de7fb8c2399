"""memory: what basalt-keyd's processes take, by role, at some moments.

    m = memory.Moments()                 # of the processes that there are now
    m.look("idle"); m.look("50000 sessions")
    print(m.table(50000))                # the last column: what the last moment has more than the one before it, by session
"""
import collections
import os
import pathlib
import re

import here

UNIT = pathlib.Path("/sys/fs/cgroup/system.slice/basalt-keyd.service")
ALL, LOCKED, KERNEL, WHOLE = "all, each page once", "of that locked", "the kernel's for the unit", "the unit in all"


def of_rollup(pid, what):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{what}:\s+(\d+)", text, re.M)[1])


class Moments:
    def __init__(self):
        self.names = {pid: here.name(pid) for pid in sorted(here.pids("basalt-keyd"))}
        self.seen = {}

    def look(self, title):
        """KiB: RSS of each role, as top has it; then the sums."""
        kib = collections.Counter()
        for pid, name in self.names.items():
            kib[name] += int(here.status(pid)["VmRSS"].split()[0])
        for what, field in ((ALL, "Pss"), (LOCKED, "Locked")):
            kib[what] = sum(of_rollup(pid, field) for pid in self.names)
        kib[KERNEL] = int(re.search(r"^kernel (\d+)", (UNIT / "memory.stat").read_text(), re.M)[1]) // 1024
        kib[WHOLE] = int((UNIT / "memory.current").read_text()) // 1024
        self.seen[title] = kib

    def files(self):
        """{role: open files}"""
        found = collections.Counter()
        for pid, name in self.names.items():
            found[name] += len(os.listdir(f"/proc/{pid}/fd"))
        return dict(found)

    def table(self, count):
        *_, before, now = self.seen.values()
        lines = [f"{'KiB':<26}" + "".join(f"{title:>18}" for title in self.seen) + f"{'bytes a session':>18}"]
        for row in now:
            grown = (now[row] - before[row]) * 1024 / count
            lines.append(f"{row:<26}" + "".join(f"{kib[row]:>18}" for kib in self.seen.values()) + f"{grown:>18.0f}")
        return lines
