"""tests/sandbox itself: side by side, twice, after a crash, and nothing left over."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest

import clients
import messages
import proc
import systems

PLAIN = ["--plain"]


def run(*args):
    p = subprocess.run([systems.SANDBOX, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=120)
    return p.returncode, p.stdout.decode()


def entries(system):
    """pids of what runs, as the sandbox remembers them."""
    return proc.marked(system.dir)


def deliver(system):
    account = system.account(name="alice")
    system.send("x@out.example", [account.address], messages.make(b"hello\r\n"))
    system.settle()
    with system.imap(account) as mail:
        return mail.select()


def mounted(path):
    return os.path.ismount(path)


@pytest.mark.parametrize("args,says", [
    ([], "verb"), (["strat"], "'strat'"), (["start"], "dir"), (["start", "/nonexistent/x", "--db", "oracle"], "'oracle'"),
    (["stop", "x", "--nonsense"], "--nonsense")])
def test_wrong_usage_is_said_once(args, says):
    status, text = run(*args)
    assert status == 2 and text.count("usage: ") == 1 and text.count("brings up what is not running") == 0
    assert says in text.splitlines()[-1] and len(text.splitlines()) < 8


@pytest.mark.parametrize("mode,files", [(0o755, ["precious"]), (0o1777, []), (0o755, ["data"])])
def test_mariadb_leaves_foreign_folders_alone(tmp_path, mode, files):
    folder = tmp_path / "foreign"
    folder.mkdir()
    folder.chmod(mode)
    for name in files:
        (folder / name).write_text("x")
    p = subprocess.run([systems.ROOT / "tests/tools/mariadb", "start", folder], capture_output=True, timeout=60)
    assert p.returncode == 1 and b"choose a DIR of its own" in p.stderr and p.stdout == b""
    assert sorted(os.listdir(folder)) == files and folder.stat().st_uid == os.geteuid()
    assert folder.stat().st_mode & 0o7777 == mode


def test_two_side_by_side(own_system):
    a, b = own_system(*PLAIN), own_system(*PLAIN, storage="maildir")
    ports = [s.env[k] for s in (a, b) for k in s.env if k.endswith("_PORT")]
    assert len(ports) == len(set(ports)) == 10
    assert (deliver(a), deliver(b), deliver(b)) == (1, 1, 2)
    assert mounted(a.path("tmp-plain")) and mounted(b.path("tmp-plain"))


def test_second_start_changes_nothing(own_system):
    s = own_system(*PLAIN)
    before = {e["pid"] for e in entries(s)}
    status, text = run("start", s.dir)
    assert status == 0 and "already running" in text
    assert before <= {e["pid"] for e in entries(s)}
    assert run("status", s.dir)[0] == 0


def test_options_of_one_that_runs_are_refused_and_of_one_that_is_stopped_added(own_system):
    s = own_system(*PLAIN, "--set", "postfix.maximal_backoff_time=9s", "--set", "postfix.bounce_size_limit=1000")
    status, text = run("start", s.dir, "--storage", "mdbox", "--set", "postfix.bounce_size_limit=2000")
    assert status == 2 and "running with another --storage, --set" in text
    s.stop()
    assert run("start", s.dir, "--set", "postfix.bounce_size_limit=2000")[0] == 0
    conf = s.path("etc", "postfix", "main.cf").read_text()
    assert "maximal_backoff_time = 9s\n" in conf and "bounce_size_limit = 2000\n" in conf and "= 1000" not in conf


def test_a_zone_that_is_none_is_named_before_anything_is_made(tmp_path):
    where, zone = f"/tmp/{systems.PREFIX}{os.getpid()}-zone", tmp_path / "zone"
    zone.write_text("www IN A 192.0.2.1\n")
    for path, says in ((zone, "neither $ORIGIN nor SOA"), (tmp_path / "none", "No such file")):
        status, text = run("start", where, "--dns", path)
        assert (status, text.splitlines()[1:]) == (2, []) and f"--dns {path}: " in text and says in text
    assert not os.path.exists(where)


def test_stop_and_start_keeps_mail_and_leaves_nothing(own_system):
    s = own_system(*PLAIN)
    assert deliver(s) == 1
    s.stop()
    assert entries(s) == [] and not mounted(s.path("tmp-plain"))
    assert run("status", s.dir)[0] == 3
    assert run("stop", s.dir)[0] == 0
    s.start()
    assert deliver(s) == 2


def test_start_after_kill_9_of_everything(own_system):
    s = own_system(*PLAIN)
    assert deliver(s) == 1
    for e in entries(s):
        proc.signal_entry(e, signal.SIGKILL)
    assert proc.wait_gone(entries(s), 10)
    assert run("status", s.dir)[0] == 3
    s.start()
    assert deliver(s) == 2


def test_stop_after_masters_were_killed(own_system):
    """Orphans of a killed master hold ports and mail files: they end too."""
    s = own_system(*PLAIN)
    for command in ("dovecot", "master"):
        assert s.kill("dovecot", command) or s.kill("postfix", command)
    s.stop()
    assert entries(s) == [] and not mounted(s.path("tmp-plain"))


def test_one_part_stops_and_heals(own_system):
    s = own_system(*PLAIN)
    s.stop("dovecot")
    with pytest.raises(OSError):
        clients.Imap(s.port("imap"), "alice@example.org", "plain")
    assert s.pids("postfix", "master")
    s.start()
    assert deliver(s) == 1


def test_failed_start_says_why_and_leaves_nothing(tmp_path):
    s = systems.System(["--plain", "--set", "dovecot.no_such_setting=1"])
    with pytest.raises(AssertionError, match="no_such_setting"):
        s.start()
    assert entries(s) == [] and not mounted(s.path("tmp-plain"))
    s.remove()


def test_pid_of_somebody_else_is_never_hit():
    other = subprocess.Popen(["sleep", "60"])
    entry = proc.remember(other.pid)
    stale = {"pid": other.pid, "start": entry["start"] - 1}
    proc.end([stale], grace=0.1)
    assert proc.alive(entry) and not proc.alive(stale)
    other.kill()
    other.wait()


def test_taken_ports_are_given_up(own_system):
    """A stopped sandbox whose port somebody took comes up with others."""
    s = own_system(*PLAIN)
    port = s.port("imap")
    s.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        s.start()
        assert s.port("imap") != port
    assert deliver(s) == 1


def test_other_data_is_not_overwritten(own_system):
    s = own_system(*PLAIN)
    s.stop()
    status, text = run("start", s.dir, "--storage", "mdbox")
    assert status == 2 and "was made with storage = sdbox" in text


def test_closed_parent_and_long_path_are_refused():
    status, text = run("start", "/tmp/" + "x" * 70)
    assert status == 2 and "too long" in text
    closed = systems.tempfile.mkdtemp(prefix=systems.PREFIX)
    status, text = run("start", closed + "/in", "--plain")
    assert status == 2 and "can't be entered" in text
    systems.shutil.rmtree(closed)


def test_foreign_directories_are_left_alone():
    """Neither modes nor files change in what is not ours: full, or open to others as /tmp is."""
    for name, mode in (("letters", 0o755), ("letters", 0o1777), (None, 0o1777), (None, 0o777)):
        foreign = pathlib.Path(systems.tempfile.mkdtemp(prefix=systems.PREFIX))
        if name:
            (foreign / name).mkdir(mode=0o700)
        foreign.chmod(mode)
        before = sorted(foreign.rglob("*"))
        status, text = run("start", foreign, "--plain")
        assert status == 2 and "choose a DIR of its own" in text
        assert run("stop", foreign)[0] == 0
        assert foreign.stat().st_mode & 0o7777 == mode and sorted(foreign.rglob("*")) == before
        systems.shutil.rmtree(foreign)
    status, text = run("start", __file__, "--plain")
    assert status == 2 and "is no directory" in text


def test_dns_answers_from_the_zone(own_system, tmp_path):
    zone = tmp_path / "zone"
    zone.write_text("$ORIGIN example.com.\n$TTL 60\n@ SOA ns hostmaster 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n"
                    "spf TXT \"v=spf1 -all\"\n")
    s = own_system(*PLAIN, dns=zone)
    query = bytes.fromhex("1234010000010000000000000373706607") + b"example\x03com\x00\x00\x10\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(5)
        u.sendto(query, ("127.0.0.1", s.port("dns")))
        assert b"v=spf1 -all" in u.recv(512)


def test_settings_reach_dovecot_and_postfix(own_system):
    s = own_system(*PLAIN, "--set", "dovecot.plugin/my_key=my value", "--set", "postfix.myhostname=other.example")
    assert "my_key = my value" in s.doveadm("config", "plugin")[1] or "my value" in subprocess.run(
        ["doveconf", "-c", s.env["DOVECOT_CONF"], "plugin/my_key"], capture_output=True, text=True).stdout
    with clients.smtp(s.port("smtp")) as c:
        assert b"other.example" in c.ehlo()[1]


def groups(pid):
    """Supplementary groups and ids of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    ids = {k: v.split() for k, v in (line.split(":", 1) for line in status.splitlines())}
    return {int(g) for g in ids["Groups"]}, int(ids["Uid"][1])


def test_imap_and_lmtp_reach_one_socket_of_keyd_each(system):
    """imap is in the group of keyd's mail socket, not in that of delivery; both run as the mail user."""
    run = system.path("run", "keyd")
    gids = {name: (run / name).stat().st_gid for name in ("mail", "delivery", "control", "auth")}
    assert len(set(gids.values())) == 4
    assert all((run / name).stat().st_mode & 0o777 == 0o660 for name in gids)
    with system.imap(system.account("private")):
        found, uid = groups(system.pids("dovecot", "imap")[0])
    assert gids["mail"] in found and not found & {gids["delivery"], gids["control"], gids["auth"]} and uid == 62000


def test_unknown_section_of_a_setting_is_refused():
    status, text = run("start", f"/tmp/{systems.PREFIX}{os.getpid()}-none", "--set", "keys.max=1")
    assert status == 2 and "no section keys" in text and not os.path.exists(f"/tmp/{systems.PREFIX}{os.getpid()}-none")
