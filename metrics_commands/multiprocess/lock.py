"""Which exporter holds a metrics directory, by a kernel lock that dies with its holder.

What the holder wrote about itself stays behind it: its successor begins with the same port.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from .directory import locate_directory
from .value_file import is_shared_by_group

logger = logging.getLogger("metrics_commands")

FILE_NAME = "exporter.lock"
LONGEST_RECORD = 64 * 1024
HIGHEST_PORT = 65535

_held: set[int] = set()


@dataclass(frozen=True)
class Holder:
    """The exporter that wrote itself into a directory; whether it still lives, psutil tells.

    ``create_time`` is psutil's, in Unix seconds; ``urls`` is where it serves, nothing from its
    end on. ``port`` is 0 where it did not choose one; ``moves`` counts how often the directory's
    exporters have changed it.
    """

    pid: int
    create_time: float
    urls: tuple[str, ...] = ()
    port: int = 0
    moves: int = 0

    @property
    def is_running(self) -> bool:
        """Tell whether the process is still there."""
        return is_running(self.pid, self.create_time)


class DirectoryLock:
    """Hold a directory for one exporter, from ``acquire`` until ``release`` or death."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _held.add(descriptor)
        self._published: Holder | None = None

    @classmethod
    def acquire(cls, directory: Path) -> DirectoryLock | None:
        """Take the lock, or return None where another exporter has it; OSError if it cannot."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(directory / FILE_NAME, flags, 0o644)
        try:
            found = os.fstat(descriptor)
            # Whoever else may write there could have us truncate a file of another name.
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise OSError(errno.EINVAL, f"{FILE_NAME} is a pipe or a link")
            if found.st_uid == os.geteuid() and is_shared_by_group(directory.stat()):
                os.fchmod(descriptor, 0o660)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def publish(self, holder: Holder) -> None:
        """Write who we are and where we serve, for those who ask with ``read_holder``.

        A full disk costs the record, not the lock.
        """
        self._published = holder
        content = json.dumps(asdict(holder)).encode()
        try:
            # Over the old one, whose block a full disk leaves to us.
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))
        except OSError as error:
            logger.warning("Who serves the metrics directory cannot be written: %s.", error)

    def release(self) -> None:
        """Write that nothing is served any more, and let the lock go."""
        if self._published is not None:
            self.publish(replace(self._published, urls=()))
        _held.discard(self._descriptor)
        os.close(self._descriptor)


def read_holder(directory: Path) -> Holder | None:
    """Return who says that it holds a directory, taking no lock; None where nobody does."""
    try:
        with open(directory / FILE_NAME, "rb", opener=_open_untrusted) as file:
            record = json.loads(file.read(LONGEST_RECORD))
        holder = Holder(
            int(record["pid"]),
            float(record["create_time"]),
            tuple(str(url) for url in record["urls"]),
            int(record.get("port", 0)),
            int(record.get("moves", 0)),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    sensible = holder.pid > 0 and 0 <= holder.port <= HIGHEST_PORT and holder.moves >= 0
    return holder if sensible else None


def find_exporter(directory: Path) -> Holder | None:
    """Return the exporter that serves a directory, if it lives; no lock is taken."""
    holder = read_holder(locate_directory(directory).path)
    return holder if holder and holder.urls and holder.is_running else None


def own_create_time() -> float:
    """Return when this process was created; 0 where /proc hides it, and then nobody finds us."""
    try:
        return psutil.Process().create_time()
    except (psutil.Error, OSError):
        return 0.0


def is_running(pid: int, create_time: float) -> bool:
    """Tell whether a process that wrote down its pid and creation time still lives."""
    try:
        # Rounding apart: the kernel counts in ticks, and a pid does not return so soon.
        return abs(psutil.Process(pid).create_time() - create_time) < 1
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def _open_untrusted(path: str, flags: int) -> int:
    # A directory that others may write could hold a link or a pipe of this name.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _leave_locks() -> None:
    """Let no child that is forked keep a directory from the next exporter."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_leave_locks)
