"""The canary search finds what is planted, in each form in which mail software writes text."""
import base64
import hashlib
import os
import pathlib
import quopri
import subprocess

import pytest

import canary
import probes

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


@pytest.mark.parametrize("encode", [
    lambda b: b, bytes.upper, lambda b: b.decode().encode("utf-16-le"), lambda b: b.decode().encode("utf-16-be"),
    lambda b: base64.encodebytes(b"a" * 50 + b), lambda b: quopri.encodestring(b"x" * 60 + b + b"y" * 40),
    lambda b: b.hex().encode(), lambda b: b.decode().encode("latin-1"), lambda b: b.split("ü".encode())[0],
])
def test_the_sieve_of_many_tokens_finds_the_same(tmp_path, encode):
    many = canary.make_tokens(range(300), seed=3)
    noise = os.urandom(300_000)
    (tmp_path / "one").write_bytes(noise + encode(many[7].encode()) + b"\n" + noise)
    (tmp_path / "two").write_bytes(noise)
    (tmp_path / "three").write_bytes(b"line\n" * 9 + encode(many[8].encode()))
    found = {(os.path.basename(f.where), f.token) for f in canary.scan_tree(tmp_path, many)}
    assert found == {("one", 7), ("three", 8)}


@pytest.mark.parametrize("encode", [
    lambda b: hashlib.md5(b).digest(), lambda b: hashlib.sha1(b).hexdigest().upper().encode(),
    lambda b: base64.b64encode(hashlib.sha256(b).digest()),
])
def test_digests_of_a_message_id_count(tmp_path, encode):
    """300 of them, so that every byte turns up, the line's end too."""
    many = canary.ascii_tokens(range(300), seed=5)
    sieve = canary.Sieve(many)
    for name, token in many.items():
        sieve.also(name, canary.digests(f"<{token}@out.example>"))
    for name, token in many.items():
        (tmp_path / str(name)).write_bytes(b"..." + encode(f"<{token}@out.example>".encode()) + b"...")
    canary.feed_tree(sieve, tmp_path)
    assert {(os.path.basename(f.where), f.token) for f in sieve.finds()} == {(str(n), n) for n in many}


def test_memory_files_and_arguments_count():
    name = canary.ascii_tokens(["memory"], seed=4)
    fd = os.memfd_create("canary")
    os.write(fd, b"." * 9000 + name["memory"].encode())
    child = subprocess.Popen(["sleep", "60"], env={"CANARY": name["memory"]})
    try:
        # Empty while the kernel still puts the new program in place, which may be after Popen has come back.
        probes.wait_for(lambda: name["memory"].encode() in pathlib.Path(f"/proc/{child.pid}/environ").read_bytes())
        sieve = canary.Sieve(name)
        canary.feed_open_deleted(sieve, [os.getpid()])
        canary.feed_arguments(sieve)
        found = {f.where for f in sieve.finds()}
        assert f"/proc/{child.pid}/environ" in found
        assert [w for w in found if "/memfd:canary" in w]
    finally:
        os.close(fd)
        child.kill()
        child.wait()
