"""Jobs of a test run: a command with a time limit of its own, three at a time; what each one's tests said."""
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
PARALLEL = 3  # on two cores: half of the time tests wait for servers
TAIL = 6000  # characters of a failed job's output that are shown


class Job:
    """name; argv; read(status, seconds, output) -> [Result]."""

    def __init__(self, name, argv, limit, read=None, env=None):
        self.name, self.argv, self.limit, self.env = name, [str(a) for a in argv], limit, env or {}
        self.seconds = 0.0  # that it ran
        self.read = read or (lambda status, seconds, output: results.of_status(name, status, seconds, output))

    def run(self, log_dir):
        """The results of the job; a job past its limit is killed with everything in its session."""
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        log = log_dir / (re.sub(r"\W+", "-", self.name) + ".log")
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


def e2e(file, work, build, only="", long=False, limit=600):
    """One file of end-to-end tests in a pytest of its own; only: its -k expression."""
    name = " ".join(filter(None, ["asan" if "asan" in str(build) else "", "e2e", file.name, only]))
    slug = re.sub(r"\W+", "-", name)
    xml = work / f"{slug}.xml"
    argv = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "-o",
            "junit_duration_report=total", f"--junitxml={xml}", f"--basetemp={work}/{slug}", "--tb=short", file]
    argv += ["-k", only] if only else []
    env = {"BASALT_BUILD": str(build), "BASALT_LONG": "1" if long else "", "PYTHONDONTWRITEBYTECODE": "1"}

    def read(status, seconds, output):  # 5: this file has none of these tests
        return results.of_xml(name, [xml] if xml.exists() else [], status, seconds, output, fine=(0, 5))

    return Job(name, argv, limit, read, env)


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
    """All results; a line of progress for each job as it ends."""
    found = []
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        waiting = {pool.submit(j.run, log_dir): j for j in jobs}
        for done in concurrent.futures.as_completed(waiting):
            job, mine = waiting[done], done.result()
            bad = sum(r.outcome == "failed" for r in mine)
            out(f"{'FAIL' if bad else 'ok  '} {job.name} ({len(mine)} tests{f', {bad} failed' if bad else ''}, {job.seconds:.0f} s)")
            found += mine
    return found
