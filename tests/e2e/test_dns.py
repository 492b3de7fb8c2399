"""The milter's resolver (milter/dns_unbound.h) against a real server: answers, cache, counters, a server that hangs or is
gone, and its return. build/tools/dns_ask is the resolver as a program."""
import collections
import os
import pathlib
import subprocess
import time

import pytest

import private_dns
import systems

TOOL = pathlib.Path(systems.BUILD) / "tools" / "dns_ask"
SLACK_MS = 20000  # a busy machine; a wait that must not happen is far longer
ZONE = r"""$ORIGIN example.org.
$TTL 300
@       IN SOA ns hostmaster 1 7200 3600 604800 60
        IN NS  ns
        IN TXT "v=spf1 " "-all"
        IN TXT "other"
        IN MX  20 mx2
        IN MX  10 mx1
ns      IN A   127.0.0.1
mx1     IN A   192.0.2.1
mx1     IN A   192.0.2.2
mx1     IN AAAA 2001:db8::1
mx2     IN CNAME mx1
loop    IN CNAME loop2
loop2   IN CNAME loop
null    IN MX  0 .
odd     IN PTR dotted\.label.example.org.
odd     IN PTR fine.example.org.
bytes   IN TXT "\000\255\" ;"
a%c:d/e IN A   192.0.2.7
*.many  IN A 192.0.2.8
long    IN TXT """ + " ".join(f'"{c * 250}"' for c in "abcdefghijklmnop") + r"""
brief   2 IN A 192.0.2.9
"""  # the last one: unbound takes the TTL over to the records below

Answer = collections.namedtuple("Answer", "status ms ttl records")
Stats = collections.namedtuple("Stats", "queries hits timeouts servfails refused pending cached")


class Resolver:
    def __init__(self, servers, pending_max=2000):
        self.process = subprocess.Popen([str(TOOL), servers, str(pending_max)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)

    def command(self, line):
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().split()

    def ask(self, kind, name, ms=20000):
        status, took, ttl, *records = self.command(f"ask {kind} {name} {ms}")
        return Answer(status, int(took), int(ttl), sorted(records))

    def many(self, n, kind, name, ms):
        """How many were found, had no name, had no data, failed; and how long all took, in ms."""
        return [int(x) for x in self.command(f"many {n} {kind} {name} {ms}")]

    def threads(self, n, kind, name, ms=60000):
        """The same, by 8 threads that ask n names each."""
        return [int(x) for x in self.command(f"threads {n} {kind} {name} {ms}")]

    def stats(self):
        return Stats(*(int(x) for x in self.command("stats")))

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0


@pytest.fixture(scope="module")
def server():
    with private_dns.Server(ZONE) as s:
        yield s


@pytest.fixture
def resolver(server):
    r = Resolver(f"127.0.0.1@{server.port}")
    yield r
    server.thaw()
    r.close()


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_every_type_and_every_kind_of_answer(resolver):
    ask = resolver.ask
    assert ask("A", "mx1.example.org").records == ["192.0.2.1", "192.0.2.2"]
    assert ask("AAAA", "mx1.example.org").records == ["2001:db8::1"]
    assert ask("A", "mx2.example.org").records == ["192.0.2.1", "192.0.2.2"], "a CNAME is followed"
    assert ask("MX", "example.org").records == ["10/mx1.example.org", "20/mx2.example.org"]
    assert ask("MX", "null.example.org").records == ["0/"]
    assert ask("TXT", "example.org").records == [b"other".hex(), b"v=spf1 -all".hex()], "strings are joined"
    assert ask("TXT", "bytes.example.org").records == [b'\0\xff" ;'.hex()]
    assert len(bytes.fromhex(ask("TXT", "long.example.org").records[0])) == 4000, "by TCP"
    assert ask("PTR", "odd.example.org").records == ["fine.example.org"], "what text can't say is left out"
    assert ask("A", "EXAMPLE.org").status == "no-data"
    assert ask("A", "nobody.example.org.").status == "no-name"
    assert ask("A", "loop.example.org").status in ("temporary", "no-data")
    for impossible in ("a..example.org", "x" * 64 + ".example.org", "." * 3, "x." * 127 + "org"):
        assert ask("A", impossible).status == "no-name"


def test_names_of_any_bytes_can_be_asked(resolver):
    assert resolver.ask("A", "a%c:d/e.example.org").records == ["192.0.2.7"]
    assert resolver.ask("A", "%;\\(\"@$.example.org").status == "no-name"
    assert resolver.ask("A", "x\\046y.many.example.org").records == ["192.0.2.8"]


def test_the_cache_answers_without_the_server(server, resolver):
    assert resolver.ask("A", "mx1.example.org").status == "found"
    assert resolver.ask("A", "nobody.example.org").status == "no-name"
    assert resolver.ask("AAAA", "ns.example.org").status == "no-data"
    server.freeze()
    assert resolver.ask("A", "MX1.example.org.").records == ["192.0.2.1", "192.0.2.2"]
    assert resolver.ask("A", "nobody.example.org").status == "no-name"
    assert resolver.ask("AAAA", "ns.example.org").status == "no-data"
    stats = resolver.stats()
    assert (stats.queries, stats.hits, stats.timeouts, stats.cached) == (6, 3, 0, 3)


def test_an_answer_is_forgotten_after_its_ttl(server, resolver):
    first = resolver.ask("A", "brief.example.org")
    assert first.records == ["192.0.2.9"] and 0 < first.ttl <= 2
    server.freeze()
    until(lambda: resolver.ask("A", "brief.example.org", 100).status == "temporary")


def test_a_hung_server_costs_the_deadline_and_is_forgiven(server, resolver):
    assert resolver.ask("A", "mx1.example.org").status == "found"
    server.freeze()
    assert resolver.ask("A", "first.many.example.org", 1).status == "temporary" and resolver.stats().timeouts == 1
    one = resolver.ask("A", "other.many.example.org", 300)
    assert one.status == "temporary" and 300 <= one.ms < 300 + SLACK_MS
    found, no_name, no_data, failed, ms = resolver.many(1000, "A", "hung.many.example.org", 400)
    assert (found, no_name, no_data, failed) == (0, 0, 0, 1000) and ms < 400 + SLACK_MS
    assert resolver.ask("A", "mx1.example.org", 200).status == "found", "what is remembered costs nothing"
    stats = resolver.stats()
    assert stats.timeouts + stats.servfails >= 1002
    server.thaw()
    until(lambda: resolver.ask("A", "back.many.example.org", 1000).status == "found")
    until(lambda: resolver.stats().pending == 0)


def test_queries_under_way_are_bounded(server):
    resolver = Resolver(f"127.0.0.1@{server.port}", 50)
    server.freeze()
    assert resolver.many(120, "A", "x.many.example.org", 200)[3] == 120
    stats = resolver.stats()
    assert stats.pending <= 50 and stats.refused > 0
    assert stats.refused + stats.timeouts + stats.servfails >= 120
    server.thaw()
    until(lambda: resolver.ask("A", "z.many.example.org", 1000).status == "found")
    resolver.close()


def test_a_server_that_is_gone_and_comes_back(server, resolver):
    server.kill()
    gone = resolver.ask("A", "gone.many.example.org", 500)
    assert gone.status == "temporary" and gone.ms < 500 + SLACK_MS
    server.start()
    until(lambda: resolver.ask("A", "again.many.example.org", 1000).status == "found")
    stats = resolver.stats()
    assert stats.servfails + stats.timeouts > 0


def test_many_at_a_time(resolver):
    assert resolver.many(1000, "A", "crowd.many.example.org", 60000)[:4] == [1000, 0, 0, 0]
    assert resolver.many(1000, "A", "crowd.many.example.org", 60000)[:4] == [1000, 0, 0, 0]
    assert resolver.stats().hits == 1000


def test_many_threads(server, resolver):
    assert resolver.threads(300, "A", "crew.many.example.org")[:4] == [8 * 300, 0, 0, 0]
    assert resolver.threads(300, "AAAA", "crew.many.example.org")[:4] == [0, 0, 8 * 300, 0]
    server.freeze()
    assert resolver.threads(300, "A", "crew.many.example.org")[:4] == [8 * 300, 0, 0, 0]
    assert resolver.threads(2, "A", "late.many.example.org", 300)[:4] == [0, 0, 0, 8 * 2]


def test_it_ends_with_queries_under_way(server):
    resolver = Resolver(f"127.0.0.1@{server.port}")
    server.freeze()
    resolver.many(100, "A", "end.many.example.org", 1)
    resolver.close()  # waits for a minute at most
    server.thaw()


@pytest.mark.parametrize("servers", ["", "nonsense", "192.0.2.1@x", "192.0.2.1 @", "a" * 300],
                         ids=["none", "word", "port", "blank", "long"])
def test_servers_that_are_none(servers):
    assert subprocess.run([str(TOOL), servers, "10"], stdin=subprocess.DEVNULL).returncode == 1
