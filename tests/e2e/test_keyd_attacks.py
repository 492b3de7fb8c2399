"""Attacks on basalt-keyd: hostile clients on its sockets, and a hostile database."""
import contextlib
import os
import pathlib
import re
import struct
import time

import keyproto as kp
import pytest
from keydserver import SANITIZED, Keyd, record_fields, wait_for

PASSWORD = "correct horse battery staple"
USER, OTHER = "alice@example.org", "bob@example.org"
SOCKETS = {"auth": {kp.LOGIN, kp.EXISTS, kp.RECORD, kp.LOGIN_MEMBER, kp.ENROL_LOGIN},
           "mail": {kp.ATTACH, kp.UNWRAP, kp.SUBKEY, kp.RECORD, kp.KEYSET, kp.CLOSE,
                    kp.RESUME_TOKEN, kp.DROP_TOKEN, kp.HOLDS},
           "delivery": {kp.EXISTS, kp.RECORD, kp.KEYSET_OF},
           "control": {kp.RECORD, kp.ENROL, kp.PASSWD, kp.REMOVE, kp.STATUS, kp.SET_FLAGS,
                       *range(kp.SLOTS, kp.KEYSET_DIGEST + 1)}}
IN_SESSION = {kp.UNWRAP, kp.SUBKEY, kp.KEYSET, kp.CLOSE, kp.RESUME_TOKEN, kp.DROP_TOKEN, kp.HOLDS}


@pytest.fixture(scope="module")
def shared():
    """For attacks that leave the daemon as it was."""
    with Keyd() as k:
        for name in USER, OTHER:
            k.enrol(name, PASSWORD)
        pids = k.processes()
        yield k
        assert k.processes() == pids, "an attack killed a role:\n" + k.log_text()[-3000:]


@pytest.fixture
def keyd():
    """For those that don't."""
    with Keyd() as k:
        for name in USER, OTHER:
            k.enrol(name, PASSWORD)
        yield k


# --- clients ---

@pytest.mark.parametrize("socket", SOCKETS)
@pytest.mark.parametrize("opcode", [0, *kp.ALL_OPCODES, 12, 36, 255])
def test_only_what_is_permitted(shared, socket, opcode):
    with shared.client(socket) as c:
        if opcode in SOCKETS[socket] - IN_SESSION:
            c.sock.sendall(kp.frame(opcode, b"", 7))
            assert c.read_frame()[1] in (kp.OK, kp.FORMAT)  # heard, and STATUS alone has an empty payload
        else:
            c.sock.sendall(kp.frame(opcode, b"", 7))
            assert c.read_frame() == (opcode, kp.PERM, 7, b"")
            assert c.closes()


def test_no_second_session_on_a_connection(shared):
    with shared.session(USER, PASSWORD) as m, shared.client("auth") as a:
        token = a.login(OTHER, PASSWORD)[1]
        assert m.call(kp.ATTACH, token + kp.str16(OTHER) + kp.str16("imap")) == (kp.PERM, b"")
        assert m.closes()


MALFORMED = {
    "empty": b"", "one byte": b"\0", "string longer than the payload": b"\xff\xff" + b"a" * 20,
    "left over": kp.str16(USER) + b"x", "NUL in a name": kp.str16(b"a\0b@example.org"),
    "name of 300 bytes": kp.str16(b"a" * 300),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("socket,opcode", [("auth", kp.LOGIN), ("auth", kp.EXISTS), ("mail", kp.ATTACH),
                                           ("delivery", kp.RECORD), ("delivery", kp.KEYSET_OF), ("control", kp.ENROL), ("control", kp.PASSWD),
                                           ("control", kp.REMOVE), ("control", kp.SET_FLAGS), ("auth", kp.LOGIN_MEMBER), ("auth", kp.ENROL_LOGIN),
                                           *(("control", op) for op in range(kp.SLOTS, kp.END_SESSIONS + 1))])
def test_malformed_payloads(shared, socket, opcode, payload):
    with shared.client(socket) as c:
        assert c.call(opcode, payload) == (kp.FORMAT, b"")
        assert c.closes()


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0", b"\1\1" + b"\0\0" * 257, b"\0\2" + b"\0\0", b"\0\1\0\0x",
                                     b"\0\1\xff\xff"])
def test_malformed_unwraps(shared, payload):
    with shared.session(USER, PASSWORD) as m:
        assert m.call(kp.UNWRAP, payload) == (kp.FORMAT, b"")
        assert m.closes()


BAD_FRAMES = {
    "zero length": (b"\0\0\0\0", kp.FORMAT), "shorter than its header": (b"\0\0\0\7" + b"\1" * 7, kp.FORMAT),
    "longer than any": (b"\xff\xff\xff\xff" + b"\1" * 20, kp.LIMIT),
    "version 2": (kp.frame(kp.STATUS, version=2), kp.E_VERSION), "garbage": (bytes(range(97, 120)) * 4, kp.LIMIT),
}


@pytest.mark.parametrize("socket", SOCKETS)
@pytest.mark.parametrize("data,status", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frames_end_the_connection(shared, socket, data, status):
    with shared.client(socket) as c:
        c.sock.sendall(data)
        assert c.read_frame() == (0, status, 0, b"")
        assert c.closes()


@pytest.mark.parametrize("socket,most", [("auth", 4096), ("mail", kp.FRAME_MAX), ("delivery", 1024), ("control", 327680)])
def test_oversized_frames(shared, socket, most):
    opcode = {"auth": kp.LOGIN, "mail": kp.RECORD, "delivery": kp.RECORD, "control": kp.ENROL}[socket]
    with shared.client(socket) as c:
        c.sock.sendall(kp.frame(opcode, b"\0" * (most - 12)))
        assert c.read_frame()[:2] == (opcode, kp.FORMAT), "the largest frame is heard"
    with shared.client(socket) as c:
        c.sock.sendall(kp.frame(opcode, b"\0" * (most - 11))[:16])
        assert c.read_frame()[:2] == (0, kp.LIMIT), "one more is refused by its length alone"
        assert c.closes()


def test_a_reply_as_request_is_malformed(shared):
    with shared.client("control") as c:
        c.sock.sendall(kp.frame(kp.STATUS, status=1))
        assert c.read_frame()[:2] == (kp.STATUS, kp.FORMAT)


def test_silence_half_frames_and_clients_that_do_not_read(shared):
    """All at once, since each takes keyd's ten seconds; an attached session and one that spoke once may be silent."""
    with contextlib.ExitStack() as stack:
        def client(name):
            return stack.enter_context(shared.client(name))

        session = stack.enter_context(shared.session(USER, PASSWORD))
        spoke = client("delivery")
        spoke.exists(USER)
        silent = [client(name) for name in SOCKETS]
        half = [client(name) for name in SOCKETS]
        for c in half:
            c.sock.sendall(b"\0\0\0\x20\1")
        half_later = client("delivery")
        half_later.exists(USER)
        half_later.sock.sendall(b"\0\0")
        lazy = client("mail")
        lazy.record(USER)
        deaf = client("control")
        deaf.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                deaf.sock.send(kp.frame(kp.STATUS))
        start = time.monotonic()
        for c in [*silent, *half, half_later, lazy]:
            assert c.closes()
        assert 8 < time.monotonic() - start < 14
        assert wait_for(lambda: "does not take its replies" in shared.log_text(), 8)
        assert session.subkey(1, bytes(16), 1) and spoke.call(kp.EXISTS, kp.str16(USER))[0] == kp.OK


def usage(pid):
    """(open descriptors, resident KiB)"""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return len(os.listdir(f"/proc/{pid}/fd")), int(re.search(r"VmRSS:\s+(\d+)", text)[1])


@pytest.mark.limit(120)
def test_nothing_grows_over_a_thousand_bad_connections(keyd):
    def misbehave(rounds):
        for i in range(rounds):
            name = list(SOCKETS)[i % 4]
            with keyd.client(name) as c, contextlib.suppress(kp.Closed, BrokenPipeError, ConnectionResetError):
                match i // 4 % 6:
                    case 0: c.sock.sendall(os.urandom(64))
                    case 1: c.sock.sendall(b"\0\0\x03\0\1" + b"x" * 500)  # half a frame, then gone
                    case 2: c.sock.sendall(kp.frame(kp.REMOVE, kp.str16("nobody@example.org")))
                    case 3: c.sock.sendall(kp.frame(kp.RECORD, kp.str16(USER)) * 50)  # and does not wait
                    case 4: c.call(kp.ATTACH, bytes(32) + kp.str16(USER) + kp.str16("imap"))
                    case 5: c.sock.sendall(kp.frame(kp.LOGIN, kp.str16(USER) + kp.str16("x") + kp.str16("imap") + b"\0"))

    misbehave(300)
    wait_for(lambda: keyd.status()["requests_waiting"] == 0)
    pids = keyd.processes()
    before = {pid: usage(pid) for pid in pids}
    misbehave(1000)
    assert wait_for(lambda: keyd.status()["requests_waiting"] == 0 and sum(keyd.status()["clients"].values()) == 1)
    assert keyd.works()  # only now: a few of the wrong logins may have kept the account's place at the workers
    assert wait_for(lambda: sum(keyd.status()["clients"].values()) == 1)
    assert keyd.processes() == pids, "nobody died"
    for pid, role in pids.items():
        fds, rss = usage(pid)
        assert fds <= before[pid][0] + 1 and (SANITIZED or rss <= before[pid][1] + 2048), (role, before[pid], (fds, rss))


# --- the database ---

def swap_public_key(keyd):
    blob = bytearray(keyd.rows(USER)[0][1])
    other = keyd.rows(OTHER)[0][1]
    assert blob[7:11] == other[7:11] == b"BSR1"
    blob[7 + 42:7 + 90] = other[7 + 42:7 + 90]  # key id and public key together
    keyd.replace_keyset(USER, bytes(blob))


def give_anothers(keyd):
    keyd.replace_keyset(USER, keyd.rows(OTHER)[0][1])


def clear_sealed_flag(keyd):
    blob = bytearray(keyd.rows(USER)[0][1])
    blob[7 + 9] ^= kp.SEALED
    keyd.replace_keyset(USER, bytes(blob))


def truncate(keyd):
    keyd.replace_keyset(USER, keyd.rows(USER)[0][1][:-1])


def renumber(keyd):
    keyd.sql("UPDATE keysets SET generation = 2 WHERE account = ?", USER)


@pytest.mark.parametrize("attack", [swap_public_key, give_anothers, clear_sealed_flag, truncate, renumber])
def test_forged_keysets_are_an_alarm(keyd, attack):
    attack(keyd)
    with keyd.client("delivery") as d, keyd.client("auth") as a, keyd.client("control") as c:
        for client, opcode, payload in (
                (d, kp.EXISTS, kp.str16(USER)), (d, kp.RECORD, kp.str16(USER)),
                (a, kp.LOGIN, kp.str16(USER) + kp.str16(PASSWORD) + kp.str16("imap") + b"\0"),
                (c, kp.PASSWD, kp.str16(USER) + kp.str16(PASSWORD) + kp.str16("another password")),
                (c, kp.ENROL, kp.str16(USER) + kp.str16(PASSWORD) + b"\0\0\0\1")):
            before = len(keyd.alarms())
            assert client.call(opcode, payload) == (kp.AUTH, b"")
            assert len(keyd.alarms()) == before + 1
        d.exists(OTHER)


def test_any_flipped_byte_of_a_keyset_is_noticed(keyd):
    """At the latest by the login: signature, slot, manifest and ring leave no byte out."""
    good = keyd.rows(USER)[0][1]
    with keyd.client("auth") as a:
        for i in range(0, len(good), 3):
            keyd.replace_keyset(USER, good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1:])
            status, _ = a.call(kp.LOGIN, kp.str16(USER) + kp.str16(PASSWORD) + kp.str16("imap") + b"\0")
            assert status in (kp.AUTH, kp.ROLLBACK, kp.DENIED, kp.E_VERSION), (i, status)
        keyd.replace_keyset(USER, good)
    assert keyd.works()


def test_a_slot_from_an_older_generation_does_not_open(keyd):
    """The old password's slot, put back into the new keyset: a backup's row spliced by hand."""
    with keyd.client("control") as c:
        c.passwd(USER, PASSWORD, "the new password")
    (_, new), (_, old) = keyd.rows(USER)
    slot = 7 + struct.unpack(">H", new[5:7])[0] + 2 + 2  # behind record, count, and the slot's length
    length, = struct.unpack(">H", new[slot - 2:slot])
    keyd.sql("UPDATE keysets SET keyset = ? WHERE account = ? AND generation = 2",
             new[:slot] + old[slot:slot + length] + new[slot + length:], USER)
    assert keyd.login_status(USER, PASSWORD) == kp.ROLLBACK
    assert keyd.login_status(USER, "the new password") == kp.DENIED
    assert keyd.alarms()


def test_a_forgers_password_does_not_open_anothers_account(keyd):
    """Slot, ring and manifest under the forger's own master key, around the account's true record."""
    import make_keys
    blob = keyd.rows(USER)[0][1]
    record = blob[7:7 + struct.unpack(">H", blob[5:7])[0]]
    account, _, _, generation, _ = record_fields(record)
    amk, password = os.urandom(32), b"the forger's password"
    slot, _seed = make_keys.slot("forged", account, make_keys.PASSWORD, 1, password, amk, 8192, 1)
    ring = make_keys.ring(account, generation, [(os.urandom(32), 0, 1)], amk, os.urandom(24))
    keyd.replace_keyset(USER, make_keys.keyset(record, account, generation, [slot], ring, amk))
    with keyd.client("auth") as a, keyd.client("control") as c:
        for flags in 0, kp.NO_SESSION:
            before = len(keyd.alarms())
            assert a.call(kp.LOGIN, kp.str16(USER) + kp.str16(password) + kp.str16("x") + bytes([flags])) == (kp.AUTH, b"")
            assert len(keyd.alarms()) == before + 1
        assert c.call(kp.SET_FLAGS, kp.str16(USER) + kp.str16(password) + bytes(4)) == (kp.AUTH, b"")
        assert c.call(kp.PASSWD, kp.str16(USER) + kp.str16(password) + kp.str16("a new password")) == (kp.AUTH, b"")
    assert keyd.rows(USER)[0][0] == 1, "and nothing was written"


@pytest.mark.parametrize("socket", ["delivery", "auth"])
def test_a_recent_record_is_soon_an_old_one(keyd, socket):
    """Deliveries may get what was verified a moment ago; nobody else does, and what keyd itself changes is known at once."""
    with keyd.client(socket) as d, keyd.client("control") as c:
        for generation in range(2, 5):
            d.record(USER)
            c.passwd(USER, PASSWORD, PASSWORD + "!")
            c.passwd(USER, PASSWORD + "!", PASSWORD)
            assert record_fields(d.record(USER))[3] == 2 * generation - 1
        truncate(keyd)
        assert wait_for(lambda: d.call(kp.RECORD, kp.str16(USER))[0] == kp.AUTH), "the changed row is noticed"
        assert keyd.alarms()
        assert d.call(kp.RECORD, kp.str16(USER))[0] == c.call(kp.RECORD, kp.str16(USER))[0] == kp.AUTH


def test_who_administers_sees_what_is_there_now(keyd):
    with keyd.client("delivery") as d, keyd.client("control") as c:
        d.record(USER)
        truncate(keyd)
        assert c.call(kp.RECORD, kp.str16(USER))[0] == kp.AUTH
        assert d.call(kp.RECORD, kp.str16(USER))[0] == kp.AUTH


def test_an_older_generation_is_a_rollback(keyd):
    with keyd.client("control") as c:
        c.passwd(USER, PASSWORD, "the new password")
    keyd.sql("DELETE FROM keysets WHERE account = ? AND generation = 2", USER)
    assert keyd.login_status(USER, PASSWORD) == kp.ROLLBACK
    with keyd.client("delivery") as d:
        assert d.call(kp.RECORD, kp.str16(USER)) == (kp.ROLLBACK, b"")
    assert len(keyd.alarms()) == 2


def test_a_deleted_account_is_not_unknown(keyd):
    """Never NOENT, which would bounce its mail, and never a new enrolment."""
    keyd.sql("DELETE FROM keysets WHERE account = ?", USER)
    with keyd.client("delivery") as d, keyd.client("control") as c:
        assert d.call(kp.EXISTS, kp.str16(USER))[0] == kp.ROLLBACK
        assert d.call(kp.RECORD, kp.str16(USER))[0] == kp.ROLLBACK
        assert c.call(kp.ENROL, kp.str16(USER) + kp.str16(PASSWORD) + b"\0\0\0\1")[0] == kp.ROLLBACK
    assert len(keyd.alarms()) == 3


def test_monstrous_argon2_parameters_are_refused_unrun(keyd):
    good = keyd.rows(USER)[0][1]
    at = 7 + struct.unpack(">H", good[5:7])[0] + 2 + 2 + 16 + 1 + 1 + 8
    assert struct.unpack(">II", good[at:at + 8]) == (8192, 1)
    keyd.replace_keyset(USER, good[:at] + struct.pack(">II", 1024 * 1024, 16) + good[at + 8:])
    start = time.monotonic()
    assert keyd.login_status(USER, PASSWORD) == kp.AUTH
    assert time.monotonic() - start < 1
