"""What most parts share: one foreground process, remembered under the part's name."""
import socket
import subprocess

import proc


def remember(b, name, pid):
    b.state["processes"][name] = proc.remember(pid)


def alive(b, name):
    proc.reap()
    return proc.alive(b.state["processes"].get(name))


def end(b, name, grace=10):
    entry = b.state["processes"].pop(name, None)
    if entry:
        proc.end([entry], grace)


def greets(port, start, send=b""):
    """Does 127.0.0.1:port answer with these first bytes?"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            if send:
                s.sendall(send)
            return s.recv(256).startswith(start)
    except OSError:
        return False


def connects(path):
    """Does the UNIX socket accept?"""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        try:
            s.connect(str(path))
        except OSError:
            return False
    return True


def run(argv, env, timeout=60):
    """A short command: (exit status, its output)."""
    p = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, env=env, cwd="/", timeout=timeout)
    return p.returncode, p.stdout.decode(errors="replace")
