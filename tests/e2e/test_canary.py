"""The canary: no text of a sealed account's mail stands readable anywhere, while sessions are open and after.

Every search has its control: the same mail with other tokens in a plain account, which has to be found in the places that
are searched. Exceptions are those of docs/THREATS.md, each by its file and the kind of token.
"""
import os
import re
import resource
import signal
import subprocess
import time

import pytest

import canary_scene as cs
import systems

LOGS = ("log/postfix.log", "log/milter.log")
PROXY_LOG = "log/lmtp-proxy.log"  # addresses, no Message-ID
SPOOL = re.compile(r"fd: tmp-plain/")  # the memory-backed folder, deleted files: mail on its way
CACHED = {"subject", "subject-word", "from-name", "from-address", "to-name", "to-address", "message-id"}


@pytest.fixture(scope="module")
def scene(every_system):
    return cs.Scene(every_system).play()


def is_named(sight, stage):
    """Does docs/THREATS.md name it?"""
    if sight.place == PROXY_LOG:
        return sight.kind == "sender"
    if sight.place in LOGS:
        return sight.kind in cs.ENVELOPE and sight.way.startswith(("smtp", "submission"))
    return stage == "open" and sight.way == "lmtp-open" and bool(SPOOL.match(sight.place))


def leaks(scene, stage):
    """Of the sealed account, and of mail to both accounts outside the plain one's home; without what is named."""
    return [s for s in scene.sightings[stage] if s.who != "plain"
            and not (s.who == "both" and s.place.startswith("@plain/")) and not is_named(s, stage)]


def seen(scene, who, stage="after", kinds=cs.KINDS):
    """{(way, kind): places}"""
    out = {}
    for s in scene.sightings[stage]:
        if s.who == who and s.kind in kinds:
            out.setdefault((s.way, s.kind), set()).add(s.place)
    return out


# --- the control ---


def piece_stands_in(files, token):
    """A plain account's mail is compressed: a token may be cut where three letters of it stood before by chance."""
    raw = b"".join(f.read_bytes() for f in files)
    return any(needle[at:at + 8] in raw for _, needle in cs.canary.needles(token) for at in range(len(needle) - 8))


@pytest.mark.limit(300)
@pytest.mark.parametrize("way", [*cs.WAYS, *cs.SHARED])
def test_control_stands_in_mail_files(scene, way):
    """Each kind of token, by each way in, is found in the plain account's mail files."""
    files = scene.system.mail_files(scene.accounts["plain"])
    who, names = "plain" if way in cs.WAYS else "both", {scene.place(str(f)) for f in files}
    places = seen(scene, who)
    missing = [k for k in cs.KINDS if not places.get((way, k), set()) & names]
    assert len(missing) <= 2
    assert [k for k in missing if not piece_stands_in(files, scene.tokens[who, way, k])] == []


def test_control_stands_in_the_index_cache(scene):
    cached = {s.kind for s in scene.sightings["after"] if s.who == "plain" and s.place.endswith("dovecot.index.cache")}
    assert cached >= CACHED


def test_control_stands_in_the_logs(scene):
    """Envelope sender and Message-ID of what came by SMTP, of either account: the searched logs are those in use."""
    for who in ("sealed", "plain"):
        for way in ("smtp", "smtp-big", "smtp-huge"):
            for kind in cs.ENVELOPE:
                assert seen(scene, who, kinds=cs.ENVELOPE)[way, kind] >= set(LOGS), (who, way, kind)


def test_control_stands_in_the_spool(scene):
    """While a big mail comes in by LMTP its text is in a deleted file of the tmpfs; the search sees that."""
    for who in ("sealed", "plain"):
        spooled = {s.kind for s in scene.sightings["open"]
                   if s.who == who and s.way == "lmtp-open" and SPOOL.match(s.place)}
        assert spooled >= set(cs.KINDS) - {"tail", "name-2231"}, who


def test_control_accounts_stand_in_the_databases(scene):
    """Names of accounts are not secret: they prove that the databases' files are searched."""
    names = {who: a.local for who, a in scene.accounts.items()}
    found = {(f.token, os.path.basename(f.where)) for f in cs.canary.scan_tree(scene.system.path("db"), names)}
    for who in names:
        files = {name for token, name in found if token == who}
        assert files & {"policy.db", "policy.db-wal", "accounts.ibd", "account.ibd", "ib_logfile0"}, found


# --- the sealed account ---


@pytest.mark.parametrize("stage", ["open", "after"])
def test_nothing_of_a_sealed_account_is_readable(scene, stage):
    assert leaks(scene, stage) == []


def thread_indexes(scene, who):
    """Bytes after the header of each thread index: a CRC-32 of each Message-ID and reference, and who answers whom."""
    return [f.stat().st_size - 8 for f in scene.system.home(scene.accounts[who]).rglob("dovecot.index.thread")]


def test_control_leaves_a_thread_index(scene):
    assert max(thread_indexes(scene, "plain"), default=0) >= 10 * len(cs.WAYS) // 2


def test_thread_index_of_a_sealed_account(scene):
    assert thread_indexes(scene, "sealed") == []


def test_spool_is_empty_after(scene):
    assert list(scene.system.path("tmp-plain").iterdir()) == []
    assert [s for s in scene.sightings["after"] if "tmp-plain" in s.place] == []


def test_queue_is_empty_after(scene):
    assert [s for s in scene.sightings["after"] if s.place.lstrip("fd: ").startswith("postfix")] == []


@pytest.mark.parametrize("stage", ["open", "after"])
def test_passwords_stand_nowhere(scene, stage):
    """No file, database, log, command line or environment, not of a plain account either, nor a wrong one."""
    assert scene.secret_finds[stage] == []


@pytest.mark.limit(180)
def test_the_queue_holds_mail_until_it_is_delivered(own_system):
    """The exception of Postfix's queue, and its end: nothing is left when the mail is where it belongs."""
    system = own_system(*systems.CHEAP_KDF)
    scene = cs.Scene(system)
    system.stop("dovecot")
    sender, mail = scene.mail("sealed", "smtp", 0)
    assert system.send(f"{sender}@out.example", [scene.accounts["sealed"].address], mail) == {}
    scene.search("waits")
    queued = {s.kind for s in scene.sightings["waits"] if re.match("postfix/(incoming|active|deferred)/", s.place)}
    assert queued == {*cs.KINDS, "sender"}
    elsewhere = [s for s in scene.sightings["waits"] if not s.place.startswith("postfix/") and s.place not in (*LOGS, PROXY_LOG)]
    assert elsewhere == []
    system.start()
    system.flush()
    system.settle()
    scene.search("after")
    assert leaks(scene, "after") == []
    assert system.suites(scene.accounts["sealed"]) == [systems.SUITE_SEALED]


# --- core files ---


def cores(began, *folders):
    """Files of the last seconds that could be cores, where the kernel puts them."""
    pattern = cs.pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    roots = {*map(str, folders), "/var/crash", "/var/lib/systemd/coredump"}
    roots |= {os.path.dirname(pattern)} if pattern.startswith("/") else set()
    return sorted(str(f) for root in roots for f in cs.pathlib.Path(root).glob("**/*core*" if root != "/" else "*core*")
                  if f.is_file() and f.stat().st_ctime > began and f.read_bytes()[:4] == b"\x7fELF")


def abort(pid):
    os.kill(pid, signal.SIGABRT)
    end = time.monotonic() + 60
    while systems.proc.start_time(pid) is not None:
        assert time.monotonic() < end
        time.sleep(0.02)


# An administrator may have asked for cores: without limit, and of processes that have changed their user.
WITH_CORES = ["--cores", "--set", f"dovecot.import_environment=TZ TMPDIR {systems.proc.MARK} PR_SET_DUMPABLE=1"]


@pytest.fixture(scope="module")
def system_with_cores():
    s = systems.System([*systems.CHEAP_KDF, *WITH_CORES])
    yield s.start()
    s.remove()


def test_control_leaves_a_core(tmp_path):
    """An ordinary process does leave a core where this test looks for one."""
    began, unlimited = time.time() - 1, resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert unlimited != 0, "the tests have to be started with a hard limit of core files that is not 0"
    child = subprocess.Popen(["cat"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (unlimited, unlimited)))
    child.stdin.write(b"it runs\n")
    assert child.stdout.readline() == b"it runs\n"
    child.send_signal(signal.SIGABRT)
    child.communicate()
    if cs.pathlib.Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        return  # the kernel gives cores to a program; below it is the limit and the process's own state that count
    assert cores(began, tmp_path) != []


def test_control_a_stock_imap_process_leaves_a_core(own_system):
    """So does Dovecot without Basalt: in the mail home, with the text of a mail in it."""
    system = own_system("--plain", *WITH_CORES)
    account, word, began = system.account(), cs.canary.ascii_tokens(["core"])["core"], time.time() - 1
    with system.imap(account) as imap:
        imap.select()  # its home is made, which is where imap works from then on
    imap = system.imap(account)
    imap.select()
    imap.append(cs.messages.make(word.encode() + b"\r\n"))
    abort(cs.server_process(system, imap.c.sock))
    imap.c.shutdown()
    if cs.pathlib.Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        return
    core, = cores(began, system.dir)
    assert word.encode() in cs.pathlib.Path(core).read_bytes()


@pytest.mark.parametrize("who", ["imap", "pop3", "lmtp", "auth", "keyd", "milter"])
def test_no_core_of_a_process_with_plaintext(system_with_cores, who):
    """Aborted while they hold plaintext, passwords or keys, and allowed to leave a core of any size."""
    system, began, folders = system_with_cores, time.time() - 1, []
    account = system.account("private")
    sent = cs.messages.make(cs.messages.text(200_000, seed=8))
    assert system.send("x@out.example", [account.address], sent) == {}
    system.settle()
    with system.imap(account) as imap:
        imap.select()
        assert imap.part(1).endswith(sent)
        pop = system.pop3(account)
        pop.retr(1)
        if who in ("keyd", "milter"):
            pids = system.pids(who)
        elif who == "auth":
            pids = system.pids("dovecot", "auth")
        else:
            pids = [cs.server_process(system, {
                "imap": lambda: imap.c.sock, "pop3": lambda: pop.sock,
                "lmtp": lambda: cs.HalfSent(system, "lmtp-open", account, "x", sent).sock}[who]())]
        assert pids
        for pid in pids:
            try:
                limits = cs.pathlib.Path(f"/proc/{pid}/limits").read_text()
                folders.append(os.readlink(f"/proc/{pid}/cwd"))
                assert re.search(r"Max core file size +(\w+)", limits)[1] != "0" or who in ("keyd", "milter"), limits
                assert os.stat(f"/proc/{pid}/mem").st_uid == 0, "its memory belongs to its user: it is dumpable"
            except FileNotFoundError:
                continue  # ended with the one before
            abort(pid)
        pop.close()
    assert cores(began, system.dir, *folders) == []
    system.start()
