"""Say why nobody is seen on a port that is taken."""

from __future__ import annotations

import os
import sys

IS_LINUX = sys.platform.startswith("linux")
ANOTHER_USER = "another user's process; run as root to see it"
ELSEWHERE = (
    "no process visible from here: it is in another PID namespace (a container on the host's"
    " network, or we are in one), or it is the kernel"
)
LOCKED = (
    "a process that this container's root may not look into (CAP_SYS_PTRACE is missing), such as"
    " another user's, or one in another PID namespace, or the kernel"
)
HIDDEN = (
    "a process that the system hides (/proc is mounted with hidepid), or one in another PID"
    " namespace, or the kernel"
)
NO_SOCKETS = "a process that the system hides (/proc/net is missing here)"
NOT_LISTENING = (
    "a process that has bound the port without listening, connects from it or has just left"
)


def explain_unseen(listed: bool) -> str:
    """Say who may hold a port whose owner is not seen; ``listed``: its socket at least is."""
    if IS_LINUX and not listed and not os.path.exists("/proc/net/tcp"):
        return NO_SOCKETS
    # Elsewhere than on Linux, other users' sockets are not even listed.
    if os.geteuid() != 0 and (listed or not IS_LINUX):
        return ANOTHER_USER
    if not listed:
        return NOT_LISTENING
    if IS_LINUX and not os.path.exists("/proc/1"):
        return HIDDEN
    return LOCKED if _is_any_locked() else ELSEWHERE


def _is_any_locked() -> bool:
    """Tell whether some process's open files are kept from us."""
    return any(_is_locked(each) for each in _list("/proc") if each.isdecimal())


def _is_locked(pid: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        # With CAP_DAC_OVERRIDE alone the folder may be listed, and no link in it be read.
        for each in os.listdir(folder)[:1]:
            os.readlink(f"{folder}/{each}")
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
