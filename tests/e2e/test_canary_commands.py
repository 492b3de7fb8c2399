"""The canary over every command: IMAP, POP3, LMTP, Sieve and doveadm, with debug logs on, and the disk watched meanwhile.

A system whose folder is a small file system of its own: whatever is written to it, or by its processes to the host's,
is read when it is closed, a file that lives for a moment too. The plain account is the control.
"""
import os
import re
import subprocess
import sys

import pytest

import canary
import canary_commands as cc
import canary_scene as cs
import messages
import probes
import systems
import watch
from test_canary import LOGS, PROXY_LOG, is_named

EXTRA = ("bcc", "reply-to", "sender-header", "references", "in-reply-to", "x-topic", "x-own", "description", "content-id")
KINDS = (*cs.KINDS, *EXTRA)
SIEVE = {"sieve-file": 0, "sieve-vacation": 0, "sieve-redirect": 300_000}
IN_MEMORY = re.compile(r"tmp-plain/(basalt-\d+/[0-9a-f]+/\.dovecot\.lda-dupes|[^/]*\.sieve\.log)$")
SENT_ON = ("sieve-vacation", "sieve-redirect")  # by Postfix: its queue and the logs of MTAs, as docs/THREATS.md says
WAYS = {"lmtp": 0, "lmtp-big": 300_000, "multi-1": 0, "multi-2": 70_000, "binary": 150_000, "catenate": 0, "doveadm-save": 0,
        **SIEVE}
QUEUE = re.compile(r"(fd: )?postfix/(incoming|active|maildrop|deferred)/")
DEBUG = """mail_debug=yes
auth_debug = yes
auth_verbose = yes
verbose_proctitle = yes
imap_id_log = *
mail_attribute_dict = file:%h/dovecot-attributes
protocol imap {
  mail_plugins = $mail_plugins zlib imap_zlib
  imap_metadata = yes
  imap_urlauth_host = localhost
}
"""
SCRIPT = """require ["fileinto", "vacation", "copy", "duplicate", "mailbox", "variables", "vnd.dovecot.debug"];
if header :contains "X-Way" "sieve" {{
  if header :matches "subject" "*" {{ debug_log "it is ${{1}}"; }}
  if duplicate {{ discard; stop; }}
}}
if header "X-Way" "sieve-redirect" {{ redirect :copy "{target}"; }}
if header "X-Way" "sieve-vacation" {{ vacation :days 1 :addresses "{own}" "I am away"; }}
if header "X-Way" "sieve-file" {{ fileinto :create "Filed"; }}
"""


def message(t, way, pad, address):
    """A canary's message with more headers; its From and Cc are what Sieve's vacation wants to see."""
    more = [f"Cc: <{address}>", f"Bcc: \"{t['bcc']}\" <somebody@example.net>", f"Reply-To: {t['reply-to']} <r@out.example>",
            f"Sender: {t['sender-header']} <s@out.example>", f"References: <{t['references']}@out.example>",
            f"In-Reply-To: <{t['in-reply-to']}@out.example>", f"X-Topic: {t['x-topic']}", f"X-Own: {t['x-own']}",
            f"Content-Description: {t['description']}", f"Content-ID: <{t['content-id']}@out.example>", f"X-Way: {way}"]
    return cs.message(t, pad).replace(b"MIME-Version: 1.0\r\n", "\r\n".join([*more, "MIME-Version: 1.0\r\n"]).encode(), 1)


class Scene(cs.Scene):
    def __init__(self, system, storage, ways):
        self.storage = storage
        names = [(who, way, kind) for who in ("sealed", "plain") for way in ways for kind in KINDS]
        names += [("both", "lmtp-both", kind) for kind in KINDS] + [("control", "moment", "subject")]
        super().__init__(system, {n: t.replace("ü", "u") if n[2] in EXTRA else t for n, t in cs.tokens(names).items()})
        self.friend, self.target = system.account("private", "friend"), system.account("private", "target")
        self.answers, self.written, self.ways, self.marks = {}, self.sieve(self.tokens), ways, {}
        self.watch = watch.Watch(system.dir, self.note, self.is_ours)

    def mail(self, who, way):
        t = {kind: self.tokens[who, way, kind] for kind in KINDS}
        return message(t, way, WAYS.get(way, 200_000), self.accounts["plain" if who == "both" else who].address)

    def words(self, who):
        def of(kind):
            return self.tokens[who, "lmtp", kind].split("ü")[0]
        return {"subject": of("subject"), "from": of("from-name"), "to": of("to-address"), "body": of("body-8bit"),
                "id": of("message-id"), "name": of("name"), "validity": self.validity}

    def place(self, where):
        for account in (self.friend, self.target):
            where = where.replace(str(self.system.home(account)), f"@sealed/{account.local}")
        return super().place(where)

    # --- the watch ---

    def is_ours(self, pid):
        if pid not in self.marks:
            try:
                self.marks[pid] = systems.proc.is_marked(pid, self.system.dir, "")
            except OSError:
                return None
        return self.marks[pid]

    def note(self, where, fp):
        self.written.feed(where + " (its name)", os.fsencode(where))
        self.written.feed_file(where, fp)

    def moment(self):
        """The control: files that no search finds."""
        token = self.tokens["control", "moment", "subject"]
        program = ("import os, sys\nfor p in sys.argv[2:]:\n f = open(p, 'wb'); f.write(sys.argv[1].encode()); f.flush(); "
                   "os.unlink(p); f.close()\nfd = os.open(os.path.dirname(sys.argv[2]), os.O_TMPFILE | os.O_RDWR)\n"
                   "os.write(fd, sys.argv[1].encode())")
        subprocess.run([sys.executable, "-c", program, token, self.system.dir / "moment", "/var/tmp/basalt-moment"],
                       env={systems.proc.MARK: f"{self.system.dir}:"}, check=True)

    # --- what is done ---

    def script(self, account):
        home = self.system.home(account)
        home.mkdir(parents=True, exist_ok=True)
        (home / ".dovecot.sieve").write_text(SCRIPT.format(target=self.target.address, own=account.address))
        (home / ".dovecot.lda-dupes").write_bytes(b"from when it was not sealed")
        for path in (home.parent, home, *home.glob(".dovecot.*")):
            os.chown(path, probes.UID_MAIL, probes.UID_MAIL)

    def bring_in(self, who, account):
        if "sieve-file" in self.ways:
            self.script(account)
        with self.system.lmtp() as lmtp:
            for way in ("lmtp", "lmtp-big", *(w for w in self.ways if w in SIEVE)):
                sender = self.friend.address if way in SIEVE else f"{way}@out.example"
                for _ in range(2 if way in SIEVE else 1):  # the second one is a duplicate
                    (code, text), = lmtp.deliver(sender, [account.address], self.mail(who, way))[account.address]
                    assert code == 250, text
        with self.system.imap(account) as imap:
            cc.run_append(imap, ([self.mail(who, "multi-1"), self.mail(who, "multi-2")], self.mail(who, "binary"),
                                 self.mail(who, "catenate")))
            imap.select()
            self.validity = imap.c.response("UIDVALIDITY")[1][0].decode()
        p = subprocess.run(["doveadm", "-c", self.system.env["DOVECOT_CONF"], "save", "-u", account.address], cwd="/",
                           input=self.mail(who, "doveadm-save"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert p.returncode == 0, p.stdout

    def use(self, who, account):
        with self.system.imap(account) as imap:
            self.answers[who] = cc.run_imap(imap, self.words(who))
        pop = self.system.pop3(account)
        cc.run_pop3(pop)
        pop.quit()
        at = {"sdbox": "mail/mailboxes/INBOX/dbox-Mails", "mdbox": "mail/mailboxes/INBOX/dbox-Mails", "maildir": "Maildir"}
        index = self.system.home(account) / at[self.storage]
        cc.run_doveadm(self.system, account, self.words(who), index)

    def play(self):
        with self.watch:
            self.moment()
            with self.system.lmtp() as lmtp:
                both = [a.address for a in self.accounts.values()]
                replies = lmtp.deliver("both@out.example", both, self.mail("both", "lmtp-both"))
                assert [code for r in replies.values() for code, _ in r] == [250, 250]
            for who, account in self.accounts.items():
                self.bring_in(who, account)
                self.use(who, account)
            self.system.settle()
        self.search("after")
        self.sightings["written"] = [cs.Sight(*f.token, self.place(f.where)) for f in self.written.finds()]
        return self


@pytest.fixture(scope="module", params=["sdbox", pytest.param("mdbox", marks=pytest.mark.long),
                                        pytest.param("maildir", marks=pytest.mark.long)])
def scene(request):
    sieve = ["--sieve"] if systems.has_sieve() else []
    with watch.Disk() as disk:
        system = systems.System([*systems.CHEAP_KDF, *sieve, "--set", "dovecot." + DEBUG], where=disk.dir, storage=request.param)
        try:
            yield Scene(system.start(), request.param, WAYS if sieve else {w: n for w, n in WAYS.items() if w not in SIEVE}).play()
        except watch.Unsupported as e:
            pytest.skip(f"the disk can't be watched here: {e}")
        finally:
            system.remove()


def leaks(scene, stage):
    plain = ("@plain", scene.accounts["plain"].address)  # its home, and what doveadm has made of it
    return [s for s in scene.sightings[stage] if s.who in ("sealed", "both")
            and not (s.who == "both" and any(p in s.place for p in plain)) and not is_named(s, "after")
            and not (s.way in SIEVE and stage == "after" and IN_MEMORY.match(s.place))
            and not (s.way in SENT_ON and (QUEUE.match(s.place) or s.place in (*LOGS, PROXY_LOG) and s.kind in cs.ENVELOPE))]


def places(scene, stage, who, way=None):
    return {s.place for s in scene.sightings[stage] if s.who == who and way in (None, s.way)}


# --- the control ---


def test_control_the_watch_sees_a_moment(scene):
    """A file that is gone at once, in the system's folder and on the host's disk, and one that never had a name."""
    seen = {os.path.basename(p.removesuffix(" (deleted)")) for p in places(scene, "written", "control")}
    assert {"moment", "basalt-moment"} <= seen and len(seen) == 3, seen
    assert places(scene, "after", "control") == set()


def test_control_the_watch_sees_plain_mail(scene):
    """Each kind of token of each way in, as it was written."""
    missing = {(way, kind) for way in scene.ways for kind in KINDS} - \
        {(s.way, s.kind) for s in scene.sightings["written"] if s.who == "plain"}
    # Compression may cut a token in two; catenated mail has its text from another one.
    missing = {(way, kind) for way, kind in missing if way != "catenate" or kind in cs.HEADER}
    assert len(missing) <= 6, missing


def test_control_stands_in_the_index_cache_of_the_plain_account(scene):
    for stage in ("written", "after"):
        assert any(p.startswith("@plain/") and "dovecot.index.cache" in p for p in places(scene, stage, "plain"))


def test_control_commands_show_the_mail(scene):
    """The sealed account's commands did read: its FETCHes bring each token in the clear, its searches find."""
    for who in ("sealed", "plain"):
        shown = b"".join(scene.answers[who].values())
        hits = {n for n, _ in canary.find_in_bytes(shown, {k: t for k, t in scene.tokens.items() if k[:2] == (who, "lmtp")})}
        assert {kind for _, _, kind in hits} == set(KINDS)
        for line, answer in scene.answers[who].items():
            if re.match(r"SEARCH (SUBJECT|FROM|TO|BODY|TEXT|HEADER Message-ID)", line):
                assert re.search(rb"\* SEARCH( \d+)+", answer), (who, line, answer)


def test_commands_answer_alike(scene):
    """What searches say is the same for both accounts, but where the time or random words decide."""
    compared = [line for line in cc.IMAP if line.startswith(("SEARCH", "SORT (ARRIVAL)", "THREAD REFERENCES"))
                and "OLDER" not in line and "YOUNGER" not in line]
    assert len(compared) > 45
    differ = {line: [re.sub(rb"\(TAG .*?\)|MODSEQ \d+", b"", scene.answers[who][line]) for who in scene.accounts] for line in compared}
    assert {line: answers for line, answers in differ.items() if answers[0] != answers[1]} == {}


# --- the sealed account ---


@pytest.mark.parametrize("stage", ["written", "after"])
def test_nothing_of_a_sealed_account_is_readable(scene, stage):
    found = {}
    for s in leaks(scene, stage):
        found.setdefault(s.place, set()).add((s.way, s.kind))
    assert found == {}


def test_no_thread_index_of_a_sealed_account(scene):
    """Not for a moment: it would hold a CRC of each Message-ID and who answers whom."""
    written = {scene.place(p).split("/")[0] for p in scene.watch.paths if "dovecot.index.thread" in p}
    assert written == {"@plain"}


# --- Sieve ---


@pytest.fixture
def sieve(scene):
    if "sieve-file" not in scene.ways:
        pytest.skip("dovecot-sieve is not installed")


def test_sieve_did_its_work(scene, sieve):
    for who, account in scene.accounts.items():
        with scene.system.imap(account) as imap:
            assert imap.select("Filed") == 1  # the second was a duplicate
    for account, marks in ((scene.target, ["sieve-redirect"]), (scene.friend, ["sieve-vacation"])):
        with scene.system.imap(account) as imap:
            assert imap.select() == 2
            shown = b"".join(imap.part(uid) for uid in imap.uids())
        for who in scene.accounts:
            assert scene.tokens[who, marks[0], "subject"].encode() in shown
    assert set(scene.system.suites(scene.friend) + scene.system.suites(scene.target)) == {systems.SUITE_SEALED}


def test_sieve_remembers_in_memory(scene, sieve):
    """The plain account's duplicates lie in its home, as Dovecot has it; the sealed one's are on the tmpfs, for its user alone."""
    homes = {who: [f.name for f in scene.system.home(a).rglob("*dupes*")] for who, a in scene.accounts.items()}
    assert homes["sealed"] == [] and ".dovecot.lda-dupes" in homes["plain"]
    kept, = scene.system.path("tmp-plain").glob(f"basalt-{probes.UID_MAIL}/*/.dovecot.lda-dupes")
    assert os.stat(kept.parent.parent).st_mode & 0o777 == 0o700
    assert any(p.startswith("@plain/.dovecot.lda-dupes") for p in places(scene, "written", "plain"))


def test_sieve_names_no_addresses(scene, sieve):
    """In the log of Dovecot: of the sealed account's mails none, of the plain account's some."""
    lines = [line for line in scene.system.log("dovecot").splitlines() if "redirect action: forwarded" in line]
    assert {("sealed" if scene.accounts["sealed"].address in line else "plain", scene.target.address in line)
            for line in lines} == {("sealed", False), ("plain", True)}
