"""contenders: a private Postfix each, with the filters that are compared; all mail ends in one sink."""
import collections
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys

import world

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BASALT_BUILD", REPO / "build"))
sys.path[:0] = [str(HERE.parent), str(REPO / "tests" / "e2e")]
import cpu  # noqa: E402
import milter_box  # noqa: E402

RECIPIENTS = [f"u{i}@bench.example" for i in range(20)]
WITNESS = "witness@bench.example"  # his mail is kept and looked at
MAIN = """compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {dir}/log/maillog
maillog_file_prefixes = {dir}/log
mail_owner = postfix
myhostname = mx.bench.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 60
virtual_mailbox_domains = bench.example
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
transport_maps = inline:{{ {{ {witness} = lmtp:inet:127.0.0.1:{kept} }} }}
lmtp_send_xforward_command = no
smtpd_relay_restrictions = reject_unauth_destination
milter_protocol = 6
milter_default_action = tempfail
enable_long_queue_ids = yes
"""
MASTER = "127.0.0.1:{port} inet n - n - - smtpd\n" + milter_box.BASE_MASTER.strip() + """
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
lmtp unix - - n - - lmtp
"""


class Contender:
    """Postfix without a filter, and the base of all others."""

    title = "no filter"
    takes_strangers = True

    def __init__(self, name, root, sink, witness):
        self.name, self.dir, self.sink, self.kept = name, root / name, sink, witness.port
        self.port = milter_box.free_port()
        self.lmtp = sink.port
        self.daemons = {}  # name -> process
        self.logs = []

    def settings(self):
        return {}

    def start_filter(self):
        """Before Postfix."""

    def start(self):
        for sub in ("etc", "log", "queue", "data", "run"):
            (self.dir / sub).mkdir(parents=True)
        self.dir.chmod(0o755)
        os.chown(self.dir / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (self.dir / "data").chmod(0o700)
        (self.dir / "run").chmod(0o777)
        self.start_filter()
        main = MAIN.format(dir=self.dir, lmtp=self.lmtp, witness=WITNESS, kept=self.kept) + "".join(f"{k} = {v}\n" for k, v in self.settings().items())
        (self.dir / "etc/main.cf").write_text(main)
        (self.dir / "etc/master.cf").write_text(MASTER.format(port=self.port))
        done = subprocess.run(["postfix", "-c", self.dir / "etc", "start"], capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        world.wait_for(self.greets)
        self.master = int((self.dir / "queue/pid/master.pid").read_text())

    def greets(self):
        return milter_box.PostfixBox.greets(self)

    def launch(self, name, argv, **kwargs):
        log = open(self.dir / "log" / name, "ab")
        self.daemons[name] = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **kwargs)
        log.close()

    def wait_socket(self, path, name):
        def there():
            if self.daemons[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.dir / 'log' / name).read_text()[-2000:]}")
            return milter_box.connects(path)
        world.wait_for(there, 240)  # rspamd compiles its patterns first

    def roots(self):
        return {"postfix": self.master, **{name: p.pid for name, p in self.daemons.items()}}

    def cpu(self):
        """Seconds of each program's process tree, once they stand still."""
        cpu.settled_seconds(list(self.roots().values()))
        return {name: cpu.tree_ticks([pid]) / cpu.TICKS for name, pid in self.roots().items()}

    def drained(self):
        return not any(f.is_file() for q in ("incoming", "active", "maildrop") for f in (self.dir / "queue" / q).rglob("*"))

    def stop(self):
        subprocess.run(["postfix", "-c", self.dir / "etc", "stop"], capture_output=True)
        for p in self.daemons.values():
            p.terminate()
        for p in self.daemons.values():
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def check(self, mail, listed_refused):
        """One that does not do its work would win. mail: a message as the filter left it; listed_refused: was one refused
        whose client is on the block lists?"""
        assert "authentication-results" not in mail.lower()

    def check_delivered(self):
        """What was sent has arrived."""
        statuses = collections.Counter(re.findall(r" status=(\w+)", (self.dir / "log/maillog").read_text()))
        assert set(statuses) == {"sent"}, f"{self.name}: {statuses}"

    def check_results(self, mail):
        fields = " ".join(re.findall(r"(?mi)^authentication-results:.*\n(?:[ \t].*\n)*", mail)).lower()
        missing = [what for what in ("spf=pass", "dkim=pass", "dmarc=pass") if what not in fields]
        assert not missing, f"{self.name} did not say {missing}: {fields}"

    def check_log(self, file, pattern):
        assert re.search(pattern, file.read_text(errors="replace")), f"{self.name} did not see who is on the block lists: {file}"


class Empty(Contender):
    title = "a libmilter filter that does nothing, no-reply flags on"

    def start_filter(self):
        self.launch("empty", [BUILD / "bench_empty_milter", self.dir / "run/sock"])
        self.wait_socket(self.dir / "run/sock", "empty")
        os.chmod(self.dir / "run/sock", 0o666)

    def settings(self):
        return {"smtpd_milters": f"unix:{self.dir}/run/sock"}


class Basalt(Contender):
    title = "basalt-milter as shipped: recipient, SPF, DKIM, DMARC, three block lists"
    more = {}
    preferences = []

    def start_filter(self):
        self.box = milter_box.MilterBox(
            dns_servers="127.0.0.1@53", dnsbl_lists="; ".join(f"ip {z} 1" for z in world.LISTS), **self.more)
        self.box.domain("bench.example")
        for r in [*RECIPIENTS, WITNESS]:
            self.box.account(r)
        for item, value in self.preferences:
            self.box.db.run("INSERT INTO preferences VALUES (0, '', ?, ?)", item, value)
        self.box.start()
        self.daemons["basalt-milter"] = self.box.proc

    def settings(self):
        return {"smtpd_milters": f"unix:{self.box.socket}"}

    def check(self, mail, listed_refused):
        self.check_results(mail)
        self.check_log(self.box.dir / "milter.log", r'"check":"dnsbl"[^}]*score 3 of 10')

    def stop(self):
        super().stop()
        self.box.stop()


class BasaltAll(Basalt):
    title = "the same, with greylist (of which it takes a note) and the limits of account, sender and client network"
    preferences = [("greylist", "header"), ("limits.account", "1000000"), ("limits.sender", "1000000"), ("limits.client", "1000000")]


class BasaltMaps(Basalt):
    title = "the same, and Postfix asks it for domains, recipients and aliases"

    def settings(self):
        maps = f"socketmap:unix:{self.box.socketmap}"
        return {**super().settings(), "virtual_mailbox_domains": f"{maps}:domains",
                "virtual_mailbox_maps": f"{maps}:recipients", "virtual_alias_maps": f"{maps}:aliases"}


class Rspamd(Contender):
    title = "rspamd (self-scan proxy): SPF, DKIM, DMARC, three block lists, nothing else"

    def start_filter(self):
        lists = "".join(f'  l{n} {{ symbol = "L{n}"; rbl = "{z}"; checks = ["from"]; }}\n' for n, z in enumerate(world.LISTS))
        conf = (HERE / "rspamd.conf").read_text().replace("@DIR@", str(self.dir)).replace("@LISTS@", lists)
        (self.dir / "etc/rspamd.conf").write_text(conf)
        (self.dir / "rspamd").mkdir(mode=0o777)
        (self.dir / "rspamd").chmod(0o777)
        (self.dir / "log").chmod(0o777)
        self.launch("rspamd", ["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", self.dir / "etc/rspamd.conf"])
        self.wait_socket(self.dir / "run/rspamd.sock", "rspamd")

    def check(self, mail, listed_refused):
        self.check_results(mail)
        self.check_log(self.dir / "log/rspamd.log", r"(?m)^(?=.*rspamd_task_write_log)(?=.*\bL0\b)(?=.*\bL1\b)(?=.*\bL2\b)")

    def settings(self):
        return {"smtpd_milters": f"unix:{self.dir}/run/rspamd.sock"}


class Classic(Contender):
    title = "opendkim + policyd-spf + opendmarc + postgrey, block lists by Postfix"
    takes_strangers = False  # postgrey puts them off

    def start_filter(self):
        d = self.dir
        (d / "etc/opendkim.conf").write_text(
            f"Mode v\nSocket local:{d}/run/opendkim\nSyslog no\nUMask 000\nNameservers 127.0.0.1\nBackground no\n"
            "InternalHosts 127.0.0.1\n")
        (d / "etc/opendmarc.conf").write_text(
            f"Socket local:{d}/run/opendmarc\nSyslog false\nUMask 0000\nBackground false\nAuthservID mx.bench.example\n"
            "TrustedAuthservIDs mx.bench.example\nPublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\n"
            "SPFIgnoreResults false\nSPFSelfValidate false\n")
        (d / "etc/policyd-spf.conf").write_text("debugLevel = 0\nHELO_reject = False\nMail_From_reject = False\n"
                                                "Header_Type = AR\nAuthserv_Id = mx.bench.example\n")
        (d / "postgrey").mkdir()
        shutil.chown(d / "postgrey", "postgrey", "postgrey")
        self.launch("opendkim", ["opendkim", "-f", "-x", d / "etc/opendkim.conf"])
        self.launch("opendmarc", ["opendmarc", "-f", "-c", d / "etc/opendmarc.conf"])
        self.launch("postgrey", ["postgrey", f"--unix={d}/run/postgrey", f"--dbdir={d}/postgrey", "--delay=1",
                                 "--auto-whitelist-clients=1"])
        for name in ("opendkim", "opendmarc", "postgrey"):
            self.wait_socket(d / "run" / name, name)
            os.chmod(d / "run" / name, 0o666)

    def settings(self):
        d = self.dir
        lists = ", ".join(f"reject_rbl_client {z}" for z in world.LISTS)
        return {"smtpd_milters": f"unix:{d}/run/opendkim, unix:{d}/run/opendmarc",
                "smtpd_recipient_restrictions": f"reject_unauth_destination, {lists}, check_policy_service unix:private/policyd-spf, "
                                                f"check_policy_service unix:{d}/run/postgrey",
                "policyd-spf_time_limit": "3600"}

    def check(self, mail, listed_refused):
        self.check_results(mail)
        assert listed_refused

    def start(self):
        global MASTER
        before = MASTER
        MASTER += f"policyd-spf unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd-spf {self.dir}/etc/policyd-spf.conf\n"
        try:
            super().start()
        finally:
            MASTER = before


CONTENDERS = {"none": Contender, "empty": Empty, "basalt": Basalt, "basalt-all": BasaltAll, "basalt-maps": BasaltMaps, "rspamd": Rspamd, "classic": Classic}
