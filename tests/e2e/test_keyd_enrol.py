"""basalt-keyd makes an account at a user's first login: only if its configuration says so, only of what never existed, and whole or not at
all, wherever it is killed."""
import contextlib
import os
import random
import signal
import threading
import time

import keyproto as kp
import pytest
from keydserver import Keyd, record_fields, sealed_prefix, wait_for
from test_keyd_faults import mariadb
from test_keyd_slots import ESCROW, ESCROW_CODE

PASSWORD = "1234"  # the site judged it: weaker than any that keyd would let somebody set
KILLS, DATABASE_KILLS, LONG_KILLS = 40, 8, 4000


def enrol(keyd, user, password=PASSWORD):
    """The status of one ENROL_LOGIN."""
    with keyd.client("auth", 30) as a:
        return a.call(kp.ENROL_LOGIN, kp.str16(user) + kp.str16(password))[0]


@pytest.fixture(scope="module")
def keyd():
    with Keyd(escrow=ESCROW, keyd={"enrol_at_login": "sealed"}) as k:
        yield k


@pytest.mark.parametrize("word,flags", [("sealed", kp.SEALED), ("plain", 0)])
def test_what_the_account_is_says_the_configuration(word, flags):
    with Keyd(keyd={"enrol_at_login": word}) as keyd:
        assert enrol(keyd, "alice@example.org") == kp.OK
        with keyd.client("delivery") as d:
            assert record_fields(d.record("alice@example.org"))[3:] == (1, flags)
        assert keyd.works("alice@example.org", PASSWORD)
        assert keyd.status()["enrolled"] == 1


@pytest.mark.parametrize("settings", [{}, {"enrol_at_login": "no"}])
def test_off_unless_it_is_configured(settings):
    """A compromised auth process of a site that does not use it makes no account."""
    with Keyd(keyd=settings) as keyd:
        assert enrol(keyd, "alice@example.org") == kp.CONF
        assert not keyd.rows("alice@example.org")
        keyd.enrol("bob@example.org")
        assert keyd.login_status("bob@example.org", "a good password") == kp.OK, "the daemon goes on"


@pytest.mark.parametrize("name", ["alice", "Alice@example.org", "alice@example.org ", "a b@example.org", "@example.org", "",
                                  "alice@", "alice@-x-", "alice@example.org."])
def test_names_that_are_no_address(keyd, name):
    assert enrol(keyd, name) == kp.ARG
    assert not keyd.sql("SELECT * FROM keysets WHERE account LIKE ?", f"%{name.strip()}%") or not name


def codes(keyd):
    keyd.enrol("codes@example.org")
    return [keyd.change("add_slot", "codes@example.org", "a good password", kind)[1] for kind in (kp.SLOT_APP, kp.SLOT_RECOVERY)]


def test_what_is_no_password(keyd):
    """Empty, too long, or of the form of something that keyd makes up: also mistyped, in small letters, with blanks."""
    app, recovery = codes(keyd)
    mistyped = app[:-1] + ("7" if app[-1] != "7" else "8")
    for text in "", app, recovery, app.lower().replace("-", " "), mistyped, ESCROW_CODE:
        assert enrol(keyd, "nobody@example.org", text) == kp.WEAK, text
    with keyd.client("auth") as a:
        assert a.call(kp.ENROL_LOGIN, kp.str16("nobody@example.org") + kp.str16(b"x" * 1025)) == (kp.FORMAT, b"")
    assert not keyd.rows("nobody@example.org")
    for i, text in enumerate((b"x", b"x" * 1024, b"\xff\xfe\x01", "pässwort", b"password")):
        assert enrol(keyd, f"odd{i}@example.org", text) == kp.OK
        assert keyd.works(f"odd{i}@example.org", text)


def test_what_exists_stays(keyd):
    """By whatever password: what is there is not touched."""
    keyd.enrol("there@example.org")
    before = keyd.rows("there@example.org")
    for password in "another password", "a good password":
        assert enrol(keyd, "there@example.org", password) == kp.EXISTS_ALREADY
    assert keyd.rows("there@example.org") == before


def test_rows_that_are_gone_or_damaged_are_no_new_account():
    with Keyd(keyd={"enrol_at_login": "sealed"}) as keyd:
        for name in "gone@example.org", "damaged@example.org":
            assert enrol(keyd, name) == kp.OK
        rows = keyd.rows("damaged@example.org")
        damaged = rows[0][1][:50] + bytes([rows[0][1][50] ^ 1]) + rows[0][1][51:]
        keyd.replace_keyset("damaged@example.org", damaged)
        keyd.sql("DELETE FROM keysets WHERE account = 'gone@example.org'")
        assert enrol(keyd, "gone@example.org") == kp.ROLLBACK
        assert enrol(keyd, "damaged@example.org") == kp.AUTH
        assert not keyd.rows("gone@example.org") and keyd.rows("damaged@example.org") == [(1, damaged)]
        assert len(keyd.alarms()) == 2


def test_removed_on_purpose_and_back(keyd):
    assert enrol(keyd, "back@example.org") == kp.OK
    with keyd.client("control") as c:
        c.remove("back@example.org")
    assert enrol(keyd, "back@example.org") == kp.OK
    assert keyd.works("back@example.org", PASSWORD)


def test_the_domains_escrow_has_its_slot(keyd):
    assert enrol(keyd, "alice@escrow.example") == kp.OK
    with keyd.client("control") as c:
        assert [s["kind"] for s in c.slots("alice@escrow.example")[0]] == [kp.SLOT_PASSWORD, kp.SLOT_ESCROW]


def test_several_at_the_same_moment(keyd):
    """One makes the keys, the others hear that they are there; all the same keys."""
    for i in range(5):
        name, answers = f"crowd{i}@example.org", []
        crowd = [threading.Thread(target=lambda n=name, a=answers: a.append(enrol(keyd, n))) for _ in range(6)]
        for t in crowd:
            t.start()
        for t in crowd:
            t.join()
        assert answers.count(kp.OK) == 1 and set(answers) <= {kp.OK, kp.EXISTS_ALREADY, kp.BUSY}, answers
        assert len(keyd.rows(name)) == 1 and keyd.works(name, PASSWORD)


# --- kill -9 ---

def state(keyd, name):
    """"none" or "whole" after a crash: what the next login finds. Anything between raises."""
    status = keyd.login_status(name, PASSWORD)
    if status == kp.DENIED:
        assert not keyd.rows(name), "a row that the password does not open"
        return "none"
    assert status == kp.OK and len(keyd.rows(name)) == 1
    with keyd.client("delivery") as d:
        prefix = sealed_prefix(d.record(name), bytes(range(32)))
    assert keyd.opens(name, PASSWORD, [prefix]) == [bytes(range(32))]
    return "whole"


def kill_at_any_step(seed, count):
    rng, found, took = random.Random(seed), [], 0.05
    with Keyd(keyd={"enrol_at_login": "sealed"}) as keyd:
        for i in range(count):
            name, told = f"user{i}@example.org", []

            def ask(name=name, told=told):
                with contextlib.suppress(kp.Closed, OSError):
                    told.append(enrol(keyd, name))

            start = time.monotonic()
            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(took * rng.uniform(0, 1.5))
            if told:
                took = 0.7 * took + 0.3 * (time.monotonic() - start)
            assert keyd.kill()
            thread.join()
            keyd.start()
            assert wait_for(lambda n=name: keyd.login_status(n, "neither") == kp.DENIED, 20)
            found.append(state(keyd, name))
            assert found[-1] == "whole" or told != [kp.OK], "who was told so can rely on it"
            assert enrol(keyd, name) == (kp.OK if found[-1] == "none" else kp.EXISTS_ALREADY), "the next login goes on"
            assert state(keyd, name) == "whole"
        assert set(found) == {"none", "whole"}, "some kills came before, some after"
        assert not keyd.alarms(), "a crash is no attack"


@pytest.mark.limit(600)
def test_killed_at_any_step():
    kill_at_any_step(11, KILLS)


@pytest.mark.limit(300)
def test_the_database_is_killed():
    """In the middle of it: keys that are whole, or none."""
    rng, took, answers = random.Random(3), 0.1, []
    with mariadb() as start:
        env = start()
        with Keyd(keyd={"enrol_at_login": "sealed", "database": env["KEYS_URL"],
                        "database_password_file": env["KEYS_PASSWORD_FILE"]}) as keyd:
            for i in range(DATABASE_KILLS):
                name = f"user{i}@example.org"
                timer = threading.Timer(took * rng.uniform(0, 1.5), os.kill, (int(env["MARIADB_PID"]), signal.SIGKILL))
                begun = time.monotonic()
                timer.start()
                answers.append(enrol(keyd, name))
                if answers[-1] == kp.OK:
                    took = 0.7 * took + 0.3 * (time.monotonic() - begun)
                timer.join()
                env = start()
                assert wait_for(lambda n=name: keyd.login_status(n, "neither") == kp.DENIED, 20)
                there = keyd.login_status(name, PASSWORD) == kp.OK
                assert there or answers[-1] != kp.OK, "who was told so can rely on it"
                assert enrol(keyd, name) == (kp.EXISTS_ALREADY if there else kp.OK)
                assert keyd.works(name, PASSWORD)
            assert not keyd.alarms()
    assert len(set(answers)) > 1, "some kills came before, some after"


@pytest.mark.long
@pytest.mark.limit(7200)
def test_killed_thousands_of_times():
    kill_at_any_step(time.time_ns(), LONG_KILLS)
