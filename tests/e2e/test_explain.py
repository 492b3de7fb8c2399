"""basaltctl explain: a message's way through the running milter, dry."""
import json
import subprocess

import pytest

import milter_box

MESSAGE = (b"From: a@example.net\r\nAuthentication-Results: mx.example.org;\r\n\tspf=pass\r\nSubject: hello\r\n"
           b"X-Basalt-Verdict: forged\r\nauthentication-results: other.example; none\r\n\r\nBody\r\n")


@pytest.fixture(scope="module")
def box():
    b = milter_box.MilterBox()
    b.domain("example.org")
    b.account("alice@example.org")
    b.account("bob@example.org")
    b.alias("team@example.org", "alice@example.org", "bob@example.org")
    b.start()
    (b.dir / "ctl.conf").write_text(f'ctl {{\n database = "{b.db.url}"\n milter_control = "{b.control}"\n keyd = "/nowhere"\n}}\n')
    yield b
    b.stop()


@pytest.fixture
def mail(box):
    file = box.dir / "mail.eml"
    file.write_bytes(MESSAGE)
    return file


def explain(box, *args, stdin=b""):
    p = subprocess.run([milter_box.BUILD / "basaltctl", "-c", box.dir / "ctl.conf", "explain", *map(str, args)],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=stdin, timeout=60)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def answer(box, *args):
    status, out, err = explain(box, *args, "--json")
    assert status == 0, err
    return json.loads(out)


def test_says_what_would_be_done(box, mail):
    a = answer(box, mail, "--from", "a@example.net", "--rcpt", "alice@example.org", "--rcpt", "nobody@example.org",
               "--rcpt", "team@example.org", "--client", "192.0.2.9", "--helo", "mx.example.net")
    assert a["outcome"] == "accepted" and a["client"] == "192.0.2.9" and a["helo"] == "mx.example.net"
    assert [(r["to"], r["verdict"], r["reply"] if "reply" in r else "") for r in a["rcpt"]] == [
        ("alice@example.org", "accept", ""), ("nobody@example.org", "reject", "5.1.1"), ("team@example.org", "accept", "")]
    gone = [(c["name"].lower(), c["index"]) for c in a["changes"] if c["what"] == "delete"]
    assert sorted(gone) == [("authentication-results", 1), ("x-basalt-verdict", 1)]
    assert any(c["what"] == "insert" and c["name"] == "Authentication-Results" for c in a["changes"])


def test_for_people(box, mail):
    status, out, err = explain(box, mail, "--rcpt", "nobody@example.org")
    assert (status, err) == (0, "")
    assert out.startswith("message: rejected") and "nobody@example.org: reject by recipient, because unknown, reply 5.1.1" in out


def test_a_recipient_who_is_the_account_has_one_line(box, mail):
    """An alias has one for itself and one for each account."""
    _, out, _ = explain(box, mail, "--rcpt", "alice@example.org", "--client", "192.0.2.9")
    assert out.count("alice@example.org: ") == 1 and "recipient" in out and "spf" in out
    _, out, _ = explain(box, mail, "--rcpt", "team@example.org", "--client", "192.0.2.9")
    assert [out.count(f"{name}@example.org: ") for name in ("team", "alice", "bob")] == [1, 1, 1]


def test_a_message_on_standard_input(box, mail):
    wanted = answer(box, mail, "--rcpt", "alice@example.org")["changes"]
    status, out, err = explain(box, "-", "--rcpt", "alice@example.org", "--json", stdin=mail.read_bytes())
    assert (status, err) == (0, "") and json.loads(out)["changes"] == wanted and len(wanted) == 3


def test_a_login_is_written_as_one(box, mail):
    a = answer(box, mail, "--from", "alice@example.org", "--rcpt", "bob@example.org", "--login", "alice@example.org")
    assert any("auth=pass" in c.get("value", "") for c in a["changes"])


def test_nothing_is_counted_or_logged(box, mail):
    def counters():
        out = subprocess.run([milter_box.BUILD / "basaltctl", "-c", box.dir / "ctl.conf", "status", "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60).stdout
        return json.loads(out)["milter"]["counters"]
    before, lines = counters(), len(box.messages())
    answer(box, mail, "--rcpt", "alice@example.org")
    assert counters() == before and len(box.messages()) == lines


def test_a_large_message_and_bare_line_feeds(box):
    file = box.dir / "large.eml"
    file.write_bytes(b"Subject: large\n\n" + b"x" * 70 * 1000 + b"\n" * 3_000_000)
    a = answer(box, file, "--rcpt", "alice@example.org")
    assert a["outcome"] == "accepted" and a["header_bytes"] == len("Subject: large\r\n")


@pytest.mark.parametrize("args,status,text", [
    (["--rcpt"], 2, "a value must follow --rcpt"),
    ([], 2, "--rcpt is missing"),
    (["--rcpt", "a@example.org", "--at", "yesterday"], 2, "seconds since 1970"),
    (["--rcpt", "a@example.org", "--client", "localhost"], 2, "--client takes an IP address"),
    (["--rcpt", "alice"], 2, "`alice` is no address"),
    (["--rcpt", ""], 2, "is no address"),
    (["--rcpt", "a@example.org", "--from", "not an address"], 2, "is no address"),
    (["--rcpt", "x" * 400 + "@example.org"], 75, "too long"),
    (["--rcpt", "a@example.org"] * 21, 2, "too often"),
])
def test_wrong_use_is_said(box, mail, args, status, text):
    got, out, err = explain(box, mail, *args)
    assert (got, out) == (status, "") and text in err and err.count("\n") == 1


def test_a_sealed_mail_is_none_that_arrives(box, tmp_path):
    sealed = milter_box.ROOT / "tests/data/frozen/bare-lf.sealed"
    boxed = tmp_path / "u.1"
    boxed.write_bytes(b"2 M1e C6a0b6d2e\n\1\2N                   0000000000000123\n" + sealed.read_bytes())
    for file in sealed, boxed:
        status, _, err = explain(box, file, "--rcpt", "alice@example.org")
        assert status == 1 and "is a sealed mail" in err


def test_no_such_file_and_no_milter(box, mail):
    status, _, err = explain(box, "/nowhere/mail", "--rcpt", "alice@example.org")
    assert status == 1 and "No such file" in err
    conf = box.dir / "other.conf"
    conf.write_text((box.dir / "ctl.conf").read_text().replace(str(box.control), "/nowhere/control"))
    p = subprocess.run([milter_box.BUILD / "basaltctl", "-c", conf, "explain", mail, "--rcpt", "alice@example.org"],
                       stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
    assert p.returncode == 75 and b"does basalt-milter run" in p.stderr


def test_many_at_a_time_are_turned_away_or_served(box, mail):
    argv = [milter_box.BUILD / "basaltctl", "-c", box.dir / "ctl.conf", "explain", mail, "--rcpt", "alice@example.org"]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(20)]
    ended = [(p.communicate(timeout=60), p.returncode) for p in running]
    assert {code for _, code in ended} <= {0, 75} and any(code == 0 for _, code in ended)
    assert all(b"too many dry runs" in err for (_, err), code in ended if code == 75)
