"""mailprograms: mail clients of Debian, headless, each with a folder and configuration of its own.

    box = mailprograms.Box(tmp_path, system, account)
    mailprograms.mbsync(box)                    # runs it once; fails with what it said if it fails
    box.mails()                                 # the messages below box.local, as bytes with CRLF, sorted
"""
import os
import pty
import re
import select
import socketserver
import subprocess
import threading
import time

LIMIT_S = 60


class Box:
    """One program's folder: configuration, state, and what it fetched below local/."""

    def __init__(self, directory, system, account):
        self.dir, self.system, self.account = directory, system, account
        self.local = directory / "local"
        self.local.mkdir(parents=True)
        self.values = {"IMAP": system.port("imap"), "POP3": system.port("pop3"), "USER": account.address,
                       "PASSWORD": account.password, "DIR": directory, "LOCAL": self.local}

    def write(self, name, text):
        """A file with @NAMES@ filled in, for its owner alone."""
        for key, value in self.values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def environment(self):
        return {"HOME": str(self.dir), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8", "USER": "root", "TZ": "UTC",
                "FETCHMAILHOME": str(self.dir), "PYTHONWARNINGS": "ignore"}

    def run(self, *argv, stdin=b"", fine=(0,)):
        """What it printed; it has to end with a status of fine."""
        p = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.dir, env=self.environment(),
                           timeout=LIMIT_S)
        assert p.returncode in fine, (argv, p.returncode, p.stdout.decode(errors="replace")[-3000:])
        return p.stdout.decode(errors="replace")

    def run_on_terminal(self, *argv):
        """For a program that wants one; it has to end by itself, with 0."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execvpe(argv[0], argv, self.environment())
        end, shown, status = time.monotonic() + LIMIT_S, b"", None
        while status is None:
            assert time.monotonic() < end, (argv, shown[-3000:])
            if select.select([fd], [], [], 0.2)[0]:
                try:
                    shown += os.read(fd, 65536)
                except OSError:  # its last word: the terminal is closed
                    status = os.waitpid(pid, 0)[1]
        os.close(fd)
        assert os.waitstatus_to_exitcode(status) == 0, (argv, shown[-3000:])

    def files(self, folder="."):
        """The message files of a maildir, without those that a program keeps for itself."""
        return sorted(f for d in ("cur", "new") for f in (self.local / folder / d).glob("*"))

    def mails(self, folder="."):
        return sorted(crlf(f.read_bytes()) for f in self.files(folder))

    def put(self, text, folder=".", flags="S"):
        """A new message in a maildir, as a mail program would file it."""
        for d in ("cur", "new", "tmp"):
            (self.local / folder / d).mkdir(parents=True, exist_ok=True)
        (self.local / folder / "cur" / f"{time.time_ns()}.M1P1.here:2,{flags}").write_bytes(text.replace(b"\r\n", b"\n"))


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text)


MBSYNC = """IMAPAccount account
Host 127.0.0.1
Port @IMAP@
User @USER@
Pass @PASSWORD@
SSLType None
AuthMechs LOGIN

IMAPStore far
Account account

MaildirStore near
Path @LOCAL@/
Inbox @LOCAL@/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
Sync All
CopyArrivalDate yes
SyncState *
"""


def mbsync(box):
    return box.run("mbsync", "-c", box.write("mbsyncrc", MBSYNC), "-a")


OFFLINEIMAP = """[general]
accounts = account
metadata = @DIR@/meta
socktimeout = 30
[Account account]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = @LOCAL@
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = @IMAP@
remoteuser = @USER@
remotepass = @PASSWORD@
auth_mechanisms = LOGIN
ssl = no
starttls = no
"""


def offlineimap(box):
    return box.run("offlineimap", "-c", box.write("offlineimaprc", OFFLINEIMAP), "-o", "-u", "basic")


FETCHMAIL = """set no bouncemail
poll 127.0.0.1 protocol @PROTOCOL@ port @PORT@ auth password
  user "@USER@" password "@PASSWORD@" keep fetchall sslproto '' no rewrite
  mda "sh -c 'cat >$(mktemp @LOCAL@/new/XXXXXX)'"
"""


def fetchmail(box, protocol):
    (box.local / "new").mkdir()
    box.values.update(PROTOCOL=protocol, PORT=box.values[protocol.upper()])
    rc = box.write("fetchmailrc", FETCHMAIL)
    return box.run("fetchmail", "-f", rc, "--nodetach", "--nosyslog", "--invisible", "--pidfile", f"{box.dir}/pid")


GETMAIL = """[retriever]
type = Simple@PROTOCOL@Retriever
server = 127.0.0.1
port = @PORT@
username = @USER@
password = @PASSWORD@
[destination]
type = MDA_lmtp
host = 127.0.0.1
port = @LMTP@
override = here@example.org
[options]
read_all = @ALL@
delete = false
delivered_to = false
received = false
"""


class Sink(socketserver.StreamRequestHandler):
    """Takes mail by LMTP, one recipient, into server.local/new. (getmail's other destinations fork, and miss a child that ends
    early: it hangs.)"""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = [re.sub(rb"^\.", b"", part) for part in iter(self.rfile.readline, b".\r\n")]
                (self.server.local / "new" / f"{time.time_ns()}").write_bytes(b"".join(lines))
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")


def getmail(box, protocol, every=True):
    (box.local / "new").mkdir(exist_ok=True)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink) as server:
        server.local, server.daemon_threads = box.local, True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        box.values.update(PROTOCOL=protocol, PORT=box.values[protocol], ALL=str(every).lower(), LMTP=server.server_address[1])
        said = box.run("getmail", "--getmaildir", str(box.dir), "--rcfile", box.write("getmailrc", GETMAIL))
        server.shutdown()
    return said


MUTT = """set imap_user="@USER@" imap_pass="@PASSWORD@" ssl_starttls=no ssl_force_tls=no
set folder="imap://127.0.0.1:@IMAP@/" spoolfile="+INBOX" record="+Sent" sendmail="/bin/true" sendmail_wait=0
set mbox_type=Maildir confirmcreate=no confirmappend=no quit=yes delete=yes move=no mark_old=no wait_key=no beep=no
set use_domain=no realname="Reader" from="@USER@" header_cache="@DIR@/headers" message_cachedir="@DIR@/bodies" copy=yes
"""


def mutt(box, keys):
    """The inbox, and keys typed into it."""
    rc = box.write("muttrc", MUTT + f'push "{keys}"\n')
    box.run_on_terminal("mutt", "-n", "-F", rc, "-f", f"imap://127.0.0.1:{box.values['IMAP']}/INBOX")


def mutt_send(box, subject, text):
    """A mail from the command line, with the copy that goes to Sent."""
    rc = box.write("muttrc", MUTT)
    box.run("mutt", "-n", "-F", rc, "-s", subject, "friend@out.example", stdin=text)
