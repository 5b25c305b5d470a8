"""Who holds a port: real processes, of ours, of others, and out of sight."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from metrics_commands.multiprocess.lock import is_running
from metrics_commands.ports.owner import (
    Owner,
    Unseen,
    describe_process,
    find_owner,
    list_listeners,
)
from metrics_commands.ports.probe import State, look
from tests.processes import Started, clean_environment, started

from .sockets import address, bound, listening, needs_ipv6, needs_root, run_python

SERVER = """
import os, signal, socket, sys
listener = socket.socket()
listener.bind((sys.argv[2], int(sys.argv[4])))
listener.listen()
if "--fork" in sys.argv and os.fork() == 0:
    signal.pause()
print("listens on", listener.getsockname()[1], flush=True)
signal.pause()
"""


@contextmanager
def server(
    tmp_path: Path, *arguments: str, host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[Started, int]]:
    """Start a server of its own process; yield it with its port."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    command: list[str | Path] = [
        sys.executable,
        script,
        "--host",
        host,
        "--port",
        str(port),
        *arguments,
    ]
    with started(command, clean_environment(tmp_path)) as process:
        yield process, int(process.wait_for(r"listens on (\d+)")[1])


def owner_of(host: str, port: int) -> Owner | Unseen | None:
    """Return who holds a port, as both commands ask."""
    [found] = look([address(host)], [port])
    return find_owner(found, list_listeners())


def pid_of(host: str, port: int) -> int:
    """Return the owner's pid, where it is seen."""
    owner = owner_of(host, port)
    assert isinstance(owner, Owner), owner
    return owner.pid


@pytest.mark.parametrize(
    ("holder", "dual_stack", "wanted"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("127.0.0.1", False, "0.0.0.0"),
        ("0.0.0.0", False, "127.0.0.1"),
        pytest.param("::1", False, "::", marks=needs_ipv6),
        pytest.param("::", True, "127.0.0.1", marks=needs_ipv6),
        pytest.param("::ffff:127.0.0.1", True, "127.0.0.1", marks=needs_ipv6),
        pytest.param("::ffff:127.0.0.1", True, "0.0.0.0", marks=needs_ipv6),
    ],
)
def test_the_owner_is_found_whatever_address_it_listens_on(
    holder: str, dual_stack: bool, wanted: str
) -> None:
    """A taken port has a name, also where the owner's address is not the wanted one."""
    with listening(holder, dual_stack=dual_stack) as port:
        assert pid_of(wanted, port) == os.getpid()


def test_a_free_port_has_no_owner() -> None:
    """Nobody is blamed for a port that can be had."""
    [found] = look([address("127.0.0.1")], [0])
    assert find_owner(found, list_listeners()) is None


def test_an_owner_is_told_without_its_secrets(tmp_path: Path) -> None:
    """A user reads pid, program, script, address, user and start, and no other argument."""
    secrets = ["--token", "Zqsecret", "--dsn=pg://u:Zqsecret@h/d", "\x1b[31mZqsecret"]
    with server(tmp_path, *secrets) as (process, port):
        owner = owner_of("127.0.0.1", port)
        assert isinstance(owner, Owner)
        assert owner.pid == process.pid
        program = Path(sys.executable).name
        assert owner.command == f"{program} server.py --host 127.0.0.1 --port 0 …"
        assert owner.user == psutil.Process(process.pid).username()
        assert abs(owner.since - time.time()) < 60
        said = str(owner)
    assert said.startswith(f"pid {process.pid}, {owner.command}, user {owner.user}, since 2")
    assert "Zqsecret" not in said
    assert said.isprintable()


def test_of_a_forking_server_the_master_is_named(tmp_path: Path) -> None:
    """The pid is the one to stop: a worker's would only be replaced by its master."""
    with server(tmp_path, "--fork") as (process, port):
        assert len(psutil.Process(process.pid).children()) == 1
        assert pid_of("127.0.0.1", port) == process.pid


@needs_ipv6
def test_two_processes_on_one_port_are_told_apart(tmp_path: Path) -> None:
    """Where one holds a port for IPv6 and another for IPv4, the right one is named."""
    with listening("::") as port, server(tmp_path, host="0.0.0.0", port=port) as (process, _):
        assert pid_of("127.0.0.1", port) == process.pid
        assert pid_of("::1", port) == os.getpid()


def test_a_port_bound_without_listening_says_that_nobody_is_seen() -> None:
    """A port that is only reserved is explained, not blamed on somebody else."""
    with bound("127.0.0.1") as opened:
        owner = owner_of("127.0.0.1", opened.getsockname()[1])
    assert isinstance(owner, Unseen)
    assert "without listening" in str(owner)


def test_a_port_of_an_outgoing_connection_is_explained() -> None:
    """A port that a client connects from is taken too, and the message allows for that."""
    with (
        listening("127.0.0.1") as port,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        owner = owner_of("127.0.0.1", client.getsockname()[1])
    assert isinstance(owner, Unseen)
    assert "connects from it" in str(owner)


FIND = "[seen] = look(resolve('127.0.0.1'), [{port}]); print(find_owner(seen, list_listeners()))"


@needs_root
def test_another_users_process_needs_root_to_be_seen() -> None:
    """Who may not see the owner is told how to."""
    with listening("127.0.0.1") as port:
        said = run_python(FIND.format(port=port))
    assert said == "another user's process; run as root to see it"


@needs_root
def test_a_process_of_another_pid_namespace_is_explained() -> None:
    """From within a container on the host's network, root hears why nobody is seen."""
    with listening("127.0.0.1") as port:
        prefix = ("unshare", "--pid", "--fork", "--mount-proc")
        said = run_python(FIND.format(port=port), prefix=prefix, before="")
    assert "another PID namespace" in said


def test_a_process_that_ended_meanwhile_is_no_error(tmp_path: Path) -> None:
    """An owner that goes away between two looks is told as such, and runs no longer."""
    with server(tmp_path) as (process, _):
        created = psutil.Process(process.pid).create_time()
        assert is_running(process.pid, created)
        assert not is_running(process.pid, created - 60)
    assert not is_running(process.pid, created)
    assert describe_process(process.pid) == Unseen(f"pid {process.pid}, which has ended meanwhile")


@pytest.mark.parametrize(("pid", "created"), [(-1, 0.0), (2**80, 0.0), (1, -1e300)])
def test_a_process_that_cannot_be_does_not_run(pid: int, created: float) -> None:
    """A damaged note of who serves a directory is no error."""
    assert not is_running(pid, created)


def test_a_taken_state_alone_decides_whether_an_owner_is_sought() -> None:
    """A port refused for another reason is not blamed on whoever listens there."""
    with listening("127.0.0.1") as port:
        [found] = look([address("192.0.2.1")], [port])
        assert found.state is State.NOT_HERE
        assert find_owner(found, list_listeners()) is None
