"""A MariaDB server of the tests' own, in a temporary folder, on a port of the kernel's."""

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

import pymysql
from pymysql.connections import Connection

from tests.processes import Started, free_port, run, started

from .conftest import find_program

DATABASE = "shop"
USER = "tester"
PACKAGE = "mariadb-server"


class Server:
    """A server that starts, dies, and starts again with its data, on the same port."""

    def __init__(self, folder: Path, account: int | None) -> None:
        self.port = free_port()
        self._folder = folder
        self._account = account
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}
        self._stack = ExitStack()
        self._process: Started | None = None

    def create(self) -> None:
        """Create the data folder, with the system's tables."""
        program = find_program("mariadb-install-db", PACKAGE)
        # The first option of all: nothing of the system's own server is to be read.
        options = ["--no-defaults", f"--datadir={self._folder / 'data'}", "--skip-test-db"]
        command = [program, *options, "--auth-root-authentication-method=normal"]
        done = run(command, self._environment, cwd=self._folder, user=self._account)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it lets clients in."""
        options = [
            "--no-defaults",
            f"--datadir={self._folder / 'data'}",
            f"--socket={self._folder / 'socket'}",
            f"--pid-file={self._folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
        ]
        command = [find_program("mariadbd", PACKAGE), *options]
        self._process = self._stack.enter_context(
            started(command, self._environment, cwd=self._folder, user=self._account)
        )
        self._process.wait_for("ready for connections")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait for its end."""
        if self._process is not None:
            self._process.stop(number)
            self._process = None
        self._stack.close()

    def look_on(self) -> Connection[Any]:
        """Return a connection of the administrator's, who sees all clients."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return what a Django project writes into DATABASES."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": DATABASE,
            "USER": USER,
            "PASSWORD": "",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "OPTIONS": {},
            **changes,
        }


@contextmanager
def mariadb() -> Iterator[Server]:
    """Run a server with a database and a user who may do all there; as root, under an account."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    find_program("mariadbd", PACKAGE)
    pymysql.install_as_MySQLdb()
    # Not in pytest's folders, which only their owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, -1)
        server = Server(folder, account.pw_uid if account else None)
        server.create()
        try:
            server.start()
            with server.look_on() as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
                cursor.execute(f"CREATE USER {USER}")
                cursor.execute(f"GRANT ALL ON {DATABASE}.* TO {USER}")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
