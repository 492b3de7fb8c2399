"""tmp-plain: the size-limited tmpfs on which plaintext may pass (mail_temp_dir, TMPDIR)."""
import pathlib
import subprocess

import box as boxes

SIZE = "256m"


def where(b):
    return b.path("tmp-plain")


def wanted(b):
    return True


def log(b):
    return None


def env(b):
    return {"TMP_PLAIN": where(b)}


def alive(b):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(where(b)).replace(" ", "\\040") for line in lines)


ready = alive


def start(b):
    b.make_dir("tmp-plain")
    p = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=1777,nosuid,nodev,noexec", "basalt-plain",
                        str(where(b))], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode != 0:
        raise boxes.Trouble(f"can't mount a tmpfs on {where(b)}: {p.stdout.decode(errors='replace').strip()}")


def stop(b):
    while alive(b):
        if subprocess.run(["umount", str(where(b))], stderr=subprocess.DEVNULL).returncode != 0:
            if subprocess.run(["umount", "-l", str(where(b))]).returncode != 0:
                raise boxes.Trouble(f"can't unmount {where(b)}")
