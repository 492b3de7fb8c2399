"""book: what a storm of clients, deliveries and kills must leave behind, and whether it did.

For each account and message the book keeps two bounds on the number of copies in all folders together. An operation that
the server confirmed moves both; one that was cut off before its answer may have happened or not, and moves one.

    book.write(number, body)              # a message is made: number is its name, body makes its body, again whenever it is asked
    book.add(address, number)             # the server said 250 or OK
    book.add(address, number, sure=False) # the connection broke
    book.remove(address, number)
    book.check(where, number, body)       # a complaint, if that is not its body; what came is kept below build/test-logs
    book.judge(found)                     # found: {address: Counter of numbers} -> (lost, doubled)
"""
import collections
import hashlib
import pathlib
import threading
import time

LOGS = pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "test-logs"


class Book:
    def __init__(self, kept=LOGS):
        self.lock, self.kept = threading.Lock(), kept
        self.digests, self.bodies = {}, {}
        self.least, self.most = collections.Counter(), collections.Counter()
        self.complaints = []  # what no kill excuses
        self.happened = collections.Counter()
        self.history = collections.defaultdict(list)  # (address, number) -> what changed it, for the reader of a failure

    def write(self, number, body):
        """body(): the bytes. Kept is only how to make them."""
        text = body()
        with self.lock:
            self.digests[number], self.bodies[number] = digest(text), body
        return text

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
            self.complain(f"{time.strftime('%H:%M:%S')} {where}: {number} is damaged: {self._difference(number, body)}; "
                          f"what came is in {self._keep(number, body)}")

    def _difference(self, number, body):
        """In words: another message's body, or from which byte on it is not what it should be."""
        with self.lock:
            whose = [n for n, d in self.digests.items() if d == digest(body)]
        if whose:
            return f"its body is that of {whose[0]}"
        if number not in self.bodies:
            return f"nobody wrote it: {len(body)} bytes, {body[:60]!r}"
        right = self.bodies[number]()
        at = next((i for i, (a, b) in enumerate(zip(right, body)) if a != b), min(len(right), len(body)))
        return f"{len(body)} bytes, not {len(right)}; from byte {at} on {body[at:at + 40]!r}, not {right[at:at + 40]!r}"

    def _keep(self, number, body):
        self.kept.mkdir(parents=True, exist_ok=True)
        path = self.kept / f"damaged-{number}-{digest(body)[:8]}"
        path.write_bytes(body)
        return path

    def judge(self, found):
        """[(address, number, copies, bound)] of what is lost, and of what is there too often."""
        keys = set(self.least) | {(a, n) for a, numbers in found.items() for n in numbers}
        copies = {(a, n): found.get(a, {}).get(n, 0) for a, n in keys}
        lost = [(a, n, c, self.least[a, n]) for (a, n), c in copies.items() if c < self.least[a, n]]
        doubled = [(a, n, c, self.most[a, n]) for (a, n), c in copies.items() if c > max(0, self.most[a, n])]
        return lost, doubled


def digest(body):
    return hashlib.sha256(body).hexdigest()
