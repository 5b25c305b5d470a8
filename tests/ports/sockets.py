"""Real listeners, servers of their own, and Python code that runs as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from metrics_commands.ports.address import Address
from tests.processes import ROOT, TIMEOUT, Started, clean_environment, started

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
# Imported while still root: the interpreter may lie where nobody else may look.
IMPORTS = """
import encodings.idna, os, pwd, socket, sys
from metrics_commands.ports.address import resolve
from metrics_commands.ports.probe import look
from metrics_commands.ports.report import add_owners, describe
"""
BECOME_NOBODY = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"


SERVER = """
import os, signal, socket, sys
host, port = (sys.argv[sys.argv.index(each) + 1] for each in ("--host", "--port"))
listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
listener.bind((host, int(port)))
listener.listen()
if "--nobody" in sys.argv:
    os.setuid(NOBODY)
if "--fork" in sys.argv and os.fork() == 0:
    signal.pause()
print("listens on", listener.getsockname()[1], flush=True)
signal.pause()
""".replace("NOBODY", str(NOBODY))


def address(host: str) -> Address:
    """Return a numeric address as the exporter would have it."""
    return Address(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


@contextmanager
def bound(host: str, port: int = 0, *, dual_stack: bool = False) -> Iterator[socket.socket]:
    """Bind a port without listening, as a stranger would: without SO_REUSEADDR."""
    with socket.socket(address(host).family) as opened:
        if ":" in host:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        opened.bind((host, port))
        yield opened


@contextmanager
def listening(host: str, port: int = 0, *, dual_stack: bool = False) -> Iterator[int]:
    """Listen on a port of the kernel's, or on the one given; yield it."""
    with bound(host, port, dual_stack=dual_stack) as opened:
        opened.listen()
        yield opened.getsockname()[1]


@contextmanager
def server(
    folder: Path,
    *arguments: str,
    host: str = "127.0.0.1",
    port: int = 0,
    program: str = "",
    script: str = "server.py",
) -> Iterator[tuple[Started, int]]:
    """Start a server of its own process; yield it with its port.

    ``program`` is the name of the executable, Python's own by default.
    """
    (folder / script).write_text(SERVER)
    executable = Path(sys.executable)
    if program:
        executable = folder / program
        executable.symlink_to(os.path.realpath(sys.executable))
    before = arguments[:1] if script == "manage.py" else ()
    rest = arguments[len(before) :]
    where = ("--host", host, "--port", str(port))
    command: list[str | Path] = [executable, folder / script, *before, *where, *rest]
    with started(command, clean_environment(folder), cwd=folder) as process:
        yield process, int(process.wait_for(r"listens on (\d+)")[1])


def has_ipv6() -> bool:
    """Tell whether this machine has an IPv6 loopback address."""
    try:
        with bound("::1"):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def run_python(code: str, *, prefix: Sequence[str] = (), before: str = BECOME_NOBODY) -> str:
    """Return what code prints in a process of its own, by default as a user without privileges."""
    if prefix and not shutil.which(prefix[0]):
        pytest.skip(f"needs {prefix[0]}")
    if prefix and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"{' '.join(prefix)} is not permitted here")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", IMPORTS + before + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
