"""growth: descriptors and memory of the processes that live as long as a system: do they stay what they were?

    before = growth.census(system)
    ... thousands of sessions ...
    growth.wait_descriptors(system, before)       # AssertionError: who holds more than before
    growth.kib(system, before)                    # {name: by how much its memory grew}
"""
import collections
import os
import pathlib
import time

Reading = collections.namedtuple("Reading", "pid fds kib")


def status(pid):
    return dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())


def memory_kib(pid):
    """What is its own: anonymous pages, those that are swapped out too."""
    fields = status(pid)
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "VmSwap"))


def long_lived(system):
    """[(name, pid)]: keyd's roles, the milter, Dovecot's master and its auth, in which our passdb module works."""
    found = [("milter", pid) for pid in system.pids("milter")] + [("auth", pid) for pid in system.pids("dovecot", "auth")]
    found.append(("dovecot", min(system.pids("dovecot", "dovecot"))))
    found += [(f"keyd, uid {status(pid)['Uid'].split()[0]}", pid) for pid in system.pids("keyd")]
    return found


def census(system):
    """{(name, pid): Reading}"""
    return {(name, pid): Reading(pid, len(os.listdir(f"/proc/{pid}/fd")), memory_kib(pid))
            for name, pid in long_lived(system)}


def more_descriptors(system, before):
    now = census(system)
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
