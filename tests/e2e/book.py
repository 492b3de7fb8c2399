"""book: what a storm of clients, deliveries and kills must leave behind, and whether it did.

For each account and message the book keeps two bounds on the number of copies in all folders together. An operation that
the server confirmed moves both; one that was cut off before its answer may have happened or not, and moves one.

    book.write(number, digest)            # a message is made: number is its name, digest the SHA-256 of its body
    book.add(address, number)             # the server said 250 or OK
    book.add(address, number, sure=False) # the connection broke
    book.remove(address, number)
    book.judge(found)                     # found: {address: Counter of numbers} -> (lost, doubled)
"""
import collections
import hashlib
import threading
import time


class Book:
    def __init__(self):
        self.lock = threading.Lock()
        self.digests = {}
        self.least, self.most = collections.Counter(), collections.Counter()
        self.complaints = []  # what no kill excuses
        self.happened = collections.Counter()
        self.history = collections.defaultdict(list)  # (address, number) -> what changed it, for the reader of a failure

    def write(self, number, digest):
        with self.lock:
            self.digests[number] = digest

    def add(self, address, number, sure=True, why="added"):
        with self.lock:
            self._note(address, number, why if sure else f"{why}?")
            self.most[address, number] += 1
            self.least[address, number] += sure

    def remove(self, address, number, sure=True, why="removed"):
        with self.lock:
            self._note(address, number, why if sure else f"{why}?")
            self.least[address, number] -= 1
            self.most[address, number] -= sure

    def note(self, address, number, what):
        with self.lock:
            self._note(address, number, what)

    def _note(self, address, number, what):
        self.history[address, number].append(f"{time.strftime('%H:%M:%S')} {what}")

    def did(self, what):
        with self.lock:
            self.happened[what] += 1

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)

    def check(self, where, number, body):
        """Is this body the one that was written?"""
        if self.digests.get(number) != digest(body):
            self.complain(f"{where}: {number} is damaged: {len(body)} bytes, {body[:60]!r}")

    def judge(self, found):
        """[(address, number, copies, bound)] of what is lost, and of what is there too often."""
        keys = set(self.least) | {(a, n) for a, numbers in found.items() for n in numbers}
        copies = {(a, n): found.get(a, {}).get(n, 0) for a, n in keys}
        lost = [(a, n, c, self.least[a, n]) for (a, n), c in copies.items() if c < self.least[a, n]]
        doubled = [(a, n, c, self.most[a, n]) for (a, n), c in copies.items() if c > max(0, self.most[a, n])]
        return lost, doubled


def digest(body):
    return hashlib.sha256(body).hexdigest()
