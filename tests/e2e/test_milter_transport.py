"""The native engine under what the world does to it: many, slow, half and hostile connections, ends and kills."""
import os
import resource
import signal
import smtplib
import socket
import struct
import threading
import time

import pytest

import acting
import milter_box
import milter_client as mc

wait_for = milter_box.wait_for


@pytest.fixture(scope="module")
def shared():
    a = acting.Acting()
    yield a
    a.stop()


def message(tool, act="none", rcpt="<alice@example.org>", message_id="<x@y>", timeout=60):
    c = mc.Milter(tool.socket, timeout=timeout)
    c.connect()
    c.helo()
    c.mail()
    c.rcpt(rcpt)
    for name, value in (("Message-ID", f" {message_id}"), ("X-Act", f" {act}")):
        c.header(name, value)
    c.body(b"Hello\r\n")
    end = c.end()
    try:
        c.quit()
    except OSError:
        pass  # told to end, it has closed already
    return end


def status_of(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


@pytest.mark.parametrize("act,kind,part", [("add hello", "insert", b"X-Added\0 hello\0"), ("change new", "change", b"Subject\0 new\0"),
                                           ("hold", "quarantine", b"told to\0")])
def test_changes(shared, act, kind, part):
    code, _, changes = message(shared, act)
    assert code == mc.CONTINUE and any(k == kind and d.endswith(part) for k, d in changes)


@pytest.mark.parametrize("where", ["end", "rcpt"])
def test_slow_sessions_wait_beside_each_other_and_delay_nobody(shared, where):
    took = []

    def slow(n):
        start = time.monotonic()
        message(shared, "sleep 3000" if where == "end" else "none", "<sleep-3000@example.org>" if where == "rcpt" else "<a@b>",
                f"<slow{n}@y>")
        took.append(time.monotonic() - start)

    threads = [threading.Thread(target=slow, args=(n,)) for n in range(30)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    start = time.monotonic()
    assert message(shared)[0] == mc.CONTINUE
    assert time.monotonic() - start < 2
    for t in threads:
        t.join()
    assert len(took) == 30 and max(took) < 6


def test_sessions_that_were_open_before_wait_beside_each_other(shared):
    """Where a pool of threads serves them two by two."""
    open_ones = [mc.Milter(shared.socket, timeout=60) for _ in range(8)]
    for c in open_ones:
        c.connect()
        c.mail()
    time.sleep(2)
    start = time.monotonic()
    threads = [threading.Thread(target=c.rcpt, args=("<sleep-3000@example.org>",)) for c in open_ones]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert time.monotonic() - start < 5
    for c in open_ones:
        c.quit()


def test_signs_of_life_while_the_end_takes_long(shared):
    code, _, changes = message(shared, "sleep 3500")
    assert code == mc.CONTINUE and 2 <= len([k for k, _ in changes if k == "progress"]) <= 4


def test_a_thousand_idle_connections(shared):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    pid = shared.worker()
    message(shared)
    before = status_of(pid, "VmRSS")
    idle = [mc.Milter(shared.socket) for _ in range(990)]
    try:
        assert message(shared)[0] == mc.CONTINUE
        grown = status_of(pid, "VmRSS") - before
        assert grown < 990 * 64, f"{grown} KiB for 990 connections"
    finally:
        for c in idle:
            c.s.close()
    wait_for(lambda: status_of(pid, "Threads") < 10)


def test_beyond_the_bound_one_waits_for_a_place():
    tool = acting.Acting(sessions_max=3)
    try:
        busy = [mc.Milter(tool.socket) for _ in range(3)]
        with pytest.raises((socket.timeout, TimeoutError)):
            mc.Milter(tool.socket, timeout=1)
        assert tool.log().count("all 3 sessions are taken") == 1
        late = []
        t = threading.Thread(target=lambda: late.append(message(tool)[0]))
        t.start()
        busy.pop().quit()
        t.join(10)
        assert late == [mc.CONTINUE]
    finally:
        tool.stop()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1Z", b"\0\0\0\1Q", b"\0\0\0\5O\0\0\0\6",
                                     os.urandom(4096)])
def test_garbage_ends_that_connection_alone(shared, garbage):
    pid = shared.worker()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(shared.socket))
        s.sendall(garbage)
        s.shutdown(socket.SHUT_WR)
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert message(shared)[0] == mc.CONTINUE and shared.worker() == pid


def test_packets_in_pieces_and_all_at_once(shared):
    """A byte at a time, then a whole message in one write: the answers are the same."""
    def packet(code, data=b""):
        return struct.pack(">I", len(data) + 1) + code + data

    stream = packet(b"C", b"mx\x004\0\1" + b"192.0.2.1\0") + packet(b"H", b"h\0") + packet(b"M", b"<a@b>\0") + packet(b"R", b"<c@d>\0") \
        + packet(b"L", b"A\0 b\0") + packet(b"B", b"x" * 65535) + packet(b"E")
    for pieces in ([stream[i:i + 1] for i in range(200)] + [stream[200:]], [stream]):
        c = mc.Milter(shared.socket)
        for piece in pieces:
            c.s.sendall(piece)
        assert c.receive()[0] == mc.CONTINUE and c.receive()[0] == mc.CONTINUE
        c.quit()


def test_messages_leave_nothing_behind(shared):
    pid = shared.worker()

    def some(connections):
        for n in range(connections):
            c = mc.Milter(shared.socket)
            c.connect()
            for i in range(20):
                c.message(["<a@b.example>"], [("Message-ID", f" <{n}.{i}@x>"), ("Subject", " " + "x" * 500)])
            c.quit()
        wait_for(lambda: status_of(pid, "Threads") < 10)
        return status_of(pid, "VmRSS"), len(os.listdir(f"/proc/{pid}/fd"))

    memory, files = some(100)
    memory_after, files_after = some(400)
    assert files_after == files and memory_after - memory < 2048


def test_told_to_end_it_lets_a_message_finish():
    tool = acting.Acting()
    ends = []
    t = threading.Thread(target=lambda: ends.append(message(tool, "sleep 2000")))
    idle = mc.Milter(tool.socket)
    t.start()
    time.sleep(0.7)
    tool.proc.terminate()
    t.join(20)
    assert [e[0] for e in ends] == [mc.CONTINUE]
    assert tool.proc.wait(10) == 0
    with pytest.raises(mc.Closed):
        idle.receive()
    tool.stop()


def test_a_message_that_takes_too_long_is_not_waited_for():
    tool = acting.Acting(drain_ms=500)
    with pytest.raises((mc.Closed, OSError)):
        t = threading.Timer(0.7, tool.proc.terminate)
        t.start()
        message(tool, "sleep 30000")
    assert tool.proc.wait(15) == 0
    tool.stop()


def test_over_tcp():
    port = milter_box.free_port()
    tool = acting.Acting(address=f"inet:127.0.0.1:{port}")
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(struct.pack(">IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF))
            assert s.recv(5)[4:] == b"O"
    finally:
        tool.stop()


# --- behind a real Postfix ---

@pytest.fixture(scope="module")
def pair():
    tool = acting.Acting()
    p = acting.Postfix(tool, milter_command_timeout="3s", milter_content_timeout="3s").start()
    yield tool, p
    p.stop()
    tool.stop()


STEPS = ("connect", "mail", "rcpt", "data")


def talk(client, step, tag):
    """One step of a message; its code."""
    if step == "connect":
        return client.ehlo()[0]
    if step == "mail":
        return client.mail("a@example.net")[0]
    if step == "rcpt":
        return client.rcpt("alice@example.org")[0]
    data = f"From: a@example.net\r\nMessage-ID: <{tag}@x>\r\nSubject: {tag}\r\n\r\nHello\r\n".encode()
    return client.data(data)[0]


def deliver(postfix, tag):
    """Tries until it is taken, as a sender does."""
    def attempt():
        try:
            with postfix.client() as c:
                return all(talk(c, s, tag) in (250, 354) for s in STEPS)
        except smtplib.SMTPException:
            return False
    wait_for(attempt, 40, 0.5)


@pytest.mark.parametrize("after", range(len(STEPS)))
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_killed_or_frozen_at_each_stage(pair, after, how):
    """The client hears 4xx, the sender tries again, and the mail is there once."""
    tool, postfix = pair
    tag = f"{how}-{after}"
    worker = tool.worker()
    codes = []
    with postfix.client() as c:
        for i, step in enumerate(STEPS):
            try:
                codes.append(talk(c, step, tag))
            except smtplib.SMTPException as e:
                codes.append(getattr(e, "smtp_code", 451))
            if i == after:
                os.kill(worker, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
            if codes[-1] >= 400:
                break
    if how == "stop":
        os.kill(worker, signal.SIGCONT)
    assert after == len(STEPS) - 1 or 400 <= codes[-1] < 500, codes
    if after < len(STEPS) - 1:
        deliver(postfix, tag)
    assert postfix.sink.mail_with(f"Subject: {tag}")
    time.sleep(0.5)
    assert len([m for m in postfix.sink.mails if f"Subject: {tag}".encode() in m[1]]) == 1
