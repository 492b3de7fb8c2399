"""sealedexport: doveadm with Basalt's module for it, over whatever the host has in its place (a mount of its own).

    status, text = sealedexport.doveadm(system, "basalt", "export-sealed", "-u", ...)
    rows, errors = sealedexport.export(system, account, folder, "all")
"""
import csv
import os
import pathlib
import shutil
import subprocess

import probes
import systems

STOCK = pathlib.Path("/usr/lib/dovecot/modules/doveadm")
OURS = pathlib.Path(systems.BUILD) / "dovecot" / "doveadm" / "lib10_doveadm_basalt_plugin.so"
SCRIPT = 'mount --bind "$1" "$2" && shift 2 && exec doveadm "$@"'


def modules(system):
    """A folder of copies: a symlink would point at itself once it is mounted there."""
    folder = system.path("lib", "doveadm")
    if not folder.exists():
        folder.mkdir()
        for so in [*STOCK.glob("*.so"), OURS]:
            if so == OURS or so.name != OURS.name:
                shutil.copy(so, folder)
    return folder


def doveadm(system, *args):
    p = subprocess.run(["unshare", "--mount", "sh", "-c", SCRIPT, "sh", modules(system), STOCK, "-c", system.env["DOVECOT_CONF"],
                        *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def folder_for(system, name):
    """A folder that the mail user may write into."""
    folder = system.path(name)
    folder.mkdir()
    os.chown(folder, probes.UID_MAIL, probes.UID_MAIL)
    return folder


def export(system, account, folder, *query):
    """({uid: row}, what stands in standard error) of the mails that query finds; row["file"] is a path."""
    _, out, err = doveadm(system, "-f", "tab", "basalt", "export-sealed", "-u", account.address, "-d", folder, *query)
    rows = csv.DictReader(out.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {int(r["uid"]): {**r, "file": folder / r["file"]} for r in rows}, err
