"""Run a program at a real pseudo-terminal, as a person would, and read what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.processes import ROOT, TIMEOUT, kill_tree, wait_until

COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Terminal:
    """What a program has shown so far, as lines that end like those of a pipe."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.descriptor = descriptor
        self._shown = b""

    @property
    def text(self) -> str:
        """Return all of it, colours included."""
        return self._shown.decode().replace("\r\n", "\n")

    @property
    def plain(self) -> str:
        """Return all of it, colours left out."""
        return COLOUR.sub("", self.text)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until what is shown matches, and return the match."""

        def look() -> re.Match[str] | None:
            self._read()
            return re.search(pattern, self.plain)

        return wait_until(look, lambda: f"no {pattern} in: {self.text}")

    def wait(self) -> int:
        """Read on until the program ends, and return its exit code."""

        def look() -> bool:
            self._read()
            return self.process.poll() is not None

        wait_until(look, lambda: f"still running: {self.text}")
        self._read()
        return self.process.wait()

    def _read(self) -> None:
        # Where nobody has the other side open any more, Linux answers with an error.
        with suppress(OSError):
            while select.select([self.descriptor], [], [], 0)[0]:
                read = os.read(self.descriptor, 65536)
                self._shown += read
                if not read:
                    return


@contextmanager
def at_terminal(
    arguments: Sequence[str], environment: dict[str, str], *, columns: int = 80, piped: bool = False
) -> Iterator[Terminal]:
    """Start ``manage.py`` with a terminal of its own; only errors go there if ``piped``."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={name: value for name, value in environment.items() if name != "COLUMNS"},
        start_new_session=True,
        stdin=theirs,
        stdout=subprocess.DEVNULL if piped else theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        kill_tree(process.pid)
        process.wait(TIMEOUT)
        os.close(ours)
