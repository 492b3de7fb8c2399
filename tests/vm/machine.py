"""machine: one run of the emulated machine: a boot from the disk, the lines that its second serial port says, its end.

    m = machine.Machine(disk, folder, "first", "basalt.stories=... basalt.then=mail")
    for line in m.lines(seconds): ...      # until the machine ends, or it takes longer
    m.cut_power()

One processor and 3 GiB in qemu's software emulation (KVM where there is one), without any network. The first serial port is the
console, in FOLDER/NAME.console.
"""
import os
import subprocess
import time

KERNEL = "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off systemd.show_status=0 quiet"


class Machine:
    def __init__(self, disk, folder, name, asked):
        self.console, self.said = folder / f"{name}.console", folder / f"{name}.said"
        self.said.unlink(missing_ok=True)
        accel = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg,thread=multi"
        argv = ["qemu-system-x86_64", "-accel", accel, "-cpu", "max", "-smp", "1", "-m", "3G", "-nic", "none", "-display", "none",
                "-no-reboot", "-device", "virtio-rng-pci", "-drive", f"file={disk.file},format=raw,if=virtio,cache=writeback",
                "-kernel", disk.kernel, "-initrd", disk.initrd, "-append", f"{KERNEL} {asked}",
                "-serial", f"file:{self.console}", "-serial", f"file:{self.said}", "-monitor", "none"]
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def lines(self, seconds):
        """Whole lines as they come; the rest when the machine has ended."""
        end, at, left = time.monotonic() + seconds, 0, b""
        while True:
            ended = self.process.poll() is not None
            if self.said.exists():
                with open(self.said, "rb") as f:
                    f.seek(at)
                    new = f.read()
                at, left = at + len(new), left + new
            *whole, left = left.split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
            if ended:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"the machine takes longer than {seconds} s: {self.console}")
            time.sleep(0.1)

    def cut_power(self):
        self.process.kill()
        self.process.wait()
