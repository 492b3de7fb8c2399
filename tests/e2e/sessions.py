"""sessions: speaks a tests/clients.d/*.session to a server and writes down what that answers.

    lines = sessions.speak("thunderbird", system, account)    # [(what was said, [responses])]
"""
import base64
import pathlib
import re

import hardmail
import messages
import rawimap
import twins

START = [*messages.samples(), *(pathlib.Path(n) for n in (
    "megabyte-and-more", "forwarded-6", "rfc2231", "folded-a-lot", "header-8-bit", "report", "quoted-reply"))]
FOLDERS = ("Archive", "Sent", "Trash", "Drafts")


def mail(name):
    """A sample's or a hard message's bytes."""
    file = messages.SAMPLES / f"{name}.eml"
    return file.read_bytes() if file.exists() else hardmail.ALL[name]


def prepare(pair):
    """What every session finds."""
    for connection in pair.connect():
        with connection:
            for folder in FOLDERS:
                connection.ok(f"CREATE {folder}")
                connection.ok(f"SUBSCRIBE {folder}")
    pair.append([mail(p.stem) for p in START])


def lines(name):
    text = (twins.SCRIPTS / f"{name}.session").read_text()
    return [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]


class Speaker:
    def __init__(self, system, account):
        self.system, self.account, self.open, self.valid = system, account, {}, {}

    def say(self, who, what):
        """The responses to one line."""
        verb = what.split()[0].upper()
        if verb == "OPEN":
            return self.connect(who)
        c = self.open[who]
        if verb == "WAIT":
            return self.wait(c, what.split()[1].encode())
        if verb == "DONE":
            c.send("DONE")
            return c.until(rawimap.TAG + b" ")
        answer = self.command(c, verb, twins.literals(what.replace("$V", self.valid.get(who, "1"))))
        self.note(who, answer)
        return answer

    def connect(self, who):
        if who in self.open:
            self.open[who].close()
        self.open[who] = rawimap.Raw(self.system.port("imap"))
        return [self.open[who].greeting]

    def command(self, c, verb, line):
        if verb == "LOGIN":
            return c.login(self.account.address, self.account.password)
        if verb == "AUTHENTICATE":
            secret = f"\0{self.account.address}\0{self.account.password}".encode()
            return c.command(b"AUTHENTICATE PLAIN " + base64.b64encode(secret))
        if verb == "IDLE":
            c.send(rawimap.TAG + b" " + line)
            return c.until(b"+ ")
        m = re.fullmatch(rb"(.* )@([\w-]+)", line)
        if m:
            message = mail(m[2].decode())
            return c.command(m[1] + b"{%d+}\r\n" % len(message) + message)
        return c.command(line)

    def wait(self, c, word):
        found = []
        while not found or word not in found[-1]:
            found.append(c.response())
        return found

    def note(self, who, answer):
        for response in answer:
            m = re.match(rb"\* OK \[UIDVALIDITY (\d+)\]", response)
            if m:
                self.valid[who] = m[1].decode()

    def close(self):
        for c in self.open.values():
            c.close()


def speak(name, system, account):
    speaker, found = Speaker(system, account), []
    try:
        for who, what in lines(name):
            found.append((f"{who} {what}", rawimap.same(speaker.say(who, what))))
    finally:
        speaker.close()
    return found
