"""corpus: the hard messages of ../shared/data/mime.tar.xz, which is not part of this project. Nothing of it is unpacked on disk.

    for raw in corpus.load(): ...                            # skips the test where the file is not there
"""
import tarfile

import pytest

import systems

FILES = [d / "shared" / "data" / "mime.tar.xz" for d in (systems.ROOT.parent, systems.ROOT.parent.parent)]


def load():
    """All messages, with CRLF line ends, as a mail server has them."""
    for file in FILES:
        if file.exists():
            with tarfile.open(file) as tar:
                return [as_sent(tar.extractfile(m).read()) for m in tar if m.isfile()]
    pytest.skip(f"shared data absent: {FILES[0]}")


def as_sent(raw):
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
