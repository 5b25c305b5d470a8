"""A compressed page is the page, in a form that any client decompresses."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest

from metrics_commands.exposition import compression
from metrics_commands.exposition.compression import SMALLEST, compress

PAGE = b"".join(b'requests_total{view="%d"} %d.0\n' % (each % 7, each) for each in range(2000))


@pytest.mark.parametrize("page", [b"", PAGE])
@pytest.mark.parametrize("fast", [False, True], ids=["zlib", "isal"])
def test_what_is_compressed_comes_back(
    page: bytes, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With isal installed or without, a client has the page back to the last byte."""
    if fast:
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(compression, "igzip", None)
    compressed = compress(page)
    assert gzip.decompress(compressed) == page
    assert compress(page) == compressed
    # No time of day, and no name of a file.
    assert compressed[:4] == b"\x1f\x8b\x08\x00"
    assert compressed[4:8] == bytes(4)


def test_it_is_worth_it() -> None:
    """Metrics shrink a lot, also the smallest page that is compressed."""
    assert len(compress(PAGE)) < len(PAGE) / 4
    assert len(compress(PAGE[:SMALLEST])) < SMALLEST / 2


def test_isal_is_not_needed() -> None:
    """The extra is an extra: an installation without it compresses all the same."""
    program = (
        "import sys, gzip; sys.modules['isal'] = None\n"
        "from metrics_commands.exposition.compression import compress\n"
        "print(gzip.decompress(compress(b'page')).decode())"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"page\n"
