"""The parts of a sandbox in the order they start: each a module with wanted, start, stop, ready, LOG.

    wanted(box)   does this sandbox have it?
    start(box)    writes its configuration, starts it, remembers its processes
    ready(box)    True once it answers
    stop(box)     ends it in its own way; what is left over is ended by pid afterwards
    env(box)      its lines of DIR/env
"""
import os
import time

import basaltd
import box as boxes
import database
import dns
import dovecot
import postfix
import proc
import tmpfs

ALL = {"tmpfs": tmpfs, "database": database, "dns": dns, "keyd": basaltd.keyd, "milter": basaltd.milter,
       "dovecot": dovecot, "lmtp-proxy": basaltd.lmtp_proxy, "postfix": postfix}
READY_S = 60
PORTS = ("smtp", "submission", "imap", "pop3", "lmtp", "lmtp_proxy", "dns")


class NotReady(boxes.Trouble):
    """A part did not come up; clash: because somebody else has its port."""

    def __init__(self, name, log, why):
        text = proc.tail(log) if log else ""
        super().__init__(f"{name} {why}" + (f"; the end of {log}:\n{text}" if log else ""))
        self.clash = "ddress already in use" in text


def running(b, name):
    return ALL[name].alive(b)


def wanted(b):
    return [n for n, part in ALL.items() if part.wanted(b)]


def check(given):
    """What can be known to be wrong before anything is written; paths become absolute ones."""
    boxes.check_settings(given.get("set", []))
    if given.get("dns"):
        dns.origin(given["dns"])
    for k in ("dns", "build"):
        if given.get(k):
            given[k] = os.path.abspath(given[k])


def start(b, given):
    check(given)
    if not b.dir.exists():
        b.check_access()
    with b.lock():
        names = wanted(b) if b.exists() else []
        if names and all(running(b, n) for n in names):
            b.refuse_other_options(given)
            return f"{b.dir}: already running"
        b.take_options(given)
        proc.CORES = b.cores
        b.dir.chmod(b.dir.stat().st_mode & 0o7777 | 0o055)
        b.check_access()
        healing = b.exists() and any(running(b, n) for n in wanted(b) if n not in ("tmpfs",))
        for attempt in range(4):
            try:
                return bring_up(b, attempt > 0)
            except NotReady as e:
                if healing:
                    raise
                bring_down(b)
                if not e.clash or attempt == 3:
                    raise
            except BaseException:
                if not healing:
                    bring_down(b)
                raise


def bring_up(b, new_ports):
    t0 = time.monotonic()
    missing = [p for p in PORTS if p not in b.state["ports"]]
    if new_ports:
        missing = list(PORTS)
    b.state["ports"].update(zip(missing, boxes.free_ports(len(missing)) if missing else []))
    for d in ("etc", "run", "log"):
        b.make_dir(d)
    b.save()
    for name in wanted(b):
        if not running(b, name):
            proc.end(proc.marked(b.dir, name), grace=2)  # what a killed master left behind
            ALL[name].start(b)
            b.save()
            wait_ready(b, name)
    env = {}
    for name in wanted(b):
        env.update(ALL[name].env(b))
    b.write_env(env)
    return f"{b.dir}: running ({time.monotonic() - t0:.1f} s)"


def wait_ready(b, name):
    part = ALL[name]
    end = time.monotonic() + READY_S
    while not part.ready(b):
        if not part.alive(b):
            raise NotReady(name, part.log(b), "ended at its start")
        if time.monotonic() > end:
            raise NotReady(name, part.log(b), f"did not answer within {READY_S} s")
        time.sleep(0.03)
    if not part.alive(b):
        raise NotReady(name, part.log(b), "ended at its start")


def bring_down(b):
    for name in reversed(ALL):
        if name != "tmpfs":
            ALL[name].stop(b)
    left = proc.marked(b.dir)
    proc.end(left, grace=5)
    b.state["processes"] = {}
    tmpfs.stop(b)
    b.save()


def stop(b, only=None):
    if not b.exists():
        return f"{b.dir}: no sandbox"
    with b.lock():
        if only:
            if only not in ALL:
                raise boxes.Trouble(f"no part {only}; there are: {' '.join(ALL)}", 2)
            ALL[only].stop(b)
            b.save()
            return f"{b.dir}: {only} stopped"
        bring_down(b)
        return f"{b.dir}: stopped"


def status(b):
    if not b.exists():
        return False, f"{b.dir}: no sandbox"
    lines, up = [], True
    for name in wanted(b):
        ok = running(b, name)
        up = up and ok
        pid = b.state["processes"].get(name, {}).get("pid", "")
        lines.append(f"{name:<10} {'running' if ok else 'stopped'} {pid if ok else ''}".rstrip())
    lines.append(f"{b.dir}: {'running' if up else 'stopped'} (db {b.db}, storage {b.storage}"
                 f"{', plain' if b.plain else ''})")
    return up, "\n".join(lines)
