"""How long keys stay by plan: keyd's role `policy` against a policy database that says so, changes, is forged, hangs and is away."""
import os
import pathlib
import shutil
import signal
import tempfile
import time

import milter_box
import pytest
import systems
from keydserver import Keyd, wait_for

OWN = 300  # session.linger_s
MOST = 600
NONE, SHORT, DEFAULT, STRANGER = (f"{n}@example.org" for n in ("none", "short", "default", "stranger"))
PLANS = {"none": 0, "short": 2, "default": -1}


class World:
    def __init__(self, engine):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="basalt-linger-"))
        self.dir.chmod(0o755)
        self.db = engine(self.dir / "policy")
        self.db.run("INSERT INTO domains (domain, created) VALUES ('example.org', 1)")
        for name, seconds in PLANS.items():
            self.db.run("INSERT INTO plans (name, sealed, compress, linger_s) VALUES (?, 1, 1, ?)", name, seconds)
            self.db.run("INSERT INTO accounts (address, domain, plan, enabled, created) VALUES (?, 'example.org', ?, 1, 1)",
                        f"{name}@example.org", name)
        self.keyd = Keyd(keyd={"policy": self.db.url, "policy_password_file": self.db.password_file},
                         session={"linger_s": OWN, "linger_max_s": MOST, "linger_check_s": 1})
        for name in NONE, SHORT, DEFAULT, STRANGER:
            self.keyd.enrol(name)

    def close(self):
        self.keyd.__exit__(None, None, None)
        self.db.stop()
        shutil.rmtree(self.dir)

    def linger(self, user):
        """What is left of it; None: its keys are not open."""
        with self.keyd.client("control") as c:
            return next((one["linger_left"] for one in c.sessions(user)[0]), None)

    def known(self, user, seconds):
        """A session in which it is known that keys stay so long."""
        with self.keyd.session(user):
            return wait_for(lambda: self.linger(user) == seconds, 0.5)

    def gone(self, user):
        """The keys, as soon as the session is."""
        return wait_for(lambda: self.linger(user) is None, 1)

    def plan(self, name, seconds):
        self.db.run("UPDATE plans SET linger_s = ? WHERE name = ?", seconds, name)


@pytest.fixture(scope="module", params=[milter_box.Sqlite, milter_box.Mariadb], ids=["sqlite", "mariadb"])
def world(request):
    w = World(request.param)
    yield w
    w.close()


@pytest.fixture(autouse=True)
def plans(request):
    """Each test begins with the plans as they were."""
    if "world" in request.fixturenames:
        w = request.getfixturevalue("world")
        for name, seconds in PLANS.items():
            w.plan(name, seconds)


def becomes_old():
    """So that what is known now is asked for again."""
    time.sleep(1.1)  # session.linger_check_s


def relearn(world, user, seconds):
    """It is a second until a login asks again."""
    return wait_for(lambda: world.known(user, seconds), 15, 0.2)


def test_by_plan(world):
    for user, seconds in (NONE, 0), (SHORT, 2), (DEFAULT, OWN), (STRANGER, OWN):
        assert relearn(world, user, seconds), user
    assert world.gone(NONE)
    assert wait_for(lambda: world.linger(SHORT) is None, 5)
    assert OWN - 30 < world.linger(DEFAULT) <= OWN and OWN - 30 < world.linger(STRANGER) <= OWN
    with world.keyd.session(SHORT):
        pass
    assert wait_for(lambda: world.linger(SHORT) in (1, 2)), "it is counted down"


def test_a_changed_plan(world):
    """Longer, shorter, and none at all, of keys that are open; as the role could do by itself, nothing is restarted."""
    pids = world.keyd.processes()
    assert relearn(world, DEFAULT, OWN)
    world.plan("default", 500)
    assert relearn(world, DEFAULT, 500)
    world.plan("default", 0)
    assert relearn(world, DEFAULT, 0)
    assert world.gone(DEFAULT)
    assert world.keyd.processes() == pids


def test_a_change_while_somebody_is_logged_in(world):
    """The end of the last session asks, too: a day's session does not leave yesterday's plan behind."""
    assert relearn(world, DEFAULT, OWN)
    with world.keyd.session(DEFAULT):
        world.plan("default", 0)
        becomes_old()
    assert wait_for(lambda: world.linger(DEFAULT) is None)


def complained(world):
    return world.keyd.log_text().count(": error: policy database ")


def test_forged_rows(world):
    """No more than the bound; what no number of seconds is leaves what was known."""
    world.plan("default", 4_000_000_000)
    assert relearn(world, DEFAULT, MOST)
    for before, nonsense in (100, -2), (101, 2 ** 40), (102, -2 ** 62):
        world.plan("default", before)
        assert relearn(world, DEFAULT, before)
        complaints = complained(world)
        world.plan("default", nonsense)
        assert wait_for(lambda: world.known(DEFAULT, before) and complained(world) > complaints, 15, 0.2)
        assert world.known(DEFAULT, before)
    assert not world.keyd.alarms()
    world.plan("default", 7)
    assert relearn(world, DEFAULT, 7)


def test_the_role_dies_alone(world):
    """Keys and sessions are none of its business; another one takes its place."""
    pid, = world.keyd.pids("policy")
    others = {p for p in world.keyd.processes() if p != pid}
    assert relearn(world, NONE, 0)
    with world.keyd.session(DEFAULT) as m:
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: pid not in world.keyd.processes())
        assert world.known(NONE, 0), "what was known is kept"
        world.plan("none", 9)
        assert wait_for(lambda: world.keyd.pids("policy"), 15), "started again"
        assert relearn(world, NONE, 9)
        assert m.subkey(1, bytes(16), 1)
    assert others <= set(world.keyd.processes())


def seconds_of_logins(keyd, users):
    spent = []
    for user in users:
        start = time.monotonic()
        with keyd.session(user):
            pass
        spent.append(time.monotonic() - start)
    return sorted(spent)


def test_a_hung_database_delays_nobody():
    """Cold and warm logins by the score while the server is stopped, each of them a question; a known 0 stays 0."""
    w = World(milter_box.Mariadb)
    try:
        users = [NONE, DEFAULT, STRANGER] * 10
        assert relearn(w, NONE, 0) and relearn(w, DEFAULT, OWN)
        before = seconds_of_logins(w.keyd, users)
        w.db.freeze()
        w.keyd.enrol("new@example.org")
        becomes_old()
        during = []
        for _ in range(4):
            during += seconds_of_logins(w.keyd, users)
            assert w.gone(NONE) and w.linger(DEFAULT) > OWN - 60
            with w.keyd.session("new@example.org"):
                assert w.linger("new@example.org") == OWN
        during.sort()
        print(f"a login: {before[15] * 1000:.1f} ms, {before[-1] * 1000:.1f} at most; database stopped: "
              f"{during[60] * 1000:.1f} ms, {during[-1] * 1000:.1f} at most")
        assert during[60] < before[15] + 0.1 and during[-1] < before[-1] + 0.4
        assert w.keyd.status()["timeouts"] == 0
        w.db.thaw()
        w.plan("none", 4)
        assert relearn(w, NONE, 4), "it is asked again"
    finally:
        w.close()


def test_a_hung_role_delays_nobody(world):
    pid, = world.keyd.pids("policy")
    assert relearn(world, NONE, 0)
    systems.proc.freeze(pid)
    try:
        before = time.monotonic()
        for _ in range(20):
            assert world.known(NONE, 0) and world.gone(NONE)
        assert time.monotonic() - before < 15
    finally:
        os.kill(pid, signal.SIGCONT)
    world.plan("none", 3)
    assert relearn(world, NONE, 3)


def test_no_policy_database_yet():
    """keyd starts, logs in and lingers as its own configuration says; the database is found when it comes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="basalt-linger-"))
    folder.chmod(0o755)
    with Keyd(keyd={"policy": f"sqlite:{folder}/policy/policy.db"}, session={"linger_s": OWN, "linger_check_s": 1}) as keyd:
        keyd.enrol(SHORT)
        w = World.__new__(World)
        w.keyd = keyd
        assert w.known(SHORT, OWN) and wait_for(lambda: "policy database" in keyd.log_text())
        w.db = milter_box.Sqlite(folder / "policy")
        w.db.run("INSERT INTO domains (domain, created) VALUES ('example.org', 1)")
        w.db.run("INSERT INTO accounts (address, domain, plan, enabled, created) VALUES (?, 'example.org', 'plain', 1, 1)", SHORT)
        w.plan("plain", 2)
        assert wait_for(lambda: w.known(SHORT, 2), 30, 0.3)
    shutil.rmtree(folder)
