"""Names of workers that no other worker ever had, on this machine or in another container."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

_known: tuple[int, str] | None = None


def worker_identity() -> str:
    """Return this process's identity: ``PID-START-NAMESPACE-BOOT-RANDOM``, without any ``_``.

    START is the kernel's start time in clock ticks where /proc tells it, else Unix seconds;
    NAMESPACE is the inode of the PID namespace, 0 where there are none. It is renewed when the
    pid differs, so a fork gets its own without a hook; RANDOM separates images that exec() and
    interpreters that share one process.
    """
    global _known
    pid = os.getpid()
    if _known is None or _known[0] != pid:
        _known = (pid, new_identity())
    return _known[1]


def new_identity() -> str:
    """Return an identity of this process that nobody has yet, for files of a writer of its own."""
    return "-".join((str(os.getpid()), _start_time(), *own_place(), os.urandom(3).hex()))


def own_place() -> tuple[str, str]:
    """Return this process's PID namespace and boot: a pid means the same within both only."""
    return _pid_namespace(), boot_id()


def read_stat(process: str) -> tuple[str, str]:
    """Return a process's state and start time, as Linux has them; OSError where it has none."""
    with open(f"/proc/{process}/stat", "rb", buffering=0) as file:
        # The second field, the program's name, may itself hold spaces and parentheses.
        fields = file.read().rpartition(b")")[2].decode().split()
    return fields[0], fields[19]


def _start_time() -> str:
    try:
        return read_stat("self")[1]
    except (OSError, IndexError):
        return str(int(time.time()))


def _pid_namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def boot_id() -> str:
    """Return the beginning of this boot's identifier; 0 where the system has none."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        boot_id = _boot_session() if sys.platform == "darwin" else ""
    return boot_id.replace("-", "").strip()[:12] or "0"


def _boot_session() -> str:
    """Return macOS's identifier of this boot, or ''."""
    buffer = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(buffer))
    name = b"kern.bootsessionuuid"
    try:
        failed = ctypes.CDLL(None).sysctlbyname(name, buffer, ctypes.byref(size), None, 0)
    except (AttributeError, OSError):
        return ""
    return "" if failed else buffer.value.decode("ascii", "replace")
