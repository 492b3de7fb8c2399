"""Limits and greylist: what an account wants of size, rates and strangers; one milter, and four on one database, SQLite and MariaDB."""
import concurrent.futures
import grp
import json
import os
import signal
import subprocess
import time

import pytest

import milter_box
import milter_client
import test_reputation


class Limits(test_reputation.Site):
    """A site whose greylist can be made older: nobody waits for days here."""

    def forget_some(self, seconds):
        """The ledger as if everything in it had happened so many seconds earlier."""
        self.box.db.run("UPDATE ledger SET since = since - ?, expires = expires - ?", seconds, seconds)

    def ledger(self):
        return self.status()["ledger"]


@pytest.fixture(scope="module", params=[milter_box.Sqlite, milter_box.Mariadb], ids=["sqlite", "mariadb"])
def site(request):
    s = Limits(request.param)
    yield s
    s.stop()


# --- size ---

def test_size_as_declared_and_as_it_comes(site):
    small, large = site.account(limits__size=2000), site.account(limits__size=100000)
    with site.client() as c:
        c.mail("a@pass.example", ["SIZE=2001"])
        assert c.rcpt(small)[0] == 552 and c.rcpt(large)[0] == 250
        c.rset()
        c.mail("a@pass.example", ["SIZE=2000"])
        code, text = c.rcpt(small)
        assert code == 250, text
        c.rset()
        c.mail("a@pass.example")
        assert c.rcpt(small)[0] == 250
        code, text = c.data(test_reputation.MAIL.replace(b"%s", b"big") + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 40)
        assert code == 552 and text.startswith(b"5.3.4 "), text
        c.mail("a@pass.example")
        assert c.rcpt(small)[0] == 250
        assert c.data(test_reputation.MAIL.replace(b"%s", b"fits"))[0] == 250


# --- rates ---

def test_rates_of_account_sender_and_network(site):
    to = site.account(limits__account=8, limits__sender=3, limits__client=5)
    ask = lambda sender, client: site.rcpt(to, sender, client)  # noqa: E731
    assert [ask("a@pass.example", "192.0.2.1")[0] for _ in range(4)] == [250] * 3 + [452]
    assert ask("A@Pass.Example", "192.0.9.1")[0] == 452, "the same sender from elsewhere"
    assert [ask(f"b{i}@pass.example", f"192.0.2.{i}")[0] for i in range(3)] == [250, 250, 452], "five of one /24"
    assert [ask(f"c{i}@pass.example", f"198.51.{i}.1")[0] for i in range(4)] == [250] * 3 + [452], "eight in all"
    code, text = ask("c9@pass.example", "198.51.9.1")
    assert code == 452 and text.startswith("4.7.1 ")
    found, _ = site.finding("limits", **{"from": "c9@pass.example"})
    assert found["reason"] == "account: more than 8 in an hour"
    site.forget_some(7200)
    assert ask("a@pass.example", "192.0.2.1")[0] == 250
    strangers = site.account(limits__sender=1)
    assert [site.rcpt(strangers, f"{n}@pass.example")[0] for n in ("12345", "67890", "b0b", "12345")] == [250] * 3 + [452]


def test_ipv6_counts_by_64(site):
    to = site.account(limits__client=1)
    assert site.rcpt(to, client="2001:db8:0:1::1")[0] == 250
    assert site.rcpt(to, client="2001:db8:0:1:ffff::2")[0] == 452
    assert site.rcpt(to, client="2001:db8:0:2::1")[0] == 250
    assert site.rcpt(to, client="127.0.0.1")[0] == 250 and site.rcpt(to, client="127.0.0.1")[0] == 250, "trusted"


def test_a_message_counts_once_for_an_account(site):
    to = site.account(limits__account=2)
    for _ in range(2):
        with site.client() as c:
            c.mail("a@pass.example")
            assert [c.rcpt(a)[0] for a in (to, to.replace("@", "+x@"), to)] == [250] * 3
            c.rset()
    assert site.rcpt(to)[0] == 452


def test_what_is_refused_before_is_not_counted(site):
    to = site.account(limits__account=1, spf="reject")
    for i in range(5):
        assert site.rcpt(to, "a@hard.example", client=f"192.0.2.{i + 1}")[0] == 550
    assert site.rcpt(to)[0] == 250


def test_a_login_sends_to_so_many_and_no_more(site):
    login, free, friend = site.account(limits__login=3), site.account(limits="off", limits__login=1), site.account(limits="off")
    noted = site.account(limits="header", limits__login=1)

    def send(who, n):
        with site.postfix.client(site.postfix.submission) as c:
            c.login(who, "anything")
            c.mail(who)
            return [c.rcpt(friend.replace("@", f"+{i}@"))[0] for i in range(n)]
    assert send(login, 5) == [250, 250, 250, 452, 452], "the sender's policy counts, not that of whom he writes to"
    assert send(login, 1) == [452]
    assert send(login.upper(), 1) == [452], "one account, however it is named"
    assert send(free, 4) == [250] * 4 and send(noted, 4) == [250] * 4
    for hit in ("label", "folder", "drop"):
        assert send(site.account(limits=hit, limits__login=2), 3) == [250, 250, 452], f"{hit} would bound nothing"


def test_explain_counts_nothing(site):
    to = site.account(limits__account=1, greylist="reject")
    for _ in range(3):
        line = b"From: a@pass.example\r\n\r\nhi\r\n"
        request = {"op": "explain", "from": "a@pass.example", "rcpt": [to], "client": "192.0.2.7", "client_name": "", "helo": "mx.pass.example",
                   "login": "", "at": 0, "size": len(line)}
        answer = milter_client.control(site.box.control, json.dumps(request).encode() + b"\n" + line)
        assert "limits" in json.dumps(answer), answer
    assert site.box.prefer(to, "greylist", "off") is None
    assert site.rcpt(to)[0] == 250 and site.rcpt(to)[0] == 452


# --- greylist ---

def test_greylist_first_again_and_later(site):
    to = site.account(greylist="reject", greylist__delay_s=300)
    ask = lambda **more: site.rcpt(to, "a@neutral.example", **more)  # noqa: E731
    code, text = ask()
    assert code == 451 and text.startswith("4.7.1 ") and "300 seconds" in text
    assert ask()[0] == 451
    site.forget_some(290)
    assert ask(client="192.0.2.200")[0] == 451
    site.forget_some(15)
    assert ask(client="192.0.2.201")[0] == 250, "another server of the same /24"
    assert ask(client="192.0.3.1")[0] == 451, "another network"
    assert site.rcpt(to, "b@neutral.example")[0] == 451, "another sender"
    site.forget_some(30 * 86400)
    assert ask()[0] == 250, "remembered"
    site.forget_some(37 * 86400)
    assert ask()[0] == 451, "and forgotten in the end"


def test_greylist_knows_senders_that_change_and_pools(site):
    to = site.account(greylist="reject", greylist__delay_s=300)
    assert site.rcpt(to, "bounce-123-abc@neutral.example")[0] == 451
    assert site.rcpt(to, "a@pass.example", client="192.0.2.7")[0] == 451
    site.forget_some(300)
    assert site.rcpt(to, "bounce-99-abc@neutral.example")[0] == 250
    assert site.rcpt(to, "a@pass.example", client="2001:db8:5::1")[0] == 250, "SPF passes: another server of its pool"


def test_greylist_trusts_who_came_often(site):
    to = site.account(greylist="reject", greylist__delay_s=60, greylist__passes=2)
    assert site.rcpt(to, "a@neutral.example", "192.0.8.1")[0] == 451
    site.forget_some(60)
    assert [site.rcpt(to, "a@neutral.example", "192.0.8.1")[0] for _ in range(2)] == [250, 250]
    assert site.rcpt(to, "new@neutral.example", "192.0.8.77")[0] == 250
    assert site.finding("greylist", **{"from": "new@neutral.example"})[0]["reason"] == "client known"
    other = site.account(greylist="reject")
    assert site.rcpt(other, "new@neutral.example", "192.0.8.77")[0] == 451, "each account for itself"


def test_no_address_is_stored(site):
    to = site.account(greylist="reject", limits__account=10, limits__sender=10, limits__client=10)
    site.rcpt(to, "canary-sender@neutral.example", "192.0.2.7")
    site.box.stop_milter()
    for file in (site.box.dir / "db").rglob("*"):
        if file.is_file() and file.stat().st_size < 1 << 28:
            assert b"canary-sender" not in file.read_bytes(), file
    site.box.start()


# --- a database that is gone ---

def test_a_database_that_hangs_is_skipped_or_defers_within_its_deadline(site):
    if isinstance(site.box.db, milter_box.Sqlite):
        return  # a file does not hang; the next one is about it
    skip = site.account(greylist="reject")
    site.box.stop_milter()
    site.box.settings["cache_s"] = 600  # who he is was asked before
    site.box.start()
    assert site.rcpt(skip, "a@neutral.example")[0] == 451
    site.box.db.freeze()
    try:
        began = time.monotonic()
        assert site.rcpt(skip, "b@neutral.example")[0] == 250, "greylist.down is skip"
        assert time.monotonic() - began < 10
        assert all(site.rcpt(skip, f"c{i}@neutral.example")[0] == 250 for i in range(10))
    finally:
        site.box.db.thaw()
    milter_box.wait_for(lambda: site.rcpt(skip, f"d{time.monotonic_ns()}x@neutral.example")[0] == 451, 30)
    site.box.stop_milter()
    site.box.settings["cache_s"] = 0
    site.box.start()


def test_a_locked_database_file(site):
    if not isinstance(site.box.db, milter_box.Sqlite):
        return
    skip, defer = (site.account(greylist="reject", greylist__down=d) for d in ("skip", "defer"))
    with site.box.db.open() as db:
        db.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        milter_box.wait_for(lambda: site.rcpt(skip, "b@neutral.example")[0] == 250)  # look-ups have their own deadline
        milter_box.wait_for(lambda: site.rcpt(defer, "b@neutral.example")[0] == 451)
        assert time.monotonic() - began < 40
        db.execute("ROLLBACK")
    milter_box.wait_for(lambda: site.rcpt(skip, "e@neutral.example")[0] == 451, 30)


# --- four milters ---

def neighbours(box, n):
    """n more milters on the same database and with the same key: (process, socket) of each."""
    out = []
    for i in range(n):
        run = box.dir / f"run{i}"
        run.mkdir(mode=0o755)
        names = {"socket": f"unix:{run}/milter", "socketmap": f"unix:{run}/socketmap", "control": f"{run}/control"}
        conf = box.dir / f"milter{i}.conf"
        lines = [f"  {k} = {v if isinstance(v, int) else json.dumps(v)}" for k, v in {**box.settings, **names}.items()]
        conf.write_text("milter {\n" + "\n".join(lines) + "\n}\n")
        log = (box.dir / f"milter{i}.log").open("wb")
        out.append((subprocess.Popen([milter_box.BUILD / "basalt-milter", "-c", conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL),
                    run / "milter"))
        milter_box.wait_for(lambda: milter_box.connects(run / "control"))
    return out


def asks(path, to, n, worker):
    """How n messages from this client were answered at RCPT: "+" or the code."""
    m = milter_client.Milter(path, timeout=120)
    m.connect(addr=f"192.0.2.{worker + 1}")
    m.helo("mx.pass.example")
    answers = []
    for i in range(n):
        m.mail(f"<w{worker}x{i}@neutral.example>")
        code, data = m.rcpt(f"<{to}>")
        answers.append("+" if code == milter_client.CONTINUE else data[:3].decode())
        m.abort()
    m.quit()
    return answers


def test_four_milters_forty_clients_exactly_the_limit(site):
    limit, each = 100, 5
    to = site.account(limits__account=limit, limits__down="defer")  # a busy machine's database may be too slow for some
    others = neighbours(site.box, 3)
    paths = [site.box.socket, *(path for _, path in others)]
    began = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            all_ = sum(pool.map(lambda w: asks(paths[w % 4], to, each, w), range(40)), [])
        took = time.monotonic() - began
        print(f"{len(all_)} questions in {took:.1f} s", site.ledger())
        assert all_.count("+") == limit and set(all_) <= {"+", "452", "451"}, all_
        assert all_.count("452") > 0
        # One more greylists, and another knows.
        grey = site.account(greylist="reject", greylist__delay_s=300)
        assert asks(paths[1], grey, 1, 1) == ["451"]
        site.forget_some(300)
        assert asks(paths[2], grey, 1, 1) == ["+"]
        # All at the same moment, all new: whoever writes first, everybody is asked to wait.
        grey = site.account(greylist="reject", greylist__delay_s=300, greylist__down="defer")
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            assert set(sum(pool.map(lambda w: asks(paths[w % 4], grey, 1, 200), range(40)), [])) == {"451"}
    finally:
        for proc, _ in others:
            os.kill(proc.pid, signal.SIGTERM)
            proc.wait(20)


def test_without_a_trace_key_they_cannot_be_asked():
    box = milter_box.MilterBox(trace_key_file="", cache_s=0)
    box.domain("example.org")
    box.account("a@example.org")
    box.prefer("a@example.org", "greylist", "reject")
    box.start()
    try:
        assert asks(box.socket, "a@example.org", 1, 1) == ["+"]
        for down in ("defer", "hit"):
            box.prefer("a@example.org", "greylist.down", down)
            assert asks(box.socket, "a@example.org", 1, 1) == ["451"]
        box.prefer("a@example.org", "greylist", "off")
        box.prefer("a@example.org", "limits.account", "1")
        for down, said in (("skip", "+"), ("defer", "451"), ("hit", "451")):
            box.prefer("a@example.org", "limits.down", down)
            assert asks(box.socket, "a@example.org", 1, 1) == [said]
        box.stop_milter()
        box.settings["trace_key_file"] = str(box.trace_key)
        box.trace_key.chmod(0o644)
        box.conf.write_text(box.conf.read_text().replace('trace_key_file = ""', f'trace_key_file = "{box.trace_key}"'))
        p = subprocess.run([milter_box.BUILD / "basalt-milter", "-c", box.conf], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=30)
        assert p.returncode != 0 and b"too open" in p.stderr, p.stderr
    finally:
        box.stop()


def test_a_trace_key_is_made_once(tmp_path):
    file = tmp_path / "trace.key"
    ctl = [milter_box.BUILD / "basaltctl", "trace-key", "new", file]
    assert subprocess.run(ctl, stdin=subprocess.DEVNULL).returncode == 0
    first = file.read_bytes()
    there = "basalt-milter" in {g.gr_name for g in grp.getgrall()}  # a host with Basalt: tests/e2e/test_install.py
    assert file.stat().st_mode & 0o777 == (0o640 if there else 0o600) and len(first) == 65
    p = subprocess.run(ctl, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert p.returncode != 0 and b"exists" in p.stderr and file.read_bytes() == first
