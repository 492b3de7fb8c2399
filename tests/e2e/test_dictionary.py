"""Somebody guesses addresses, from many sessions at once: the database is asked once an address and the known are served."""
import contextlib
import statistics
import threading
import time

import pytest

import milter_box
import milter_client as mc

SESSIONS, GUESSES, REAL = 40, 5000, 40


@pytest.fixture(params=[milter_box.Sqlite, milter_box.Mariadb], ids=["sqlite", "mariadb"])
def box(request):
    b = milter_box.MilterBox(request.param, cache_unknown_s=60)
    try:
        b.domain("example.org")
        for i in range(REAL):
            b.account(f"real{i}@example.org")
        yield b.start()
    finally:
        b.stop()


def status(box):
    return mc.control(box.control, {"op": "status"})


@contextlib.contextmanager
def session(box):
    m = mc.Milter(box.socket)
    m.connect()
    m.helo()
    m.mail()
    yield m
    m.quit()


def guess(box, numbers, wrong):
    """As Postfix asks for each RCPT: the socketmap twice, then the milter."""
    maps = mc.Socketmap(box.socketmap)
    with session(box) as m:
        for n in numbers:
            address = f"guess{n}@example.org"
            answers = [maps.ask("aliases", address), maps.ask("recipients", address), m.rcpt(f"<{address}>")]
            if answers[:2] != ["NOTFOUND ", "NOTFOUND "] or b"550 5.1.1" not in answers[2][1]:
                wrong.append((address, answers))
    maps.close()


def ask_for_real(box, attack, times, wrong):
    """One address after the other: the first round comes from the database, the next ones from memory."""
    i = 0
    while any(t.is_alive() for t in attack):
        with session(box) as m:
            for _ in range(REAL):
                start = time.monotonic()
                code, data = m.rcpt(f"<real{i % REAL}@example.org>")
                times.append(time.monotonic() - start)
                i += 1
                if code != mc.CONTINUE:
                    wrong.append((code, data))


def test_a_dictionary_attack(box):
    before = status(box)["database"]["statements"]
    wrong, times = [], []
    attack = [threading.Thread(target=guess, args=(box, range(s, GUESSES, SESSIONS), wrong)) for s in range(SESSIONS)]
    start = time.monotonic()
    for t in attack:
        t.start()
    ask_for_real(box, attack, times, wrong)
    for t in attack:
        t.join()
    seconds = time.monotonic() - start
    after = status(box)
    statements = after["database"]["statements"] - before
    cold, warm = times[:REAL], times[REAL:]
    p95 = statistics.quantiles(warm, n=20)[-1]
    print(f"{GUESSES} guesses in {seconds:.1f} s: {statements} statements; {REAL} real recipients anew in at most "
          f"{max(cold) * 1000:.0f} ms, {len(warm)} known ones: p95 {p95 * 1000:.1f} ms")
    assert wrong == []
    # An address on the way is one statement (tests/unit/test_expand_policy.c), and is never asked for twice at once.
    assert GUESSES <= statements <= GUESSES + REAL
    assert after["database"]["failures"] == 0 and not after["database"]["down"]
    assert max(cold) < 2.5, "nobody is deferred"
    assert p95 < 0.25


def test_many_sessions_with_one_dictionary_cost_as_much_as_one(box):
    before = status(box)["database"]["statements"]
    wrong = []
    attack = [threading.Thread(target=guess, args=(box, range(200), wrong)) for _ in range(SESSIONS)]
    for t in attack:
        t.start()
    for t in attack:
        t.join()
    statements = status(box)["database"]["statements"] - before
    print(f"{SESSIONS} sessions with the same 200 guesses: {statements} statements")
    assert wrong == []
    assert statements == 200
