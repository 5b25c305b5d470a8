"""Read a file that anybody may have written, and that may be no file at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...finding import Finding, make_id

LARGEST = 1_000_000


class UnreadableError(Exception):
    """Say why a file was not read."""


def read_text(path: Path) -> str:
    """Return a file's text, or raise UnreadableError; what is no regular file is not waited for."""
    try:
        # A pipe of that name would otherwise be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError("it is not a regular file")
            with open(descriptor, "rb", closefd=False) as opened:
                content = opened.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableError(f"{error.strerror or 'input/output error'}".lower()) from None
    except ValueError:
        raise UnreadableError("no file can have that name") from None
    if len(content) > LARGEST:
        raise UnreadableError(f"it has more than {LARGEST:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("it is not UTF-8 text") from None


def report_unread(name: str, reason: object) -> Finding:
    """Return the finding that a file was not read, and why."""
    return Finding(make_id(19), "warning", f"{name} was not read: {reason}.")
