"""sealedexport: doveadm with Basalt's module for it, as `tests/sandbox doveadm` starts it.

    status, text = sealedexport.doveadm(system, "basalt", "export-sealed", "-u", ...)
    rows, errors = sealedexport.export(system, account, folder, "all")
"""
import csv
import os
import subprocess

import probes
import systems


def doveadm(system, *args):
    p = subprocess.run([systems.SANDBOX, "doveadm", system.dir, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
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
