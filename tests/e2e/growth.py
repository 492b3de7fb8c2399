"""growth: descriptors and memory of the processes that live as long as a system: do they stay what they were?

    growth.wait_quiet(system)
    before = growth.census(system)
    ... many sessions ...
    growth.wait_descriptors(system, before)       # AssertionError: who holds more than before
    growth.kib(system, before)                    # {name: by how much its memory grew}

A leak that is small beside what malloc keeps for itself shows in the trend, over hundreds of rounds that are all alike:

    trend = growth.Trend(system)
    for n in range(0, 180, 10):
        ... ten rounds ...
        trend.note(n)
    trend.bytes_a_round()                         # {name: slope}
"""
import collections
import itertools
import os
import pathlib
import statistics
import time

import probes

Reading = collections.namedtuple("Reading", "pid fds kib")
SERVING = ("lmtp", "imap", "pop3")  # of Dovecot; they live long where service_count and process_min_avail say so
HOLDING = ("smtpd", "cleanup", "trivial-rewrite", "lmtp")  # of Postfix; they keep what they have connected to


def status(pid):
    return dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())


def memory_kib(pid):
    """What is its own: anonymous pages, those that are swapped out too. The sums of /proc/PID/status are off by hundreds
    of KiB on a machine of many cores; these are exact."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[name].split()[0]) for name in ("Anonymous", "Swap"))


def long_lived(system, more=()):
    """[(name, pid)]: keyd's roles, the milter, Dovecot's master and its auth, in which our passdb module works; and
    Dovecot's processes of the names in more."""
    found = [("milter", pid) for pid in system.pids("milter")]
    found += [(name, pid) for name in ("auth", *more) for pid in system.pids("dovecot", name)]
    found.append(("dovecot", min(system.pids("dovecot", "dovecot"))))
    found += [(f"keyd, uid {status(pid)['Uid'].split()[0]}", pid) for pid in system.pids("keyd")]
    return found


def census(system, more=()):
    """{(name, pid): Reading}"""
    return {(name, pid): Reading(pid, len(os.listdir(f"/proc/{pid}/fd")), memory_kib(pid))
            for name, pid in long_lived(system, more)}


def wait_quiet(system, seconds=60):
    """Postfix's processes leave postfix.max_idle after their last mail; before that, how many sockets a server holds is chance."""
    probes.wait_for(lambda: not any(system.pids("postfix", name) for name in HOLDING), seconds)


def more_descriptors(system, before):
    now = census(system, SERVING)
    return [f"{name}: {was.fds} -> {now[name, pid].fds}" for (name, pid), was in before.items()
            if (name, pid) in now and now[name, pid].fds > was.fds]


def wait_descriptors(system, before, seconds=60):
    """Servers close what is idle by and by: nobody may hold more than before once they had the time."""
    end = time.monotonic() + seconds
    while grown := more_descriptors(system, before):
        assert time.monotonic() < end, f"descriptors leak: {grown}"
        time.sleep(0.5)


def kib(system, before):
    now = census(system)
    return {f"{name} {pid}": now[name, pid].kib - was.kib for (name, pid), was in before.items() if (name, pid) in now}


def slope(points):
    """Theil and Sen: the median of the slopes of all pairs. A step, or a few bad readings, do not move it."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2))


class Trend:
    """Memory against rounds, of each long-lived process, those of Dovecot that serve users among them."""

    def __init__(self, system):
        self.system, self.points = system, collections.defaultdict(list)

    def note(self, rounds):
        for who, reading in census(self.system, SERVING).items():
            self.points[who].append((rounds, reading.kib))

    def bytes_a_round(self):
        most = max(map(len, self.points.values()))
        new = [who for who, p in self.points.items() if len(p) < most]
        assert not new, f"they did not live all the time: {new}"
        return {f"{name} {pid}": round(1024 * slope(p)) for (name, pid), p in self.points.items()}
