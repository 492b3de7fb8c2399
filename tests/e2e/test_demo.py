"""`make demo`: what it prints is so, a second run keeps what is there, and it stops."""
import os
import subprocess
import tempfile
import time

import systems

DEMO = systems.ROOT / "tests" / "demo"


def demo(where, verb, *args):
    p = subprocess.run([DEMO, verb, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env={**os.environ, "BASALT_DEMO_DIR": where}, timeout=100)
    return p.returncode, p.stdout.decode()


def test_twice_and_stop():
    where = tempfile.mkdtemp(prefix=f"{systems.PREFIX}{os.getpid()}-", dir="/tmp")
    os.rmdir(where)
    try:
        status, text = demo(where, "start")
        assert status == 0, text
        assert "14 real messages" in text and "The keel is sound" in text and "AUTHENTICATIONFAILED" in text
        assert "alice: 0 of" in text and "Thunderbird" in text and "make demo-stop" in text
        for password in ("seven quiet herons", "a plain old password"):
            assert password in text
        running = systems.proc.marked(where)
        began = time.monotonic()
        status, text = demo(where, "start")
        assert status == 0 and "sent by an earlier run" in text and time.monotonic() - began < 20
        assert {e["pid"] for e in running if systems.proc.alive(e)} & {e["pid"] for e in systems.proc.marked(where)}
        assert demo(where, "send", "one more")[0] == 0
        status, text = demo(where, "stop")
        assert status == 0 and systems.proc.marked(where) == [] and not os.path.ismount(where + "/tmp-plain")
        status, text = demo(where, "start")
        assert status == 0 and "what was there before" in text
    finally:
        demo(where, "stop")
        systems.shutil.rmtree(where, ignore_errors=True)


def test_foreign_directory_is_refused(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/etc")
    status, text = demo(str(link), "start")
    assert status == 1 and "belongs to somebody else" in text
