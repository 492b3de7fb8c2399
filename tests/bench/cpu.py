"""cpu: the CPU time of a server, all of its processes, the ended ones included.

The sum over each root process and its living descendants of utime + stime + cutime + cstime (/proc/PID/stat): a child
that was waited for has moved into its parent's cutime and cstime. The kernel keeps these in nanoseconds and rounds to
ticks (10 ms) only when it prints them, so the error is at most a tick a process, not a tick an event.
"""
import os
import time

TICKS = os.sysconf("SC_CLK_TCK")


def processes():
    """pid -> (parent pid, ticks) of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def tree_ticks(roots):
    found = processes()
    children = {}
    for pid, (parent, _) in found.items():
        children.setdefault(parent, []).append(pid)
    ticks, todo = 0, list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            raise RuntimeError(f"process {pid} of a server is gone")
        ticks += found[pid][1]
        todo += children.get(pid, [])
    return ticks


def settled_seconds(roots, pause_s=0.05, limit_s=3.0):
    """Reads until two readings agree: what the server still does after its last answer belongs to the work."""
    end = time.monotonic() + limit_s
    last = tree_ticks(roots)
    while time.monotonic() < end:
        time.sleep(pause_s)
        now = tree_ticks(roots)
        if now == last:
            break
        last = now
    return last / TICKS
