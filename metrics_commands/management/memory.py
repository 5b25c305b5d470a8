"""Give the memory of large pages back to the kernel."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# mallopt(3) of glibc. Left alone it raises this with each large block that is freed, up to 32 MB,
# and keeps the next ones: after 200 clients that left pages of 5 MB unread, 300 MB for ever.
MMAP_THRESHOLD = -3
LARGE_BYTES = 2**20


def return_large_blocks() -> None:
    """Let blocks of 1 MiB and more be mapped one by one; do nothing where malloc is another."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE_BYTES)
