"""basaltctl convert, and what it may meet in a mail home or beside it: links and pipes, keys that change, others that look."""
import fcntl
import os
import shlex
import signal
import subprocess
import time

import pytest

import messages
import probes
import systems
from test_convert import LOSS, OLD, ONE, account_with_old_mail, all_sealed, convert, everything, everything_in_inbox, file_of, in_frame, rewritten, seal, start
from test_reseal import leftovers, secret


@pytest.fixture(scope="module")
def system(pool):
    return pool.get("sdbox", "sqlite", ["--quota"])


@pytest.fixture
def alice(system):
    return account_with_old_mail(system)


def raw(system, account):
    return {f: f.read_bytes() for f in system.mail_files(account)}


def test_all_passes_over_who_has_nothing(system, alice):
    """Who is expected and has no keys yet, and who has keys and no mail."""
    expected, empty = f"expected{time.monotonic_ns()}@{alice.domain}", system.account()
    system.ctl("account", "expect", expected)
    p = system.ctl("convert", "--all", *LOSS, check=False)
    assert p.returncode == 0, p.stderr
    assert not any(a.encode() in p.stdout + p.stderr for a in (expected, empty.address)) and all_sealed(system, alice)


def test_mail_crypts_mail_is_left(system, alice):
    """What another plugin encrypted would be a letter that nobody can read, sealed once more."""
    path = file_of(system, alice, alice.sent[1])
    data = in_frame(path, b"CRYPTED\x03\x07" + bytes(3000))
    rewritten(path, data)
    p = convert(system, alice, check=False)
    assert p.returncode == 1 and b"mail_crypt" in p.stderr and str(path).encode() in p.stderr
    assert path.read_bytes() == data and not leftovers(system, alice)


def test_a_link_in_the_place_of_a_home(system, alice):
    """It may lead to anybody's: nothing is followed, nothing is touched."""
    home = system.home(alice)
    before = raw(system, alice)
    real = home.rename(home.with_name(home.name + ".real"))
    home.symlink_to(real)
    p = convert(system, alice, check=False)
    home.unlink()
    real.rename(home)
    assert p.returncode == 1 and b"symbolic link" in p.stderr and raw(system, alice) == before


@pytest.mark.parametrize("owner", ["mail", "root"])
def test_a_link_on_the_way_to_a_home(system, alice, owner):
    """Made by who has the mail uid, or in a folder of his: another unix user's tree may lie behind it."""
    domain = system.home(alice).parent
    before = raw(system, alice)
    real = domain.rename(domain.with_name(domain.name + ".real"))
    try:
        domain.symlink_to(real)
        if owner == "mail":
            os.chown(domain, real.stat().st_uid, real.stat().st_gid, follow_symlinks=False)
        p = convert(system, alice, check=False)
    finally:
        domain.unlink()
        real.rename(domain)
    assert p.returncode == 1 and b"symbolic link" in p.stderr and raw(system, alice) == before


def test_roots_link_on_the_way_to_a_home(system, alice, tmp_path):
    """As where /var/vmail is one."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "vmail").symlink_to(system.home(alice).parent.parent)
    home = tmp_path / "vmail" / system.home(alice).parent.name / system.home(alice).name
    p = convert(system, alice, str(home), check=False)
    assert p.returncode == 0 and all_sealed(system, alice), p.stderr


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe"])
def test_a_pipe_in_the_place_of_a_record(system, alice, kind):
    """Nobody ever writes to it: the run must not wait for that."""
    record = system.home(alice) / "basalt" / "record"
    kept, owner = record.read_bytes(), record.stat()
    pipe = record if kind == "pipe" else record.with_name("pipe")
    record.unlink()
    os.mkfifo(pipe)
    os.chown(pipe, owner.st_uid, owner.st_gid)
    if pipe != record:
        record.symlink_to(pipe)
    assert start(system, alice).wait(30) == 0
    record.unlink()
    record.write_bytes(kept)
    os.chown(record, owner.st_uid, owner.st_gid)
    assert all_sealed(system, alice) and everything(system, alice)


def test_a_look_at_the_state_stops_nobody(system, alice):
    """`convert status` holds the lock for a moment."""
    fd = os.open(system.home(alice), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    run = start(system, alice)
    probes.wait_for(lambda: waits(run.pid))
    os.close(fd)
    assert run.wait(30) == 0 and all_sealed(system, alice)


def waits(pid):
    """Has it the home open, whose lock somebody else has?"""
    try:
        return any(os.path.isdir(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return False


def stopped_in_the_middle(system, account):
    """A run that has sealed some mails, and is stopped."""
    files = system.mail_files(account)
    before = {f: f.stat().st_ino for f in files}
    run = start(system, account)
    while all(f.stat().st_ino == before[f] for f in files[:: len(files) // 5]):
        assert run.poll() is None
    run.send_signal(signal.SIGSTOP)
    assert not all_sealed(system, account)
    return run


@pytest.mark.limit(180)
def test_keys_that_change_meanwhile(system):
    """Mail is not sealed for hours to a key that was given up: the run ends, the next one goes on with the new key."""
    bob = system.account("plain")
    with system.imap(bob) as mail:
        for _ in range(700):
            mail.append(messages.make(messages.text(300)))
    seal(system, bob)
    before = everything_in_inbox(system, bob)
    run = stopped_in_the_middle(system, bob)
    system.ctl("key", "rotate", bob.address, *ONE, stdin=secret(bob))
    time.sleep(2)  # so long an answer of keyd counts
    run.send_signal(signal.SIGCONT)
    assert run.wait(60) == 75 and not all_sealed(system, bob)
    assert convert(system, bob)["complete"] and all_sealed(system, bob)
    assert everything_in_inbox(system, bob) == before


def tampered(system, account, argv):
    """A byte of the file that is being written changes, as on a bad disk or by who has the mail uid, before it is read back."""
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(secret(account))
    p.stdin.close()
    while p.poll() is None:
        new = [f for f in leftovers(system, account) if f.stat().st_size > 2_000_000]
        if not new:
            continue
        systems.proc.freeze(p.pid)
        with open(new[0], "r+b") as f:
            f.seek(1_000_000)
            byte = f.read(1)
            f.seek(1_000_000)
            f.write(bytes([byte[0] ^ 1]))
        os.kill(p.pid, signal.SIGCONT)
        return p.wait(), p.stderr.read().decode()
    raise AssertionError("it ended before a file could be changed")


def test_what_was_written_is_compared_before_the_swap(pool):
    """A sealed file would not open; of the way back the comparison alone tells."""
    system = pool.get("sdbox", "sqlite")
    account = system.account()
    sent = probes.marked("large", 24_000_000, messages.noise)
    assert probes.lmtp(system, account, sent) == 250
    before = raw(system, account)
    seal(system, account, "plain")
    status, said = tampered(system, account, [*shlex.split(system.env["BASALTCTL"]), "convert", "undo", account.address, *ONE, "--full-speed", "--quiet"])
    assert status == 1 and "internal error" in said, said
    assert raw(system, account) == before and not leftovers(system, account)
    system.ctl("convert", "undo", account.address, *ONE, stdin=secret(account))
    with system.imap(account) as mail:
        mail.select()
        assert mail.part(1).endswith(sent[-1000:])
