"""tests/run: what it counts, and that nothing can hang it or hide from it."""
import pathlib
import re
import sys
import tempfile
import time

import pytest

import systems

sys.path.insert(0, str(systems.ROOT / "tests" / "run.d"))
import jobs  # noqa: E402
import results  # noqa: E402

XML = """<testsuites><testsuite name="s">
<testcase classname="m" name="good" time="0.5"/>
<testcase name="bad" time="1"><failure message="1 is not 2">trace</failure></testcase>
<testcase name="broken"><error message="no fixture"/></testcase>
<testcase name="no-data"><skipped type="pytest.skip" message="shared data absent: /srv/shared/data"/></testcase>
<testcase name="lazy"><skipped type="pytest.skip" message="does not work here"/></testcase>
<testcase name="known"><skipped type="pytest.xfail" message="index cache"/></testcase>
</testsuite></testsuites>"""


def report(tmp_path, text=XML, status=0):
    path = tmp_path / "r.xml"
    path.write_text(text)
    return results.of_xml("unit x", [path], status, 3.0, "its output")


def summary(found):
    lines = []
    return results.summary(found, lines.append), lines


def test_outcomes(tmp_path):
    found = {r.name: r for r in report(tmp_path)}
    assert {n: r.outcome for n, r in found.items()} == {
        "unit x m::good": "passed", "unit x bad": "failed", "unit x broken": "failed", "unit x no-data": "skipped",
        "unit x lazy": "failed", "unit x known": "passed"}
    assert "without leave" in found["unit x lazy"].text and "1 is not 2" in found["unit x bad"].text


def test_last_line_counts(tmp_path):
    fine, lines = summary(report(tmp_path))
    assert not fine and lines[-1].strip() == "2 passed, 3 failed, 1 skipped"
    fine, lines = summary([results.Result("a", "passed", 1, "")])
    assert fine and lines[-1].strip() == "1 passed, 0 failed, 0 skipped"
    assert not summary([])[0]


def test_ten_slowest_are_named():
    lines = summary([results.Result(f"test{n}", "passed", n, "") for n in range(30)])[1]
    named = re.findall(r"s  (test\d+)", "\n".join(lines))
    assert named == [f"test{n}" for n in range(29, 19, -1)]


@pytest.mark.parametrize("text,status", [
    ('<testsuites><testcase name="ok"/></testsuites>', 139),  # died after its report
    ("<testsuites></testsuites>", 0),                          # ran nothing
    ("<testsuites><testcase", 0),                              # died in it
])
def test_a_bad_end_is_a_failure(tmp_path, text, status):
    assert "failed" in [r.outcome for r in report(tmp_path, text, status)]


def test_no_report_is_a_failure():
    assert [r.outcome for r in results.of_xml("unit x", [], 1, 3.0, "")] == ["failed"]


def test_a_job_that_hangs_is_ended_with_its_children(tmp_path):
    script = f"sleep 300 & echo $! >{tmp_path}/pid; echo started; sleep 300"
    began = time.monotonic()
    found = jobs.Job("hangs", ["sh", "-c", script], 1).run(tmp_path)
    assert time.monotonic() - began < 20
    assert found[0].outcome == "failed" and "longer than 1 s" in found[0].text and "started" in found[0].text
    child = systems.proc.remember(int((tmp_path / "pid").read_text()))
    assert child["start"] is None or systems.proc.wait_gone([child], 5)


WAVERING = """import pathlib
import pytest

@pytest.mark.parametrize("name", %s)
def test_wavers(name):
    mark = pathlib.Path(__file__).parent / name.encode().hex()
    if name != "fine" and not mark.exists():
        mark.touch()
        assert False, "the first time"
    assert name != "never"
"""


@pytest.mark.parametrize("file, names, outcomes", [
    ("test_it.py", ["fine", "a[1/2] b"], ["passed", "unsteady"]),
    ("test_it.py", ["fine", "once", "never"], ["passed", "unsteady", "failed"]),
    ("test_it.py", ["a", "b", "c", "d"], ["failed"] * 4),
    ("test_soak.py", ["fine", "once"], ["passed", "failed"]),
])
def test_a_second_try(tmp_path, file, names, outcomes):
    """For a few, not for what may happen once in many times; the first failure is told, and its test counts as passed."""
    path = tmp_path / file
    path.write_text(WAVERING % names)
    found, again = jobs.run_all([jobs.e2e(path, tmp_path, systems.BUILD)], tmp_path, print)
    found = jobs.try_again(found, again, tmp_path, print)
    assert [r.outcome for r in found] == outcomes
    fine, lines = summary(found)
    assert fine == ("failed" not in outcomes)
    assert lines[-1].strip() == f"{len(names) - outcomes.count('failed')} passed, {outcomes.count('failed')} failed, 0 skipped"
    assert ("the first time" in "".join(lines)) and ("\nunsteady:" in lines) == ("unsteady" in outcomes)


def test_a_job_that_is_no_test_has_no_second_try(tmp_path):
    found, again = jobs.run_all([jobs.Job("no", ["false"], 5)], tmp_path, print)
    assert [r.outcome for r in jobs.try_again(found, again, tmp_path, print)] == ["failed"]


def test_stale_systems_of_dead_runs_are_removed():
    """Mounts, servers and files; those of a live run stay."""
    dead = systems.System(["--plain"], where=f"/tmp/{systems.PREFIX}{dead_pid()}-x").start()
    live = systems.System(["--plain"]).start()
    other = pathlib.Path(tempfile.mkdtemp(prefix=systems.PREFIX + "unit-", dir="/tmp"))
    try:
        systems.clean_stale()
        assert other.exists(), "a folder without a pid in its name belongs to somebody"
        assert not dead.dir.exists() and systems.proc.marked(dead.dir) == []
        assert live.dir.exists() and len(systems.proc.marked(live.dir)) > 5
    finally:
        live.remove()
        other.rmdir()


def dead_pid():
    """A number that no process has."""
    return next(n for n in range(4_000_000, 100_000, -1) if systems.proc.start_time(n) is None)
