"""here: this host, as the stories see it: its units, their processes, its mail."""
import contextlib
import imaplib
import json
import os
import pathlib
import pwd
import re
import smtplib
import ssl
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import keydserver  # noqa: E402
import keyproto  # noqa: E402

DAEMONS = ("basalt-keyd", "basalt-milter", "basalt-lmtp")
UNITS = (*DAEMONS, "dovecot", "postfix@-")
ADDRESS, PASSWORD = "alice@example.org", "seven quiet herons"
BAD = re.compile(r": (?:alarm|error|fatal|panic|warning): ", re.I)
PATIENCE_S = 180  # an emulated machine


def command_line():
    return dict(re.findall(r"basalt\.(\w+)=(\S+)", pathlib.Path("/proc/cmdline").read_text()))


def figure(text):
    """A line for who reads the figures, past pytest's hands."""
    with open("/dev/ttyS1", "w") as out:
        out.write(f"figure: {text}\n")


def ask(*argv, check=True):
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    text = p.stdout.decode(errors="replace")
    assert not check or p.returncode == 0, (argv, p.returncode, text)
    return text


def shown(unit, name):
    return ask("systemctl", "show", "--value", f"--property={name}", unit).strip()


def eventually(what):
    return keydserver.wait_for(what, PATIENCE_S, 0.2)


def pids(unit):
    """{pid: its parent} of a unit's processes."""
    procs = pathlib.Path(f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs")
    found = {}
    for pid in map(int, procs.read_text().split()):
        with contextlib.suppress(OSError):
            found[pid] = int(status(pid)["PPid"])
    return found


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict((part.strip() for part in line.split(":", 1)) for line in lines)


def limits(pid):
    """{name: (soft, hard)}"""
    lines = pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): tuple(line[26:].split()[:2]) for line in lines}


def listening():
    """{inode: path} of sockets that have a name; those that were accepted have it, too."""
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
    return {f[6]: f[7] for f in (line.split() for line in lines) if len(f) > 7 and f[3] == "00010000"}


def name(pid):
    """A process of ours by its user, one of keyd's fronts by its socket."""
    user = pwd.getpwuid(int(status(pid)["Uid"].split()[0])).pw_name
    if user != "basalt-front":
        return user
    names = listening()
    its = {names.get(os.readlink(f)[8:-1]) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir()} - {None}
    return f"{user} {', '.join(sorted(os.path.basename(n) for n in its))}"


def roles(user):
    """basalt-keyd's processes of one of its users."""
    uid = ask("id", "-u", user).strip()
    return [pid for pid in pids("basalt-keyd") if status(pid)["Uid"].split()[0] == uid]


def journal(unit, *more):
    return ask("journalctl", "--no-pager", "-b", "-o", "cat", "-u", unit, *more)


def complaints(unit):
    return [line for line in journal(unit).splitlines() if BAD.search(line)]


def serves():
    """basaltctl status: every part answers."""
    return subprocess.run(["basaltctl", "status"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          timeout=PATIENCE_S).returncode == 0


def client(name, timeout=PATIENCE_S):
    """Of a socket of basalt-keyd."""
    return keyproto.Client(f"/run/basalt/{name}", timeout)


def keyd_status():
    with client("control") as c:
        return json.loads(c.status())


# --- mail ---

def number_mail(smtp, n):
    body = f"Standing in cold water, mail {n}.\r\n" * 200
    smtp.sendmail("bob@example.net", [ADDRESS], f"From: bob@example.net\r\nTo: {ADDRESS}\r\nSubject: number {n}\r\n\r\n{body}")


def send_for_ever():
    n = 0
    with smtplib.SMTP("127.0.0.1", 25, local_hostname="client.example.net", timeout=PATIENCE_S) as smtp:
        while True:
            n += 1
            number_mail(smtp, n)
            print(f"accepted {n}", flush=True)


@contextlib.contextmanager
def imap():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with imaplib.IMAP4("127.0.0.1", 143, timeout=PATIENCE_S) as mail:
        mail.starttls(context)
        mail.login(ADDRESS, PASSWORD)
        mail.select("INBOX", readonly=True)
        yield mail


def texts(mail, which="1:*"):
    """Whole mails, each of which must be one of ours."""
    found = [part[1].decode() for part in mail.fetch(which, "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    assert all("tanding in cold water" in t for t in found), found
    return found


def subjects():
    with imap() as mail:
        return [re.search(r"^Subject: (.*?)\r?$", t, re.M)[1] for t in texts(mail)]
