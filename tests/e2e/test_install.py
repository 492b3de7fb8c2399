"""`make install`: every file in its place, units, users, folders and examples that fit each other, daemons that start so."""
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess

import pytest

import installed
import keydserver
import systems

EXAMPLES = "usr/share/doc/basalt/examples/"
PLACED = {
    "usr/sbin/basalt-keyd": 0o755, "usr/sbin/basalt-milter": 0o755, "usr/sbin/basalt-lmtp": 0o755, "usr/bin/basaltctl": 0o755,
    "usr/bin/basalt-passwd": 0o755, "usr/share/man/man1/basalt-passwd.1": 0o644,
    "usr/lib/dovecot/modules/lib10_basalt_plugin.so": 0o644, "usr/lib/dovecot/modules/auth/libauthdb_basalt.so": 0o644,
    "usr/share/man/man8/basalt-keyd.8": 0o644, "usr/share/man/man8/basalt-milter.8": 0o644,
    "usr/share/man/man8/basalt-lmtp.8": 0o644,
    "usr/lib/dovecot/modules/doveadm/lib10_doveadm_basalt_plugin.so": 0o644,
    "usr/share/man/man1/basaltctl.1": 0o644, "usr/share/man/man1/doveadm-basalt.1": 0o644,
    **{f"usr/lib/systemd/system/basalt-{u}": 0o644 for u in ("keyd.service", "milter.service", "lmtp.service", "scrub.service", "scrub.timer",
                                                               "notify.service", "notify.timer")},
    "usr/lib/sysusers.d/basalt.conf": 0o644, "usr/lib/tmpfiles.d/basalt.conf": 0o644,
    **{EXAMPLES + n: 0o644 for n in ("keyd.conf", "milter.conf", "lmtp.conf", "basaltctl.conf", "dovecot.conf", "logrotate",
                                     "postfix/main.cf", "postfix/master.cf", "postfix/header_checks", "postfix/bounce_checks")},
}
SERVICES = ("basalt-keyd", "basalt-milter", "basalt-lmtp", "basalt-scrub", "basalt-notify")


@pytest.fixture(scope="module")
def host():
    i = installed.Installed()
    yield i.make_host()
    i.remove()


def service(host, name):
    return installed.unit(host.text(f"usr/lib/systemd/system/{name}.service"))


def value(text, key):
    """Of a libconfuse or Dovecot file."""
    return re.search(rf'^\s*{key} = "?([^"\n]*?)"?\s*(#.*)?$', text, re.M)[1]


def test_every_file_is_in_its_place(host):
    found = {n: stat.S_IMODE(f.stat().st_mode) for n, f in host.files.items()}
    documents = {n for n in found if n.startswith("usr/share/doc/basalt/") and not n.startswith(EXAMPLES)}
    assert {n: m for n, m in found.items() if n not in documents} == PLACED
    assert "usr/share/doc/basalt/THREATS.md" in documents


def test_uninstall_leaves_nothing():
    i = installed.Installed()
    try:
        subprocess.run(["make", "--no-print-directory", "uninstall", f"DESTDIR={i.root}"], cwd=installed.ROOT, check=True,
                       stdout=subprocess.DEVNULL, timeout=60)
        assert [f for f in i.root.rglob("*") if not f.is_dir()] == []
    finally:
        i.remove()


@pytest.mark.parametrize("name", SERVICES)
def test_units_name_what_is_there(host, name):
    keys = dict(service(host, name))
    assert keys["ExecStart"].split()[0][1:] in host.files
    assert keys.get("User", "basalt-milter") in host.names("u")
    folders = {r[1] for r in host.tmpfiles}
    assert set(keys.get("ReadWritePaths", "").split()) <= folders
    for path in re.findall(r"/etc/basalt/(\S+)", keys["ExecStart"]):
        assert host.example(path)


@pytest.mark.parametrize("name", SERVICES)
def test_units_run_nothing_that_a_small_debian_lacks(host, name):
    """Programs of ours, and the shell: /bin/kill is of procps, which a host need not have."""
    commands = [c for key, line in service(host, name) if key.startswith("Exec") for c in line.split(" ; ")]
    assert {c.split()[0] for c in commands} - {f"/{f}" for f in host.files} <= {"/bin/sh"}


@pytest.mark.parametrize("name", SERVICES)
def test_units_are_what_systemd_understands(host, name, tmp_path):
    """Where systemd is: it says so itself. Elsewhere every line is an assignment or a section, none twice."""
    text = host.text(f"usr/lib/systemd/system/{name}.service")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"\[(Unit|Service|Install)\]|[A-Z][A-Za-z]+=.*", line) for line in lines)
    keys = [k for k, _ in service(host, name)]
    assert len(keys) == len(set(keys))
    if shutil.which("systemd-analyze"):
        file = tmp_path / f"{name}.service"
        file.write_text(re.sub(r"^(Exec\w+=)(?=/usr/)", rf"\1{host.root}", text, flags=re.M))
        p = subprocess.run(["systemd-analyze", "verify", "--man=no", file], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60)
        assert (p.returncode, p.stdout.decode()) == (0, "")


def test_the_configurations_name_the_users_that_are_made(host):
    keyd, milter, lmtp, dovecot = (host.example(n) for n in ("keyd.conf", "milter.conf", "lmtp.conf", "dovecot.conf"))
    users = {value(keyd, f"{r}_user") for r in ("vault", "kdf", "keystore", "front")} | {value(milter, "user"), value(lmtp, "user")}
    assert len(users) == 6 and users | {"vmail"} == host.names("u")
    groups = {s: value(keyd, f"{s}_group") for s in ("auth", "mail", "delivery")}
    verdict = {dict(service(host, f"basalt-{d}"))["SupplementaryGroups"] for d in ("milter", "lmtp")}
    assert len(verdict) == 1 and set(groups.values()) | verdict == host.names("g") - host.names("u")
    access = dict(re.findall(r"protocol (\w+) \{\s+mail_access_groups = (\S+)", dovecot))
    assert access == {"imap": groups["mail"], "pop3": groups["mail"], "lmtp": groups["delivery"],
                      "doveadm": groups["delivery"]}
    assert value(dovecot, "extra_groups") == groups["auth"]


def test_systemd_makes_the_same_users_and_folders(host, tmp_path):
    """Where systemd is, its own tools read both files; our reading of them is what the other tests stand on."""
    kinds = {r[0] for r in host.sysusers} | {r[0] for r in host.tmpfiles}
    assert kinds == {"u", "g", "d"}
    if not shutil.which("systemd-sysusers"):
        return
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", tmp_path / "etc")
    for tool, file in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles --create", "tmpfiles.d")):
        p = subprocess.run([*tool.split(), f"--root={tmp_path}", host.files[f"usr/lib/{file}/basalt.conf"]],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert p.returncode == 0, p.stdout.decode()
    made = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    assert host.names("u") <= made
    for _, path, mode, *_ in host.tmpfiles:
        assert stat.S_IMODE((tmp_path / path[1:]).stat().st_mode) == int(mode, 8), path


@pytest.mark.parametrize("program,page", [("basalt-keyd", "man8/basalt-keyd.8"), ("basalt-milter", "man8/basalt-milter.8"),
                                          ("basalt-lmtp", "man8/basalt-lmtp.8"), ("basaltctl", "man1/basaltctl.1")])
def test_the_manual_names_every_key(host, program, page):
    """What --defaults prints stands in the page's chapter on the configuration."""
    defaults = host.run(f"/usr/{'bin' if program == 'basaltctl' else 'sbin'}/{program}", "--defaults")
    keys = set(re.findall(r"^\s+(\w+) =", defaults, re.M))
    chapter = re.search(r"^\.SH CONFIGURATION\n(.*?)(?=^\.SH )", host.text(f"usr/share/man/{page}"), re.M | re.S)[1]
    assert keys and keys - set(re.findall(r"\w+", chapter.replace("\\-", "-"))) == set()


def test_the_manuals_links_lead_somewhere(host):
    """Of what is installed: pages that are read by another name, figures of a document."""
    assert host.text("usr/share/man/man1/basalt-passwd.1") == ".so man1/basaltctl.1\n"
    documents = host.root / "usr/share/doc/basalt"
    for name in ("PERFORMANCE.md", "INSTALL.md"):
        links = re.findall(r"\]\((?!http)([^)#]+)", (documents / name).read_text())
        assert [link for link in links if link.startswith("plots") or "/" not in link if not (documents / link).exists()] == [], name


# --- the daemons, on the examples, as the units start them ---

def configure(host):
    for name in ("keyd.conf", "milter.conf", "lmtp.conf", "basaltctl.conf"):
        shutil.copy(host.root / EXAMPLES / name, host.root / "etc/basalt")
    if not (host.root / "etc/basalt/site.key").exists():
        host.run("/usr/sbin/basalt-keyd", "--make-site-key", "/etc/basalt/site.key")
    if not (host.root / "etc/basalt/verdict.keys").exists():
        host.run("/usr/bin/basaltctl", "verdict-key", "new", "/etc/basalt/verdict.keys")
    if not (host.root / "etc/basalt/trace.key").exists():
        host.run("/usr/bin/basaltctl", "trace-key", "new", "/etc/basalt/trace.key")
    host.run("sed", "-i", "s/# trace_key_file/trace_key_file/", "/etc/basalt/milter.conf")


def test_the_examples_pass_the_check(host):
    configure(host)
    assert "are good" in host.run("/usr/sbin/basalt-keyd", "--check-config")
    assert "no errors" in host.run("/usr/sbin/basalt-milter", "--check-config")
    assert "no errors" in host.run("/usr/sbin/basalt-lmtp", "--check-config")
    host.run("/usr/bin/basaltctl", "--check-config")


def test_a_milter_without_a_resolver_says_what_it_misses(host):
    configure(host)
    file = host.root / "etc/resolv.conf"
    kept = file.rename(file.with_suffix(".kept"))
    try:
        for argv, status in ((["--check-config"], 78), ([], 75)):
            p = subprocess.run(host.inside("/usr/sbin/basalt-milter", *argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            assert p.returncode == status and b"cannot read /etc/resolv.conf" in p.stdout, p
    finally:
        kept.rename(file)


def test_no_service_gives_up_for_good(host):
    """Five starts in ten seconds are systemd's patience, a database that comes up later than we do is no reason to lose it."""
    for name in ("basalt-keyd", "basalt-milter", "basalt-lmtp"):
        keys = dict(service(host, name))
        assert (keys["StartLimitIntervalSec"], keys["Restart"]) == ("0", "on-failure"), name


def notified(sock):
    sock.settimeout(30)
    return sock.recv(100)


def small(host):
    """The locked memory of few sessions fits where LimitMEMLOCK can't be had."""
    conf = host.root / "etc/basalt/keyd.conf"
    conf.write_text(re.sub(r"max = \d+", "max = 2000", conf.read_text()))


def mode_and_group(path):
    st = os.stat(path)
    return stat.S_IMODE(st.st_mode), st.st_gid


def reload_keyd(host, keyd, notify):
    """Within the rights of the unit. With a configuration that is wrong "systemctl reload" fails, and keyd hears nothing of it."""
    conf = host.root / "etc/basalt/keyd.conf"
    good = conf.read_text()
    conf.write_text(good + "\nnonsense")
    with pytest.raises(AssertionError, match="keyd.conf"):
        host.reload("basalt-keyd", keyd)
    conf.write_text(good)
    host.reload("basalt-keyd", keyd)
    assert notified(notify).startswith(b"RELOADING=1\n")
    assert notified(notify) == b"READY=1\nSTATUS=\n", host.log("basalt-keyd")
    assert "no session was ended" in host.log("basalt-keyd") and keyd.poll() is None
    host.run("/usr/bin/basaltctl", "status")


def test_the_daemons_start_with_the_users_and_rights_of_their_units(host):
    configure(host)
    small(host)
    host.run("/usr/bin/basaltctl", "db", "migrate")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(host.root / "run/notify"))
        keyd = host.start("basalt-keyd", NOTIFY_SOCKET="/run/notify")
        assert notified(notify) == b"READY=1\n", host.log("basalt-keyd")
        milter, lmtp = host.start("basalt-milter"), host.start("basalt-lmtp")
        run = host.root / "run"
        assert keydserver.wait_for((run / "basalt-milter/milter").exists), host.log("basalt-milter")
        assert keydserver.wait_for(lambda: mode_and_group(run / "basalt-milter/milter") == (0o660, host.gid("postfix")))
        assert mode_and_group(run / "basalt-milter/socketmap") == (0o660, host.gid("postfix"))
        assert mode_and_group(host.root / "etc/basalt/verdict.keys") == (0o640, host.gid("basalt-verdict"))
        assert mode_and_group(host.root / "etc/basalt/trace.key") == (0o640, host.gid("basalt-milter"))
        assert "trace_key_file is not set" not in host.log("basalt-milter")
        assert keydserver.wait_for(lambda: "serves on" in host.log("basalt-lmtp")), host.log("basalt-lmtp")
        assert mode_and_group(run / "basalt-lmtp/lmtp") == (0o660, host.gid("postfix"))
        for name in ("auth", "mail", "delivery"):
            assert mode_and_group(run / "basalt" / name) == (0o660, host.gid(f"basalt-{name}"))
        host.run("/usr/bin/basaltctl", "domain", "add", "example.org")
        host.run("/usr/bin/basaltctl", "account", "add", "alice@example.org", "--password-stdin", stdin="seven quiet herons\n")
        host.run("/usr/bin/basaltctl", "status")
        reload_keyd(host, keyd, notify)
        milter.kill()
        milter.wait(10)
        milter = host.start("basalt-milter")  # over the sockets that the other one left
        assert keydserver.wait_for(lambda: "serves on" in host.log("basalt-milter").split("basalt-milter ends")[-1])
        keydserver.wait_for(lambda: subprocess.run(host.inside("/usr/bin/basaltctl", "status"), stdout=subprocess.DEVNULL,
                                                   stderr=subprocess.DEVNULL).returncode == 0)
        host.run("/usr/bin/basaltctl", "status")
        keyd.terminate()
        milter.terminate()
        lmtp.terminate()
        assert (keyd.wait(20), milter.wait(20), lmtp.wait(20)) == (0, 0, 0), \
            "".join(host.log(f"basalt-{d}") for d in ("keyd", "milter", "lmtp"))
        assert b"STOPPING" in notified(notify)
    assert pathlib.Path(host.root / "var/lib/basalt/keys/keys.db").stat().st_uid == host.uid("basalt-keystore")
    assert pathlib.Path(host.root / "var/lib/basalt/policy/policy.db").stat().st_uid == host.uid("basalt-milter")


# --- make deps ---

@pytest.mark.parametrize("packages,off", [
    ("gcc dovecot-dev libmariadb-dev", []), ("dovecot-core dovecot-imapd postfix", ["postfix", "dovecot"]),
])
def test_deps_switches_off_only_servers_that_it_brought(packages, off):
    """dovecot-dev on a host with its own Dovecot is no reason to keep that from starting at the next boot."""
    script = 'source <(sed "/^main /d" tools/deps); systemctl() { :; }; disable_new "$1 "'
    p = subprocess.run(["bash", "-c", script, "bash", packages], cwd=installed.ROOT, stdout=subprocess.PIPE, timeout=60, check=True)
    assert re.findall(r"own (\w+) stays off", p.stdout.decode()) == off


def test_the_rule_for_panels(tmp_path):
    """KEYS.md's line for sudo lets a panel change a password, and nothing else as root: above all it can't choose a configuration."""
    rule, = re.findall(r"^(www-data ALL = .*)$", (systems.ROOT / "docs" / "KEYS.md").read_text(), re.M)
    command = tmp_path / "basalt-passwd"
    command.symlink_to(pathlib.Path(systems.BUILD) / "basaltctl")
    rules = tmp_path / "sudoers.d"
    rules.mkdir()
    (rules / "basalt-panel").write_text(rule.replace("/usr/bin/basalt-passwd", str(command)) + "\n")
    (rules / "basalt-panel").chmod(0o440)

    def may(*words):
        script = 'mount --bind "$0" /etc/sudoers.d && exec sudo -n -l -U www-data -- "$@"'  # in a name space of its own
        return subprocess.run(["unshare", "-m", "sh", "-c", script, rules, command, *words], capture_output=True).returncode == 0

    for words in ["you@example.org"], ["you@example.org", "pending"], ["you@example.org", "undo"], ["1x-y@example.org"]:
        assert may(*words), words
    for words in [], ["-c", "/tmp/x", "you@example.org"], ["you@example.org", "-c", "/tmp/x"], ["-c"], ["--help"], ["you@example.org", "pending", "x"], \
            ["you@example.org", "pending undo"], ["-c /tmp/x you@example.org"], ["you@example.org\n-c"], ["\n-c", "/tmp/x"]:
        assert not may(*words), words
