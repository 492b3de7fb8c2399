"""keyproto: a client of basalt-keyd's sockets for tests (docs/PROTOCOL.keyd.md), Python's standard library alone.

    with Client(run_dir + "/control") as c:
        status, payload = c.call(STATUS)
    c.login("alice@example.org", "secret", "imap")     # raises KeydError unless the status is OK
"""
import contextlib
import socket
import struct

VERSION = 1
LOGIN, EXISTS, ATTACH, UNWRAP, SUBKEY, RECORD, KEYSET, CLOSE, LOGIN_MEMBER, ENROL_LOGIN = range(1, 11)
RESUME_TOKEN, DROP_TOKEN, HOLDS, KEYSET_OF = 11, 13, 14, 15
ENDED = 12  # keyd's last word in a session
BY_ADMIN, KEYS_CHANGED, REMOVED = 1, 2, 3
ENROL, PASSWD, REMOVE, STATUS, SET_FLAGS = range(16, 21)
SLOTS, ADD_SLOT, REMOVE_SLOT, ROTATE, CHANGE_PASSWORD, RESET, HEAL, RESTORE, DROP_KEY, OPEN, SESSIONS, END_SESSIONS, KEYS = range(21, 34)
RESTORE_KEYSET, KEYSET_DIGEST = 34, 35
OTHER_ACCOUNT, OLDER = 1, 2  # flags of RESTORE_KEYSET
ALL_OPCODES = (*range(1, 12), 13, 14, 15, *range(16, 36))
SLOT_PASSWORD, SLOT_APP, SLOT_RECOVERY, SLOT_MEMBER, SLOT_ESCROW = range(1, 6)
PENDING = 1  # a slot's flag
COMPROMISED, CHANGE_PENDING, UNDO = 1, 2, 4
NO_SESSION = 1
SEALED = 1
FRAME_MAX = 320 * 1024

(OK, NOMEM, IO, TIMEOUT, BUSY, UNAVAIL, CONFLICT, SHORT, FORMAT, E_VERSION, LIMIT, AUTH, NOKEY, ACCOUNT, DENIED, NOENT,
 EXISTS_ALREADY, PERM, TOKEN, ROLLBACK, WEAK, CONF, CRYPTO, INTERNAL, ARG) = range(25)


class KeydError(Exception):
    """A status other than OK."""

    def __init__(self, status):
        super().__init__(f"keyd answered {status}")
        self.status = status


class Closed(Exception):
    """The daemon closed the connection."""


def str16(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">H", len(data)) + data


def frame(opcode, payload=b"", request_id=1, status=0, version=VERSION):
    body = struct.pack(">BBHI", version, opcode, status, request_id) + payload
    return struct.pack(">I", len(body)) + body


class Fields:
    """Reads a payload field by field."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        if n > len(self.data):
            raise ValueError("payload is too short")
        head, self.data = self.data[:n], self.data[n:]
        return head

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def str16(self):
        return self.take(self.number(2))

    def str32(self):
        return self.take(self.number(4))

    def done(self):
        if self.data:
            raise ValueError("payload has bytes left over")


class Client(contextlib.AbstractContextManager):
    def __init__(self, path, timeout=15):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.next_id = 1

    def __exit__(self, *exc):
        self.sock.close()

    # --- frames ---

    def read_exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                got = self.sock.recv(n - len(data))
            except ConnectionResetError:
                got = b""
            if not got:
                raise Closed
            data += got
        return data

    def read_frame(self):
        """(opcode, status, request id, payload)"""
        length, = struct.unpack(">I", self.read_exactly(4))
        assert 8 <= length <= FRAME_MAX
        body = self.read_exactly(length)
        version, opcode, status, request_id = struct.unpack(">BBHI", body[:8])
        assert version == VERSION
        return opcode, status, request_id, body[8:]

    def send(self, opcode, payload=b""):
        request_id, self.next_id = self.next_id, self.next_id + 1
        self.sock.sendall(frame(opcode, payload, request_id))
        return request_id

    def call(self, opcode, payload=b""):
        """(status, payload)"""
        sent = self.send(opcode, payload)
        got, status, request_id, reply = self.read_frame()
        assert (got, request_id) == (opcode, sent)
        assert status == OK or reply == b"", "a failure carries no payload"
        return status, reply

    def ask(self, opcode, payload=b""):
        status, reply = self.call(opcode, payload)
        if status != OK:
            raise KeydError(status)
        return Fields(reply)

    def closes(self):
        """True when the daemon closes, with nothing more to say."""
        try:
            self.read_exactly(1)
        except Closed:
            return True
        except TimeoutError:
            return False
        return False

    def ends(self):
        """Why keyd ends the session; it closes after that."""
        opcode, status, request_id, payload = self.read_frame()
        assert (opcode, status, request_id, len(payload)) == (ENDED, OK, 0, 1) and self.closes()
        return payload[0]

    # --- operations ---

    def login(self, user, password, service="imap", flags=0):
        """(sealed, token or None, account id)"""
        f = self.ask(LOGIN, str16(user) + str16(password) + str16(service) + bytes([flags]))
        sealed = f.number(1)
        token = None if flags & NO_SESSION else f.take(32)
        account = f.take(16)
        f.done()
        return sealed, token, account

    def open(self, user, secret, service="reseal", flags=0):
        """A token by a secret that need not log in."""
        f = self.ask(OPEN, str16(user) + str16(secret) + str16(service) + bytes([flags]))
        f.number(1)
        return None if flags & NO_SESSION else f.take(32)

    def login_member(self, shared, member, password, service="imap", flags=0):
        f = self.ask(LOGIN_MEMBER, b"".join(map(str16, (shared, member, password, service))) + bytes([flags]))
        f.number(1)
        return None if flags & NO_SESSION else f.take(32)

    def exists(self, user):
        self.ask(EXISTS, str16(user)).done()

    def attach(self, token, user, service="imap"):
        """(account id, sealed, record)"""
        f = self.ask(ATTACH, token + str16(user) + str16(service))
        result = f.take(16), f.number(1), f.str16()
        f.done()
        return result

    def unwrap(self, prefixes):
        """A list of data keys, or of statuses where there is none."""
        f = self.ask(UNWRAP, struct.pack(">H", len(prefixes)) + b"".join(map(str16, prefixes)))
        assert f.number(2) == len(prefixes)
        result = []
        for _ in prefixes:
            status = f.number(2)
            result.append(f.take(32) if status == OK else status)
        f.done()
        return result

    def subkey(self, purpose, guid, epoch):
        f = self.ask(SUBKEY, bytes([purpose]) + guid + struct.pack(">Q", epoch))
        key = f.take(32)
        f.done()
        return key

    def resume_token(self):
        f = self.ask(RESUME_TOKEN)
        token = f.take(32)
        f.done()
        return token

    def drop_token(self, token):
        self.ask(DROP_TOKEN, token).done()

    def record(self, user):
        f = self.ask(RECORD, str16(user))
        record = f.str16()
        f.done()
        return record

    def keyset(self):
        f = self.ask(KEYSET)
        blob = f.str32()
        f.done()
        return blob

    def keyset_of(self, user):
        f = self.ask(KEYSET_OF, str16(user))
        blob = f.str32()
        f.done()
        return blob

    def enrol(self, user, password, flags=SEALED):
        """(account id, generation)"""
        f = self.ask(ENROL, str16(user) + str16(password) + struct.pack(">I", flags))
        result = f.take(16), f.number(8)
        f.done()
        return result

    def enrol_login(self, user, password):
        self.ask(ENROL_LOGIN, str16(user) + str16(password)).done()

    def passwd(self, user, old, new):
        f = self.ask(PASSWD, str16(user) + str16(old) + str16(new))
        generation = f.number(8)
        f.done()
        return generation

    def set_flags(self, user, password, flags):
        f = self.ask(SET_FLAGS, str16(user) + str16(password) + struct.pack(">I", flags))
        generation = f.number(8)
        f.done()
        return generation

    def remove(self, user):
        self.ask(REMOVE, str16(user)).done()

    # --- slots ---

    def change(self, opcode, user, secret, rest=b"", tail=0):
        """(generation, Fields or number that follows)"""
        f = self.ask(opcode, str16(user) + str16(secret) + rest)
        generation = f.number(8)
        extra = f.number(tail) if tail else None
        f.done()
        return (generation, extra) if tail else generation

    def slots(self, user):
        """(list of dicts, kept keysets, name of the domain's escrow)"""
        f = self.ask(SLOTS, str16(user))
        f.str16()
        escrow, _key, kept, n = f.str16().decode(), f.take(32), f.number(1), f.number(2)
        found = [{"id": f.take(16), "kind": f.number(1), "flags": f.number(1), "generation": f.number(8),
                  "created": f.number(8), "used": f.number(8), "memory": f.number(4), "passes": f.number(4),
                  "public": f.take(32), "label": f.str16().decode()} for _ in range(n)]
        f.done()
        return found, kept, escrow

    def add_slot(self, user, secret, kind, label="", member=""):
        """(slot id, the new secret)"""
        f = self.ask(ADD_SLOT, str16(user) + str16(secret) + bytes([kind]) + str16(label) + str16(member))
        f.number(8)
        result = f.take(16), f.str16().decode()
        f.done()
        return result

    def remove_slot(self, user, secret, slot):
        return self.change(REMOVE_SLOT, user, secret, slot, 1)

    def rotate(self, user, secret, flags=0):
        return self.change(ROTATE, user, secret, bytes([flags]))

    def change_password(self, user, secret, new, flags=0):
        return self.change(CHANGE_PASSWORD, user, secret, str16(new) + bytes([flags]), 1)

    def reset(self, user, new):
        return self.change(RESET, user, new)

    def heal(self, user, secret, earlier):
        return self.change(HEAL, user, secret, str16(earlier), 1)

    def restore(self, user, secret, blob, above=0):
        return self.change(RESTORE, user, secret, struct.pack(">QI", above, len(blob)) + blob)

    def restore_keyset(self, user, secret, blob, flags=0, above=0):
        """(generation or 0, lost generation or 0)"""
        return self.change(RESTORE_KEYSET, user, secret, struct.pack(">QBI", above, flags, len(blob)) + blob, 8)

    def keyset_digest(self, user):
        """(generation, SHA-256)"""
        f = self.ask(KEYSET_DIGEST, str16(user))
        result = f.number(8), f.take(32)
        f.done()
        return result

    def drop_key(self, user, secret, key):
        return self.change(DROP_KEY, user, secret, key)

    def keys(self, user, secret):
        """[(key id, seconds, active)]"""
        f = self.ask(KEYS, str16(user) + str16(secret))
        f.number(8)
        found = [(f.take(16), f.number(8), f.number(1)) for _ in range(f.number(2))]
        f.done()
        return found

    def sessions(self, user="", start=0):
        """(list of dicts, where the next page begins or 0)"""
        f = self.ask(SESSIONS, str16(user) + struct.pack(">I", start))
        following, n, found = f.number(4), f.number(2), []
        for _ in range(n):
            one = {"user": f.str16().decode(), "since": f.number(8), "used": f.number(8), "linger_left": f.number(4),
                   "tokens": f.number(2), "sessions": f.number(2)}
            one["list"] = [{"service": f.str16().decode(), "since": f.number(8), "pid": f.number(4)} for _ in range(f.number(2))]
            found.append(one)
        f.done()
        return found, following

    def all_sessions(self):
        """{user: dict} over all pages"""
        found, start = self.sessions()
        while start:
            more, start = self.sessions("", start)
            found += more
        assert len({one["user"] for one in found}) == len(found)
        return {one["user"]: one for one in found}

    def end_sessions(self, user):
        """(sessions, tokens)"""
        f = self.ask(END_SESSIONS, str16(user))
        result = f.number(2), f.number(2)
        f.done()
        return result

    def status(self):
        f = self.ask(STATUS)
        text = f.str32()
        f.done()
        return text
