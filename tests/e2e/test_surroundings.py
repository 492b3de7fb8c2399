"""What around the plugin would leave text of mail on a disk is refused, by every kind of process, with what to set.

The programs are run by hand on the shared system's configuration, with one setting more: no server has to be reloaded.
"""
import re
import subprocess

import pytest

import systems

LIB = "/usr/lib/dovecot"
DISK = "/usr/share"  # no tmpfs
MAIL = b"From: x@out.example\nSubject: by hand\n\nbody\n"
QUIET = "deliver_log_format=size=%p: %$"


def run(system, account, program, *settings):
    """(what was refused, exit status) of one process of the user, and its log."""
    since = len(system.log("dovecot"))
    argv = [program] if program == "doveadm" else [f"{LIB}/{program}"]
    argv += ["-c", system.env["DOVECOT_CONF"], *(word for s in settings for word in ("-o", s))]
    argv += {"doveadm": ["mailbox", "list", "-u"], "dovecot-lda": ["-d"]}.get(program, ["-u"]) + [account.address]
    stdin = {"dovecot-lda": MAIL, "imap": b"a LOGOUT\r\n", "pop3": b"QUIT\r\n"}.get(program, b"")
    p = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", timeout=60)
    text = p.stdout.decode(errors="replace")
    if program == "dovecot-lda" and p.returncode:
        line = r"(?m)^.* lda\([^)]*\)(?:<[^>]*>)*: \w+: basalt: .*$"
        assert system.logged("dovecot", "basalt: ", since), system.log("dovecot")[since:]
        text += "\n".join(re.findall(line, system.log("dovecot")[since:]))
    return text, p.returncode


def refused(system, program, *settings):
    text, status = run(system, system.account("private"), program, *settings)
    assert status != 0 and "basalt: " in text, text
    return text


@pytest.mark.parametrize("program", ["doveadm", "imap", "pop3", "dovecot-lda"])
def test_control_runs_as_it_is(system, program):
    settings = [QUIET] if program == "dovecot-lda" else []
    text, status = run(system, system.account("private"), program, *settings)
    assert status == 0 and "basalt: " not in text, text


@pytest.mark.parametrize("program", ["doveadm", "imap", "pop3", "dovecot-lda"])
@pytest.mark.parametrize("folder", [DISK, f"{DISK}/nowhere/at/all"])
def test_temporary_files_on_a_disk(system, program, folder):
    assert f"mail_temp_dir = {folder} is not on a tmpfs" in refused(system, program, f"mail_temp_dir={folder}", QUIET)


def test_temporary_files_in_memory_may_be_anywhere(system):
    text, status = run(system, system.account("private"), "imap", "mail_temp_dir=/dev/shm")
    assert status == 0, text


def test_attachments(system):
    assert "mail_attachment_dir has to be empty" in refused(system, "doveadm", f"mail_attachment_dir={DISK}")


@pytest.mark.parametrize("program", ["imap", "pop3"])
@pytest.mark.parametrize("folder", [DISK, f"{DISK}/%u"])
def test_rawlog(system, program, folder):
    assert "rawlog_dir would write whole sessions" in refused(system, program, f"rawlog_dir={folder}")


def test_rawlog_in_memory_is_let_be(system):
    text, status = run(system, system.account("private"), "imap", f"rawlog_dir={system.path('tmp-plain')}/%u")
    assert status == 0, text


@pytest.mark.parametrize("text,what", [("msgid=%m: %$", "msgid"), ("%{subject} %$", "subject"), ("%50s", "subject"),
                                       ("%f", "from"), ("%{from_envelope}", "from_envelope")])
def test_delivery_log_with_text_of_the_mail(system, text, what):
    told = refused(system, "dovecot-lda", f"deliver_log_format={text}")
    assert f"({what}) of each mail" in told and "set protocol lda { deliver_log_format = size=%p: %$ }" in told


@pytest.mark.parametrize("fields", [None, "uid msgid", "subject", "uid from"])
def test_mail_log_with_text_of_the_mail(system, fields):
    settings = ["mail_plugins=basalt notify mail_log"] + ([f"plugin/mail_log_fields={fields}"] if fields else [])
    assert "set plugin { mail_log_fields = uid box size }" in refused(system, "doveadm", *settings)


def test_mail_log_without(system):
    text, status = run(system, system.account("private"), "doveadm", "mail_plugins=basalt notify mail_log",
                       "plugin/mail_log_fields=uid box size")
    assert status == 0, text


def test_search_index_in_plaintext(system):
    settings = ["mail_plugins=basalt fts fts_squat", "plugin/fts=squat"]
    assert "fts = squat would keep the words of mails in plaintext" in refused(system, "imap", *settings)


def test_sieve_in_imap(system, needs_sieve):
    assert "imap_sieve" in refused(system, "imap", "mail_plugins=basalt imap_sieve")


@pytest.mark.parametrize("settings,told", [
    ([], "set plugin { sieve_user_log = /dev/null }"),
    ([f"plugin/sieve_user_log={DISK}/%u.log"], "set plugin { sieve_user_log = /dev/null }"),
    (["plugin/sieve_user_log=/dev/null", f"plugin/sieve_trace_dir={DISK}"], "sieve_trace_dir would hold text of mails"),
])
def test_sieve_logs(system, needs_sieve, settings, told):
    assert told in refused(system, "dovecot-lda", QUIET, "mail_plugins=basalt sieve", *settings)


@pytest.fixture
def needs_sieve():
    """Debian's dovecot-sieve: tools/deps extra."""
    if not systems.has_sieve():
        pytest.skip("dovecot-sieve is not installed")


def test_lmtp_spools_nothing_on_a_disk(system):
    """It would, of a mail above 64 KiB, before a recipient's mail user is made: it ends with the first recipient."""
    since, address = len(system.log("dovecot")), system.account("private").address
    for folder, accepted in (("/dev/shm", True), (DISK, False)):
        argv = [f"{LIB}/lmtp", "-c", system.env["DOVECOT_CONF"], "-o", f"mail_temp_dir={folder}"]
        talk = f"LHLO test.example\r\nMAIL FROM:<x@out.example>\r\nRCPT TO:<{address}>\r\nQUIT\r\n"
        p = subprocess.run(argv, input=talk.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", timeout=60)
        assert (b"250 2.1.5" in p.stdout) == accepted, (p.stdout, p.stderr)
    assert system.logged("dovecot", f"Fatal: basalt: mail_temp_dir = {DISK} is not on a tmpfs", since) or b"is not on a tmpfs" in p.stderr
