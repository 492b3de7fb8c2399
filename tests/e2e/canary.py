"""canary: unique strings, and a search for them in whatever a system leaves behind.

A token is searched raw (any case), as base64 at each of the three alignments, quoted-printable, UTF-16 of both orders and
hexadecimal; line breaks of base64 and quoted-printable are taken out first. Files are read whole, in overlapping windows.

    tokens = make_tokens(["subject", "body"])
    finds = scan_tree("/tmp/sandbox", tokens)          # [Find(where, token, encoding)]
"""
import base64
import collections
import os
import pathlib
import quopri
import random
import re
import stat

Find = collections.namedtuple("Find", "where token encoding")

WINDOW = 8 << 20
OVERLAP = 4096


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


def find_in_file(fp, tokens):
    """The same for an open binary file of any length."""
    hits, tail = set(), b""
    while True:
        block = fp.read(WINDOW)
        if not block:
            return hits
        hits |= find_in_bytes(tail + block, tokens)
        tail = block[-OVERLAP:]


def scan_tree(root, tokens, skip=()):
    """Every regular file and every file name below root; skip holds path prefixes to leave out."""
    finds = []
    for folder, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not os.path.join(folder, d).startswith(tuple(skip))] if skip else dirs
        for name in dirs + files:
            path = os.path.join(folder, name)
            finds += [Find(path + " (its name)", t, e) for t, e in find_in_bytes(os.fsencode(name), tokens)]
        for name in files:
            path = os.path.join(folder, name)
            if skip and path.startswith(tuple(skip)):
                continue
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                with open(path, "rb") as fp:
                    finds += [Find(path, t, e) for t, e in find_in_file(fp, tokens)]
            except FileNotFoundError:
                continue  # went away meanwhile: nothing is left there
    return finds


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


def scan_open_deleted(pids, tokens):
    """Files that are deleted but still held open by one of pids, and memory files."""
    finds = []
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
                with open(link, "rb") as fp:
                    finds += [Find(f"{link} -> {target}", t, e) for t, e in find_in_file(fp, tokens)]
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return finds
