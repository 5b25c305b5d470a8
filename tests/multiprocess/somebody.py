"""Call functions of the room in processes of their own, as another user where asked."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from tests.processes import ROOT, TIMEOUT

NOBODY = 65534
SHARED_GROUP = 64000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users and mounts")

T = TypeVar("T")


@dataclass(frozen=True)
class Somebody:
    """A user with groups and a umask; ``wrapper`` is a program that starts the process."""

    uid: int | None = None
    groups: tuple[int, ...] = ()
    umask: int = 0o022
    wrapper: tuple[str, ...] = ()

    def start(self, function: Callable[..., Any], *arguments: object) -> subprocess.Popen[bytes]:
        """Start a program that calls the function; its pickled result is what it writes."""
        process = _start(self.wrapper, "answer_once")
        assert process.stdin is not None
        process.stdin.write(self._request(function, arguments))
        process.stdin.flush()
        return process

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what the function returns there."""
        return self.call_and_listen(function, *arguments)[0]

    def call_and_listen(self, function: Callable[..., T], *arguments: object) -> tuple[T, str]:
        """Return what the function returns there, and what it said on standard error."""
        if self.wrapper:
            with self.start(function, *arguments) as process:
                try:
                    output, said = process.communicate(timeout=TIMEOUT)
                finally:
                    process.kill()
            status = process.returncode
        else:
            status, output, said = forks.ask(self._request(function, arguments))
        assert status == 0, (status, said.decode())
        result: T = pickle.loads(output)
        return result, said.decode()

    def _request(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> bytes:
        return pickle.dumps(((self.uid, self.groups, self.umask), function, arguments))


class Forks:
    """A process that forks for every call, since starting Python a hundred times takes long."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Return wait status, result and standard error of a fork that answered."""
        self._process = self._process or _start((), "answer_all")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            self.stop()
            pytest.fail("the function never returned")
        answer: tuple[int, bytes, bytes] = pickle.load(self._process.stdout)
        return answer

    def stop(self) -> None:
        """End the process and all its forks."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


forks = Forks()


def _start(wrapper: tuple[str, ...], entry: str) -> subprocess.Popen[bytes]:
    code = f"from tests.multiprocess import forks; forks.{entry}()"
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
