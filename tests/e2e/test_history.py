"""basaltctl history: what became of mail, found by keyed hashes; no address is in the database."""
import json
import subprocess

import pytest

import milter_box
import milter_client as mc


@pytest.fixture(scope="module", params=[milter_box.Sqlite, milter_box.Mariadb], ids=["sqlite", "mariadb"])
def box(request):
    b = milter_box.MilterBox(engine=request.param, cache_unknown_s=0)
    b.domain("example.org")
    b.account("alice@example.org")
    b.account("bob@example.org")
    b.account("off@example.org", enabled=False)
    b.alias("team@example.org", "alice+x@example.org", "bob@example.org")
    b.start()
    (b.dir / "ctl.conf").write_text(
        f'ctl {{\n database = "{b.db.url}"\n database_password_file = "{b.db.password_file}"\n milter_control = "{b.control}"\n'
        f' keyd = "/nowhere"\n trace_key_file = "{b.trace_key}"\n}}\n')
    yield b
    b.stop()


def ctl(box, *args):
    return subprocess.run([milter_box.BUILD / "basaltctl", "-c", box.dir / "ctl.conf", "history", *args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)


def history(box, account, *args):
    p = ctl(box, "--account", account, "--json", *args)
    assert p.returncode == 0, p.stderr
    return json.loads(p.stdout)


def send(box, queue_id, *rcpts):
    m = mc.Milter(box.socket)
    m.connect()
    m.helo()
    m.mail("<secret-sender@example.net>")
    for r in rcpts:
        m.rcpt(f"<{r}>", queue_id)
    m.header("Subject", " x")
    m.end(queue_id)
    m.quit()


def lines(box, account, queue_id):
    return milter_box.wait_for(lambda: [h for h in history(box, account) if h["queue_id"] == queue_id])


def test_each_account_s_own(box):
    send(box, "4AAA", "Team+y@example.org", "nobody@example.org")
    for account in ("alice@example.org", "BOB@example.org"):
        found = lines(box, account, "4AAA")
        assert [(h["outcome"], h["by"], h["reply"]) for h in found] == [("accept", "", "")]
    assert not [h for h in history(box, "nobody@example.org")]


def test_refusals_too(box):
    send(box, "4BBB", "off@example.org", "alice@example.org")
    off = milter_box.wait_for(lambda: history(box, "off@example.org"))
    assert [(h["outcome"], h["by"], h["reply"]) for h in off][:1] == [("reject", "recipient", "5.2.1")]


def test_no_address_is_kept(box):
    send(box, "4CCC", "alice@example.org")
    assert lines(box, "alice@example.org", "4CCC")
    if isinstance(box.db, milter_box.Sqlite):
        with box.db.open() as db:
            rows = db.execute("SELECT account, sender, outcome, decided_by, reply, queue_id FROM history").fetchall()
        assert rows
        for row in rows:
            text = b" ".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
            assert not any(word in text for word in (b"alice", b"bob", b"secret", b"example"))


def test_a_dry_run_leaves_none(box):
    mail = box.dir / "m.eml"
    mail.write_bytes(b"Subject: x\n\ny\n")
    send(box, "4DDD", "bob@example.org")
    assert lines(box, "bob@example.org", "4DDD")
    before = len(history(box, "bob@example.org"))
    subprocess.run([milter_box.BUILD / "basaltctl", "-c", box.dir / "ctl.conf", "explain", mail, "--rcpt", "bob@example.org"],
                   check=True, stdout=subprocess.DEVNULL, timeout=60)
    send(box, "4EEE", "bob@example.org")
    assert lines(box, "bob@example.org", "4EEE")
    assert len(history(box, "bob@example.org")) == before + 1


def test_for_people_and_wrong_use(box):
    send(box, "4FFF", "alice@example.org")
    assert lines(box, "alice@example.org", "4FFF")
    p = ctl(box, "--account", "alice@example.org", "--limit", "1")
    assert p.returncode == 0 and p.stdout.decode().count("\n") == 1 and b"4FFF" in p.stdout
    assert len(ctl(box).stdout.splitlines()) >= 3
    assert ctl(box, "--limit", "0").returncode == 2
    assert ctl(box, "--account", "no address").returncode == 2
    p = ctl(box, "--account", "nobody@example.org")
    assert (p.returncode, p.stdout) == (0, b"") and b"no account nobody@example.org" in p.stderr
    conf = box.dir / "ctl.conf"
    text = conf.read_text()
    conf.write_text("\n".join(ln for ln in text.splitlines() if "trace_key_file" not in ln) + "\n")
    try:
        p = ctl(box, "--account", "alice@example.org")
        assert p.returncode == 78 and b"ctl.trace_key_file" in p.stderr
    finally:
        conf.write_text(text)


def test_a_database_that_hangs_loses_history_and_no_mail(box):
    if not isinstance(box.db, milter_box.Mariadb):
        return
    send(box, "4GGG", "alice@example.org")
    box.db.freeze()
    try:
        send(box, "4HHH", "alice@example.org")  # known from before
        assert box.message(queue_id="4HHH")["outcome"] == "accepted"
    finally:
        box.db.thaw()
    send(box, "4III", "alice@example.org")
    milter_box.wait_for(lambda: [h for h in history(box, "alice@example.org") if h["queue_id"] == "4III"], 60)
