"""image: a Debian 12 with systemd, a kernel, and Basalt installed, as one ext4 file; a kernel and an initrd beside it.

    image.missing()              # what of this machine is not there: a list of words
    disk = image.make(folder)    # Disk(file, kernel, initrd)

The Debian below it is made once by debootstrap, from what tools/deps and INSTALL.md's first block name, and kept in FOLDER/base
until one of them changes. Nothing is mounted where a `make clean` could meet it: what a chroot needs has a mount namespace of its own.
"""
import collections
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import followed  # noqa: E402

STEP_1 = "1. Packages, build, installation"
SYSTEM = "ca-certificates,dbus,initramfs-tools,linux-image-cloud-amd64,make,systemd-sysv,udev"
FOR_TESTS = "python3-pytest python3-nacl python3-cryptography python3-zstandard"
PROGRAMS = ("qemu-system-x86_64", "debootstrap", "mke2fs", "unshare", "chroot")
# Security updates, too: the plugin fits only the very Dovecot whose headers it was built with.
SOURCES = ("deb {mirror} bookworm main\n", "deb {mirror} bookworm-updates main\n", "deb {security} bookworm-security main\n")
SOURCE = "opt/basalt"  # this tree, in the guest
NOT_COPIED = ("build*", ".git", "*.pyc", "__pycache__", "corpus")
SIZE = "6G"  # sparse
CHROOT = """
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
printf '#!/bin/sh\\nexit 101\\n' >{root}/usr/sbin/policy-rc.d
chmod 755 {root}/usr/sbin/policy-rc.d
cp /etc/resolv.conf {root}/etc/
chroot {root} sh -e -c "$1" </dev/null
rm {root}/usr/sbin/policy-rc.d {root}/etc/resolv.conf
"""

Disk = collections.namedtuple("Disk", "file kernel initrd")


def missing():
    found = [p for p in PROGRAMS if not shutil.which(p)]
    return found + ([] if os.geteuid() == 0 else ["root's rights"])


def mirror():
    """Where this machine has its packages from."""
    text = "\n".join(f.read_text() for f in (pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt").glob("sources.list.d/*"))
                     if f.is_file())
    found = re.search(r"^(?:deb |URIs: *).*?(https?://\S*debian)\b", text, re.M)
    return found[1] if found else "http://deb.debian.org/debian"


def packages_of_step_1():
    """INSTALL.md's first block without the compiler's part, which this machine has done."""
    return "".join(line + "\n" for line in followed.blocks(STEP_1)[0].splitlines() if line not in ("make all", "make install"))


def run(log, *argv, **more):
    with open(log, "ab") as out:
        if subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more).returncode != 0:
            sys.exit(f"vm: {argv[0]} failed:\n" + pathlib.Path(log).read_text(errors="replace")[-3000:])


def in_chroot(base, log, script):
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    run(log, "unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", CHROOT.format(root=base), "sh", script, env=env)


def make_base(folder):
    """The Debian, if what it is made of has changed."""
    base, log = folder / "base", folder / "base.log"
    of = "\n".join((SYSTEM, FOR_TESTS, CHROOT, *SOURCES, packages_of_step_1(), (ROOT / "tools" / "deps").read_text()))
    mark, wanted = folder / "base.of", hashlib.sha256(of.encode()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return base
    mark.unlink(missing_ok=True)
    shutil.rmtree(base, ignore_errors=True)
    log.unlink(missing_ok=True)
    print("vm: making a Debian 12 (some minutes, kept)", flush=True)
    run(log, "debootstrap", "--variant=minbase", f"--include={SYSTEM}", "bookworm", base, mirror())
    (base / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (base / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")  # it can be made again
    (base / "etc/apt/sources.list").write_text("".join(SOURCES).format(mirror=mirror(), security=mirror() + "-security"))
    copy_tree(base)
    in_chroot(base, log, f"cd /{SOURCE}\n" + packages_of_step_1() + f"apt-get install -y --no-install-recommends {FOR_TESTS}\napt-get clean\n")
    mark.write_text(wanted)
    return base


def copy_tree(base):
    shutil.rmtree(base / SOURCE, ignore_errors=True)
    shutil.copytree(ROOT, base / SOURCE, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)


def install(base, log):
    """This tree's `make install`, and the guest's part of the test."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    for target in ("uninstall", "install"):
        run(log, "make", "--no-print-directory", target, f"DESTDIR={base}", cwd=ROOT, env=env)
    copy_tree(base)
    (base / "etc/hostname").write_text("post\n")
    (base / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 post.example.org post\n")
    (base / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")  # where nobody answers
    (base / "var/log/journal").mkdir(exist_ok=True)  # one that a power cut leaves
    unit = base / "etc/systemd/system/basalt-vm.service"
    shutil.copy(ROOT / "tests/vm/guest/basalt-vm.service", unit)
    wants = unit.parent / "multi-user.target.wants" / unit.name
    wants.unlink(missing_ok=True)
    wants.symlink_to(f"../{unit.name}")


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    base, log = make_base(folder), folder / "install.log"
    log.unlink(missing_ok=True)
    install(base, log)
    file = folder / "disk.img"
    file.unlink(missing_ok=True)
    run(log, "mke2fs", "-q", "-t", "ext4", "-d", base, file, SIZE)
    kernel, = (base / "boot").glob("vmlinuz-*")
    initrd, = (base / "boot").glob("initrd.img-*")
    return Disk(file, kernel, initrd)
