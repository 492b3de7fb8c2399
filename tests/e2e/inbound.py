"""inbound: a whole private site that mail of strangers comes to: zone, XCLIENT, DKIM keys, an outside that takes what leaves.

    with inbound.Site("maildir", "mariadb") as site:
        a = site.account("private", dmarc="label", label="[X]")
        with site.client("192.0.2.7") as c: ...                 # smtplib, as if from that address
        site.folders(a)                                         # {folder: [message]}
        site.outside.mails                                      # what has left the house

Names below example. : pass. vouches for 192.0.2.0/24 by SPF, hard. for nobody, strict. asks by DMARC to refuse what it did not
send, and vouches for 192.0.2.0/24, too; 192.0.2.66 stands on the block list. late. is for questions that nobody has asked before.
"""
import base64
import contextlib
import functools
import json
import pathlib
import tempfile
import time

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import clients
import databases
import smtpsink
import systems
import verdicts

ZONE = r"""$ORIGIN example.
$TTL 300
@       IN SOA ns hostmaster 1 7200 3600 604800 60
        IN NS ns
ns      IN A 127.0.0.1
pass    IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
*.pass  IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
hard    IN TXT "v=spf1 -all"
*.hard  IN TXT "v=spf1 -all"
strict  IN TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.strict IN TXT "v=DMARC1; p=reject"
2.0.0.127.bl IN A 127.0.0.2
66.2.0.192.bl IN A 127.0.0.2
"""
CLEAN, LISTED = "192.0.2.7", "192.0.2.66"
QUICK = {"milter.cache_unknown_s": 0, "milter.dnsbl_lists": "ip bl.example 10", "milter.dnsbl_timeout_ms": 1000,
         "milter.spf_timeout_ms": 1500, "postfix.smtpd_authorized_xclient_hosts": "127.0.0.1", "postfix.smtpd_error_sleep_time": 0,
         "postfix.smtpd_hard_error_limit": 1000, "postfix.minimal_backoff_time": "1s", "postfix.maximal_backoff_time": "2s",
         "postfix.queue_run_delay": "1s"}


@functools.cache
def key():
    """(PEM, the p= of its record); one for a test session."""
    made = rsa.generate_private_key(65537, 2048)
    der = made.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())
    return pem, base64.b64encode(der).decode()


def signed(message, domain="pass.example", selector="s"):
    return dkim.sign(message, selector.encode(), domain.encode(), key()[0], include_headers=[b"from", b"message-id"]) + message


def key_records():
    """Of the selectors s and late (any name below it) of each domain."""
    p = key()[1]
    text = " ".join(f'"{part}"' for part in ["v=DKIM1; p=" + p[:200], p[200:]])
    return "".join(f"{name}._domainkey.{domain} IN TXT {text}\n" for domain in ("pass", "strict") for name in ("s", "*.late"))


class Site:
    def __init__(self, storage="sdbox", db="sqlite", more=(), **settings):
        """more: options of tests/sandbox; settings: milter__cache_s=5."""
        self.outside = smtpsink.SmtpSink()
        self.folder = tempfile.TemporaryDirectory(prefix=systems.PREFIX)
        zone = pathlib.Path(self.folder.name) / "zone"
        zone.write_text(ZONE + key_records())
        settings = {**QUICK, "postfix.default_transport": f"smtp:[127.0.0.1]:{self.outside.port}",
                    **{k.replace("__", "."): v for k, v in settings.items()}}
        options = [word for k, v in settings.items() for word in ("--set", f"{k}={v}")]
        self.system = systems.System([*systems.CHEAP_KDF, "--dns", str(zone), *more, *options], storage=storage, db=db)

    def __enter__(self):
        self.outside.__enter__()
        self.system.start()
        return self

    def __exit__(self, *_):
        self.system.remove()
        self.outside.__exit__()
        self.folder.cleanup()

    # --- who lives here ---

    def account(self, plan="private", name=None, **preferences):
        """preferences: dnsbl__score=3 sets dnsbl.score."""
        a = self.system.account(plan, name)
        self.prefer_all([(3, a.address, item.replace("__", "."), value) for item, value in preferences.items()])
        return a

    def prefer(self, *scope_item_value):
        *scope, item, value = scope_item_value
        self.system.ctl("pref", "set", *scope, item.replace("__", "."), str(value))

    def prefer_all(self, rows):
        """Many at a time: (scope, name, item, value), the scope as in docs/POLICY.md's order from 0 for the site."""
        if not rows:
            return
        values = ", ".join(f"({scope}, '{name}', '{item}', '{value}')" for scope, name, item, value in rows)
        databases.Policy(self.system).sql(f"REPLACE INTO preferences (scope, name, item, value) VALUES {values}")

    def alias(self, *targets, name):
        for target in targets:
            self.system.ctl("alias", "add", name, getattr(target, "address", target))
        return name

    # --- what comes ---

    @contextlib.contextmanager
    def client(self, address=CLEAN, helo="mx.pass.example"):
        with clients.smtp(self.system.port("smtp")) as c:
            c.ehlo()
            code, text = c.docmd("XCLIENT", f"ADDR={address} NAME=[UNAVAILABLE]")
            assert code == 220, text
            c.ehlo(helo)
            yield c

    def send(self, sender, recipients, message, client=CLEAN, helo="mx.pass.example", options=(), notify=()):
        """One transaction: ({recipient: (code, text)}, (code, text) of the data, or None). options, notify: DSN's, of MAIL and RCPT."""
        with self.client(client, helo) as c:
            begun = text_of(c.mail(sender, ["BODY=8BITMIME", *options]))
            answers = {r: text_of(c.rcpt(r, list(notify))) if begun[0] == 250 else begun for r in recipients}
            if all(code != 250 for code, _ in answers.values()):
                return answers, None
            return answers, text_of(c.data(message))

    # --- what became of it ---

    def folders(self, account):
        return verdicts.folders(self.system, account)

    def logged(self, message_id):
        """The milter's report of a message; one with many recipients is put together of its lines."""
        first = self.reports(f"<{message_id}>", 1)[0]
        count = first.get("part", [1, 1])[1]
        return {**first, "rcpt": [r for part in self.reports(f'"queue_id":"{first["queue_id"]}"', count) for r in part["rcpt"]]}

    def reports(self, mark, count):
        lines = self.system.logged("milter", mark, count=count)
        return [json.loads(line.split(" message ", 1)[1]) for line in lines if " message {" in line]

    def until(self, what, seconds=20):
        """What what() gives once it is true."""
        end = time.monotonic() + seconds
        while not (value := what()):
            assert time.monotonic() < end, f"waited {seconds} s in vain"
            time.sleep(0.1)
        return value

    def bounces(self, mark, count=1, seconds=20):
        """What left for the outside with mark (bytes) in it; waits for count of them."""
        end = time.monotonic() + seconds
        while True:
            found = [m for m in self.outside.taken if mark in m.data]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.05)


def text_of(reply):
    return reply[0], reply[1].decode(errors="replace")


def folder_of(found):
    """The only message of verdicts.folders(): (folder, bytes); (None, b"") of an empty account."""
    assert sum(map(len, found.values())) <= 1, {k: len(v) for k, v in found.items()}
    for folder, messages in found.items():
        return folder, messages[0]
    return None, b""
