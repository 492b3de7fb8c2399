"""Results of tests, read from what cmocka and pytest write (JUnit XML), and their one summary."""
import collections
import pathlib
import xml.etree.ElementTree as ET

# outcome: "passed", "failed", "skipped", "unsteady" (failed, then passed); text says why it is not passed.
Result = collections.namedtuple("Result", "name outcome seconds text")

# The one reason for which a test may be skipped.
EXCUSE = "shared data absent"


def of_status(name, status, seconds, output):
    """A program whose exit status is the result."""
    return [Result(name, "passed" if status == 0 else "failed", seconds, "" if status == 0 else output)]


def of_case(prefix, case):
    name = "::".join(filter(None, [case.get("classname"), case.get("name")]))
    seconds = float(case.get("time") or 0)
    for child in case:
        text = f"{child.get('message') or ''}\n{child.text or ''}".strip()
        if child.tag in ("failure", "error"):
            return Result(f"{prefix} {name}", "failed", seconds, text)
        if child.tag == "skipped" and child.get("type") != "pytest.xfail":
            if EXCUSE in text:
                return Result(f"{prefix} {name}", "skipped", seconds, text)
            return Result(f"{prefix} {name}", "failed", seconds, f"skipped without leave: {text}")
    return Result(f"{prefix} {name}", "passed", seconds, "")


def of_xml(prefix, files, status, seconds, output, fine=(0,)):
    """The cases in the files; one more, failed, when the program ended badly without a failed case, or ran nothing."""
    found = []
    for path in files:
        try:
            found += [of_case(prefix, c) for c in ET.fromstring(pathlib.Path(path).read_bytes()).iter("testcase")]
        except ET.ParseError as e:
            found.append(Result(f"{prefix} {path.name}", "failed", 0, f"its report is broken: {e}"))
    if status not in fine and not any(r.outcome == "failed" for r in found):
        found.append(Result(prefix, "failed", seconds, f"exit status {status}\n{output}"))
    if not found and status == 0:
        found.append(Result(prefix, "failed", seconds, f"ran no test\n{output}"))
    return found


def summary(results, out):
    """
    Failures, skips, the ten slowest, and as the last line the counts, in which an unsteady test counts as passed. True when nothing
    failed.
    """
    count = collections.Counter("passed" if r.outcome == "unsteady" else r.outcome for r in results)
    failed = [r for r in results if r.outcome == "failed"]
    for r in failed:
        out(f"\n--- FAILED {r.name}\n{r.text}")
    unsteady = [r for r in results if r.outcome == "unsteady"]
    for r in unsteady:
        out(f"\n--- UNSTEADY {r.name}: failed, then passed alone\n{r.text}")
    for r in results:
        if r.outcome == "skipped":
            out(f"skipped {r.name}: {r.text.splitlines()[0]}")
    out("\nslowest:")
    for r in sorted(results, key=lambda r: -r.seconds)[:10]:
        out(f"{r.seconds:8.1f} s  {r.name}")
    for title, some in ("unsteady", unsteady), ("failed", failed):
        if some:
            out(f"\n{title}:")
        for r in some:
            out(f"  {r.name}")
    out(f"\n{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return not failed and count["passed"] > 0
