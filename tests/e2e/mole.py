"""mole: runs Python as the process whose ids it borrows, with nothing of root's: what code in an imap process could do.

    ids = mole.ids_of(pid)                                   # of a live imap process
    mole.run(ids, lambda: open("/proc/1/mem", "rb"))         # raises PermissionError here
"""
import ctypes
import errno
import os
import pathlib
import pickle

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def ids_of(pid):
    """(uid, gid, groups) of a process."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["Uid"].split()[0]), int(fields["Gid"].split()[0]), [int(g) for g in fields["Groups"].split()]


def become(ids):
    uid, gid, groups = ids
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def run(ids, function, *args):
    """function(*args) in a child with these ids: its value, or the exception that it raised."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(ids)
            answer = True, function(*args)
        except BaseException as e:  # noqa: BLE001, whatever it is, the parent raises it
            answer = False, e
        with os.fdopen(write, "wb") as out:
            pickle.dump(answer, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as data:
        raw = data.read()
    os.waitpid(pid, 0)
    good, value = pickle.loads(raw)
    if not good:
        raise value
    return value


# --- ways to look into another process: each raises OSError, or it looked ---

def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read_mem(pid):
    with open(f"/proc/{pid}/maps") as maps:
        first = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        mem.seek(first)
        return mem.read(16)


def open_mem(pid):
    """mem alone, should maps ever be readable."""
    with open(f"/proc/{pid}/mem", "r+b", 0):
        return True


def read_maps(pid):
    return pathlib.Path(f"/proc/{pid}/maps").read_text()


def read_environ(pid):
    return pathlib.Path(f"/proc/{pid}/environ").read_bytes()


def list_files(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def vm_readv(pid):
    """Of an address where nothing is: EFAULT says that the kernel would have read."""
    local = ctypes.create_string_buffer(16)
    here, there = Vector(ctypes.addressof(local), 16), Vector(0x1000, 16)
    try:
        return checked(LIBC.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
    except OSError as e:
        if e.errno != errno.EFAULT:
            raise
    return 0


def attach(pid):
    return checked(LIBC.ptrace(PTRACE_ATTACH, pid, None, None))


def signal_it(pid):
    os.kill(pid, 0)
    return True


LOOKS = (read_mem, open_mem, read_maps, read_environ, list_files, vm_readv, attach)
