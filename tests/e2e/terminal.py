"""terminal: a program on a terminal of its own, that asks and is answered.

    with terminal.Terminal([CTL, "key", "drop", ...]) as t:
        t.asked("Password")
        t.type("a password\\n")
        assert t.ended() == 0                   # negative: by that signal
"""
import contextlib
import os
import pty
import select
import signal
import termios
import time

LIMIT_S = 60


class Terminal(contextlib.AbstractContextManager):
    def __init__(self, argv):
        self.shown, self.status = "", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT):  # as on a terminal, whatever started the tests
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(argv[0], list(map(str, argv)), {"LC_ALL": "C.UTF-8"})

    def __exit__(self, *exc):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def read(self):
        """False: the program let go of the terminal."""
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        return True

    def asked(self, text):
        """Waits for text behind what was asked before."""
        end = time.monotonic() + LIMIT_S
        while text not in self.shown:
            assert self.read() and time.monotonic() < end, (text, self.shown[-3000:])
        self.shown = self.shown.split(text, 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def ended(self):
        end = time.monotonic() + LIMIT_S
        while self.read():
            assert time.monotonic() < end, self.shown[-3000:]
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status
