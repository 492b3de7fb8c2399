"""What a crash of the milter's worker leaves behind: the message that kills twice is held, all others flow."""
import ctypes
import json
import os
import pathlib
import signal
import smtplib
import socket
import threading
import time

import pytest

import acting
import milter_box
import milter_client as mc

wait_for = milter_box.wait_for


@pytest.fixture(params=["native", "libmilter"])
def tool(request):
    a = acting.Acting(request.param)
    yield a
    a.stop()


@pytest.fixture
def native():
    a = acting.Acting()
    yield a
    a.stop()


@pytest.fixture
def mail(native):
    p = acting.Postfix(native).start()
    yield native, p
    p.stop()


def send(m, act, sender="<evil@example.net>", rcpts=("<alice@example.org>",), message_id="<x@y>"):
    """The answer to a message that tells the filter what to do, or None when the connection ends before."""
    headers = [("From", " a@b.example"), ("X-Act", f" {act}"), ("Authentication-Results", " forged")]
    if message_id:
        headers.insert(1, ("Message-ID", f" {message_id}"))
    try:
        c = mc.Milter(m.socket)
        c.connect()
        c.helo()
        answers, end = c.message(list(rcpts), headers, sender)
        c.quit()
        return end
    except (mc.Closed, OSError):
        return None


def crash(m, act, **kind):
    before = m.crashes()
    assert send(m, act, **kind) is None
    try:
        wait_for(lambda: m.crashes() == before + 1 and m.workers() and m.log().count("blame:") == before + 1, 15)
    except AssertionError:
        pytest.fail(f"crashes {m.crashes()}, before {before}, workers {m.workers()}: {m.log()}")


def is_held(end):
    code, _, changes = end
    return code == mc.CONTINUE and ("quarantine", b"killed the filter twice; not checked\0") in changes


@pytest.mark.parametrize("act", ["segv", "abort", "exit", "kill", "stack", "thread", "execve", "ptrace", "mount", "reboot"])
def test_two_crashes_hold_it(native, act):
    """Crashes of every kind, forbidden system calls among them: the worker comes back, and the third time it is held."""
    for _ in range(2):
        crash(native, act)
    end = send(native, act)
    assert is_held(end)
    assert ("Authentication-Results", 1) in mc.deleted(end[2]), "nobody looked whether it is forged"
    assert native.crashes() == 2
    code, _, changes = send(native, "none", message_id="<other@y>")
    assert code == mc.CONTINUE and not changes


def test_a_forbidden_call_kills_by_sigsys(native):
    crash(native, "ptrace")
    assert "a system call outside its list" in native.log()


def test_a_raw_socket_is_not_to_be_had(native):
    """socket(2) itself is allowed: a process without capabilities gets no AF_PACKET."""
    assert send(native, "packet")[0] == mc.CONTINUE
    assert "CapEff:\t0000000000000000" in open(f"/proc/{native.worker()}/status").read()


def test_both_engines_hold(tool):
    for _ in range(2):
        crash(tool, "segv")
    assert is_held(send(tool, "segv"))


@pytest.mark.parametrize("change", [{"sender": "<other@example.net>"}, {"rcpts": ("<bob@example.org>",)},
                                    {"message_id": "<y@z>"}, {"message_id": None}])
def test_another_message_is_not_held(native, change):
    for _ in range(2):
        crash(native, "segv")
    assert not is_held(send(native, "none", **change))


def test_without_message_id_the_header_stands_for_it(native):
    for _ in range(2):
        crash(native, "segv", message_id=None)
    assert is_held(send(native, "segv", message_id=None))
    assert not is_held(send(native, "none", message_id=None))


def test_recipients_in_another_order_are_the_same_message(native):
    a, b = "<alice@example.org>", "<bob@example.org>"
    crash(native, "segv", rcpts=(a, b))
    crash(native, "segv", rcpts=(b, a))
    assert is_held(send(native, "segv", rcpts=(a, b)))


def test_a_crash_at_rcpt_holds_that_sender_and_recipient(native):
    for _ in range(2):
        crash(native, "none", rcpts=("<segv@example.org>",))
    assert is_held(send(native, "none", rcpts=("<alice@example.org>", "<segv@example.org>")))
    assert send(native, "none")[0] == mc.CONTINUE


def test_only_the_thread_that_crashed_is_blamed(native):
    """One is at its end for long while another crashes, twice: it is none of its doing."""
    for _ in range(2):
        slow = threading.Thread(target=send, args=(native, "sleep 30000"), kwargs={"message_id": "<slow@y>"})
        slow.start()
        time.sleep(0.3)
        crash(native, "segv")
        slow.join()
    assert native.log().count("suspects 1, held 0") == 1 and native.log().count("suspects 0, held 1") == 1


def test_an_innocent_beside_it_is_served_alone_and_acquitted(native):
    """A kill from outside names nobody: all in flight are suspects. Served one by one, who is innocent comes through."""
    slow = [threading.Thread(target=send, args=(native, "sleep 30000"), kwargs={"message_id": f"<{i}@y>"}) for i in range(3)]
    for t in slow:
        t.start()
    time.sleep(0.5)
    os.kill(native.worker(), signal.SIGKILL)
    for t in slow:
        t.join()
    wait_for(lambda: "suspects 3, held 0" in native.log() and native.workers())
    ends = []
    again = [threading.Thread(target=lambda i=i: ends.append(send(native, "sleep 30000" if i == 0 else "none", message_id=f"<{i}@y>")))
             for i in range(3)]
    for t in again:
        t.start()
        time.sleep(0.2)
    crash(native, "segv", message_id="<guilty@y>")
    for t in again:
        t.join()
    for i in (1, 2):
        assert send(native, "none", message_id=f"<{i}@y>")[0] == mc.CONTINUE, "no innocent is held"


def test_with_a_real_postfix_it_ends_in_the_hold_queue(mail):
    tool, postfix = mail
    bad = b"From: a@example.net\r\nMessage-ID: <bad@example.net>\r\nX-Act: segv\r\nSubject: bad\r\n\r\nboom\r\n"
    good = b"From: a@example.net\r\nMessage-ID: <good%d@example.net>\r\nSubject: good%d\r\n\r\nhello\r\n"

    def attempt(data):
        try:
            return postfix.send(["alice@example.org"], data)[1]
        except smtplib.SMTPResponseException as e:
            return e.smtp_code, e.smtp_error

    def deliver(n):
        return wait_for(lambda: attempt(good % (n, n))[0] == 250)

    for n in range(2):
        assert attempt(bad)[0] == 451
        deliver(n)
    wait_for(tool.workers)
    assert attempt(bad)[0] == 250
    deliver(2)
    assert len(postfix.queue("hold")) == 1 and tool.crashes() == 2
    for n in range(3):
        postfix.sink.mail_with(f"Subject: good{n}")
    assert len(postfix.sink.mails) == 3
    queue_id = postfix.queue("hold")[0].name
    assert "milter-hold" in postfix.log() and f"message {queue_id} killed the filter twice" in tool.log()
    assert "boom" in postfix.command("postcat", "-q", queue_id)
    postfix.command("postsuper", "-H", queue_id)
    postfix.command("postqueue", "-f")
    assert postfix.sink.mail_with("Subject: bad")
    assert tool.crashes() == 2 and len(postfix.sink.mails) == 4


def test_the_supervisor_gives_up_on_what_never_worked(tmp_path):
    b = milter_box.MilterBox()
    b.settings["database"] = "sqlite:/x"
    b.settings["socketmap"] = f"unix:{b.run}/no/such/folder"
    b.conf.write_text("")
    try:
        with pytest.raises(AssertionError):
            b.start()
        assert b.proc.wait(10) == 1
    finally:
        b.stop()


def test_the_worker_ends_with_its_supervisor(native):
    worker = native.worker()
    native.proc.kill()
    native.proc.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{worker}"))


def crashes_by_status(b):
    try:
        return mc.control(b.control, {"op": "status"})["crashes"]["crashes"]
    except (mc.Closed, OSError):
        return 0


def test_status_names_crashes():
    b = milter_box.MilterBox().start()
    try:
        assert mc.control(b.control, {"op": "status"})["crashes"]["crashes"] == 0
        os.kill(b.worker(), signal.SIGKILL)
        assert wait_for(lambda: crashes_by_status(b) == 1)
    finally:
        b.stop()


def waiting_threads(pid):
    """A thread that has just begun runs: it is not among them."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return {int(t.name) for t in tasks.iterdir() if "State:\tS" in (t / "status").read_text()}


class SilentDns:
    """A name server that hears and never answers: what asks it is at work until its deadline."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(20)
        self.address = "127.0.0.1@%d" % self.socket.getsockname()[1]

    def hear(self, name):
        while name.encode() not in self.socket.recv(600):
            pass


def test_a_dry_run_that_crashes_makes_no_message_a_suspect():
    """The crash of the thread of a basaltctl explain, while a message of somebody else is at its end; then one that names nobody."""
    dns = SilentDns()
    b = milter_box.MilterBox(dns_servers=dns.address)
    b.domain("example.org")
    b.account("alice@example.org")
    b.prefer("alice@example.org", "spf", "off")
    b.start()
    request = {"op": "explain", "from": "a@b.example", "rcpt": ["alice@example.org"], "client": "192.0.2.7", "client_name": "", "helo": "h",
               "login": "", "at": 0, "size": 1000}

    def at_its_end(name):
        c = mc.Milter(b.socket)
        c.connect()
        c.helo()
        c.mail(f"<a@{name}.example>")
        c.rcpt("<alice@example.org>")
        c.header("From", f" a@{name}.example")
        c.header("Message-ID", f" <innocent@{name}.example>")
        c.send(b"E")
        dns.hear(name)
        return c

    def suspects(crashes):
        wait_for(lambda: crashes_by_status(b) == crashes)
        return mc.control(b.control, {"op": "status"})["crashes"]["suspects"]

    try:
        first = at_its_end("first")
        worker = b.worker()
        before = {int(t) for t in os.listdir(f"/proc/{worker}/task")}
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(b.control))
            s.sendall(json.dumps(request).encode() + b"\nFrom: a@b.example\n")  # and the rest never comes
            thread = wait_for(lambda: waiting_threads(worker) - before).pop()
            assert ctypes.CDLL(None).tgkill(worker, thread, signal.SIGSEGV) == 0
            assert suspects(1) == 0
        second = at_its_end("second")
        os.kill(b.worker(), signal.SIGKILL)
        assert suspects(2) == 1
        del first, second
    finally:
        b.stop()
        dns.socket.close()
