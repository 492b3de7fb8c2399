"""DKIM and DMARC in basalt-milter behind a real Postfix, with keys and policies in a zone of an unbound of its own; messages are
signed by dkimpy. And the reports that come of it."""
import gzip
import json
import subprocess
import time
import xml.etree.ElementTree as ET

import dkim
import pytest

import milter_box
import systems
import test_dkim
from test_reputation import Site

SCHEMA = systems.ROOT / "tests" / "data" / "dmarc-rfc7489.xsd"
RUA = "rua=mailto:dmarc@{0}.example"
POLICIES = {
    "none": "p=none; " + RUA, "quarantine": "p=quarantine", "reject": "p=reject; " + RUA,
    "pct0": "p=reject; pct=0", "pct50": "p=reject; pct=50", "test": "p=reject; t=y", "strict": "p=reject; adkim=s; aspf=s", "subs": "p=none; sp=reject",
}


def zone(keys):
    """Each domain signs with the selector s and may send from 192.0.2.0/24; "nokey" has a policy and no key."""
    def txt(text):
        return " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200))
    lines = ["$ORIGIN example.", "$TTL 300", "@ IN SOA ns hostmaster 1 7200 3600 604800 60", "  IN NS ns", "ns IN A 127.0.0.1"]
    for name in (*POLICIES, "plain", "nokey"):
        lines.append(f'{name} IN TXT "v=spf1 ip4:192.0.2.0/24 -all"')
        lines.append(f"{name} IN A 192.0.2.1")
        if name != "nokey":
            lines.append(f"s._domainkey.{name} IN TXT {txt(keys.record['rsa'])}")
            lines.append(f"e._domainkey.{name} IN TXT {txt(keys.record['ed'])}")
        policy = "p=reject" if name == "nokey" else POLICIES.get(name)
        if policy:
            lines.append(f"_dmarc.{name} IN TXT {txt('v=DMARC1; ' + policy.format(name))}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def keys():
    return test_dkim.Keys()


@pytest.fixture(scope="module")
def site(keys):
    s = Site(zone=zone(keys))
    yield s
    s.stop()


COUNT = iter(range(10 ** 6))


def mail(name, author=None, keys=None, signer=None, selector=b"s"):
    """A message from author (or a@NAME.example), signed if keys are given; (tag, bytes)."""
    tag = f"{name}-{next(COUNT)}"
    author = author or f"a@{name}.example"
    data = (f"From: Somebody <{author}>\r\nTo: b@example.org\r\nSubject: {tag}\r\nDate: Sat, 1 Aug 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{tag}@{name}.example>\r\n\r\nHello {tag}\r\n").encode()
    if keys:
        algorithm = {b"s": b"rsa-sha256", b"e": b"ed25519-sha256"}[selector]
        data = dkim.sign(data, selector, (signer or f"{name}.example").encode(), keys.pem["ed" if selector == b"e" else "rsa"],
                         canonicalize=(b"relaxed", b"relaxed"), signature_algorithm=algorithm) + data
    return tag, data


def send(site, to, tagged, sender="a@plain.example", client="198.51.100.7"):
    """From a client that no SPF record knows, unless told otherwise."""
    tag, data = tagged
    return site.send(to, sender, client=client, helo="mx.plain.example", mail=data, tag=tag)


def results(site, tag):
    """Our Authentication-Results of a message that was delivered, unfolded."""
    head = site.postfix.sink.mail_with(f"Hello {tag}")[1].split(b"\r\n\r\n")[0].decode()
    unfolded = head.replace("\r\n\t", " ").replace("\r\n ", " ").split("\r\n")
    found = [h for h in unfolded if h.startswith("Authentication-Results: mx.example.org;")]
    assert len(found) == 1, unfolded
    return found[0]


def verdict(site, tag):
    line = site.box.message(message_id=f"<{tag}@{tag.rsplit('-', 1)[0]}.example>")
    account = line["rcpt"][0]["accounts"][0] if "accounts" in line["rcpt"][0] else line["rcpt"][0]
    checks = {c["check"]: c for c in line.get("checks", [])}
    return line, account, checks


# --- DKIM ---

@pytest.mark.parametrize("selector", [b"s", b"e"])
def test_a_signature_passes(site, keys, selector):
    to = site.account()
    tagged = mail("reject", keys=keys, selector=selector)
    assert send(site, to, tagged)[0] == 250
    found = results(site, tagged[0])
    assert "dkim=pass header.d=reject.example header.s=" + selector.decode() in found
    assert "dmarc=pass (p=reject) header.from=reject.example" in found


def test_what_a_trusted_host_relays_is_no_forgery(site):
    """Its address is not the author's; a backup MX would have to bounce what it took for us."""
    tagged = mail("nokey")
    assert send(site, site.account(), tagged, sender="a@nokey.example", client="127.0.0.9")[0] == 250
    assert "dmarc=" not in results(site, tagged[0]) and "dmarc" not in verdict(site, tagged[0])[2]
    assert send(site, site.account(), mail("nokey"), sender="a@nokey.example")[0] == 550


def test_a_changed_message_does_not(site, keys):
    tag, data = mail("none", keys=keys)
    assert send(site, site.account(), (tag, data.replace(b"Somebody", b"Nobody")))[0] == 250
    assert "dkim=fail (signature does not fit) header.d=none.example" in results(site, tag)
    assert verdict(site, tag)[2]["dkim"]["outcome"] == "hit"


@pytest.mark.parametrize("action, code", [("header", 250), ("reject", 550)])
def test_a_hit_does_what_is_preferred(site, keys, action, code):
    tag, data = mail("plain", keys=keys)
    answer = send(site, site.account(dkim=action), (tag, data.replace(b"Somebody", b"Nobody")))
    assert answer[0] == code, answer
    if code == 550:
        assert answer[1].startswith("5.7.20 ")


def test_a_key_that_is_not_there(site, keys):
    tagged = mail("nokey", keys=keys)
    assert send(site, site.account(dmarc="header"), tagged)[0] == 250
    assert "dkim=permerror (no key) header.d=nokey.example" in results(site, tagged[0])


def test_unsigned_mail(site):
    tagged = mail("plain")
    assert send(site, site.account(), tagged)[0] == 250
    found = results(site, tagged[0])
    assert "dkim=none" in found and "dmarc=none header.from=plain.example" in found


def test_switched_off_nothing_is_looked_at(site, keys):
    tagged = mail("reject", keys=keys)
    assert send(site, site.account(dkim="off", dmarc="off", spf="off"), tagged)[0] == 250
    assert "dkim" not in results(site, tagged[0]) and "dmarc" not in results(site, tagged[0])


# --- DMARC ---

@pytest.mark.parametrize("name, author, code, action", [
    ("reject", None, 550, "reject"), ("reject", "a@sub.reject.example", 550, "reject"),
    ("quarantine", None, 250, "folder"), ("none", None, 250, "accept"), ("pct0", None, 250, "folder"),
    ("test", None, 250, "folder"), ("subs", None, 250, "accept"), ("subs", "a@x.subs.example", 550, "reject"),
    ("plain", None, 250, "accept"),
])
def test_policies(site, name, author, code, action):
    tagged = mail(name, author)
    answer = send(site, site.account(unverified="folder"), tagged)
    assert answer[0] == code, answer
    if code == 550:
        assert answer[1].startswith("5.7.1 Rejected by the DMARC policy of " + (author or f"a@{name}.example").split("@")[1])
    line, account, checks = verdict(site, tagged[0])
    assert account["verdict"] == action, line
    assert checks["dmarc"]["outcome"] == ("hit" if action != "accept" else "clean")


def fnv(*texts):
    """What anybody can work out (FNV-1a)."""
    value = 14695981039346656037
    for c in "".join(texts).encode():
        value = (value ^ c) * 1099511628211 % 2 ** 64
    return value


def test_no_sender_can_choose_the_part_that_pct_spares(site):
    to, codes = site.account(), []
    while len(codes) < 24:
        tag, data = mail("pct50")
        if fnv(f"<{tag}@pct50.example>", "a@plain.example", "198.51.100.7") % 100 < 50:
            continue  # a place that an unkeyed hash puts into the other part
        codes.append(send(site, to, (tag, data))[0])
        assert send(site, to, (tag, data))[0] == codes[-1], "the same when it comes again"
    assert set(codes) == {250, 550}, codes


@pytest.mark.parametrize("preference, code, action", [("off", 250, "accept"), ("header", 250, "accept"), ("folder", 250, "folder"),
                                                      ("reject", 550, "reject")])
def test_the_preference_is_the_most_that_is_done(site, preference, code, action):
    tagged = mail("reject")
    assert send(site, site.account(dmarc=preference), tagged)[0] == code
    assert verdict(site, tagged[0])[1]["verdict"] == action


@pytest.mark.parametrize("sender, client, author, code", [
    ("a@reject.example", "192.0.2.7", "a@reject.example", 250),
    ("a@reject.example", "198.51.100.7", "a@reject.example", 550),
    ("a@plain.example", "192.0.2.7", "a@reject.example", 550),
    ("a@strict.example", "192.0.2.7", "a@strict.example", 250),
    ("a@strict.example", "192.0.2.7", "a@x.strict.example", 550),
])
def test_spf_vouches_where_it_is_aligned(site, sender, client, author, code):
    tagged = mail("reject", author)
    assert send(site, site.account(spf="header"), tagged, sender, client)[0] == code


@pytest.mark.parametrize("signer, author, code", [
    ("reject.example", "a@sub.reject.example", 250), ("plain.example", "a@reject.example", 550),
    ("strict.example", "a@x.strict.example", 550),
])
def test_a_signature_vouches_where_it_is_aligned(site, keys, signer, author, code):
    tagged = mail("reject", author, keys, signer)
    assert send(site, site.account(), tagged)[0] == code


@pytest.mark.parametrize("header", [
    b"From: a@plain.example\r\nFrom: b@reject.example\r\n", b"From: a@plain.example, b@reject.example\r\n",
    b"From: g: b@reject.example, a@plain.example;\r\n",
])
def test_of_several_authors_the_strictest_counts(site, header):
    tag, data = mail("plain")
    answer = send(site, site.account(), (tag, header + data.partition(b"\r\n")[2]))
    assert answer[0] == 550 and "reject.example" in answer[1]


@pytest.mark.parametrize("header", [b"From: a@[192.0.2.1]\r\n", b"From: a@b\xc3\xbccher.example\r\n",
                                    b"From: a@plain.example\r\nFrom: b@plain.example\r\n"])
def test_a_from_that_can_not_be_judged_goes_to_the_folder(site, header):
    tag, data = mail("plain")
    assert send(site, site.account(), (tag, header + data.partition(b"\r\n")[2]))[0] == 250
    line, account, _ = verdict(site, tag)
    assert account["verdict"] == "folder", line


# --- the DNS is gone ---

@pytest.mark.parametrize("down, code", [("skip", 250), ("defer", 451), ("hit", 250)])
def test_no_answer(keys, down, code):
    s = Site(zone=zone(keys))
    try:
        s.server.kill()
        to = s.account(**{"dkim__down": down, "dmarc__down": "skip", "dkim": "folder"})
        tagged = mail("reject", keys=keys)
        start = time.monotonic()
        answer = send(s, to, tagged)
        assert answer[0] == code and time.monotonic() - start < 40, answer
        line, account, checks = verdict(s, tagged[0])
        assert checks["dkim"]["outcome"] == "down" and checks["dmarc"]["outcome"] == "down"
        assert account["verdict"] == {"skip": "accept", "defer": "defer", "hit": "folder"}[down]
    finally:
        s.stop()


# --- reports ---

def ctl(site, *args, status=0):
    conf = site.box.dir / "basaltctl.conf"
    conf.write_text(f'ctl {{\n  database = "{site.box.db.url}"\n  database_password_file = "{site.box.db.password_file}"\n}}\n')
    p = subprocess.run([milter_box.BUILD / "basaltctl", "-c", conf, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert p.returncode == status, p.stderr
    return p.stdout if status == 0 else p.stderr


@pytest.mark.parametrize("engine", [milter_box.Sqlite, milter_box.Mariadb], ids=["sqlite", "mariadb"])
def test_reports(keys, tmp_path, engine):
    s = Site(engine, zone=zone(keys))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    try:
        to, gentle = s.account(), s.account(dmarc="header")
        for _ in range(3):
            assert send(s, to, mail("reject"))[0] == 550
        assert send(s, gentle, mail("reject"))[0] == 250
        assert send(s, to, mail("reject", keys=keys))[0] == 250
        assert send(s, to, mail("reject", "a@sub.reject.example"), "a@reject.example", "192.0.2.9")[0] == 250
        assert send(s, to, mail("none"), "")[0] == 250
        assert send(s, to, mail("plain"))[0] == 250

        def listed():
            return {r["domain"]: r for r in json.loads(ctl(s, "dmarc", "list", "--day", day, "--json"))}
        milter_box.wait_for(lambda: listed().get("none.example") and listed().get("reject.example", {}).get("messages") == 6)
        assert set(listed()) == {"none.example", "reject.example"}
        assert listed()["reject.example"] == {"day": day, "domain": "reject.example", "messages": 6, "passed": 2, "quarantined": 0,
                                              "rejected": 3, "rua": "mailto:dmarc@reject.example"}
        out = ctl(s, "dmarc", "report", "--day", day, "--org", "example.org", "--email", "postmaster@example.org", "--to", str(tmp_path))
        files = sorted(tmp_path.glob("*.xml.gz"))
        assert len(files) == 2 and all(str(f) in out for f in files)
        for f in files:
            parts = f.name.removesuffix(".xml.gz").split("!")
            assert parts[0] == "example.org" and parts[1] in ("none.example", "reject.example")
            assert int(parts[3]) - int(parts[2]) == 86399 and int(parts[2]) % 86400 == 0
            assert time.strftime("%Y-%m-%d", time.gmtime(int(parts[2]))) == day
            xml = tmp_path / "report.xml"
            xml.write_bytes(gzip.decompress(f.read_bytes()))
            subprocess.run(["xmllint", "--noout", "--schema", SCHEMA, xml], check=True, stderr=subprocess.PIPE)
        one = ctl(s, "dmarc", "report", "--day", day, "--domain", "reject.example", "--org", "example.org", "--email", "p@example.org")
        check_report(ET.fromstring(one))
        assert "user1@" not in one and "a@" not in one
        for wrong, status, says in ((("--day", "2026-02-31"), 2, "YYYY-MM-DD"), (("--to", str(tmp_path / "no")), 1, "make it first")):
            assert says in ctl(s, "dmarc", "report", "--org", "example.org", "--email", "p@example.org", *wrong, status=status)
        assert "is no address" in ctl(s, "dmarc", "report", "--org", "example.org", "--email", "nobody", status=2)
        assert "no DMARC results" in ctl(s, "dmarc", "report", "--day", "2001-01-01", "--org", "a.example", "--email", "p@a.example", status=1)
    finally:
        s.stop()


def test_made_up_authors_do_not_fill_the_database(keys):
    s = Site(zone=zone(keys), dmarc_report_rows=2)

    def counted():
        return sum(r["messages"] for r in json.loads(ctl(s, "dmarc", "list", "--json")))
    try:
        to, hosts = s.account(), iter(range(1, 100))
        for expected in (2, 4):
            for _ in range(3):
                assert send(s, to, mail("none", f"a@x{next(hosts)}.none.example"))[0] == 250
            if expected == 4:  # of those that are there each once more
                for host in (1, 2):
                    assert send(s, to, mail("none", f"a@x{host}.none.example"))[0] == 250
            milter_box.wait_for(lambda: counted() == expected)
            milter_box.wait_for(lambda: "there are 2 rows of this day" in s.box.log.read_text())
        assert s.box.log.read_text().count("rows of this day") == 1
    finally:
        s.stop()


def check_report(report):
    assert report.findtext("report_metadata/org_name") == "example.org"
    assert report.findtext("policy_published/domain") == "reject.example"
    assert report.findtext("policy_published/p") == "reject"
    rows = {}
    for r in report.iter("record"):
        key = (r.findtext("row/source_ip"), r.findtext("identifiers/header_from"), r.findtext("row/policy_evaluated/disposition"),
               r.findtext("row/policy_evaluated/dkim"), r.findtext("row/policy_evaluated/spf"))
        rows[key] = (int(r.findtext("row/count")), r.findtext("row/policy_evaluated/reason/type"),
                     [(d.findtext("domain"), d.findtext("result")) for d in r.iter("dkim") if len(d)],
                     r.findtext("auth_results/spf/domain"), r.findtext("auth_results/spf/result"))
    outside, inside = "198.51.100.7", "192.0.2.9"
    assert rows == {
        (outside, "reject.example", "reject", "fail", "fail"): (3, None, [], "plain.example", "fail"),
        (outside, "reject.example", "none", "fail", "fail"): (1, "local_policy", [], "plain.example", "fail"),
        (outside, "reject.example", "none", "pass", "fail"): (1, None, [("reject.example", "pass")], "plain.example", "fail"),
        (inside, "sub.reject.example", "none", "fail", "pass"): (1, None, [], "reject.example", "pass"),
    }


def test_a_database_that_is_gone_costs_no_mail(keys):
    s = Site(milter_box.Mariadb, zone=zone(keys), cache_s=600)
    try:
        to = s.account()
        assert send(s, to, mail("none"))[0] == 250
        milter_box.wait_for(lambda: json.loads(ctl(s, "dmarc", "list", "--json")))
        s.box.db.freeze()
        for _ in range(3):
            start = time.monotonic()
            assert send(s, to, mail("none"))[0] in (250, 451)
            assert time.monotonic() - start < 20
        milter_box.wait_for(lambda: "DMARC statistics: " in s.box.log.read_text(), 60)
        s.box.db.thaw()
    finally:
        s.stop()
