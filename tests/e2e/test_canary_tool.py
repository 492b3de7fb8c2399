"""The canary search finds what is planted, in each form in which mail software writes text."""
import base64
import os
import quopri

import pytest

import canary

TOKENS = canary.make_tokens(["body"], seed=1)
TOKEN = TOKENS["body"]


@pytest.mark.parametrize("encoding, data", [
    ("raw", TOKEN.encode()),
    ("raw-part", TOKEN.upper().encode()),
    ("latin-1", TOKEN.encode("latin-1")),
    ("utf-16-le", TOKEN.encode("utf-16-le")),
    ("utf-16-be", TOKEN.encode("utf-16-be")),
    ("hex", TOKEN.encode().hex().encode()),
    ("quoted-printable", quopri.encodestring(b"x" * 60 + TOKEN.encode() + b"y" * 40)),
    ("base64", base64.encodebytes(b"a" * 50 + TOKEN.encode() + b"tail")),
    ("base64", base64.encodebytes(b"a" * 49 + TOKEN.encode() + b"tail")),
    ("base64", base64.b64encode(b"a" * 48 + TOKEN.encode() + b"tail")),
    ("raw-part", b"..." + TOKEN.split("ü")[1].encode() + b"..."),
])
def test_each_encoding_is_found(encoding, data):
    noise = os.urandom(3000)
    assert ("body", encoding) in canary.find_in_bytes(noise + data + noise, TOKENS)


def test_nothing_is_found_where_nothing_is():
    assert canary.find_in_bytes(os.urandom(1 << 20), TOKENS) == set()


def test_a_find_across_two_windows_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(canary, "WINDOW", 8192)
    path = tmp_path / "big"
    path.write_bytes(b"." * 8180 + TOKEN.encode() + b"." * 8192)
    assert [f.where for f in canary.scan_tree(tmp_path, TOKENS) if f.encoding == "raw"] == [str(path)]


def test_file_names_count(tmp_path):
    (tmp_path / canary.ascii_tokens(["name"], seed=2)["name"]).write_bytes(b"")
    assert canary.scan_tree(tmp_path, canary.ascii_tokens(["name"], seed=2))


def test_deleted_but_open_files_count(tmp_path):
    path = tmp_path / "gone"
    with open(path, "w+b") as fp:
        fp.write(TOKEN.encode())
        fp.flush()
        path.unlink()
        finds = canary.scan_open_deleted([os.getpid()], TOKENS)
    assert [f for f in finds if "gone (deleted)" in f.where]
