"""A PostgreSQL server of the tests' own, in a temporary folder, on a port of the kernel's."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.processes import Started, free_port, run, started

from .conftest import find_program

USER = "tester"
# Debian keeps servers out of PATH, one folder for each version.
PROGRAMS = "/usr/lib/postgresql"


class Server:
    """A server that starts, stops, and starts again with its data, on the same port."""

    def __init__(self, folder: Path, account: int | None) -> None:
        self.port = free_port()
        self._folder = folder
        self._account = account
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}
        self._stack = ExitStack()
        self._process: Started | None = None

    @property
    def data(self) -> Path:
        """Return the folder of its data."""
        return self._folder / "data"

    def create(self) -> None:
        """Create the data folder."""
        options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        command = [find_server_program("initdb"), "-D", str(self.data), *options]
        done = run(command, self._environment, cwd=self._folder, user=self._account)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it lets clients in."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "20",
            "shared_buffers": "16MB",
        }
        command = [find_server_program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._process = self._stack.enter_context(
            started(command, self._environment, cwd=self._folder, user=self._account)
        )
        self._process.wait_for("ready to accept connections")

    def stop(self) -> None:
        """End its clients and itself, and leave no shared memory behind."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)
            self._process = None
        self._stack.close()

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return what a Django project writes into DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": USER,
            "PASSWORD": "",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "OPTIONS": {},
            **changes,
        }


def find_server_program(name: str) -> str:
    """Return a program of the newest server; skip the test where there is none."""
    newest = max(
        Path(PROGRAMS).glob(f"*/bin/{name}"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdecimal() else 0,
        default=Path(name),
    )
    return find_program(str(newest), "postgresql")


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server; as root, under an account that it accepts."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    find_server_program("initdb")
    # Not in pytest's folders, which only their owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, -1)
        server = Server(folder, account.pw_uid if account else None)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
