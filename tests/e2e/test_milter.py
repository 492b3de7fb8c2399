"""basalt-milter by its sockets alone: milter protocol, socketmap and control, without Postfix."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import milter_box
import milter_client as mc


@pytest.fixture(scope="module", params=["native", "libmilter"])
def box(request):
    b = milter_box.MilterBox(cache_unknown_s=0, transport=request.param)
    fill(b)
    yield b.start()
    b.stop()


def fill(b):
    b.domain("example.org")
    for name in ("alice", "bob", "carol"):
        b.account(f"{name}@example.org")
    b.account("off@example.org", enabled=False)
    b.alias("team@example.org", "alice@example.org", "bob@example.org")
    b.alias("all@example.org", "team@example.org", "carol@example.org", "out@elsewhere.example")
    b.alias("ring1@example.org", "ring2@example.org")
    b.alias("ring2@example.org", "ring1@example.org")
    b.alias("carol@example.org", "carol@example.org", "alice@example.org")
    b.alias("stale@example.org", "gone@example.org")
    b.alias("half@example.org", "gone@example.org", "bob@example.org")
    b.alias("asleep@example.org", "off@example.org")


@pytest.fixture
def m(box):
    c = mc.Milter(box.socket)
    c.connect()
    c.helo()
    yield c
    c.quit()


def reply(answer):
    code, data = answer
    return data.rstrip(b"\0").decode() if code == mc.REPLY else code.decode()


# --- negotiation ---

def test_stages_without_an_answer_cost_no_round_trip(box):
    c = mc.Milter(box.socket)
    assert c.steps & mc.NO_SEND["data"] and c.steps & mc.NO_SEND["eoh"]
    c.connect()
    c.helo()
    answers, (code, _, _) = c.message(["<alice@example.org>", "<bob@example.org>"])
    assert code == mc.CONTINUE
    assert c.waited == 2, "one for each recipient, and the end"
    c.quit()


def test_an_old_server_that_offers_no_shortcuts_is_served(box):
    c = mc.Milter(box.socket, steps=0x1FF)
    assert c.steps & ~0x1FF == 0
    c.connect()
    c.helo()
    answers, (code, _, changes) = c.message(["<alice@example.org>"])
    assert [a[0] for a in answers] == [mc.CONTINUE] and code == mc.CONTINUE
    c.quit()


# --- recipients ---

@pytest.mark.parametrize("address,expected", [
    ("<alice@example.org>", "c"),
    ("<ALICE@Example.ORG>", "c"),
    ("<alice+lists@example.org>", "c"),
    ("<team@example.org>", "c"),
    ("<team+x@example.org>", "c"),
    ("<carol@example.org>", "c"),
    ('<"alice"@example.org>', "c"),
    ('<"alice+x"@Example.org>', "c"),
    ("<@relay.example,@other.example:alice@example.org>", "c"),
    ("<nobody@example.org.>", "550 5.1.1 No such mailbox here"),
    ('<"nobody"@example.org>', "550 5.1.1 No such mailbox here"),
    ("<half@example.org>", "c"),
    ("<someone@elsewhere.example>", "c"),
    ("<postmaster>", "c"),
    ("<nobody@example.org>", "550 5.1.1 No such mailbox here"),
    ("<nobody+x@example.org>", "550 5.1.1 No such mailbox here"),
    ("<stale@example.org>", "550 5.1.1 No such mailbox here"),
    ('<"a b"@example.org>', "550 5.1.1 No such mailbox here"),
    ("<b\udcfcro@example.org>", "550 5.1.1 No such mailbox here"),
    ("<off@example.org>", "550 5.2.1 This mailbox is disabled"),
    ("<asleep@example.org>", "550 5.2.1 This mailbox is disabled"),
    ("<ring1@example.org>", "451 4.3.5 This address is misconfigured, try again later"),
    ("<" + "a" * 600 + "@example.org>", "501 5.1.3 Bad recipient address"),
])
def test_recipient(m, address, expected):
    m.mail()
    assert reply(m.rcpt(address)) == expected
    m.abort()


def test_a_recipient_that_postfix_refused_is_logged_and_not_looked_up(box, m):
    m.mail("<log-refused@example.net>")
    code, _ = m.rcpt("<alice@example.org>", refused="<alice@example.org>: Relay access denied")
    assert code == mc.CONTINUE
    m.abort()
    line = box.message(**{"from": "log-refused@example.net"})
    assert line["outcome"] == "rejected"
    assert line["rcpt"] == [{"to": "alice@example.org", "verdict": "reject", "by": "postfix", "reply": "5.1.1",
                             "reason": "<alice@example.org>: Relay access denied"}]


def test_too_many_recipients_are_deferred(m):
    m.mail()
    for i in range(1000):
        assert m.rcpt("<alice@example.org>")[0] == mc.CONTINUE
    assert reply(m.rcpt("<alice@example.org>")).startswith("452 4.5.3")
    m.abort()


# --- headers ---

def test_authentication_results_of_a_stranger(m):
    _, (code, _, changes) = m.message(["<alice@example.org>"])
    assert code == mc.CONTINUE
    assert [(n, name) for n, name, _ in mc.inserted(changes)] == [(0, "Authentication-Results")]
    assert mc.inserted(changes)[0][2].startswith(" mx.example.org;\n\tspf=")
    assert ";\n\tdkim=none" in mc.inserted(changes)[0][2]


def test_authentication_results_of_a_login(m):
    m.mail("<alice@example.org>", login='ali"ce@example.org', method="PLAIN")
    m.rcpt("<bob@example.org>", "4ABC")
    _, _, changes = m.end()
    assert mc.inserted(changes)[0][2] == ' mx.example.org;\n\tauth=pass (PLAIN) smtp.auth="ali\\"ce@example.org"'


FORGED = [
    (" mx.example.org; dkim=pass", True),
    ("mx.example.org; dkim=pass", True),
    (" MX.Example.ORG; dkim=pass", True),
    ("\n\tmx.example.org\n\t; dkim=pass", True),
    (" (a (nested) comment) mx.example.org (and one) 1 ; dkim=pass", True),
    (' "mx.example.org"; dkim=pass', True),
    (' "mx\\.example.org"; dkim=pass', True),
    (" mx.example.org.; dkim=pass", True),
    (" mx.example.org", True),
    ("", True),
    (" (never ends", True),
    (" mx.example.org extra words; dkim=pass", True),
    (" mx2.example.org; dkim=pass", False),
    (" example.org; dkim=pass", False),
    (" elsewhere.example 1; none", False),
]


def test_forged_results_go_from_the_last_to_the_first(m):
    headers = [("Authentication-Results" if i % 2 else "AUTHENTICATION-results", v) for i, (v, _) in enumerate(FORGED)]
    headers.insert(3, ("Subject", " mx.example.org; dkim=pass"))
    _, (code, _, changes) = m.message(["<alice@example.org>"], headers)
    expected = [i + 1 for i, (_, forged) in enumerate(FORGED) if forged]
    assert code == mc.CONTINUE
    assert [n for _, n in mc.deleted(changes)] == sorted(expected, reverse=True)
    assert {name.lower() for name, _ in mc.deleted(changes)} == {"authentication-results"}
    assert [k for k, _ in changes][-1] == "insert", "ours comes last, or it would be counted among the forged"


def test_headers_that_only_basalt_writes_are_removed(m):
    headers = [("X-Basalt-Verdict", " a"), ("x-basalt-verdict", " b"), ("X-Basalt-Other", " c"), ("X-Basal", " d")]
    _, (_, _, changes) = m.message(["<alice@example.org>"], headers)
    assert mc.deleted(changes) == [("X-Basalt-Other", 1), ("X-Basalt-Verdict", 2), ("X-Basalt-Verdict", 1)]


def test_too_many_forged_headers_are_refused(m):
    _, (code, data, changes) = m.message(["<alice@example.org>"], [("Authentication-Results", " mx.example.org; x")] * 501)
    assert reply((code, data)).startswith("554 5.6.0") and changes == []


# --- the log line ---

def test_log_line_of_a_message(box, m):
    m.mail("<log1@example.net>", "SIZE=1234", login="alice@example.org")
    m.rcpt("<nobody@example.org>")
    m.rcpt("<team+x@example.org>", "4XYZ")
    m.header("Message-ID", " <id@example.net>")
    m.header("Authentication-Results", " mx.example.org; forged")
    m.end("4XYZ")
    line = box.message(queue_id="4XYZ")
    bad, good = line.pop("rcpt")
    assert line.pop("ms") >= 0 and line.pop("header_bytes") > 20
    assert line == {"outcome": "accepted", "queue_id": "4XYZ", "client": "192.0.2.7", "client_name": "client.example.net",
                    "helo": "client.example.net", "auth": "alice@example.org", "from": "log1@example.net",
                    "message_id": "<id@example.net>", "size_declared": 1234, "headers_removed": 1}
    assert bad["checks"][0].pop("ms") >= 0 and good["checks"][0].pop("ms") >= 0
    assert bad == {"to": "nobody@example.org", "verdict": "reject", "by": "recipient", "reason": "unknown",
                   "reply": "5.1.1", "checks": [{"check": "recipient", "outcome": "hit", "reason": "unknown"}]}
    assert good == {"to": "team+x@example.org", "verdict": "accept", "final_count": 2,
                    "final": ["alice+x@example.org", "bob+x@example.org"],
                    "checks": [{"check": "recipient", "outcome": "clean", "reason": "alias"}]}


@pytest.mark.parametrize("how", ["abort", "next mail", "close"])
def test_a_transaction_that_ends_early_is_logged_once(box, how):
    sender = f"early-{how.replace(' ', '-')}@example.net"
    c = mc.Milter(box.socket)
    c.connect()
    c.helo()
    c.mail(f"<{sender}>")
    c.rcpt("<alice@example.org>", "4EARLY")
    if how == "abort":
        c.abort()
    elif how == "next mail":
        c.mail("<another@example.net>")
    c.s.close()
    assert box.message(**{"from": sender})["outcome"] == "aborted"
    time.sleep(0.2)
    assert len([x for x in box.messages() if x["from"] == sender]) == 1


def test_all_recipients_refused_is_no_abort(box, m):
    m.mail("<refused@example.net>")
    m.rcpt("<nobody@example.org>")
    m.abort()
    assert box.message(**{"from": "refused@example.net"})["outcome"] == "rejected"


def test_a_line_can_not_be_forged_or_broken(box, m):
    m.mail('<evil"\n}\x01\udcff@example.net>')
    m.rcpt("<alice@example.org>", "4EVIL")
    m.header("Message-ID", " x" * 5000)
    m.end("4EVIL")
    line = box.message(queue_id="4EVIL")
    assert line["from"] == 'evil"?}??@example.net' and len(line["message_id"]) == 254


def test_many_recipients_are_all_in_the_log(box, m):
    rcpts = [f"<alice+{'x' * 100}{i}@example.org>" for i in range(300)]
    _, (code, _, _) = m.message(rcpts, sender="<many@example.net>")
    assert code == mc.CONTINUE
    parts = milter_box.wait_for(lambda: [x for x in box.messages() if x["from"] == "many@example.net"])
    assert [p["part"] for p in parts] == [[i + 1, len(parts)] for i in range(len(parts))] and len(parts) > 1
    assert [r["to"] for p in parts for r in p["rcpt"]] == [r.strip("<>") for r in rcpts]


def test_the_longest_lines_are_whole(box):
    """Every string from outside as long as it gets once it is quoted: no line may be cut."""
    quotes = '"' * 300
    c = mc.Milter(box.socket)
    c.connect(quotes)
    c.helo(quotes)
    c.mail(f"<{quotes}@long.example>", login=quotes)
    for i in range(30):
        c.rcpt(f"<{quotes}{i}@elsewhere.example>", "4LONG")
        c.rcpt("<all@example.org>", "4LONG")
    c.header("Message-ID", quotes)
    c.end("4LONG")
    parts = milter_box.wait_for(lambda: [x for x in box.messages() if x.get("queue_id") == "4LONG"])
    assert sum(len(p["rcpt"]) for p in parts) == 60 and len(parts) == parts[0]["part"][1]
    assert all(len(ln) < 8100 for ln in box.log.read_text().splitlines())
    c.quit()


# --- socketmap ---

@pytest.fixture
def maps(box):
    c = mc.Socketmap(box.socketmap)
    yield c
    c.close()


@pytest.mark.parametrize("name,key,expected", [
    ("domains", "example.org", "OK 1"),
    ("domains", "EXAMPLE.org", "OK 1"),
    ("domains", "elsewhere.example", "NOTFOUND "),
    ("domains", "alice@example.org", "NOTFOUND "),
    ("domains", "", "NOTFOUND "),
    ("recipients", "alice@example.org", "OK 1"),
    ("recipients", "alice+x@example.org", "OK 1"),
    ("recipients", "off@example.org", "OK 1"),
    ("recipients", "nobody@example.org", "NOTFOUND "),
    ("recipients", "@example.org", "NOTFOUND "),
    ("recipients", "example.org", "NOTFOUND "),
    ("aliases", "alice@example.org", "NOTFOUND "),
    ("aliases", "team@example.org", "OK alice@example.org, bob@example.org"),
    ("aliases", "carol@example.org", "OK alice@example.org, carol@example.org"),
    ("aliases", "all@example.org",
     "OK alice@example.org, bob@example.org, carol@example.org, out@elsewhere.example"),
    ("aliases", "half@example.org", "OK bob@example.org, gone@example.org"),
    ("aliases", "stale@example.org", "NOTFOUND "),
    ("aliases", "ring1@example.org", "TEMP alias loop"),
    ("senders", "alice+x@example.org", "OK alice@example.org"),
    ("senders", "team@example.org", "OK alice@example.org, bob@example.org"),
    ("senders", "off@example.org", "NOTFOUND "),
    ("senders", "out@elsewhere.example", "NOTFOUND "),
    ("senders", "@example.org", "NOTFOUND "),
    ("nosuchmap", "alice@example.org", "PERM no such map"),
])
def test_socketmap(maps, name, key, expected):
    answer = maps.ask(name, key)
    if answer.startswith("OK ") and "," in answer:
        answer = "OK " + ", ".join(sorted(answer[3:].split(", ")))
    assert answer == expected


def test_socketmap_byte_by_byte(maps):
    for byte in b"28:recipients alice@example.org,":
        maps.send_raw(bytes([byte]))
    assert maps.answer() == "OK 1"


def test_socketmap_many_requests_at_once(maps):
    maps.send_raw(b"28:recipients alice@example.org," * 50 + b"26:recipients bob@example.org," * 50)
    assert [maps.answer() for _ in range(100)] == ["OK 1"] * 100


@pytest.mark.parametrize("garbage", [b"x", b"-1:", b"007:abc,", b"99999999999:", b"3:abcd", b"1001:", b":,", b"\0" * 4096])
def test_socketmap_garbage_closes(box, garbage):
    c = mc.Socketmap(box.socketmap, timeout=5)
    c.send_raw(garbage)
    with pytest.raises((mc.Closed, ConnectionResetError)):
        c.answer()
    box.alive()


def test_socketmap_without_a_space(maps):
    maps.send_raw(b"3:abc,")
    assert maps.answer() == "PERM malformed request"


def test_a_thousand_silent_clients_keep_nobody_out(box):
    silent = []
    for i in range(1100):
        silent.append(mc.Socketmap(box.socketmap))
        if i % 100 == 99:
            assert silent[-1].ask("domains", "example.org") == "OK 1"  # it has accepted as far as here
    c = mc.Socketmap(box.socketmap, timeout=5)
    assert c.ask("domains", "example.org") == "OK 1"
    for s in silent + [c]:
        s.close()


# --- control ---

def test_control_status(box):
    answer = mc.control(box.control, {"op": "status"})
    assert answer["ok"] and answer["program"] == "basalt-milter" and not answer["database"]["down"]
    before = answer["counters"]["map_requests"]
    c = mc.Socketmap(box.socketmap)
    c.ask("domains", "example.org")
    c.close()
    assert mc.control(box.control, {"op": "status"})["counters"]["map_requests"] == before + 1


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b'{"op":7}', b'{"op":"dance"}', b"\xff\xfe", b'{"op":"status","op":"x"}'])
def test_control_garbage(box, line):
    assert mc.control(box.control, line)["ok"] is False


def test_control_too_long_a_line_closes(box):
    with pytest.raises((mc.Closed, ConnectionResetError, BrokenPipeError)):
        mc.control(box.control, b"x" * 10000)


# --- the configuration ---

@pytest.mark.parametrize("key,value,says", [
    ("dns_servers", "foo", "must be system, root, none, or addresses"), ("dns_servers", "127.0.0.1@99999", "must be system"),
    ("dns_servers", "127.0.0.1@", "must be system"), ("log", "milter.log", "must be stderr, syslog or an absolute path"),
    ("verdict_keys", "/nonexistent/keys", "/nonexistent/keys: No such file"),
    ("trace_key_file", "/nonexistent/key", "/nonexistent/key: No such file")])
def test_what_the_check_says_is_what_the_start_says(tmp_path, key, value, says):
    """With 78, after which systemd does not start it again and again."""
    conf = tmp_path / "milter.conf"
    settings = {"authserv_id": "mx.example.org", "database": f"sqlite:{tmp_path}/db", "socket": f"unix:{tmp_path}/milter", "dns_servers": "none",
                "socketmap": f"unix:{tmp_path}/map", "control": f"{tmp_path}/control", "log": "stderr", "user": str(milter_box.MILTER_UID), key: value}
    conf.write_text("milter {\n" + "".join(f'  {k} = "{v}"\n' for k, v in settings.items()) + "}\n")
    for args in ["--check-config"], []:
        p = subprocess.run([milter_box.BUILD / "basalt-milter", "-c", conf, *args], capture_output=True, text=True, timeout=30, cwd=tmp_path)
        assert (p.returncode, says in p.stderr, p.stdout) == (78, True, ""), (args, p)


# --- the process ---

def resident_kib(box):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{box.worker()}/status").read())[1])


def test_nothing_grows(box):
    def some(n):
        for _ in range(n):
            c = mc.Milter(box.socket)
            c.connect()
            c.helo()
            for _ in range(5):
                c.message(["<all@example.org>", "<nobody@example.org>"], [("Authentication-Results", " mx.example.org")] * 20)
            c.mail()
            c.rcpt("<alice@example.org>")
            c.s.close()
            s = mc.Socketmap(box.socketmap)
            for key in ("all@example.org", "nobody@example.org", "alice@example.org"):
                s.ask("aliases", key)
            s.close()
        return resident_kib(box)

    before = some(100)
    assert some(300) - before < 1024
    sessions = milter_box.wait_for(lambda: mc.control(box.control, {"op": "status"})["counters"])["sessions_open"]
    assert sessions <= 2


def test_ids_and_sockets(box):
    status = open(f"/proc/{box.worker()}/status").read()
    uid = str(milter_box.MILTER_UID)
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status and f"Gid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status and "Groups:\t \n" in status
    assert os.stat(box.control).st_mode & 0o777 == 0o600
    assert os.stat(box.socket).st_mode & 0o777 == os.stat(box.socketmap).st_mode & 0o777 == 0o660


def test_a_second_one_on_the_same_sockets_does_not_start(box):
    p = subprocess.run([milter_box.BUILD / "basalt-milter", "-c", box.conf], stderr=subprocess.PIPE, timeout=10)
    assert p.returncode == 1 and b"another basalt-milter listens there" in p.stderr
    assert mc.control(box.control, {"op": "status"})["ok"]


@pytest.mark.parametrize("change,text", [
    ({"user": "root"}, "not root"), ({"user": "no-such-user"}, "existing user"), ({"socket": "/x"}, "unix:/PATH"),
    ({"socket": "inet:192.0.2.1:8891"}, "loopback"), ({"socket": "inet:127.0.0.1"}, "loopback"),
    ({"transport": "sendmail"}, "native or libmilter"), ({"sessions_max": 0}, "sessions_max"),
    ({"authserv_id": "a b"}, "host name"), ({"log_level": "loud"}, "debug, info"), ({"nonsense": "1"}, "nonsense"),
    ({"database_timeout_ms": 1}, "database_timeout_ms"), ({"database": "mariadb://host/db"}, "mariadb://USER@HOST"),
    ({"socketmap": "unix:run/map"}, "unix:/PATH"), ({"control": "run/control"}, "absolute path")])
def test_bad_configuration_is_said(box, tmp_path, change, text):
    values = {"database": "sqlite:/x", "authserv_id": "mx.example.org", **change}
    conf = tmp_path / "milter.conf"
    conf.write_text("milter {\n" + "".join(f'{k} = {v if isinstance(v, int) else chr(34) + v + chr(34)}\n'
                                           for k, v in values.items()) + "}\n")
    p = subprocess.run([milter_box.BUILD / "basalt-milter", "-c", conf, "--check-config"], stderr=subprocess.PIPE)
    assert p.returncode == 78 and text in p.stderr.decode()


@pytest.mark.parametrize("args,code", [(["--help"], 0), (["--version"], 0), (["--defaults"], 0), (["--nonsense"], 2),
                                       (["x"], 2), (["-c", "/nonexistent"], 78)])
def test_options(args, code):
    p = subprocess.run([milter_box.BUILD / "basalt-milter", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == code and (p.stdout or p.stderr)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it_and_it_starts_again(sig):
    b = milter_box.MilterBox().start()
    c = mc.Milter(b.socket)
    c.connect()
    b.proc.send_signal(sig)
    assert b.proc.wait(20) == 0
    b.start()
    assert mc.control(b.control, {"op": "status"})["ok"]
    b.stop()
