"""The SPF engines (milter/spf.h): the suite of RFC 7208, records as they are published, and where libspf2 says something
else (docs/SPF.md). tests/spf-suite is the driver; a zone in memory takes the DNS's place."""
import importlib.machinery
import importlib.util
import os
import re
import subprocess

import pytest

import systems

SHARED = [d / "shared" / "data" / "spf" for d in (systems.ROOT.parent, systems.ROOT.parent.parent)]
SUITE = systems.ROOT / "tests" / "spf-suite"
REALLIFE = systems.ROOT / "tests" / "data" / "spf" / "reallife.yml"
MANUAL = systems.ROOT / "docs" / "SPF.md"


@pytest.fixture(scope="module")
def suite():
    """tests/spf-suite as a module, with the programs under test."""
    os.environ.setdefault("BASALT_BUILD", systems.BUILD)
    loader = importlib.machinery.SourceFileLoader("spf_suite", str(SUITE))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("spf_suite", loader))
    loader.exec_module(module)
    return module


def shared(name):
    for folder in SHARED:
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"shared data absent: {SHARED[0] / name}")


@pytest.mark.parametrize("name, count", [("rfc7208-tests.yml", 203), ("rfc4408-tests.yml", 191)])
def test_all_of_the_suite(name, count):
    env = {**os.environ, "BASALT_BUILD": str(systems.BUILD)}
    p = subprocess.run([SUITE, shared(name)], stdout=subprocess.PIPE, text=True, env=env)
    assert p.stdout == f"{count} of {count}\n" and p.returncode == 0


def test_the_manual_names_every_case_that_libspf2_gets_wrong(suite):
    """Neither more nor fewer: a new libspf2 shows here."""
    results = suite.run(shared("rfc7208-tests.yml"), "libspf2")
    wrong = {r["name"] for r in results if not r["passed"]}
    table = MANUAL.read_text().split("<!-- suite -->")[1]
    documented = set(re.findall(r"`([a-z0-9-]+)`", table))
    assert wrong == documented
    assert f"{len(results) - len(wrong)} of {len(results)}" in MANUAL.read_text()


def test_the_driver_tells_what_failed(tmp_path):
    """A case that expects nonsense: named, counted, exit status 1."""
    (tmp_path / "two.yml").write_text("""description: two
tests:
  right: {helo: h.example, host: 192.0.2.1, mailfrom: a@x.example, result: fail, explanation: DEFAULT}
  wrong: {helo: h.example, host: 192.0.2.1, mailfrom: a@x.example, result: pass}
zonedata:
  x.example: [{SPF: v=spf1 -all}]
""")
    env = {**os.environ, "BASALT_BUILD": str(systems.BUILD)}
    p = subprocess.run([SUITE, tmp_path / "two.yml"], stdout=subprocess.PIPE, text=True, env=env)
    assert p.stdout.splitlines()[-1] == "1 of 2" and p.returncode == 1
    assert p.stdout.startswith("two: wrong: fail ") and "expected pass" in p.stdout


def expected(result, client):
    return result if isinstance(result, str) else result.get(client, result["else"])


def reallife(suite):
    """(sender domain, entry, {client: case}) and the zone of the file, in the suite's form."""
    with open(REALLIFE, encoding="utf-8") as f:
        data = suite.load_yaml().load(f, Loader=suite.load_yaml().BaseLoader)
    tests = {f"{domain} {client}": {"helo": "helo.example", "host": address, "result": "pass",
                                    "mailfrom": f"{entry.get('local', 'someone')}@{domain}"}
             for domain, entry in data["senders"].items() for client, address in data["clients"].items()}
    return data, {"description": "records", "tests": tests, "zonedata": data["zone"]}


def answers(suite, tmp_path, document, engine):
    """{"domain client": result}"""
    path = tmp_path / "document.yml"
    path.write_text(suite.load_yaml().safe_dump(document, allow_unicode=True))
    return {r["name"]: r for r in suite.run(path, engine)}


@pytest.mark.parametrize("engine", ["native", "libspf2"])
def test_records_as_they_are_published(suite, tmp_path, engine):
    """The native engine is right everywhere; libspf2 differs where the file says so and why, and nowhere else."""
    data, document = reallife(suite)
    got = answers(suite, tmp_path, document, engine)
    wanted, differs = {}, 0
    for domain, entry in data["senders"].items():
        other = entry.get("libspf2", {}) if engine == "libspf2" else {}
        for client in data["clients"]:
            wanted[f"{domain} {client}"] = expected(other.get("result", entry["result"]), client)
        differs += bool(other.get("why"))
    assert {k: r["result"] for k, r in got.items()} == wanted
    assert len(wanted) > 200 and (engine == "native" or differs >= 5)
