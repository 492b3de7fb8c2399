"""idlers: IMAP clients that wait, and how their sessions are made to end.

    with idlers.raw(system, account) as c:
        idlers.idle(c)
        idlers.session_end(system, account)
        assert c.response().startswith(b"* BYE") and idlers.hung_up(c) and idlers.back(system, account)
"""
import os
import pathlib
import signal

import messages
import probes
import pytest
import rawimap
from keydserver import UID_VAULT


def vault(system):
    """keyd's process that holds the keys."""
    pid, = (p for p in system.pids("keyd") if f"\nUid:\t{UID_VAULT}\t" in pathlib.Path(f"/proc/{p}/status").read_text())
    return pid


def session_end(system, account):
    assert b" ended\n" in system.ctl("session", "end", account.address).stdout


def vault_dies(system, _account):
    before = vault(system)
    os.kill(before, signal.SIGKILL)


def raw(system, account):
    c = rawimap.Raw(system.port("imap"))
    c.login(account.address, account.password)
    return c


def idle(c):
    c.send("x IDLE")
    c.until(b"+ ")


def fill(system, account, count, subject="a short one", length=3000):
    """Mails without number, quickly."""
    body = messages.text(length)
    batch = [(messages.make(body, subject=f"{i} {subject}"), "", "01-Mar-2026 00:00:00 +0000") for i in range(count)]
    with raw(system, account) as c:
        for at in range(0, count, 100):
            assert c.append("INBOX", *batch[at:at + 100])[-1].startswith(b"x OK")


def hung_up(c):
    with pytest.raises((rawimap.Gone, ConnectionResetError)):
        c.response()
    return True


def back(system, account):
    """Logs in again as a mail program does: until it may."""
    return probes.wait_for(lambda: not probes.imap_refusal(system, account))


def quiet(system, since):
    """Nothing in Dovecot's log that should not be there."""
    assert not [line for line in system.log("dovecot")[since:].splitlines() if "Panic:" in line or "Fatal:" in line or "killed with signal" in line]
