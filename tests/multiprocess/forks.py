"""The other end of Somebody: call functions in fresh processes, after becoming another user."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

# A user id, groups and a umask; a function; its arguments.
Request = tuple[tuple[int | None, tuple[int, ...], int], Callable[..., Any], tuple[object, ...]]


def answer_once() -> None:
    """Call the function that standard input asks for and write what it returns."""
    sys.stdout.buffer.write(answer(pickle.load(sys.stdin.buffer)))


def answer_all() -> None:
    """Call one function after the other, each in a fork, until standard input ends."""
    while True:
        try:
            # What the function needs is imported here: the user may not read our Python.
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(answer_in_fork(request), sys.stdout.buffer)
        sys.stdout.flush()


def answer_in_fork(request: Request) -> tuple[int, bytes, bytes]:
    """Return a fork's wait status, its pickled result and what it said on standard error."""
    with tempfile.TemporaryFile() as said:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            os.dup2(said.fileno(), 2)
            try:
                with open(writing, "wb") as pipe:
                    pipe.write(answer(request))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as result:
            output = result.read()
        status = os.waitpid(pid, 0)[1]
        said.seek(0)
        return status, output, said.read()


def answer(request: Request) -> bytes:
    """Become the user, call the function and return its pickled result."""
    (uid, groups, umask), function, arguments = request
    os.umask(umask)
    if uid is not None:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
    return pickle.dumps(function(*arguments))
