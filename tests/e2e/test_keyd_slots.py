"""Slots of basalt-keyd: every kind opens the account it was made for, and is gone when it was removed."""
import os
import re
import struct
import time

import keyproto as kp
import nacl.bindings as sodium
import pytest
from keydserver import Keyd, record_fields, sealed_prefix, wait_for

PASSWORD = "correct horse battery staple"
ESCROW_SECRET = bytes(range(32))
ESCROW = "escrow.example " + sodium.crypto_scalarmult_base(ESCROW_SECRET).hex() + " Example Ltd, Berlin\n"
ESCROW_CODE = "BASALT-ESCROW-" + ESCROW_SECRET.hex()


@pytest.fixture(scope="module")
def keyd():
    with Keyd(escrow="# whose\n" + ESCROW) as k:
        yield k
        assert not k.alarms()


class Account:
    """Enrolled, with mail that was sealed to its first key."""
    count = 0

    def __init__(self, keyd, domain="example.org"):
        Account.count += 1
        self.keyd, self.name, self.password = keyd, f"user{Account.count}@{domain}", PASSWORD
        keyd.enrol(self.name, PASSWORD)
        self.mail = [self.deliver()]

    def record(self):
        with self.keyd.client("delivery") as d:
            return d.record(self.name)

    def key_id(self):
        return record_fields(self.record())[1]

    def deliver(self):
        key = os.urandom(32)
        return sealed_prefix(self.record(), key), key

    def do(self, method, *args, secret=None):
        return self.keyd.change(method, self.name, secret or self.password, *args)

    def slots(self, kind=None):
        return [s for s in self.keyd.change("slots", self.name)[0] if kind in (None, s["kind"])]

    def reads_all(self, password=None, mail=None):
        mail = mail or self.mail
        return self.keyd.opens(self.name, password or self.password, [p for p, _ in mail]) == [k for _, k in mail]

    def login(self, password):
        return self.keyd.login_status(self.name, password)


@pytest.fixture
def alice(keyd):
    return Account(keyd)


def flipped(code, at):
    """The code with another character."""
    return code[:at] + ("7" if code[at] != "7" else "8") + code[at + 1:]


# --- app passwords ---

def test_app_password(keyd, alice):
    """Opens mail, costs no Argon2id, changes nothing of the account, and is gone at once when it is removed."""
    slot, code = alice.do("add_slot", kp.SLOT_APP, "Pixel 9, büro")
    assert alice.slots(kp.SLOT_APP)[0]["label"] == "Pixel 9, büro" and alice.slots(kp.SLOT_APP)[0]["used"] == 0
    for typed in code, code.lower().replace("-", " "), code.replace("-", ""):
        assert alice.reads_all(typed)
    assert abs(alice.slots(kp.SLOT_APP)[0]["used"] - time.time()) < 60
    for method, args in (("add_slot", (kp.SLOT_APP,)), ("rotate", ()), ("remove_slot", (slot,)), ("heal", ("x",)),
                         ("change_password", ("a password of mine",)), ("set_flags", (0,))):
        assert alice.do(method, *args, secret=code) == kp.DENIED, method
    assert alice.login(flipped(code, 7)) == kp.DENIED
    with keyd.session(alice.name, code) as m:
        assert alice.do("remove_slot", slot)[1] == 1
        assert m.ends() == kp.KEYS_CHANGED, "what it opened ends with it"
    assert alice.login(code) == kp.DENIED
    assert alice.reads_all()


def test_app_passwords_cost_no_argon2id():
    with Keyd(kdf={"memory_kib": 65536, "passes": 4, "workers": 1}) as keyd:
        alice = Account(keyd)
        codes = [alice.do("add_slot", kp.SLOT_APP, str(i))[1] for i in range(3)]
        start = time.monotonic()
        assert alice.login(PASSWORD) == kp.OK
        one = time.monotonic() - start
        assert alice.login(flipped(codes[0], 20)) == kp.DENIED, "mistyped, it is a password like any other"
        start = time.monotonic()
        for code in codes * 10:
            assert alice.login(code) == kp.OK
        assert time.monotonic() - start < one, "thirty of them are quicker than one password"


def test_an_app_password_leaves_the_password_warm(keyd, alice):
    _slot, code = alice.do("add_slot", kp.SLOT_APP)
    assert alice.login(PASSWORD) == kp.OK
    warm = keyd.status()["warm_logins"]
    for _ in range(3):
        assert alice.login(code) == kp.OK and alice.login(PASSWORD) == kp.OK
    assert keyd.status()["warm_logins"] == warm + 3


def test_an_app_password_of_another_account(keyd, alice):
    bob = Account(keyd)
    _slot, code = alice.do("add_slot", kp.SLOT_APP)
    assert bob.login(code) == kp.DENIED and keyd.login_status("nobody@example.org", code) == kp.DENIED


# --- recovery codes ---

def test_recovery_code(keyd, alice):
    """No login; but a new password, and all mail with it."""
    _slot, code = alice.do("add_slot", kp.SLOT_RECOVERY, "in the safe")
    assert code.startswith("R") and alice.login(code) == kp.DENIED
    assert alice.do("change_password", "a newer password", secret=flipped(code, 13)) == kp.DENIED
    assert alice.do("change_password", "a newer password", secret=" " + code.lower())[1] == 0
    assert alice.login(PASSWORD) == kp.DENIED
    assert alice.reads_all("a newer password")
    assert len(alice.slots(kp.SLOT_PASSWORD)) == 1 and len(alice.slots(kp.SLOT_RECOVERY)) == 1
    assert alice.do("change_password", code, secret=code) == kp.WEAK, "a code is no password"


def test_a_recovery_code_opens_without_a_login(keyd, alice):
    """OPEN: a session for basaltctl by whatever may change the account, and by nothing else."""
    code, app = alice.do("add_slot", kp.SLOT_RECOVERY)[1], alice.do("add_slot", kp.SLOT_APP)[1]
    for secret in code, PASSWORD, PASSWORD:
        with keyd.client("control") as c, keyd.client("mail") as m:
            m.attach(c.open(alice.name, secret), alice.name, "reseal")
            assert m.unwrap([p for p, _ in alice.mail]) == [k for _, k in alice.mail]
    for secret in app, flipped(code, 13), "wrong":
        assert keyd.change("open", alice.name, secret) == kp.DENIED
    assert keyd.change("open", "nobody@example.org", code) == kp.DENIED
    assert keyd.change("open", alice.name, code, "imap") == kp.ARG, "no mail server's session by a recovery code"
    with keyd.client("auth") as a:
        for ask in (lambda: a.login(alice.name, PASSWORD, "convert"), lambda: a.login(alice.name, PASSWORD, "reseal"), lambda: a.login_member(alice.name, alice.name, PASSWORD, "reseal")):
            with pytest.raises(kp.KeydError) as refused:
                ask()
            assert refused.value.status == kp.ARG
    assert f"login of {alice.name} for reseal, by a recovery code" in keyd.log_text()


# --- members ---

def test_shared_mailbox(keyd):
    """Each member opens it by his own password, or his app password; one who left does not, nor does anybody else."""
    info, bob, carol, eve = (Account(keyd) for _ in range(4))
    ids = {who.name: info.do("add_slot", kp.SLOT_MEMBER, "", who.name)[0] for who in (bob, carol)}
    assert info.do("add_slot", kp.SLOT_MEMBER, "", bob.name) == kp.EXISTS_ALREADY
    assert info.do("add_slot", kp.SLOT_MEMBER, "", "nobody@example.org") == kp.NOENT
    assert info.do("add_slot", kp.SLOT_MEMBER, "", info.name) == kp.ARG
    assert [s["label"] for s in info.slots(kp.SLOT_MEMBER)] == [bob.name, carol.name]

    def login(who, password=PASSWORD, shared=info.name):
        with keyd.client("auth") as a:
            try:
                return a.login_member(shared, who.name, password)
            except kp.KeydError as e:
                return e.status

    def reads(token):
        with keyd.client("mail") as m:
            assert m.attach(token, info.name)[0] == record_fields(info.record())[0]
            return m.unwrap([info.mail[0][0], bob.mail[0][0]]) == [info.mail[0][1], kp.ACCOUNT]

    app = bob.do("add_slot", kp.SLOT_APP)[1]
    for _ in range(2):  # cold, warm
        assert reads(login(bob)) and reads(login(carol)) and reads(login(bob, app))
    assert login(eve) == login(bob, "wrong") == login(bob, shared="none@example.org") == login(info) == kp.DENIED
    assert info.login(PASSWORD) == kp.OK and bob.login(PASSWORD) == kp.OK
    assert bob.do("rotate") and reads(login(bob)), "an older key of his still opens it"
    before = info.key_id()
    with keyd.client("mail") as m:
        m.attach(login(carol), info.name)
        assert info.do("remove_slot", ids[carol.name])[1] == 1
        assert m.ends() == kp.KEYS_CHANGED
    assert info.key_id() != before
    assert login(carol) == kp.DENIED and reads(login(bob)) and info.reads_all()


def test_a_members_session_has_no_oracle_for_his_slot(keyd):
    """The sealed master key of a shared mailbox, dressed up as a message of the member's, is not opened for his session."""
    info, bob = Account(keyd), Account(keyd)
    info.do("add_slot", kp.SLOT_MEMBER, "", bob.name)
    slot, blob = info.slots(kp.SLOT_MEMBER)[0], keyd.rows(info.name)[0][1]
    at, real = blob.index(slot["public"]) + 32, bytearray(bob.mail[0][0])
    # message id = the slot's id, then ephemeral key and ciphertext, each in its place before the commitment of 32 bytes
    fake = real[:28] + slot["id"] + real[44:-114] + blob[at:at + 32] + real[-82:-80] + blob[at + 32:at + 80] + real[-32:]
    assert len(fake) == len(real)
    assert keyd.opens(bob.name, PASSWORD, [bytes(fake), bytes(real)]) == [kp.AUTH, bob.mail[0][1]]


# --- escrow ---

def test_escrow_is_of_its_domain_alone(keyd, alice):
    assert alice.slots(kp.SLOT_ESCROW) == [] and keyd.change("slots", alice.name)[2] == ""
    assert alice.do("add_slot", kp.SLOT_ESCROW) == kp.NOENT
    assert alice.do("rotate", secret=ESCROW_CODE) == kp.DENIED


def test_escrow(keyd):
    """Told by name; opens the account for a new password; can be removed, and added again."""
    erin = Account(keyd, "escrow.example")
    found, _kept, name = keyd.change("slots", erin.name)
    assert [s["kind"] for s in found] == [kp.SLOT_PASSWORD, kp.SLOT_ESCROW]
    assert found[1]["label"] == name == "Example Ltd, Berlin"
    assert erin.do("add_slot", kp.SLOT_ESCROW) == kp.EXISTS_ALREADY
    assert erin.login(ESCROW_CODE) == kp.DENIED, "no login"
    assert erin.do("change_password", "what the firm sets", secret=ESCROW_CODE)[1] == 0
    assert erin.reads_all("what the firm sets")
    assert erin.do("change_password", PASSWORD, secret="what the firm sets")
    assert erin.do("remove_slot", found[1]["id"])[1] == 1
    assert erin.do("rotate", secret=ESCROW_CODE) == kp.DENIED
    assert erin.do("add_slot", kp.SLOT_ESCROW) != kp.NOENT and erin.do("rotate", secret=ESCROW_CODE)
    assert erin.reads_all()


# --- renewal ---

def test_removing_a_slot_renews_everything(keyd, alice):
    """Other secrets go on; what the removed one could have learned opens nothing that is stored from now on."""
    app, app_code = alice.do("add_slot", kp.SLOT_APP)
    _, recovery = alice.do("add_slot", kp.SLOT_RECOVERY)
    _, other = alice.do("add_slot", kp.SLOT_APP)
    old, old_id = keyd.rows(alice.name)[0][1], alice.key_id()
    generation, rotated = alice.do("remove_slot", app)
    assert rotated == 1 and alice.key_id() != old_id
    alice.mail.append(alice.deliver())
    assert alice.reads_all() and alice.reads_all(other)
    assert alice.do("rotate", secret=recovery) == generation + 1
    assert alice.login(app_code) == kp.DENIED
    new = keyd.rows(alice.name)[0][1]
    for slot in alice.slots():
        at_new, at_old = new.index(slot["public"]), old.index(slot["public"])
        assert new[at_new + 32:at_new + 112] != old[at_old + 32:at_old + 112], "sealed anew, with a new ephemeral key"
        assert slot["generation"] == generation or slot["kind"] == kp.SLOT_PASSWORD


def test_what_cannot_be_removed(keyd, alice):
    recovery_id, recovery = alice.do("add_slot", kp.SLOT_RECOVERY)
    password_id = alice.slots(kp.SLOT_PASSWORD)[0]["id"]
    assert alice.do("remove_slot", password_id) == kp.ARG
    assert alice.do("remove_slot", password_id, secret=recovery) == kp.ARG, "somebody must be able to log in"
    assert alice.do("remove_slot", recovery_id, secret=recovery) == kp.ARG, "and the secret at hand to open it"
    assert alice.do("remove_slot", os.urandom(16)) == kp.NOENT
    assert alice.do("remove_slot", recovery_id)[1] == 1


def test_rotate_keeps_old_mail(keyd, alice):
    with keyd.session(alice.name, PASSWORD) as m:
        for i in range(3):
            old = alice.key_id()
            assert alice.do("rotate", 1 if i == 2 else 0)
            assert alice.key_id() != old
            alice.mail.append(alice.deliver())
            if i < 2:
                assert m.unwrap([p for p, _ in alice.mail]) == [k for _, k in alice.mail], "open sessions go on"
        assert m.ends() == kp.KEYS_CHANGED, "with a new master key they end"
    assert alice.reads_all() and len({p[5:60] for p, _ in alice.mail}) == 4
    assert alice.do("rotate", 2) == kp.ARG


def test_a_compromised_password(keyd, alice):
    _, app = alice.do("add_slot", kp.SLOT_APP)
    old, guid = alice.key_id(), bytes(16)
    with keyd.session(alice.name, PASSWORD) as m:
        before = m.subkey(1, guid, 1)
        assert alice.do("change_password", "another one", kp.COMPROMISED)[1] == 1
        assert m.ends() == kp.KEYS_CHANGED
    alice.password = "another one"
    assert alice.key_id() != old and alice.login(PASSWORD) == kp.DENIED
    with keyd.session(alice.name, alice.password) as m:
        assert m.subkey(1, guid, 1) != before
    alice.mail.append(alice.deliver())
    assert alice.reads_all() and alice.reads_all(app)


def test_a_full_ring(keyd, alice):
    """56 keys are all: what makes a new one is refused before anything changed, a removal goes on without a new active key."""
    slot, code = alice.do("add_slot", kp.SLOT_APP)
    for _ in range(55):
        assert alice.do("rotate") > 0
    rows = keyd.rows(alice.name)
    assert alice.do("rotate") == alice.do("rotate", 1) == alice.do("change_password", "another one", kp.COMPROMISED) == kp.LIMIT
    assert keyd.rows(alice.name) == rows and alice.reads_all()
    active = alice.key_id()
    assert alice.do("remove_slot", slot)[1] == 0
    assert alice.key_id() == active and alice.login(code) == kp.DENIED and alice.reads_all()
    first = record_fields(rows[-1][1][7:7 + struct.unpack_from(">H", rows[-1][1], 5)[0]])[1]
    assert alice.do("drop_key", active) == kp.ARG and alice.do("drop_key", os.urandom(16)) == kp.NOENT
    alice.mail.append(alice.deliver())
    assert alice.do("drop_key", first) > 0 and alice.do("rotate") > 0, "there is room again"
    assert alice.reads_all(mail=alice.mail[1:])
    assert keyd.opens(alice.name, PASSWORD, [alice.mail[0][0]]) == [kp.NOKEY]


def test_arguments(keyd, alice):
    for kind, label, member in ((kp.SLOT_PASSWORD, "", ""), (0, "", ""), (6, "", ""), (kp.SLOT_APP, "tab\t", ""),
                                (kp.SLOT_APP, "x" * 65, ""), (kp.SLOT_APP, b"\xff", ""), (kp.SLOT_APP, "enohp\u202e", ""), (kp.SLOT_APP, "a\u2028b", ""), (kp.SLOT_APP, "", "bob@example.org"),
                                (kp.SLOT_MEMBER, "", ""), (kp.SLOT_MEMBER, "", "Bob@example.org")):
        assert alice.do("add_slot", kind, label, member) == kp.ARG, (kind, label, member)
    assert alice.do("add_slot", kp.SLOT_APP, "x" * 64) != kp.ARG
    assert keyd.change("slots", "nobody@example.org") == kp.NOENT
    assert alice.do("change_password", "two at once, no", 3) == kp.ARG
    assert alice.do("change_password", "a new one for nothing", kp.UNDO) == kp.ARG


# --- Argon2id ---

def reconfigure(keyd, **kdf):
    """Another start of the daemon, with these values of kdf."""
    keyd.stop()
    text = keyd.conf.read_text()
    for name, value in kdf.items():
        text = re.sub(rf"(?m)^(\s*{name} = )\d+$", rf"\g<1>{value}", text)
    keyd.conf.write_text(text)
    keyd.start()


def cost(account):
    (slot,) = account.slots(kp.SLOT_PASSWORD)
    return slot["memory"], slot["passes"]


def is_raised(account, to):
    return wait_for(lambda: cost(account) == to, 10)


def test_argon2id_is_raised_at_a_login():
    """By what is configured today, under the same slot; everything else of the account stays as it is."""
    with Keyd() as keyd:
        alice, bob = Account(keyd), Account(keyd)
        _slot, code = alice.do("add_slot", kp.SLOT_APP)
        (before,), key_id = alice.slots(kp.SLOT_PASSWORD), alice.key_id()
        reconfigure(keyd, memory_kib=16384, passes=2)
        assert alice.login(code) == kp.OK and alice.login("not it at all") == kp.DENIED
        assert cost(alice) == (8192, 1), "nobody gave the password"
        assert alice.login(PASSWORD) == kp.OK and is_raised(alice, (16384, 2))
        (after,) = alice.slots(kp.SLOT_PASSWORD)
        assert all(after[k] == before[k] for k in ("id", "created", "label", "flags"))
        assert after["public"] != before["public"] and after["generation"] > before["generation"]
        generation = record_fields(alice.record())[3]
        assert alice.key_id() == key_id and alice.reads_all() and alice.reads_all(code)
        assert record_fields(alice.record())[3] == generation, "once"
        assert cost(bob) == (8192, 1)
        # Never to less, not even where one of the two is more.
        for kdf in ({"memory_kib": 8192, "passes": 1}, {"memory_kib": 8192, "passes": 3}, {"memory_kib": 32768, "passes": 1}):
            reconfigure(keyd, **kdf)
            assert alice.reads_all() and record_fields(alice.record())[3] == generation, kdf
        assert alice.login("not it at all") == kp.DENIED and bob.reads_all() and not keyd.alarms()
