"""Tell systemd how the process is; where nobody listens, say nothing."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
SEND_SECONDS = 0.5
MICROSECONDS = 1_000_000


def notify(*lines: str) -> None:
    """Send lines to systemd if it started this process; a failure is no reason to fail."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        # A systemd that does not read must not hold us up.
        connection.settimeout(SEND_SECONDS)
        connection.sendto("\n".join(lines).encode(errors="replace"), address)


def status(text: str) -> str:
    """Return the line that ``systemctl status`` shows."""
    return f"STATUS={' '.join(text.split())}"


def reloading() -> str:
    """Return the lines that say that a reload begins; READY ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_seconds() -> float | None:
    """Return how long systemd waits for ALIVE before it ends this process; None if it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(os.environ.get("WATCHDOG_USEC", "")) / MICROSECONDS
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
