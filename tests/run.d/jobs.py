"""Jobs of a test run: a command with a time limit of its own, four at a time; what each one's tests said."""
import concurrent.futures
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import time

import results

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
E2E = ROOT / "tests" / "e2e"
STORAGES = ("sdbox", "maildir", "mdbox")
LONGEST = ("test_nothing_lost.py", "test_soak.py", "test_growth.py")
PARALLEL = 4  # on two cores: tests mostly wait for servers
TAIL = 6000  # characters of a failed job's output that are shown
UNSTEADY_MAX = 3  # tests of a run that may need a second try
# What these look for shows once in many times: a letter lost or doubled, a secret let out. A failure stands.
FOR_GOOD = ("test_attacker", "test_cache_forged", "test_canary", "test_convert", "test_corpus", "test_damaged", "test_faults",
            "test_growth", "test_keyd_attacks", "test_keyd_crash", "test_keyd_enrol", "test_keyd_forged", "test_milter_crash",
            "test_nothing_lost", "test_soak", "test_tamper", "test_twelve", "test_verdicts_kept")


class Job:
    """name; argv; read(status, seconds, output) -> [Result]."""

    def __init__(self, name, argv, limit, read=None, env=None, alone=None):
        self.name, self.argv, self.limit, self.env = name, [str(a) for a in argv], limit, env or {}
        self.alone = alone  # alone(Result): a job that runs just this test
        self.seconds = 0.0  # that it ran
        self.read = read or (lambda status, seconds, output: results.of_status(name, status, seconds, output))

    def run(self, log_dir):
        """The results of the job; a job past its limit is killed with everything in its session."""
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        log = log_dir / (re.sub(r"\W+", "-", self.name)[:120] + ".log")
        began = time.monotonic()
        with open(log, "wb") as out:
            p = subprocess.Popen(self.argv, cwd=ROOT, env={**env, **self.env}, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_run)
            try:
                status = p.wait(self.limit)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end_session(p)
        self.seconds = time.monotonic() - began
        output = log.read_text(errors="replace")[-TAIL:]
        if status is None:
            return [results.Result(self.name, "failed", self.seconds, f"took longer than {self.limit} s\n{output}")]
        return self.read(status, self.seconds, output)


def die_with_run():
    """In the child: a run that is killed takes its jobs along (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def end_session(p):
    """Ends what the job left in its process group; servers of a sandbox have sessions of their own."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(p.pid, sig)
            p.wait(10 if sig == signal.SIGTERM else None)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            continue


def unit(binary, work):
    """One cmocka program; its groups report into files of their own."""
    name = f"{'asan ' if 'build-asan' in str(binary) else 'tsan ' if 'build-tsan' in str(binary) else ''}unit {binary.name}"
    reports = work / re.sub(r"\W+", "-", name)
    reports.mkdir()
    env = {"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": f"{reports}/%g.xml", "TMPDIR": "/tmp",
           "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}

    def read(status, seconds, output):
        return results.of_xml(name, sorted(reports.glob("*.xml")), status, seconds, output)

    return Job(name, [binary], 240, read, env)


def e2e(file, work, build, only="", long=False, limit=600, test=""):
    """One file of end-to-end tests in a pytest of its own; only: its -k expression; test: this one alone."""
    name = " ".join(filter(None, ["asan" if "asan" in str(build) else "", "e2e", file.name, only, test]))
    slug = re.sub(r"\W+", "-", name)[:120]
    xml = work / f"{slug}.xml"
    argv = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "-o",
            "junit_duration_report=total", f"--junitxml={xml}", f"--basetemp={work}/{slug}", "--tb=short", f"{file}::{test}" if test else file]
    argv += ["-k", only] if only else []
    env = {"BASALT_BUILD": str(build), "BASALT_LONG": "1" if long else "", "PYTHONDONTWRITEBYTECODE": "1"}

    def read(status, seconds, output):  # 5: this file has none of these tests
        return results.of_xml(name, [xml] if xml.exists() else [], status, seconds, output, fine=(0, 5))

    def alone(result):
        _, _, case = result.name.partition("::")
        return e2e(file, work, build, "", long, limit, case) if case and not file.name.startswith(FOR_GOOD) else None

    return Job(name, argv, limit, read, env, alone)


def e2e_jobs(work, build, long=False):
    """A job a file; those that are told on each storage are split by it. The longest begin first."""
    found = []
    for file in sorted(E2E.glob("test_*.py"), key=lambda f: (f.name not in LONGEST, f.name)):
        limit = 6 * 3600 if long else 600
        if "every_system" in file.read_text():
            found += [e2e(file, work, build, s, long, limit) for s in STORAGES]
            found.append(e2e(file, work, build, " and ".join(f"not {s}" for s in STORAGES), long, limit))
        else:
            found.append(e2e(file, work, build, "", long, limit))
    return found


def run_all(jobs, log_dir, out):
    """All results, and (result, job that runs it alone) of those that failed; a line of progress for each job as it ends."""
    found, again = [], []
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        waiting = {pool.submit(j.run, log_dir): j for j in jobs}
        for done in concurrent.futures.as_completed(waiting):
            job, mine = waiting[done], done.result()
            bad = sum(r.outcome == "failed" for r in mine)
            out(f"{'FAIL' if bad else 'ok  '} {job.name} ({len(mine)} tests{f', {bad} failed' if bad else ''}, {job.seconds:.0f} s)")
            found += mine
            again += [(r, job.alone(r)) for r in mine if r.outcome == "failed" and job.alone]
    return found, again


def try_again(found, again, log_dir, out):
    """
    The results, with "unsteady" for a failed test that passes when it has the machine to itself: time ran out on it, most likely.
    Its first failure stays to be read. Nobody is let off when too many failed, or one that may not.
    """
    failed = [r for r in found if r.outcome == "failed"]
    if not failed or len(failed) > UNSTEADY_MAX or len(again) < len(failed) or not all(job for _, job in again):
        return found
    for result, job in again:
        out(f"     {job.name}, once more ...")
        if all(r.outcome == "passed" for r in job.run(log_dir)):
            found[found.index(result)] = result._replace(outcome="unsteady")
    return found
