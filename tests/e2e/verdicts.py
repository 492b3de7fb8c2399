"""verdicts: sealed verdict headers for tests, mail that gets into Postfix without the milter, and what the proxy logs.

    header = verdicts.seal(system, {alice.address: dict(folder="Junk"), bob.address: "drop"})
    verdicts.inject(system, "a@out.example", [alice.address, bob.address], header + message)
"""
import json
import pathlib
import subprocess

import systems

TOOL = pathlib.Path(systems.BUILD) / "tools" / "verdict_seal"
REJECT = dict(what="reject", code="550", status="5.7.1", text="Refused by the account")


def seal(system, parts, ago=0, keys=None):
    """The field as bytes. parts: {address: "drop", "reject", or keys of verdict_seal}; ago: sealed so many seconds ago."""
    lines, keys = [], pathlib.Path(keys or system.env["VERDICT_KEYS"])
    if ago:  # with keys that were there already
        old = system.path("etc", "old.keys")
        old.write_text("".join(f"{i} {key} 1\n" for i, key, _ in map(str.split, keys.read_text().splitlines())))
        old.chmod(0o600)
        keys = old
    for address, part in parts.items():
        part = {"drop": dict(what="drop"), "reject": REJECT}.get(part, part) if isinstance(part, str) else part
        words = [f"{k}={int(v) if isinstance(v, bool) else v}" for k, v in part.items() if k != "what"]
        lines.append("\t".join([address, part.get("what", "deliver"), *words]))
    p = subprocess.run([TOOL, keys, str(ago)], input="\n".join(lines).encode() + b"\n",
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 0, p.stderr.decode()
    return p.stdout


def inject(system, sender, recipients, message, *options):
    """By sendmail(1): no milter takes the header off."""
    p = subprocess.run(["sendmail", "-C", system.env["POSTFIX_CONF"], "-i", "-f", sender, *options, "--", *recipients],
                       input=message.replace(b"\r\n", b"\n"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert p.returncode == 0, p.stdout.decode(errors="replace")


def logged(system, recipient, count=1, since=0):
    """The entries of the proxy's log that are about a recipient, with their line's other members."""
    found = []
    for line in system.logged("lmtp-proxy", f'"to":"{recipient}"', since=since, count=count):
        whole = json.loads(line.split(" delivery ", 1)[1])
        found += [{**whole, **r} for r in whole["rcpt"] if r["to"] == recipient]
    return found


def folders(system, account):
    """{folder: [message, ...]} of an account, empty folders left out."""
    found = {}
    with system.imap(account) as m:
        for row in m.ok("list"):
            name = row.decode().rsplit(' "/" ', 1)[1].strip('"')
            if b"noselect" not in row.lower() and m.select(f'"{name}"'):
                found[name.replace("&-", "&")] = [m.part(u) for u in m.uids()]
    return found


def header_of(message):
    return message.split(b"\r\n\r\n", 1)[0] + b"\r\n"


def counters(system):
    return json.loads(system.ctl("status", "--json", check=False).stdout)["lmtp"]["counters"]
