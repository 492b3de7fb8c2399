"""docs/INSTALL.md, followed to the letter on a host of its own: what its commands make works, and its checks say so."""
import re
import stat

import pytest

import followed
import keydserver
import smtpsink

STEPS = ("1. Packages, build, installation", "2. Users and folders", "3. Basalt's configuration, site key, start", "4. Dovecot",
         "5. Domain and account", "6. Postfix", "7. The first sealed mail")
SYSV = r"^(?:Synchronizing state of|Executing: /lib/systemd/).*\n"  # a real systemctl, of Debian's Postfix
INBOX = "/var/vmail/example.org/alice/mail/mailboxes/INBOX/dbox-Mails/u.1"


@pytest.fixture(scope="module")
def host():
    h = followed.host()
    try:
        h.said = follow(h)
        yield h
    finally:
        h.remove()


def logs(h):
    return "".join(f"--- {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in sorted(h.root.glob("var/log/*.log")))


def follow(h):
    """{chapter: what its blocks printed}; packages and build are left out: both are there."""
    said = {STEPS[0]: h.sh(followed.blocks(STEPS[0])[1])}
    h.stand_in()
    said[STEPS[1]] = h.step(STEPS[1])
    said[STEPS[2]] = h.start(followed.blocks(STEPS[2])[0])
    assert keydserver.wait_for(lambda: "milter" in h.sh("basaltctl status && echo good", check=False).rsplit("good", 1)[0]
                               and h.sh("basaltctl status >/dev/null && echo good", check=False) == "good\n", h.seconds), \
        logs(h) + h.sh("basaltctl status; echo $?", check=False)
    for heading in STEPS[3:6]:
        said[heading] = h.step(heading)
    first, on_disk, by_imap = followed.blocks(STEPS[6])
    h.sh(first)
    assert keydserver.wait_for(h.written(INBOX).exists, h.seconds), logs(h)
    said[STEPS[6]] = h.sh(on_disk) + h.sh(by_imap)
    return said


def test_each_step_ends_as_it_says(host):
    assert host.said[STEPS[0]].strip() != ""
    assert re.findall(r"basalt", host.said[STEPS[3]]) == ["basalt"] * 4, host.said[STEPS[3]]
    assert "/var/vmail/example.org/alice" in host.said[STEPS[4]]
    assert re.sub(SYSV, "", host.said[STEPS[5]], flags=re.M) == "1\n"
    assert "nothing readable" in host.said[STEPS[6]] and "Standing in cold water" in host.said[STEPS[6]]


def test_the_milter_has_the_trace_key_that_step_3_makes(host):
    assert 'authserv_id = "mail.example.org"' not in host.written("/etc/basalt/milter.conf").read_text()
    assert "trace_key_file" not in host.log("basalt-milter")


def test_step_3_stops_where_postfix_has_no_name(host):
    block = followed.blocks(STEPS[2])[0].split("basalt-keyd --make-site-key")[0]
    said = host.sh("postconf() { :; }\n" + block + "echo goes on", check=False)
    assert "Postfix has no main.cf" in said and "goes on" not in said


def test_no_placeholder_is_left_and_the_check_would_see_one(host):
    files = [host.written(f"/etc/postfix/{n}") for n in ("main.cf", "master.cf")]
    assert [f for f in files if re.search(r"@[A-Z_]+@", f.read_text())] == []
    check = next(line for line in followed.blocks(STEPS[5])[0].splitlines() if line.startswith("grep -n"))
    assert host.sh(check) == ""
    before = files[1].read_text()
    try:
        files[1].write_text(before.replace("regexp:/etc/postfix/header_checks", "regexp:@CONFIG@/header_checks"))
        assert "@CONFIG@" in host.sh(check)
    finally:
        files[1].write_text(before)


def test_a_bounce_leaves_without_our_headers(host):
    """To an address of ours that Postfix calls local, from outside; the notice goes to where mail leaves."""
    with smtpsink.LmtpSink(host.written("/run/outside")) as sink:
        host.sh("postconf -e default_transport=lmtp:unix:/run/outside && postfix reload 2>/dev/null")
        host.sh("printf 'Subject: out\\nX-Basalt-Note: ours\\n\\ntext\\n' | sendmail -f bob@example.net 'root@[127.0.0.1]'")
        assert keydserver.wait_for(lambda: sink.taken, host.seconds), logs(host)
        notice = sink.taken[0]
    assert (notice.sender, notice.recipients) == ("", ["bob@example.net"])
    assert b"Undelivered" in notice.data and b"Subject: out" in notice.data and b"X-Basalt" not in notice.data


def test_dovecots_lmtp_is_for_the_proxy_alone(host):
    at = host.written("/run/dovecot/lmtp").stat()
    assert (stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid) == (0o660, 0, host.gid("basalt-lmtp"))


def test_a_local_backup_finds_the_same_separator(host):
    assert host.sh("doveconf -h namespace/inbox/separator") == "/\n"
    host.sh("install -d -o vmail -g vmail -m 700 /var/tmp/copy")
    host.sh("doveadm backup -u alice@example.org maildir:/var/tmp/copy/alice")
    assert len(list(host.written("/var/tmp/copy/alice").rglob("cur/*"))) == 1


def test_all_users_by_the_loop_of_the_manual(host):
    """With the userdb of the example doveadm lists nobody; what the manual says instead exports everybody's mail."""
    host.sh("install -d -o vmail -m 700 /var/tmp/evidence")
    assert "User listing returned failure" in host.sh("doveadm basalt export-sealed -A -d /var/tmp/evidence all", check=False)
    page = (followed.DOCUMENT.parent / "man/doveadm-basalt.1").read_text()
    host.sh(re.search(r"^basaltctl account list .*?done$", page, re.M | re.S)[0])
    assert [f.name for f in host.written("/var/tmp/evidence/alice@example.org").rglob("*.*")] == ["1.sealed"]


def test_quota_status_is_where_the_milter_asks(host):
    """docs/POSTFIX.md, "Full mailboxes", as it stands there, makes doveconf warn of nothing."""
    text = (followed.DOCUMENT.parent / "POSTFIX.md").read_text()
    side = "".join(line[4:57].split("#")[0].rstrip() + "\n" for line in re.search(
        r"^    # dovecot\.conf.*?\n\n", text, re.M | re.S)[0].splitlines())
    host.written("/etc/dovecot/quota.conf").write_text(host.sh("doveconf -n") + side)
    said = host.sh("doveconf -c /etc/dovecot/quota.conf -n >/dev/null")
    assert said == ""


def test_a_damaged_mail_is_put_back_from_a_backup(host):
    """As the chapter "A damaged mail" says it for sdbox; no key is asked for anything."""
    bad, copy = INBOX, "/var/tmp/backup.u.1"
    host.sh(f"cp -p {bad} {copy} && printf XXXX | dd of={bad} bs=1 seek=400 conv=notrunc status=none")
    assert "good" not in host.sh(f"basaltctl scrub {bad} >/dev/null && echo good", check=False)
    command = re.search(r"`(install -o vmail [^`]*BAD)`", followed.DOCUMENT.read_text())[1]
    host.sh(command.replace("COPY", copy).replace("BAD", bad) + f" && basaltctl scrub {bad}")
    assert "Standing in cold water" in host.sh(followed.blocks(STEPS[6])[2])
