"""Enrolment at first login behind a passdb of the site's own: whoever it lets in gets keys made from the password that it found right,
and only when nothing of that is in doubt. Each condition has a login here that fails without keys, and would succeed without the condition."""
import imaplib
import json
import os
import pathlib
import sqlite3
import subprocess
import threading
import time
import types

import pytest

import databases
import probes
import sealedfiles
import systems
from test_locked_login import Site, filled, told

CROWD = 8
MARK = "basalt_password=%{passdb:nopassword:checked}"
USERS = """passdb {{
  driver = passwd-file
  args = {users}
  override_fields = {mark}
  result_success = continue
  {more}
}}
"""
BASALT = """passdb {{
  driver = basalt
  args = {socket} {words}
  {more}
}}
"""
UNAUTHENTICATED = "skip = unauthenticated"


class EnrolSite(Site):
    """Its users are in the site's passdb and nowhere else."""

    def __init__(self, system):
        super().__init__(system, system.path("etc", "users"))
        # A site's own userdb knows its users; keys have nothing to do with it.
        self.original = self.original.replace("userdb {\n  driver = static\n}", "userdb {\n  driver = static\n  args = allow_all_users=yes\n}")
        self.extra, self.count = {}, 0

    def basalt(self, words="enrol=yes", more=UNAUTHENTICATED):
        return BASALT.format(socket=f"{self.system.env['KEYD_RUN']}/auth", words=words, more=more)

    def judge(self, more="", mark=MARK, users=None):
        return USERS.format(users=users or self.users, mark=mark, more=more)

    def stands(self, *passdbs):
        self.chain("".join(passdbs) or self.judge() + self.basalt())

    def user(self, password="right", extra=""):
        """A user of whom Basalt has never heard."""
        self.count += 1
        account = systems.Account(f"new{self.count}-{os.urandom(3).hex()}@example.org", password, "private")
        self.extra[account.address] = extra
        self.password(account, password)
        return account

    def password(self, account, password):
        self.passwords[account.address] = password
        self.write(self.users)

    def write(self, path):
        path.write_text("".join(f"{name}:{'{PLAIN}' + word if word else ''}::::::{self.extra[name]}\n"
                                for name, word in self.passwords.items()))
        path.chmod(0o644)
        # Dovecot looks at the file once in each second of its clock.
        written = int(time.time())
        probes.wait_for(lambda: time.time() > written + 2)


@pytest.fixture(scope="module")
def site(pool):
    system = systems.System([*systems.CHEAP_KDF, "--set", "keyd.enrol_at_login=sealed"]).start()
    site = EnrolSite(system)
    site.stands()
    yield site
    if not os.environ.get("BASALT_KEEP"):
        system.remove()


@pytest.fixture
def usual(site):
    """The site as DOVECOT.md describes it."""
    if site.conf.read_text() != getattr(site, "usual", None):
        site.stands()
        site.usual = site.conf.read_text()
    return site


def rows(site, name):
    return databases.Keys(site.system).sql(f"SELECT generation FROM keysets WHERE account = '{name}'")


def without_keys(site, account, password=None, service="imap"):
    """A login that makes no keys, and what the client hears."""
    try:
        with site.system.imap(account, password):
            answer = "let in"
    except imaplib.IMAP4.error as e:
        answer = str(e)
    assert not rows(site, account.address), "keys were made"
    return answer


def together(site, account):
    """What many logins at the same moment hear; "" is success."""
    answers = []
    crowd = [threading.Thread(target=lambda: answers.append(probes.imap_refusal(site.system, account))) for _ in range(CROWD)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    return answers


# --- it works ---

def plain_mail(site, account):
    """As it lay there before Basalt came."""
    message = probes.marked("from before")
    p = subprocess.run(["doveadm", "-c", site.system.env["DOVECOT_CONF"], "-o", "mail_plugins=", "save", "-u", account.address],
                       input=message, timeout=30)
    assert p.returncode == 0
    return message


def test_first_login(usual):
    """Keys are made, the session goes on as any other, old mail stays readable, new mail is sealed; then it is an account as others."""
    system, alice = usual.system, usual.user()
    old = plain_mail(usual, alice)
    with system.imap(alice) as mail:
        assert mail.select() == 1 and probes.word(mail.part(mail.uids()[0])) == probes.word(old)
        mail.append(probes.marked("appended"))
    assert system.suites(alice) == [systems.SUITE_SEALED]
    new = probes.marked("delivered")
    assert probes.lmtp(system, alice, new) == 250
    assert system.suites(alice) == [systems.SUITE_SEALED] * 2
    shown = probes.shown(system, alice)
    assert len(shown) == 3 and shown[0] == probes.word(old) and shown[2] == probes.word(new)
    assert rows(usual, alice.address) == [["1"]]
    assert "AUTHENTICATIONFAILED" in told(usual, alice, "wrong")
    system.ctl("key", "add-recovery", alice.address, "--password-stdin", "--stdout", stdin=b"right\n")
    assert probes.shown(system, alice) == shown


def test_first_login_by_pop3(usual):
    account = usual.user()
    pop = usual.system.pop3(account)
    assert pop.stat()[0] == 0
    pop.quit()
    assert rows(usual, account.address) == [["1"]]


def test_names_are_lower_case(usual):
    account = usual.user()
    usual.system.imap(systems.Account(account.address.upper(), account.password, "private")).close()
    assert rows(usual, account.address) == [["1"]] and not rows(usual, account.address.upper())


def test_several_logins_at_the_same_moment(usual):
    account = usual.user()
    assert together(usual, account) == [""] * CROWD and rows(usual, account.address) == [["1"]]


def test_weak_passwords_are_the_sites_to_permit(usual):
    account = usual.user("1")
    usual.system.imap(account).close()
    assert rows(usual, account.address)


def test_a_password_that_changed_at_the_site_makes_no_second_keys(usual):
    account = usual.user()
    usual.system.imap(account).close()
    before = databases.Keys(usual.system).newest(account)
    usual.password(account, "changed")
    assert "does not open the mailbox's keys" in told(usual, account, "changed")
    assert databases.Keys(usual.system).newest(account) == before


# --- each condition ---

def test_off_by_default(site):
    for words in "", "enrol=no":
        site.stands(site.judge(), site.basalt(words))
        assert "AUTHENTICATIONFAILED" in without_keys(site, site.user())


def test_nobody_judged(site):
    """Basalt alone, before the site's, and behind one that said no."""
    account = site.user()
    for chain in ([site.basalt(more="")], [site.basalt(more="result_failure = continue"), site.judge()],
                  [site.judge("result_failure = continue"), site.basalt(more="")]):
        site.stands(*chain)
        without_keys(site, account, "wrong")
        assert not rows(site, account.address)


def test_found_right_and_not_let_in(site):
    """A passdb that says all that is needed of a password but that it counts as right."""
    account, other = site.user(), site.user("", "noauthenticate")
    site.stands(site.judge().replace("= continue\n", "= continue-fail\n"), site.basalt(more=""))
    without_keys(site, account)
    site.stands(site.judge(), site.basalt(more=""))
    without_keys(site, other, "anything")


def test_wrong_passwords_that_pass(site):
    """result_failure = continue-ok makes any password count as checked."""
    for rule in "result_failure = continue-ok", "result_internalfail = continue-ok":
        site.stands(site.judge(rule), site.basalt())
        account = site.user()
        without_keys(site, account, "wrong")
        assert "AUTHENTICATIONFAILED" in without_keys(site, account), "not by the right one either: nobody can tell"
    assert "continue-ok" in site.system.log("dovecot")


def test_nopassword(usual):
    without_keys(usual, usual.user("", "nopassword=y"), "anything")
    without_keys(usual, usual.user("", "nopassword"), "anything")
    assert "has checked no password" in usual.system.log("dovecot")


def test_a_judge_without_the_mark(site):
    site.stands(site.judge(mark="x=y"), site.basalt())
    without_keys(site, site.user("", "nopassword"), "anything")
    assert site.system.logged("dovecot", "needs the line override_fields = basalt_password=")


def test_two_judges(site):
    """The second says of the first one's "nopassword" that it was checked, unless it leaves out what counts as right."""
    account = site.user("", "nopassword")
    second = site.system.path("etc", "second")
    second.write_text(f"{account.address}:{{PLAIN}}right\n")
    second.chmod(0o644)
    site.stands(site.judge(), site.judge(users=second), site.basalt())
    without_keys(site, account, "anything")
    assert site.system.logged("dovecot", "more than one marks")
    site.stands(site.judge(), site.judge(users=second).replace("= continue\n", "= continue-fail\n"), site.basalt())
    without_keys(site, account, "anything")
    third = site.system.path("etc", "third")
    third.write_text(f"{account.address}:::::::noauthenticate\n")
    third.chmod(0o644)
    site.stands(site.judge(), site.judge(users=third).replace("= continue\n", "= return-ok\n"), site.basalt())
    without_keys(site, account, "anything")
    site.stands(site.judge(), site.judge("skip = authenticated", users=second), site.basalt())
    without_keys(site, account, "anything")
    site.stands(site.judge("result_failure = continue", users=site.system.path("etc", "nobody")),
                site.judge("skip = authenticated", users=second), site.basalt())
    assert "AUTHENTICATIONFAILED" in without_keys(site, account, "anything")
    site.system.imap(account, "right").close()
    assert rows(site, account.address)


MASTERS = """auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = {masters}
  override_fields = {mark}
  master = yes
  result_success = {result}
}}
"""


@pytest.mark.parametrize("result", ["continue", "return-ok"])
def test_master_users(site, result):
    """The password is theirs, not the account's."""
    masters = site.system.path("etc", "masters")
    masters.write_text("chief:{PLAIN}the chief's\n")
    masters.chmod(0o644)
    site.stands(MASTERS.format(masters=masters, mark=MARK, result=result), site.judge(), site.basalt())
    account = site.user()
    chief = systems.Account(f"{account.address}*chief", "the chief's", "none")
    probes.imap_refusal(site.system, chief)
    assert not rows(site, account.address)
    assert probes.imap_refusal(site.system, account) == "" and rows(site, account.address), "the owner himself"


def test_a_user_who_is_made_another(usual):
    other = usual.user()
    account = usual.user(extra=f"login_user={other.address}")
    without_keys(usual, account)
    assert not rows(usual, other.address)


def test_other_mechanisms(site):
    """XOAUTH2 hands a token to the passdbs as if it were a password."""
    site.stands("auth_mechanisms = plain login xoauth2\n", site.judge(), site.basalt())
    account = site.user("token-token-token")
    mail = imaplib.IMAP4("127.0.0.1", site.system.port("imap"), timeout=30)
    with pytest.raises(imaplib.IMAP4.error):
        mail.authenticate("XOAUTH2", lambda _: f"user={account.address}\1auth=Bearer {account.password}\1\1".encode())
    mail.shutdown()
    assert not rows(site, account.address)


@pytest.mark.parametrize("fields", ["proxy=y host=127.0.0.1", "proxy_maybe=y host=127.0.0.1", "nologin=y"])
def test_logins_that_go_on_elsewhere(usual, fields):
    without_keys(usual, usual.user(extra=fields))


@pytest.mark.parametrize("service", ["smtp", "submission", "sieve", "lmtp", "doveadm", "imap-urlauth", "x"])
def test_other_services(usual, service):
    account = usual.user()
    usual.system.doveadm("auth", "test", "-x", f"service={service}", account.address, account.password)
    assert not rows(usual, account.address)
    usual.system.doveadm("auth", "test", "-x", "service=imap", account.address, account.password)
    assert rows(usual, account.address), "the same asks for imap"


def test_postfix_asks_for_a_password(usual):
    account = usual.user()
    with pytest.raises(Exception, match="(?i)auth"):
        usual.system.submission(account).quit()
    assert not rows(usual, account.address)


@pytest.mark.parametrize("name", ["alice", "alice@", "a\\b@example.org"])
def test_names_that_are_no_address(usual, name):
    usual.passwords[name], usual.extra[name] = "right", ""
    usual.write(usual.users)
    without_keys(usual, types.SimpleNamespace(address=name, password="right"))


def test_codes_are_no_passwords(usual):
    """What has the form of an app password is one that no slot has, whatever the site says."""
    maker = usual.system.account()
    code = usual.system.ctl("key", "add-app-password", maker.address, "--password-stdin", "--stdout",
                            stdin=maker.password.encode() + b"\n").stdout.decode().strip()
    assert "AUTHENTICATIONFAILED" in without_keys(usual, usual.user(code))


def test_rows_that_were_deleted(usual):
    account = usual.user()
    usual.system.imap(account).close()
    databases.Keys(usual.system).sql(f"DELETE FROM keysets WHERE account = '{account.address}'")
    assert "UNAVAILABLE" in without_keys(usual, account)


def test_a_row_that_is_damaged(usual):
    account = usual.user()
    usual.system.imap(account).close()
    keys = databases.Keys(usual.system)
    blob = keys.newest(account)[1]
    keys.replace(account, blob[:60] + bytes([blob[60] ^ 1]) + blob[61:])
    assert "UNAVAILABLE" in told(usual, account, account.password)
    assert rows(usual, account.address) == [["1"]] and keys.newest(account)[1][60] != blob[60]


def test_lost_keys_are_not_replaced(usual):
    """Rows gone and keyd's memory with them: a login makes keys, and the mail home, which knows better, keeps them from being used. The
    home's copy leads back."""
    system, account = usual.system, usual.user()
    system.imap(account).close()
    mail = filled(system, account)
    databases.Keys(system).sql(f"DELETE FROM keysets WHERE account = '{account.address}'")
    probes.restart_keyd(system)
    home = {p.name: p.read_bytes() for p in (system.home(account) / "basalt").iterdir()}
    stored = [m.read() for m in sealedfiles.messages(system, account)]
    for _ in range(2):
        with pytest.raises((imaplib.IMAP4.error, OSError)), system.imap(account) as c:
            c.select()
    assert probes.alarms(system, account) and "lost and made anew" in probes.alarms(system, account)[-1]
    assert probes.lmtp(system, account, probes.marked("waits")) // 100 == 4
    assert {p.name: p.read_bytes() for p in (system.home(account) / "basalt").iterdir()} == home
    assert [m.read() for m in sealedfiles.messages(system, account)] == stored
    restore = "key", "restore", account.address, "--password-stdin"
    refused = system.ctl(*restore, stdin=b"right\n", check=False)
    assert refused.returncode == 1 and b"--yes" in refused.stderr
    made = system.ctl("key", "show", account.address, "--json").stdout
    mistyped = system.ctl(*restore, "--yes", stdin=b"rihgt\n", check=False)
    assert mistyped.returncode != 0 and system.ctl("key", "show", account.address, "--json").stdout == made, "nothing is taken away for it"
    system.ctl(*restore, "--yes", stdin=b"right\n")
    new = probes.marked("after it")
    assert probes.lmtp(system, account, new) == 250
    assert probes.shown(system, account) == [probes.word(m) for m in (*mail.sent, new)]


# --- mail for who has no keys yet ---

BEFORE_KEYS = "plugin {\n  basalt_without_keys = plain\n}\n"


@pytest.mark.parametrize("userdb", ["allow_all_users=yes", ""], ids=["userdb knows", "passdb knows"])
def test_mail_before_the_first_login(site, userdb):
    """It waits; or, where the admin says so, is stored as if Basalt were not there, until there are keys and never again after."""
    system, account, original = site.system, site.user(), site.original
    site.original = original.replace("allow_all_users=yes", userdb)
    try:
        site.stands()
        waits = probes.marked("waits")
        assert probes.lmtp(system, account, waits) // 100 == 4 and not system.mail_files(account)
        site.stands(BEFORE_KEYS, site.judge(), site.basalt())
        assert probes.lmtp(system, account, waits) == 250
        assert len(system.mail_files(account)) == 1 and not system.suites(account)
        assert probes.shown(system, account) == [probes.word(waits)]
        sealed = probes.marked("sealed")
        assert probes.lmtp(system, account, sealed) == 250
        assert system.suites(account) == [systems.SUITE_SEALED]
        databases.Keys(system).sql(f"DELETE FROM keysets WHERE account = '{account.address}'")
        probes.restart_keyd(system)
        time.sleep(probes.RECORD_KEPT_S)  # what auth remembers of before
        lost = probes.marked("while the keys are lost")
        assert probes.lmtp(system, account, lost) // 100 == 4
        for name in "record", "keyset":
            (system.home(account) / "basalt" / name).rename(system.home(account) / name)
            assert probes.lmtp(system, account, lost) // 100 == 4, "one of the two is enough"
            (system.home(account) / name).rename(system.home(account) / "basalt" / name)
        assert system.suites(account) == [systems.SUITE_SEALED] and len(system.mail_files(account)) == 2
    finally:
        site.original = original


def test_basaltctl_before_and_after(site):
    """An address that is expected takes mail by way of Postfix; its first login makes the keys; and the other way round."""
    site.stands(BEFORE_KEYS, site.judge(), site.basalt())
    system, early, late = site.system, site.user(), site.user()
    findings = lambda: {(f["account"], f["finding"]) for f in json.loads(system.ctl("doctor", "--json", check=False).stdout)}  # noqa: E731
    system.ctl("account", "expect", early.address)
    assert system.ctl("account", "expect", early.address, check=False).returncode == 1
    assert system.ctl("account", "show", early.address, check=False).returncode == 1
    assert (early.address, "no-keys") in findings() and early.address in system.ctl("account", "list").stdout.decode()
    system.send("x@out.example", [early.address], probes.marked("by postfix"))
    system.settle()
    assert len(system.mail_files(early)) == 1 and not system.suites(early)
    for account in early, late:
        system.imap(account).close()
    system.ctl("account", "expect", late.address)
    assert json.loads(system.ctl("account", "show", late.address, "--json").stdout)["keys"]["sealed"]
    assert not {(early.address, "no-keys"), (late.address, "no-keys")} & findings()
    for account in early, late:
        system.send("x@out.example", [account.address], probes.marked("by postfix, again"))
    system.settle()
    assert system.suites(early) == system.suites(late) == [systems.SUITE_SEALED]
    shown = probes.shown(system, early)
    system.ctl("key", "add-recovery", early.address, "--password-stdin", "--stdout", stdin=b"right\n")
    system.ctl("convert", early.address)
    assert system.suites(early) == [systems.SUITE_SEALED] * 2 and probes.shown(system, early) == shown


@pytest.mark.parametrize("storage", ["maildir", "mdbox"])
def test_other_storages_and_mariadb(storage):
    """The whole way, with several first logins at the same moment."""
    system = systems.System([*systems.CHEAP_KDF, "--set", "keyd.enrol_at_login=sealed"], storage=storage, db="mariadb").start()
    try:
        site = EnrolSite(system)
        site.stands(BEFORE_KEYS, site.judge(), site.basalt())
        account, sent = site.user(), [probes.marked(f"mail {i}") for i in range(2)]
        assert probes.lmtp(system, account, sent[0]) == 250 and not system.suites(account)
        assert together(site, account) == [""] * CROWD and rows(site, account.address) == [["1"]]
        assert probes.lmtp(system, account, sent[1]) == 250 and system.suites(account) == [systems.SUITE_SEALED]
        assert probes.shown(system, account) == [probes.word(m) for m in sent]
    finally:
        system.remove()


def test_a_wrong_word_for_it(site):
    site.stands(BEFORE_KEYS.replace("plain", "clear"), site.judge(), site.basalt())
    assert probes.lmtp(site.system, site.user(), probes.marked("waits")) // 100 == 4
    assert site.system.logged("dovecot", "has to be wait or plain")


def test_a_user_whom_the_site_does_not_know(site):
    site.stands(BEFORE_KEYS, site.judge(), site.basalt(more=""))
    stranger = systems.Account("stranger@example.org", "x", "private")
    site.original, original = site.original.replace("  args = allow_all_users=yes\n", ""), site.original
    try:
        site.stands(BEFORE_KEYS, site.judge(), site.basalt(more=""))
        assert probes.lmtp(site.system, stranger, probes.marked("for nobody")) // 100 in (4, 5)
    finally:
        site.original = original
    assert not site.system.mail_files(stranger)


# --- other passdbs ---

def sql_passdb(site, users):
    db = site.system.path("etc", "users.db")
    db.unlink(missing_ok=True)
    with sqlite3.connect(db) as c:
        c.execute("CREATE TABLE users (name TEXT, word TEXT, nopassword TEXT)")
        c.executemany("INSERT INTO users VALUES (?, ?, ?)", [(n, w, None if w else "Y") for n, w in users.items()])
    conf = site.system.path("etc", "sql.conf")
    conf.write_text(f"driver = sqlite\nconnect = {db}\ndefault_pass_scheme = PLAIN\n"
                    "password_query = SELECT name AS user, word AS password, nopassword FROM users WHERE name = '%u'\n")
    for path in db, conf:
        path.chmod(0o644)
    return "sql", str(conf)


def script(site, name, text):
    path = site.system.path("etc", name)
    path.write_text(text)
    path.chmod(0o755)
    return path


def word_list(site, users):
    path = site.system.path("etc", "words")
    path.write_text("".join(f"{name} {word}\n" for name, word in users.items()))
    path.chmod(0o644)
    return path


def checkpassword_passdb(site, users):
    words = word_list(site, users)
    return "checkpassword", str(script(site, "checkpassword", f"""#!/usr/bin/python3
import os, sys
user, word = os.read(3, 512).split(b"\\0")[:2]
if user + b" " + word not in open("{words}", "rb").read().splitlines():
    sys.exit(1)
os.environ.pop("HOME", None)  # whose mail lies where is the userdb's to say
os.environ.update(EXTRA="userdb_uid userdb_gid", userdb_uid="{probes.UID_MAIL}", userdb_gid="{probes.UID_MAIL}")
os.execv(sys.argv[1], sys.argv[1:])
"""))


def pam_passdb(site, users):
    """Debian's libpam; the service's file lies in the private mounts of the test's Dovecot alone."""
    words = word_list(site, users)
    judge = script(site, "pam-judge", f"""#!/usr/bin/python3
import os, sys
word = sys.stdin.buffer.read().rstrip(b"\\0")
sys.exit(os.environb[b"PAM_USER"] + b" " + word not in open("{words}", "rb").read().splitlines())
""")
    services = site.system.path("etc", "pam.d")
    services.mkdir(exist_ok=True)
    (services / "basalt-test").write_text(f"auth required pam_exec.so expose_authtok quiet {judge}\naccount required pam_permit.so\n")
    (master,) = site.system.pids("dovecot", "dovecot")
    subprocess.run(["nsenter", "-t", str(master), "-m", "--root", "--wd", "mount", "--bind", str(services), "/etc/pam.d"], check=True)
    assert not pathlib.Path("/etc/pam.d/basalt-test").exists(), "the machine's own is as it was"
    return "pam", "basalt-test"


PASSDB = """passdb {{
  driver = {driver}
  args = {args}
  override_fields = {mark}
  result_success = continue
}}
"""


@pytest.mark.parametrize("make", [sql_passdb, pam_passdb, checkpassword_passdb])
def test_passdbs_of_sites(site, make):
    """The right password gets in, has keys, and gets in again; the wrong one makes none."""
    account = systems.Account(f"{make.__name__.replace('_', '-')}@example.org", "right", "private")
    driver, args = make(site, {account.address: account.password})
    site.stands(PASSDB.format(driver=driver, args=args, mark=MARK), site.basalt())
    assert "AUTHENTICATIONFAILED" in without_keys(site, account, "wrong")
    system, old = site.system, plain_mail(site, account)
    with system.imap(account) as mail:
        assert mail.select() == 1
    assert rows(site, account.address) == [["1"]]
    new = probes.marked("sealed from now on")
    assert probes.lmtp(system, account, new) == 250
    assert system.suites(account) == [systems.SUITE_SEALED]
    assert probes.shown(system, account) == [probes.word(old), probes.word(new)]


def test_nopassword_of_sql(site):
    """It comes by way of an auth worker."""
    account = systems.Account("any-password@example.org", None, "private")
    driver, args = sql_passdb(site, {account.address: None})
    site.stands(PASSDB.format(driver=driver, args=args, mark=MARK), site.basalt())
    assert "AUTHENTICATIONFAILED" in without_keys(site, account, "anything")
    assert site.system.logged("dovecot", "has checked no password")


def test_what_auth_remembers_is_not_asked(site):
    """With Dovecot's auth cache a password may be right that the site's passdb would no longer take."""
    account = systems.Account("cached@example.org", "right", "private")
    driver, args = sql_passdb(site, {account.address: account.password})
    site.stands("auth_cache_size = 1M\n", PASSDB.format(driver=driver, args=args, mark=MARK), site.basalt())
    for _ in range(2):
        assert "AUTHENTICATIONFAILED" in without_keys(site, account)
    assert site.system.logged("dovecot", "set auth_cache_size = 0")
