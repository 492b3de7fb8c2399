"""Fixtures of the end-to-end tests. A failed test shows the ends of the logs of the systems that it used."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import systems  # noqa: E402

LIMIT_S = int(os.environ.get("BASALT_LIMIT_S", 120))
COMBINATIONS = [("sdbox", "sqlite"), ("maildir", "mariadb"), ("mdbox", "mariadb")]
POOL = systems.Pool()


def pytest_configure(config):
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by a signal", 1))
    config.addinivalue_line("markers", "limit(seconds): how long this test may take (default 120)")
    config.addinivalue_line("markers", "long: runs in `make test-long` alone")


def pytest_collection_modifyitems(config, items):
    """Long tests are left out, not skipped, unless BASALT_LONG is set."""
    if not os.environ.get("BASALT_LONG"):
        left_out = [i for i in items if i.get_closest_marker("long")]
        items[:] = [i for i in items if i not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def pool():
    systems.clean_stale()
    yield POOL
    POOL.close()


@pytest.fixture
def system(pool):
    """The shared sdbox + SQLite system. Tests make accounts of their own and leave it running."""
    return pool.get()


@pytest.fixture(params=COMBINATIONS, ids=lambda c: "+".join(c), scope="module")
def every_system(request, pool):
    """The shared system of each combination that the story is told on."""
    return pool.get(*request.param)


@pytest.fixture
def own_system():
    """own_system(options..., storage=, db=): a system that this test alone uses, and may break."""
    made = []

    def make(*options, **named):
        made.append(systems.System(options, **named))
        return made[-1].start()

    yield make
    for s in made:
        s.remove()


@pytest.fixture(autouse=True)
def no_sanitizer_report():
    """With BASALT_BUILD=build-asan: what AddressSanitizer or UBSan wrote meanwhile fails the test."""
    before = {s: s.sanitizer_reports() for s in POOL.systems.values()}
    yield
    for s in POOL.systems.values():
        new = s.sanitizer_reports()
        assert new == before.get(s, ""), new


class TooSlow(Exception):
    pass


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Nothing may hang: set-up, test and tear-down have their time together."""
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else LIMIT_S

    def expired(_signum, _frame):
        raise TooSlow(f"{item.nodeid} took longer than {seconds} s")

    old = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        used = [v for v in item.funcargs.values() if isinstance(v, systems.System)]
        for s in used:
            for name, text in s.log_tails().items():
                report.sections.append((f"{s.dir}/log/{name}", text))
