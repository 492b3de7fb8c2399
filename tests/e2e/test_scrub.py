"""basaltctl scrub of a whole store: it goes on where it was killed, stays behind everybody else, and holds little in memory.

What it finds in which file: test_ctl.py, test_damaged.py.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

import probes
import systems

CTL = pathlib.Path(systems.BUILD) / "basaltctl"
FROZEN = sorted((systems.ROOT / "tests" / "data" / "frozen").glob("*.sealed"))[0]


def scrub(*args, status=0):
    """The JSON report."""
    p = subprocess.run([CTL, "scrub", "--json", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=60)
    assert p.returncode == status, (p.returncode, p.stderr)
    return json.loads(p.stdout) if p.stdout else p.stderr.decode()


def facts(report):
    return {k: v for k, v in report.items() if k not in ("seconds",)}


@pytest.fixture
def store(tmp_path):
    """Folders three deep, with names that sort before and behind '/', 400 mails, every 50th damaged."""
    good = FROZEN.read_bytes()
    root = tmp_path / "store"
    for i in range(400):
        folder = root / f"d{i % 7}" / ("x", "x.y", "x!", "cur")[i % 4]
        folder.mkdir(parents=True, exist_ok=True)
        data = bytearray(good)
        data[len(good) // 2] ^= i % 50 == 0
        (folder / f"m{i}").write_bytes(data)
    return root


class Running:
    def __init__(self, *args):
        self.p = subprocess.Popen([CTL, "scrub", "--json", *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)

    def end(self, sig):
        self.p.send_signal(sig)
        out, err = self.p.communicate(timeout=30)
        return self.p.returncode, out, err.decode()


def place(state):
    """How many files are done by the state file's word."""
    return json.loads(state.read_text())["counts"]["files"] if state.exists() else 0


def test_goes_on_after_kill(store, tmp_path):
    """
    Killed again and again, at whatever place: the sum is that of one run. Whether a kill hits a running scrub is chance; that
    a state file of each place leads to the same report is not: the next test.
    """
    whole, state = scrub(store, status=1), tmp_path / "state"
    for _ in range(20):
        r = Running("--state", state, store)
        probes.wait_for(lambda: r.p.poll() is not None or state.exists(), step=0.001)
        if r.p.poll() is not None:
            out, _ = r.p.communicate()
            break
        r.end(signal.SIGKILL)
    else:
        out = json.dumps(scrub("--state", state, store, status=1))
    assert facts(json.loads(out)) == facts(whole) and not state.exists()


def sorted_files(root):
    """In the order of the walk: names by their bytes, a folder where its name stands."""
    found = []
    for name in sorted(os.listdir(root), key=os.fsencode):
        path = root / name
        found += sorted_files(path) if path.is_dir() else [path]
    return found


def state_at(store, files, path, **more):
    """A state as if those files were done."""
    counts = {"files": len(files), "bytes": sum(f.stat().st_size for f in files), "sealed": len(files), "not_encrypted": 0,
              "skipped_plaintext": 0, "damaged_count": 0, "in_use_count": 0, "error_count": 0}
    path.write_text(json.dumps({"version": 1, "paths": [os.fsencode(store).hex()], "root": 0, "seconds": 1.5, "counts": counts,
                                "damaged": [], "in_use": [], "errors": [],
                                **({"after": os.fsencode(files[-1]).hex()} if files else {}), **more}))


def test_goes_on_from_every_place(store, tmp_path):
    """Every file is read once: before the place or behind it. Also where the file of the place is gone."""
    files, state = sorted_files(store), tmp_path / "state"
    bad = {f for f in files if f.read_bytes() != FROZEN.read_bytes()}
    assert len(files) == 400 and len(bad) == 8
    for done in (0, 1, 57, 58, 199, 200, 399, 400):
        state_at(store, files[:done], state)
        report = scrub("--state", state, store, status=1 if bad & set(files[done:]) else 0)
        assert report["files"] == 400 and report["complete"]
        assert [d["path"] for d in report["damaged"]] == [str(f) for f in files[done:] if f in bad]
        assert not state.exists()
    state_at(store, files[:200], state)
    files[199].unlink()
    assert scrub("--state", state, store, status=1)["files"] == 400


def test_ended_by_a_signal(store, tmp_path):
    """SIGTERM at whatever place: the state is written, exit status 75; or it was done before."""
    state = tmp_path / "state"
    r = Running("--state", state, store)
    status, out, err = r.end(signal.SIGTERM)
    assert status in (75, 1, -signal.SIGTERM)
    if status == 75:
        assert "goes on" in err and json.loads(out)["complete"] is False
        assert place(state) == json.loads(out)["files"]
    report = scrub("--state", state, store, status=1)
    assert report["files"] == 400 and report["damaged_count"] == 8


@pytest.mark.parametrize("change, says", [
    (lambda s: s.write_text("{"), "name another file"), (lambda s: s.write_text("[1]"), "name another file"), (lambda s: s.write_text('{"version": 2}'), "remove it"),
    (lambda s: s.write_text(s.read_text().replace('"root": 0', '"root": 7')), "damaged"),
    (lambda s: s.write_text(re.sub('"paths": ..', '"paths": ["2f', s.read_text())), "other paths"),
], ids=["garbled", "foreign", "version", "root", "paths"])
def test_foreign_state_is_refused(store, tmp_path, change, says):
    state = tmp_path / "state"
    state_at(store, sorted_files(store)[:10], state)
    change(state)
    before = state.read_text()
    assert says in scrub("--state", state, store, status=1)
    assert state.read_text() == before


def test_state_that_cannot_be_written(store, tmp_path):
    """Said before hours of reading."""
    said = scrub("--state", tmp_path / "no" / "state", store, status=1)
    assert "No such file" in said and "files" not in said
    assert "name another file" in scrub("--state", tmp_path, store, status=1)


def ioprio_class(pid):
    """ioprio_get(2): 3 is idle; 0 is none of its own."""
    return ctypes.CDLL(None).syscall(252, 1, pid) >> 13


def is_open(pid, file):
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(fd) == str(file):
                return True
    return False


@pytest.mark.parametrize("args", [[], ["--full-speed"]], ids=["behind", "full-speed"])
def test_priority(tmp_path, args):
    """Behind everybody else, unless asked otherwise: looked at while it reads a file of many gigabytes of holes."""
    with open(tmp_path / "huge", "wb") as f:
        f.write(FROZEN.read_bytes()[:200])
        f.truncate(30 << 30)
        f.seek(-48, os.SEEK_END)
        f.write(FROZEN.read_bytes()[-48:])
    # a footer that fits, so that all of it is read
    with open(tmp_path / "huge", "r+b") as f:
        f.seek((30 << 30) - 48)
        f.write(((30 << 30) - 48 - 200).to_bytes(8, "big") + (200).to_bytes(4, "big"))
    r = Running(*args, tmp_path / "huge")
    try:
        probes.wait_for(lambda: is_open(r.p.pid, tmp_path / "huge"))
        ours = os.getpriority(os.PRIO_PROCESS, 0), ioprio_class(0)
        its = os.getpriority(os.PRIO_PROCESS, r.p.pid), ioprio_class(r.p.pid)
        assert its == (ours if args else (19, 3))
    finally:
        assert r.end(signal.SIGKILL)[0] == -signal.SIGKILL, "it was still reading"


def test_bounded_memory(tmp_path):
    """A folder of more names than one portion (16384) of it; all are seen, in little memory."""
    folder = tmp_path / "cur"
    folder.mkdir()
    for i in range(20_000):
        os.close(os.open(folder / f"{i:05d}-{'x' * 100}", os.O_CREAT | os.O_WRONLY))
    p = subprocess.run(["prlimit", f"--data={40 << 20}", CTL, "scrub", "--full-speed", "--json", folder],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
    report = json.loads(p.stdout)
    assert p.returncode == 1 and report["files"] == report["damaged_count"] == 20_000, "they are all empty"
    assert len(report["damaged"]) == 10_000 and report["damaged"][0]["reason"] == "it is empty"


def test_zeros_and_links(tmp_path):
    cur = tmp_path / "cur"
    cur.mkdir()
    (cur / "zeros").write_bytes(bytes(5000))
    (cur / "plain").write_bytes(b"Subject: x\n\ny\n")
    (tmp_path / "dovecot.index").write_bytes(bytes(100))
    (cur / "link").symlink_to("zeros")
    (tmp_path / "entry").symlink_to(cur)
    report = scrub(tmp_path, status=1)
    assert [(pathlib.Path(d["path"]).name, d["reason"]) for d in report["damaged"]] == [("zeros", "it begins with zeros")]
    assert report["files"] == 3 and report["skipped_plaintext"] == 3
    assert scrub(tmp_path / "entry")["files"] == 2, "a path itself may be a link"


def test_files_come_and_go(store):
    """While others add, remove and rename files, nothing is an error and nothing that stays is missed."""
    stays = set(sorted_files(store))
    good = FROZEN.read_bytes()
    r = Running(store)
    for i in range(300):
        f = store / f"d{i % 7}" / "cur" / f"new{i}"
        f.parent.mkdir(exist_ok=True)
        f.write_bytes(good)
        f.rename(f.with_name(f"renamed{i}"))
        f.with_name(f"renamed{i}").unlink()
    out, _ = r.p.communicate(timeout=60)
    report = json.loads(out)
    assert report["errors"] == [] and report["files"] >= len(stays)
