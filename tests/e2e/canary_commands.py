"""canary_commands: every command of IMAP, POP3 and doveadm that touches mail, for the canary to be run over.

IMAP: RFC 3501 and each extension that Dovecot 2.3.19 offers. {WORD} is filled in by the scene; `?` at the start of a line
means that a refusal is right, too (no key without a login, nothing there).
"""
import re
import zlib

# Text of the mail that is searched for: {subject} {from} {to} {body} {id}; {validity} is INBOX's UIDVALIDITY.
IMAP = """
CAPABILITY
NOOP
ID ("name" "canary" "version" "1")
NAMESPACE
ENABLE CONDSTORE QRESYNC
CREATE Work
CREATE Work/Deep
SUBSCRIBE Work
LIST "" "*"
LIST (SUBSCRIBED RECURSIVEMATCH) "" "*" RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE))
LIST "" "*" RETURN (SUBSCRIBED CHILDREN)
LSUB "" "*"
?XLIST "" "*"
STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)
EXAMINE INBOX
UNSELECT
SELECT INBOX (QRESYNC ({validity} 1 1:99))
FETCH 1:* ALL
FETCH 1:* FULL
FETCH 1:* FAST
FETCH 1:* (FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE MODSEQ SAVEDATE X-GUID X-MAILBOX X-REAL-UID)
FETCH 1:* (PREVIEW)
FETCH 1:* (PREVIEW (LAZY))
FETCH 1:* (SNIPPET)
FETCH 1:* (SNIPPET (LAZY=FUZZY))
FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO CC BCC REPLY-TO SENDER MESSAGE-ID REFERENCES IN-REPLY-TO X-TOPIC X-OWN DATE)])
FETCH 1:* (BODY.PEEK[HEADER.FIELDS.NOT (RECEIVED)])
FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[TEXT]<0.2000>)
FETCH 1:* (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[3] BODY.PEEK[4.MIME] BODY.PEEK[5])
FETCH 1:* (BODY.PEEK[4]<100.70000> BODY.PEEK[]<5.900>)
FETCH 1:* (BINARY.SIZE[2] BINARY.SIZE[4] BINARY.PEEK[2] BINARY.PEEK[3] BINARY.PEEK[4] BINARY.PEEK[4]<7.90000>)
FETCH 1:* (BINARY[3])
FETCH 1 (RFC822)
FETCH 1:* (RFC822.HEADER RFC822.TEXT)
FETCH 1:* (BODY[])
FETCH 1:* (FLAGS) (CHANGEDSINCE 1)
UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)
SEARCH ALL
SEARCH ANSWERED
SEARCH BCC "{to}"
SEARCH BEFORE 1-Jan-2030
SEARCH BODY "{body}"
SEARCH CC "{to}"
SEARCH DELETED
SEARCH DRAFT
SEARCH FLAGGED
SEARCH FROM "{from}"
SEARCH HEADER Message-ID "{id}"
SEARCH HEADER X-Own "{to}"
SEARCH HEADER References ""
SEARCH KEYWORD $Label
SEARCH LARGER 1000
SEARCH NEW
SEARCH NOT SUBJECT "{subject}"
SEARCH OLD
SEARCH ON 1-Jan-2026
SEARCH OR SUBJECT "{subject}" TEXT "{body}"
SEARCH RECENT
SEARCH SEEN
SEARCH SENTBEFORE 1-Jan-2030
SEARCH SENTON 2-Mar-2026
SEARCH SENTSINCE 1-Jan-2020
SEARCH SINCE 1-Jan-2020
SEARCH SMALLER 1000
SEARCH SUBJECT "{subject}"
SEARCH TEXT "{body}"
SEARCH TO "{to}"
SEARCH UID 1:*
SEARCH UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNKEYWORD $Label UNSEEN
SEARCH MODSEQ 1
SEARCH OLDER 1
SEARCH YOUNGER 100000
SEARCH INTHREAD REFERENCES SUBJECT "{subject}"
SEARCH INTHREAD REFS SUBJECT "{subject}"
SEARCH X-GUID nothing
SEARCH FUZZY SUBJECT "{subject}"
SEARCH SAVEDBEFORE 1-Jan-2030
SEARCH SAVEDSINCE 1-Jan-2020
SEARCH SAVEDON 1-Jan-2020
SEARCH MIMEPART (CHILD EXISTS DISPOSITION TYPE attachment)
SEARCH MIMEPART (FILENAME CONTAINS "{name}")
SEARCH CHARSET UTF-8 TEXT "{body}"
SEARCH RETURN (MIN MAX COUNT ALL) TEXT "{subject}"
SEARCH RETURN (SAVE) SUBJECT "{subject}"
FETCH $ (UID ENVELOPE)
SEARCH RETURN (PARTIAL 1:10) TEXT "{subject}"
SEARCH RETURN (RELEVANCY) FUZZY TEXT "{subject}"
UID SEARCH RETURN (UPDATE COUNT) SUBJECT "{subject}"
SORT (ARRIVAL) UTF-8 ALL
SORT (CC) UTF-8 ALL
SORT (DATE) UTF-8 ALL
SORT (FROM) UTF-8 ALL
SORT (REVERSE SIZE) UTF-8 ALL
SORT (SUBJECT) UTF-8 ALL
SORT (TO) UTF-8 ALL
SORT (DISPLAYFROM) UTF-8 ALL
SORT (DISPLAYTO) UTF-8 ALL
SORT RETURN (COUNT MIN MAX) (SUBJECT FROM) UTF-8 TEXT "{subject}"
UID SORT (SUBJECT) UTF-8 ALL
THREAD ORDEREDSUBJECT UTF-8 ALL
THREAD REFERENCES UTF-8 ALL
THREAD REFS UTF-8 ALL
UID THREAD REFERENCES UTF-8 TEXT "{subject}"
STORE 1 +FLAGS (\\Flagged $Label)
STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Answered)
STORE 1 -FLAGS.SILENT (\\Answered)
UID STORE 1 FLAGS (\\Seen)
CHECK
COPY 1:2 Work
UID COPY 1 Work/Deep
MOVE 2 Work
UID MOVE 3 Work
NOTIFY SET (SELECTED (MessageNew (UID FLAGS ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge)) (PERSONAL (MessageNew MessageExpunge MailboxName))
IDLE
NOTIFY NONE
?SETMETADATA INBOX (/private/comment "of the folder")
?GETMETADATA INBOX (/private/comment)
?GENURLAUTH "imap://localhost/INBOX/;UID=1;URLAUTH=anonymous" INTERNAL
?URLFETCH "imap://localhost/INBOX/;UID=1;URLAUTH=anonymous:internal:91354a473744909de610943775f92038"
?RESETKEY
SELECT Work
FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)
STORE 1 +FLAGS (\\Deleted)
UID EXPUNGE 1:*
STORE 1 +FLAGS (\\Deleted)
EXPUNGE
CLOSE
SELECT Work/Deep
FETCH 1:* (BODY[])
CLOSE
RENAME Work Job
UNSUBSCRIBE Work
DELETE Job/Deep
DELETE Job
SELECT INBOX
FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)
COMPRESS DEFLATE
NOOP
FETCH 1:* (BODY.PEEK[])
UNSELECT
LOGOUT
""".strip().splitlines()

POP3 = """
CAPA
STAT
LIST
LIST 1
UIDL
UIDL 1
TOP 1 5
TOP 2 0
RETR 1
RETR 2
RETR 3
?LAST
NOOP
DELE 3
RSET
?XOIP
""".strip().splitlines()

# Arguments after `doveadm`; USER is the account, DIR the system's folder, INDEX the folder of INBOX's index.
DOVEADM = """
index -u USER INBOX
?search -u USER mailbox INBOX SUBJECT {subject}
?search -u USER text {body}
?fetch -u USER text mailbox INBOX
?fetch -u USER hdr mailbox INBOX
?fetch -u USER body.preview mailbox INBOX
?fetch -u USER imap.envelope mailbox INBOX
?fetch -u USER guid,uid,flags,size.physical,date.received all
mailbox list -u USER
mailbox status -u USER all *
?mailbox metadata list -u USER INBOX
?mailbox cache decision -u USER INBOX
dump INDEX
?dump INDEX/dovecot.index.cache
?dump INDEX/dovecot.index.log
flags add -u USER \\Flagged mailbox INBOX 1
mailbox create -u USER Shelf
?copy -u USER Shelf mailbox INBOX uid 1
?move -u USER Shelf mailbox INBOX uid 2
?deduplicate -u USER -m mailbox Shelf
?expunge -u USER mailbox Shelf 1
purge -u USER
force-resync -u USER *
?backup -u USER sdbox:DIR/mail/backup-USER
?sync -1 -u USER sdbox:DIR/mail/sync-USER
?import -u USER sdbox:DIR/mail/backup-USER Imported all
?altmove -u USER mailbox INBOX 1
?rebuild attachments -u USER all
?mailbox delete -u USER Shelf
who
log errors
?stats dump
""".strip().splitlines()


class Imap:
    """Commands with non-synchronizing literals over a logged in imaplib connection; what comes back, whole."""

    def __init__(self, imap):
        self.sock, self.file, self.number = imap.c.sock, imap.c.file, 0
        self.inflate, self.waiting = None, b""

    def send(self, data):
        if self.inflate:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.sock.sendall(data)

    def take(self, enough):
        """Bytes from the server until enough(them) says how many are wanted."""
        while (n := enough(self.waiting)) is None:
            data = self.file.read1(1 << 16)
            assert data, "the server hung up"
            self.waiting += self.inflate.decompress(data) if self.inflate else data
        data, self.waiting = self.waiting[:n], self.waiting[n:]
        return data

    def line(self):
        return self.take(lambda w: w.index(b"\n") + 1 if b"\n" in w else None)

    def __call__(self, command):
        """(the tagged answer, everything before it)"""
        self.number += 1
        tag = b"c%d" % self.number
        self.send(tag + b" " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        out = []
        while True:
            out.append(self.line())
            while m := re.search(rb"\{(\d+)\}\r\n$", out[-1]):
                n = int(m[1])
                out += [self.take(lambda w: n if len(w) >= n else None), self.line()]
            if out[-1].startswith(b"+ "):
                self.send(b"DONE\r\n")  # IDLE
            if out[-1].startswith(tag + b" "):
                break
        if command == "COMPRESS DEFLATE" and b" OK" in out[-1]:
            self.inflate, self.deflate = zlib.decompressobj(-15), zlib.compressobj(6, zlib.DEFLATED, -15)
        return out.pop().partition(b" ")[2], b"".join(out)


def literal(data):
    return b"{%d+}\r\n" % len(data) + data


def run_imap(imap, words):
    """All of IMAP; {command: what came back}. imap: clients.Imap, logged in."""
    raw, answers, refused = Imap(imap), {}, []
    for line in IMAP:
        command = line.lstrip("?")
        for name, value in words.items():
            command = command.replace("{%s}" % name, value)
        status, data = raw(command)
        if not line.startswith("?") and not status.startswith(b"OK"):
            refused.append((command, status))
        answers[line] = data
    assert refused == []
    return answers


def run_append(imap, mails):
    """APPEND in its forms: MULTIAPPEND, a binary literal, CATENATE of what is there and of text."""
    raw = Imap(imap)
    multi, binary, whole = mails
    status, _ = raw(b"APPEND INBOX " + literal(multi[0]) + b" (\\Seen) " + literal(multi[1]))
    assert status.startswith(b"OK"), status
    status, _ = raw(b"APPEND INBOX ~" + literal(binary))
    assert status.startswith(b"OK"), status
    status, data = raw("SELECT INBOX")
    count = int(re.search(rb"\* (\d+) EXISTS", data)[1])
    uid = int(re.search(rb"UID (\d+)", raw(f"FETCH {count} (UID)")[1])[1])
    head, _, _ = whole.partition(b"\r\n\r\n")
    status, _ = raw(b"APPEND INBOX CATENATE (TEXT " + literal(head + b"\r\n\r\n") + b' URL "/INBOX/;UID=%d/;SECTION=TEXT")' % uid)
    assert status.startswith(b"OK"), status
    return raw


def run_pop3(pop):
    """All of POP3 on a poplib connection; QUIT is the caller's."""
    for line in POP3:
        command = line.lstrip("?")
        try:
            if command == "CAPA" or command in ("LIST", "UIDL") or command.startswith(("TOP", "RETR")):
                pop._longcmd(command)
            else:
                pop._shortcmd(command)
        except Exception as e:
            assert line.startswith("?"), (line, e)


def run_doveadm(system, account, words, index):
    """{line: (exit status, output)}"""
    answers = {}
    for line in DOVEADM:
        command = line.lstrip("?")
        for name, value in {**{"{%s}" % n: v for n, v in words.items()}, "USER": account.address, "INDEX": str(index),
                            "DIR": str(system.dir)}.items():
            command = command.replace(name, value)
        status, out = system.doveadm(*command.split())
        assert line.startswith("?") or status == 0, (command, status, out)
        answers[line] = status, out
    return answers
