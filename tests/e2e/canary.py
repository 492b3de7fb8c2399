"""canary: unique strings, and a search for them in whatever a system leaves behind.

A token is searched raw (any case), as base64 at each of the three alignments, quoted-printable, UTF-16 of both orders and
hexadecimal; line breaks of base64 and quoted-printable are taken out first. Files are read whole, in overlapping windows.

    tokens = make_tokens(["subject", "body"])
    finds = scan_tree("/tmp/sandbox", tokens)          # [Find(where, token, encoding)]
"""
import base64
import collections
import hashlib
import os
import pathlib
import quopri
import random
import re
import stat
import subprocess
import tempfile

Find = collections.namedtuple("Find", "where token encoding")

WINDOW = 8 << 20
OVERLAP = 4096
BATCH = 32 << 20
PATH = {"PATH": "/usr/bin:/bin"}


def make_tokens(names, seed=None):
    """{name: token}: 24 lower-case letters with no meaning, and one non-ASCII letter so that encodings differ."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {n: "".join(rng.choice(letters) for _ in range(12)) + "ü" + "".join(rng.choice(letters) for _ in range(12))
            for n in names}


def ascii_tokens(names, seed=None):
    """The same of letters alone, for places that take only ASCII: addresses, file names."""
    return {n: t.replace("ü", "u") for n, t in make_tokens(names, seed).items()}


def _base64_needles(raw):
    """What base64 of any text that holds raw must hold, for each alignment: the characters that raw alone decides."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        first = (shift * 8 + 5) // 6
        last = (shift + len(raw)) * 8 // 6
        yield text[first:last]


def needles(token):
    """[(encoding, bytes)] for one token; raw forms are lower-case."""
    raw = token.encode()
    found = [("raw", raw.lower()), ("hex", raw.hex().encode())]
    if not token.isascii():
        found.append(("latin-1", token.encode("latin-1").lower()))
        # Halves too: a tokenizer or an encoded word may cut at the odd letter.
        found += [("raw-part", part.encode()) for part in token.split("ü")]
    found += [("utf-16-le", token.encode("utf-16-le").lower()), ("utf-16-be", token.encode("utf-16-be").lower())]
    found += [("base64", n) for n in _base64_needles(raw)]
    quoted = quopri.encodestring(raw, quotetabs=False)
    if quoted.lower() != raw.lower():
        found.append(("quoted-printable", quoted.lower()))
    return found


def digests(text):
    """[(encoding, bytes)]: what a program may keep of a Message-ID in place of it."""
    found = []
    for name in ("md5", "sha1", "sha256"):
        raw = hashlib.new(name, text.encode()).digest()
        found += [(name, raw), (name, raw.hex().encode()), (name, base64.b64encode(raw).rstrip(b"="))]
    return found


_SOFT_BREAKS = re.compile(rb"=\r?\n")
_BREAKS = re.compile(rb"[\r\n]+[ \t]?")


def find_in_bytes(data, tokens):
    """{(name, encoding)} of what stands in data."""
    joined = _BREAKS.sub(b"", data)
    lower = {"plain": data.lower(), "joined": joined.lower(), "soft": _SOFT_BREAKS.sub(b"", data).lower()}
    hits = set()
    for name, token in tokens.items():
        for encoding, needle in needles(token):
            if encoding == "base64":
                hit = needle in data or needle in joined
            else:
                hit = any(needle in text for text in lower.values())
            if hit:
                hits.add((name, encoding))
    return hits


class Sieve:
    """Many tokens in much data: every needle at once through `grep -F`. Feed it (where, data), then read finds."""

    def __init__(self, tokens):
        self.meaning = {n.lower(): (t, e) for t, token in reversed(tokens.items()) for e, n in reversed(needles(token))}
        self.pieces, self.waiting, self.found = [], 0, {}

    def also(self, name, more):
        """More forms of a token: [(encoding, bytes)]."""
        for encoding, needle in more:
            self.meaning[needle.replace(b"\n", b"\1").lower()] = (name, encoding)

    def feed(self, where, data):
        if data.strip(b"\0"):
            for form in {data, _BREAKS.sub(b"", data), _SOFT_BREAKS.sub(b"", data)}:
                self.pieces.append((where, form.replace(b"\n", b"\1")))
                self.waiting += len(form)
        if self.waiting > BATCH:
            self._grep()

    def feed_file(self, where, fp):
        """A whole file, in overlapping windows."""
        tail = b""
        while block := fp.read(WINDOW):
            self.feed(where, tail + block)
            tail = block[-OVERLAP:]

    def _grep(self):
        """One line of input a piece, so that the line's number says where a needle stands."""
        with tempfile.NamedTemporaryFile() as patterns:
            patterns.write(b"\n".join(self.meaning) + b"\n")
            patterns.flush()
            p = subprocess.run(["grep", "--text", "-n", "-o", "-i", "-F", "-f", patterns.name], stdout=subprocess.PIPE,
                               input=b"".join(form + b"\n" for _, form in self.pieces), env={"LC_ALL": "C", **PATH})
        if p.returncode > 1:
            raise RuntimeError("grep failed")
        for line in p.stdout.split(b"\n")[:-1]:
            number, _, needle = line.partition(b":")
            self.found[Find(self.pieces[int(number) - 1][0], *self.meaning[needle.lower()])] = True
        self.pieces, self.waiting = [], 0

    def finds(self):
        if self.pieces:
            self._grep()
        return list(self.found)


def walk(root, skip=(), newer=0):
    """
    Every path below root, but what begins with one of skip. With newer (s): only what has changed since, and no mounts. By find:
    whole machines are searched, and home folders can hold a million files.
    """
    condition = ["-xdev"] if newer else []
    for prefix in skip:
        condition += ["-path", f"{prefix}*", "-prune", "-o"]
    condition += ["-newerct", f"@{newer}"] if newer else []
    p = subprocess.run(["find", str(root), "-mindepth", "1", *condition, "-print0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       env=PATH)  # what goes away meanwhile is an error to find
    yield from map(os.fsdecode, p.stdout.split(b"\0")[:-1])


def feed_tree(sieve, root, skip=(), newer=0):
    """Every regular file and every name below root."""
    for path in walk(root, skip, newer):
        sieve.feed(path + " (its name)", os.fsencode(os.path.basename(path)))
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as fp:
                    sieve.feed_file(path, fp)
        except FileNotFoundError:
            continue


def scan_tree(root, tokens, skip=(), newer=0):
    sieve = Sieve(tokens)
    feed_tree(sieve, root, skip, newer)
    return sieve.finds()


def descendants(pid):
    """pid and all processes below it."""
    children = collections.defaultdict(list)
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            children[int(text.rsplit(")", 1)[1].split()[1])].append(int(entry.name))
    todo, seen = [pid], []
    while todo:
        one = todo.pop()
        seen.append(one)
        todo += children[one]
    return seen


def feed_open_deleted(sieve, pids):
    """Files that are deleted but still held open by one of pids, and memory files."""
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            fds = os.listdir(folder)
        except (FileNotFoundError, ProcessLookupError):
            continue
        for fd in fds:
            link = os.path.join(folder, fd)
            try:
                target = os.readlink(link)
                if not target.endswith(" (deleted)") or not stat.S_ISREG(os.stat(link).st_mode):
                    continue
                if target.startswith("/secretmem"):
                    continue  # memfd_secret: no other process can read it
                with open(link, "rb") as fp:
                    sieve.feed_file(f"{link} -> {target}", fp)
            except (FileNotFoundError, ProcessLookupError):
                continue


def scan_open_deleted(pids, tokens):
    sieve = Sieve(tokens)
    feed_open_deleted(sieve, pids)
    return sieve.finds()


def feed_arguments(sieve):
    """The command line and the environment of every process; returns the files that can't be read."""
    closed = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in (f"/proc/{pid}/cmdline", f"/proc/{pid}/environ"):
            try:
                with open(name, "rb") as fp:
                    sieve.feed(name, fp.read())
            except PermissionError:
                closed.append(name)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return closed
