"""watch: what is written to a file system, while it happens: also a file that is gone again after a moment.

fanotify shows each file that was open for writing when it is closed, with a descriptor of it, even if it has no name any more
(unlinked, O_TMPFILE). A Disk is a small file system of its own, so that nothing of others is seen there; of the root
file system, which all share, what processes of the system wrote.

    with watch.Disk() as disk, watch.Watch(disk.dir, sieve.feed_file, mine=is_ours): ...
"""
import ctypes
import os
import pathlib
import select
import struct
import subprocess
import tempfile
import threading

import systems

CLOEXEC, UNLIMITED_QUEUE = 0x1, 0x10
MARK_ADD, MARK_FILESYSTEM = 0x1, 0x100
CLOSE_WRITE, OVERFLOW = 0x8, 0x4000
EVENT = struct.Struct("=IBBHQii")
UNKNOWN_MAX = 1 << 20
OTHERS = (str(systems.ROOT), f"/tmp/{systems.PREFIX}")  # where no process of the system may write


class Unsupported(Exception):
    pass


class Disk:
    """A tmpfs as the disk of a System: `dir`."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{systems.PREFIX}{os.getpid()}-", dir="/tmp"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "basalt-disk", self.dir], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if subprocess.run(["umount", self.dir], stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["umount", "-l", self.dir], check=True)
        self.dir.rmdir()


class Watch:
    """feed(where, file) is called for each file that was written, in a thread of its own, until the end of the `with`. paths: all.

    mine(pid): did a process of the system write it? None when the process has gone. Asked on the root file system alone.
    """

    def __init__(self, folder, feed, mine=None):
        self.feed, self.mine = feed, mine
        self.folder, self.seen, self.trouble, self.paths = str(folder), {}, None, set()
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.fanotify_init(CLOEXEC | UNLIMITED_QUEUE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
        if self.fd < 0:
            raise Unsupported(f"fanotify_init: {os.strerror(ctypes.get_errno())}")
        for root in (self.folder, "/"):
            if libc.fanotify_mark(self.fd, MARK_ADD | MARK_FILESYSTEM, ctypes.c_uint64(CLOSE_WRITE), -100, root.encode()) < 0:
                raise Unsupported(f"fanotify_mark {root}: {os.strerror(ctypes.get_errno())}")
        self.device = os.stat(self.folder).st_dev
        self.last, self.ended = pathlib.Path(folder) / "the-watch-ends", False

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        """What happened before counts: the thread ends when it has come to this file."""
        self.last.write_bytes(b".")
        self.thread.join(120)
        assert not self.thread.is_alive(), "the watch did not come to its end"
        os.close(self.fd)
        self.last.unlink()
        if self.trouble:
            raise self.trouble

    def run(self):
        try:
            while not self.ended:
                select.select([self.fd], [], [])
                self.read()
        except Exception as e:  # it is the `with` that has to fail
            self.trouble = e

    def read(self):
        """Takes the events that wait."""
        data, at = os.read(self.fd, 1 << 16), 0
        while at < len(data):
            length, _, _, _, mask, fd, pid = EVENT.unpack_from(data, at)
            at += length
            assert not mask & OVERFLOW, "the queue of events has run over"
            with open(fd, "rb") as fp:
                self.look(fp, pid)

    def look(self, fp, pid):
        info = os.fstat(fp.fileno())
        where, state = os.readlink(f"/proc/self/fd/{fp.fileno()}"), (info.st_size, info.st_mtime_ns)
        _, folder, inside = where.partition(self.folder)
        where = folder + inside or where  # in a chroot the kernel shows the way to it, of what another mount namespace wrote
        self.ended = self.ended or where == str(self.last)
        if pid == os.getpid() or self.seen.get((info.st_dev, info.st_ino)) == state or info.st_size == 0:
            return
        if info.st_dev != self.device:
            mine = not where.startswith(OTHERS) and self.mine and self.mine(pid)
            if mine is False or mine is None and info.st_size > UNKNOWN_MAX:
                return
        self.seen[info.st_dev, info.st_ino] = state
        self.paths.add(where)
        self.feed(where, fp)
