"""contenders: who takes part. A new one is a peers/NAME.conf and a row in the table; its class says what it needs more
than a Dovecot with that file."""
import hashlib

from basalt import Basalt
from servers import DOMAIN, PASSWORD, USERS, Server, run


class Lz4(Server):
    mark = b"Dovecot-LZ4"


class MailCrypt(Server):
    mark = b"CRYPTED\x03\x07"
    passdb_fields = "userdb_mail_crypt_private_password=%{sha256:password}"

    def enrol(self):
        secret = hashlib.sha256(PASSWORD.encode()).hexdigest()
        for user in USERS:
            run("doveadm", "-c", str(self.conf), "-o", f"plugin/mail_crypt_private_password={secret}",
                "mailbox", "cryptokey", "generate", "-U", "-u", f"{user}@{DOMAIN}")


CONTENDERS = {
    "plain": Server,
    "zlib-lz4": Lz4,
    "mail_crypt": MailCrypt,
    "basalt": Basalt,
}
