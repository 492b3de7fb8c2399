"""basalt-lmtp and signals."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

import milter_box

ROUNDS = 15


@pytest.fixture
def folder():
    """One that the proxy's user can reach, with its configuration."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="basalt-lmtp-"))
    folder.chmod(0o755)
    subprocess.run([milter_box.BUILD / "basaltctl", "verdict-key", "new", folder / "keys"], check=True, capture_output=True)
    os.chown(folder / "keys", milter_box.MILTER_UID, milter_box.MILTER_UID)
    settings = {"listen": f"inet:127.0.0.1:{milter_box.free_port()}", "backend": f"inet:127.0.0.1:{milter_box.free_port()}",
                "control": str(folder / "control"), "key_file": str(folder / "keys"), "name": "mail.example.org", "log": "stderr",
                "user": str(milter_box.MILTER_UID)}
    (folder / "lmtp.conf").write_text("lmtp {\n" + "".join(f'  {k} = "{v}"\n' for k, v in settings.items()) + "}\n")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_process_group(folder, number):
    """The worker hears the signal as well, and may be gone first: that is no crash."""
    for _ in range(ROUNDS):
        p = subprocess.Popen([milter_box.BUILD / "basalt-lmtp", "-c", folder / "lmtp.conf"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0)
        milter_box.wait_for(lambda: milter_box.connects(folder / "control"))
        os.killpg(p.pid, number)
        try:
            assert p.wait(10) == 0
        finally:
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
        assert b"another one starts" not in p.stderr.read()
