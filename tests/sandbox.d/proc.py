"""Processes of a sandbox: started with a mark in their environment, ended by pid, never by name.

A pid is remembered with its start time, so that a recycled one is never hit. The mark finds what a killed master
left behind: /proc/PID/environ shows the block a process was started with. Dovecot's processes wipe theirs, and say in
their command line which instance they are.
"""
import hashlib
import os
import pathlib
import resource
import signal
import subprocess
import time

MARK = "BASALT_SANDBOX"
CORES = False  # tests/sandbox start --cores


def start_time(pid):
    """When the process began, in clock ticks since boot; None when there is none, or only its zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(entry):
    """entry: {'pid', 'start'} as remember() made it."""
    return entry is not None and start_time(entry["pid"]) == entry["start"]


def remember(pid):
    return {"pid": pid, "start": start_time(pid)}


def limits():
    """In the child: no core files (they would hold plaintext) unless CORES, as many descriptors as allowed."""
    if not CORES:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    os.umask(0o022)


def environment(where, part, more=None):
    """A clean environment with the mark of a sandbox's part; TMPDIR is its tmpfs."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent",
           "TMPDIR": f"{where}/tmp-plain", MARK: f"{where}:{part}"}
    env.update(more or {})
    return env


def spawn(argv, log, env):
    """Starts a server that stays in the foreground of its own session, its output appended to log."""
    with open(log, "ab") as out:
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                             cwd="/", start_new_session=True, preexec_fn=limits)
    return p


def signal_entry(entry, sig):
    if alive(entry):
        try:
            os.kill(entry["pid"], sig)
        except ProcessLookupError:
            pass


def freeze(pid, seconds=5):
    """SIGSTOP, and waits until every thread has stopped: kill() comes back before that."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = [t.read_text().rpartition(")")[2].split()[0] for t in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
        if set(states) <= set("TZX"):
            return
        time.sleep(0.005)
    raise TimeoutError(f"process {pid} does not stop")


def wait_gone(entries, seconds):
    """True when all have ended within the time."""
    end = time.monotonic() + seconds
    while any(alive(e) for e in entries):
        if time.monotonic() > end:
            return False
        reap()
        time.sleep(0.02)
    return True


def reap():
    """Collects children of this process that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end(entries, grace=10):
    """SIGTERM, and SIGKILL after the grace time."""
    for e in entries:
        signal_entry(e, signal.SIGTERM)
    if not wait_gone(entries, grace):
        for e in entries:
            signal_entry(e, signal.SIGKILL)
        wait_gone(entries, 5)


def instance(where):
    """Dovecot's instance_name in this sandbox."""
    return "sandbox-" + hashlib.sha256(str(where).encode()).hexdigest()[:12]


def is_marked(pid, where, part):
    """Does this process belong to the sandbox, to one part of it or (part "") to any?"""
    env = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if any(v.startswith(f"{MARK}={where}:{part}".encode()) for v in env):
        return True
    if part in ("", "postfix") and f"MAIL_CONFIG={where}/etc/postfix".encode() in env:
        return True
    return part in ("", "dovecot") and (argv[0].startswith(f"dovecot-{instance(where)}/".encode())
                                        or f"{where}/etc/dovecot.conf".encode() in argv)


def marked(where, part=""):
    """Every process of a sandbox, or of one part, however it was orphaned."""
    found = []
    for d in pathlib.Path("/proc").iterdir():
        if not d.name.isdigit() or int(d.name) == os.getpid():
            continue
        entry = remember(int(d.name))
        try:
            if entry["start"] is not None and is_marked(entry["pid"], where, part):
                found.append(entry)
        except OSError:
            continue
    return found


def tail(path, lines=25):
    try:
        text = pathlib.Path(path).read_text(errors="replace").splitlines()
    except OSError as e:
        return f"(no log: {e})"
    return "\n".join(text[-lines:])
