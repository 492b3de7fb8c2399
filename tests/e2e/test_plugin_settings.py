"""How the Dovecot modules are set up: what they refuse, what logins they take, and plugins beside them.

One system of its own, whose extra configuration the tests rewrite.
"""
import imaplib
import os
import re
import smtplib
import socket
import subprocess

import pytest

import clients
import messages
import probes
import systems
from test_plugin import STRANGER, deliver, refusal

SERVING = ("config", "lmtp", "imap-login", "pop3-login", "imap", "pop3")


class Configured:
    """A system with a configuration file more, and what to do to it."""

    def __init__(self, system, file):
        self.system, self.file = system, file

    def set(self, text):
        """Takes effect when the processes that could serve somebody by the old configuration have gone."""
        old = [pid for name in SERVING for pid in self.system.pids("dovecot", name)]
        self.file.write_text(text)
        status, out = self.system.doveadm("reload")
        assert status == 0, out
        probes.wait_for(lambda: not {p for n in SERVING for p in self.system.pids("dovecot", n)} & set(old))

    def wait_log(self, mark, since):
        assert self.system.logged("dovecot", mark, since), self.system.log("dovecot")[since:]


@pytest.fixture(scope="module")
def configured(tmp_path_factory, pool):
    file = tmp_path_factory.mktemp("plugin") / "more.conf"
    file.write_text("")
    system = systems.System(["--set", f"dovecot.include={file}"])
    yield Configured(system.start(), file)
    system.remove()


@pytest.fixture
def site(configured):
    yield configured
    configured.set("")


def login_fails(system, account, text=None):
    with pytest.raises((imaplib.IMAP4.error, OSError), match=text):
        clients.Imap(system.port("imap"), account.address, account.password)


# --- for which Dovecot ---

def other_build(module, file):
    """Makes the module one that was built where Dovecot's file had another build id."""
    found = subprocess.run(["readelf", "-n", f"/usr/lib/dovecot/{file}"], capture_output=True, text=True).stdout
    ident = re.search("Build ID: ([0-9a-f]+)", found)[1].encode()
    before = module.read_bytes()
    assert before.count(ident) == 1
    module.with_suffix(".new").write_bytes(before.replace(ident, bytes([ident[0] ^ 1]) + ident[1:]))
    os.replace(module.with_suffix(".new"), module)


def delivered(system, account):
    try:
        return probes.lmtp(system, account, messages.make(b"one\r\n")) == 250
    except (OSError, smtplib.SMTPException):
        return False


def test_a_program_of_another_build_of_dovecot(own_system):
    """It does not run with the plugin; those that are as they were do."""
    system = own_system()
    account = system.account()
    other_build(system.path("lib", "dovecot", "lib10_basalt_plugin.so"), "lmtp")
    system.doveadm("reload")
    line = probes.wait_for(lambda: not delivered(system, account) and system.logged("dovecot", "is of another build", seconds=0))[0]
    assert "Fatal: basalt: /usr/lib/dovecot/lmtp is" in line and "`make install`, and restart Dovecot" in line
    with system.imap(account) as mail:
        assert mail.select() >= 0


@pytest.mark.parametrize("module, file, log", [
    ("dovecot/lib10_basalt_plugin.so", "libdovecot-storage.so.0", "Fatal: basalt: "),
    ("auth/libauthdb_basalt.so", "libdovecot.so.0", "Fatal: passdb basalt: ")])
def test_a_library_of_another_build_of_dovecot(own_system, module, file, log):
    system = own_system()
    account, since = system.account(), len(system.log("dovecot"))
    other_build(system.path("lib", *module.split("/")), file)
    system.doveadm("reload")
    socket.setdefaulttimeout(5)
    try:
        probes.wait_for(lambda: probes.imap_refusal(system, account))
    finally:
        socket.setdefaulttimeout(None)
    line = system.logged("dovecot", "is of another build", since)[0]
    assert log in line and f"/{file} is of" in line


# --- what is refused ---

POLICY_SERVER = "auth_policy_server_url = http://127.0.0.1:9/\nauth_policy_hash_nonce = nonce\n"


@pytest.mark.parametrize("lines", [
    "auth_debug_passwords = yes", "auth_verbose_passwords = yes", "auth_verbose_passwords = plain",
    "auth_verbose_passwords = sha1:6", "protocol imap {\n  auth_verbose_passwords = plain\n}",
    "auth_policy_request_attributes = login=%u w=%w\n" + POLICY_SERVER], ids=lambda lines: lines.split("\n")[-2 if "{" in lines else 0])
def test_passwords_where_they_do_not_belong(site, lines):
    """The auth module does not start, or where the setting is of one protocol alone, takes none of its logins."""
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set(lines + "\n")
    socket.setdefaulttimeout(5)
    try:
        with pytest.raises((imaplib.IMAP4.error, OSError)):
            c = imaplib.IMAP4("127.0.0.1", site.system.port("imap"), timeout=3)
            c.login(account.address, account.password)
    finally:
        socket.setdefaulttimeout(None)
    name = re.search(r"auth_\w+_(passwords|attributes)", lines)[0]
    assert [line for line in site.system.logged("dovecot", name, since) if "basalt: " in line]
    assert account.password not in site.system.log("dovecot")
    site.set("")
    site.system.imap(account).close()


def test_a_policy_server_that_is_told_no_password(site):
    """Nobody answers at its port: Dovecot lets logins pass. What counts is that the module starts."""
    account = site.system.account("private")
    site.set("auth_policy_request_attributes = login=%u remote=%r\n" + POLICY_SERVER)
    site.system.imap(account).close()
    site.set(POLICY_SERVER)
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        imaplib.IMAP4("127.0.0.1", site.system.port("imap"), timeout=3).login(account.address, account.password)


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_several_users_in_a_process(site, service):
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set(f"service {service} {{\n  client_limit = 5\n  service_count = 0\n}}\n")
    with pytest.raises(Exception):
        if service == "imap":
            site.system.imap(account).select()
        else:
            site.system.pop3(account).stat()
    site.wait_log("client_limit above 1", since)


def test_attachments_beside_the_mail(site):
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set("mail_attachment_dir = ~/attachments\n")
    assert refusal(site.system, account)[0] == 451
    site.wait_log("mail_attachment_dir has to be empty", since)


def test_temp_dir_of_some_connections(site):
    """Set for one address: an lmtp that has served others, by a good one, ends before it spools anything from there."""
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set("remote 127.0.0.2 {\n  mail_temp_dir = /usr/share\n}\nservice lmtp {\n  process_limit = 1\n}\n")
    port = site.system.port("lmtp")
    with clients.Lmtp(port) as lmtp:
        assert lmtp.deliver(STRANGER, [account.address], messages.make(messages.text(90_000)))[account.address][0][0] == 250
    (pid,) = site.system.pids("dovecot", "lmtp")
    with pytest.raises((OSError, AssertionError)), clients.Lmtp(port, "127.0.0.2") as lmtp:
        assert lmtp.greeting[0] == 220
    site.wait_log(f"lmtp({pid})", since)
    (line,) = site.system.logged("dovecot", "mail_temp_dir = /usr/share is not on a tmpfs", since)
    assert f"lmtp({pid})" in line and "Raw user" in line


@pytest.mark.parametrize("text,mark", [
    ("plugin {\n  basalt_keyd =\n}\n", "basalt_keyd } is not set"),
    ("plugin {\n  basalt_site_key =\n}\n", "basalt_site_key } is not set"),
    ("plugin {\n  basalt_site_key = /nowhere/site.key.pub\n}\n", "can't open /nowhere/site.key.pub"),
])
def test_settings_missing(site, text, mark):
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set(text)
    assert refusal(site.system, account)[0] == 451
    site.wait_log(mark, since)


def test_delivery_needs_no_connection_of_its_own(site):
    """The record comes with the answer that there is such a recipient: keyd is asked for the keyset of a new one alone. A login does need keyd's socket."""
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    deliver(site.system, account, messages.make(b"with the record its keyset\r\n"))
    site.set("plugin {\n  basalt_keyd = /nowhere\n}\n")
    deliver(site.system, account, messages.make(b"sealed all the same\r\n"))
    assert site.system.suites(account) == [1, 1]
    with pytest.raises(imaplib.IMAP4.abort):
        site.system.imap(account).select()
    site.wait_log("no session at /nowhere/mail", since)


def test_mbox_can_not_hold_it(site):
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set("mail_location = mbox:~/mbox\n")
    assert refusal(site.system, account)[0] == 451
    site.wait_log("storage mbox can't hold sealed mail", since)


# --- logins ---

def test_mechanism_login(configured):
    account = configured.system.account("private")
    mail = clients.Imap(configured.system.port("imap"), account.address, account.password, login=False)
    answers = iter([account.address.encode(), account.password.encode()])
    assert mail.c.authenticate("LOGIN", lambda _challenge: next(answers))[0] == "OK"
    mail.select()
    mail.close()


def test_upper_case_login_is_the_same_account(configured):
    account = configured.system.account("private")
    deliver(configured.system, account, messages.make(b"one\r\n"))
    with clients.Imap(configured.system.port("imap"), account.address.upper(), account.password) as mail:
        assert mail.select() == 1
        assert mail.part(1).endswith(b"one\r\n")


@pytest.mark.parametrize("length", [1024, 1025, 5000])
def test_long_passwords(configured, length):
    """At and beyond BS_PASSWORD_MAX: wrong, not an error."""
    account = configured.system.account("private")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED|[Tt]oo long|Input buffer full"):
        clients.Imap(configured.system.port("imap"), account.address, "p" * length)


def test_master_user_opens_nothing(site):
    """A master login that is to pass by the account's own passdb, too: the master's password is not the account's."""
    account = site.system.account("private")
    site.set("auth_master_user_separator = *\npassdb {\n  driver = static\n  args = password=mastersecret\n"
             "  master = yes\n  pass = yes\n}\n")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED|AUTHORIZATIONFAILED"):
        clients.Imap(site.system.port("imap"), f"{account.address}*admin", "mastersecret")
    site.system.imap(account).close()


def test_other_mechanisms_bring_no_password(site):
    account = site.system.account("private")
    site.set("auth_mechanisms = plain login cram-md5\n")
    mail = clients.Imap(site.system.port("imap"), account.address, "", login=False)
    with pytest.raises(imaplib.IMAP4.error):
        mail.c.login_cram_md5(account.address, account.password)
    mail.c.shutdown()
    site.system.imap(account).close()


def test_many_logins_at_once(configured):
    """Several requests under way on one connection; right and wrong passwords keep apart."""
    accounts = [configured.system.account("private") for _ in range(4)]
    opened = []
    for n in range(12):
        c = imaplib.IMAP4("127.0.0.1", configured.system.port("imap"), timeout=60)
        a = accounts[n % 4]
        password = a.password if n % 3 else "wrong"
        c.send(f'a1 LOGIN {a.address} "{password}"\r\n'.encode())
        opened.append((c, n % 3 != 0))
    for c, right in opened:
        line = c.readline()
        while not line.startswith(b"a1 "):
            line = c.readline()
        assert line.startswith(b"a1 OK" if right else b"a1 NO"), line
        c.shutdown()


def test_tokens_stay_out_of_the_logs(site):
    account, since = site.system.account("private"), len(site.system.log("dovecot"))
    site.set("auth_debug = yes\nmail_debug = yes\nauth_verbose = yes\n")
    deliver(site.system, account, messages.make(b"debugged\r\n"))
    with site.system.imap(account) as mail:
        mail.select()
        mail.part(1)
    site.wait_log("Disconnected: Logged out", since)
    logs = "".join(p.read_text(errors="replace") for p in site.system.path("log").glob("*.log"))
    assert "basalt_pass_token" in logs  # it is mentioned, hidden
    assert not re.search(r"basalt_pass_token=[0-9a-f]{16}", logs)
    assert account.password not in logs


# --- beside other plugins ---

def test_zlib_beside_it(site):
    account = site.system.account("private")
    sent = messages.make(messages.text(300_000, seed=7))
    deliver(site.system, account, sent)
    site.set("mail_plugins = zlib basalt\nplugin {\n  zlib_save = lz4\n}\n")
    deliver(site.system, account, sent)
    with site.system.imap(account) as mail:
        mail.select()
        uid = mail.append(sent)
        mail.ok("create", "Copies")
        mail.select()
        for u in (1, 2, uid):
            assert mail.part(u).endswith(sent)
            assert mail.size(u) == len(mail.part(u))
            assert mail.part(u, "<150000.9000>") == mail.part(u)[150000:159000]
            mail.copy(u, "Copies")
        assert mail.select("Copies") == 3
        assert all(mail.part(u).endswith(sent) for u in mail.uids())
    assert set(site.system.suites(account)) == {systems.SUITE_SEALED}


def test_mail_in_several_folders_by_detail(site):
    """Delivery to a folder that is made on the way."""
    account = site.system.account("private")
    site.set("lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\nrecipient_delimiter = +\n")
    address = account.address.replace("@", "+lists@")
    with site.system.lmtp() as lmtp:
        replies = lmtp.deliver(STRANGER, [address, account.address], messages.make(b"into a folder\r\n" * 99))
    assert [code for r in replies.values() for code, _ in r] == [250, 250]
    with site.system.imap(account) as mail:
        for folder in ("lists", "INBOX"):
            assert mail.select(folder) == 1
            assert b"into a folder" in mail.part(1)
    assert site.system.suites(account) == [systems.SUITE_SEALED] * 2
