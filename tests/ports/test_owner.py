"""Who holds a port: real processes, of ours, of others, and out of sight."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from metrics_commands.multiprocess.lock import is_running
from metrics_commands.ports import unseen
from metrics_commands.ports.owner import Owner, Unseen, describe_process
from metrics_commands.ports.probe import State, look
from metrics_commands.ports.report import Report, add_owners

from .sockets import (
    BECOME_NOBODY,
    address,
    bound,
    listening,
    needs_ipv6,
    needs_root,
    run_python,
    server,
)


def owner_of(host: str, port: int) -> Owner | Unseen | None:
    """Return who holds a port, as both commands ask."""
    [report] = add_owners(look([address(host)], [port]))
    return report.owner


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
    [report] = add_owners(look([address("127.0.0.1")], [0]))
    assert report == Report(report.probe)


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


FIND = "print(*(each.owner for each in add_owners(look(resolve('127.0.0.1'), [{port}]))))"
MOUNT = ("unshare", "--mount", "sh", "-c")
WITHOUT_PTRACE = ("setpriv", "--bounding-set", "-sys_ptrace")


@needs_root
@pytest.mark.parametrize(
    ("prefix", "before", "said"),
    [
        ((), BECOME_NOBODY, unseen.ANOTHER_USER),
        (("unshare", "--pid", "--fork", "--mount-proc"), "", unseen.ELSEWHERE),
        (WITHOUT_PTRACE, "", unseen.LOCKED),
        (
            (*MOUNT, f'mount -t proc -o hidepid=4 p /proc && {" ".join(WITHOUT_PTRACE)} "$@"', ""),
            "",
            unseen.HIDDEN,
        ),
        ((*MOUNT, 'mount -t proc -o subset=pid p /proc && "$@"', ""), "", unseen.NO_SOCKETS),
    ],
    ids=["nobody", "namespace", "without-ptrace", "hidepid", "subset"],
)
def test_who_may_not_see_the_owner_hears_why(
    prefix: tuple[str, ...], before: str, said: str
) -> None:
    """What keeps the owner from view is told as it is, so that a user looks in the right place."""
    with listening("127.0.0.1") as port:
        assert run_python(FIND.format(port=port), prefix=prefix, before=before) == said


@needs_root
def test_root_sees_the_processes_of_others(tmp_path: Path) -> None:
    """Root reads whose process it is."""
    with server(tmp_path, "--nobody") as (process, port):
        owner = owner_of("127.0.0.1", port)
        assert isinstance(owner, Owner)
        assert owner.pid == process.pid
        assert owner.user == psutil.Process(process.pid).username() != "root"


def test_an_owners_parent_is_told(tmp_path: Path) -> None:
    """A user sees what would start the owner again, and no argument of it."""
    with server(tmp_path) as (process, _):
        owner = describe_process(process.pid)
        assert isinstance(owner, Owner)
        assert re.fullmatch(rf"pid {os.getpid()}, [\w.-]+", owner.parent)
        assert str(owner).endswith(f", child of {owner.parent}")


def test_the_first_process_is_nobodys_parent_to_tell() -> None:
    """A daemon is no child worth telling: the system's first process takes all orphans."""
    children = [each.pid for each in psutil.process_iter() if each.ppid() == 1]
    if not children:
        pytest.skip("the first process has no children here")
    owners = [describe_process(each) for each in children]
    assert not any(each.parent for each in owners if isinstance(each, Owner))


@pytest.mark.parametrize("folder", ["blog", "a\x1b[31m\nb"])
def test_another_projects_exporter_is_told_by_its_directory(tmp_path: Path, folder: str) -> None:
    """Of two projects on one machine, a user reads which one has the port."""
    home = tmp_path / folder
    home.mkdir()
    with server(home, "runmetrics", script="manage.py") as (process, port):
        owner = owner_of("127.0.0.1", port)
        assert isinstance(owner, Owner)
        assert (owner.pid, owner.program) == (process.pid, "runmetrics")
        assert owner.directory == str(home).replace("\x1b", "\\x1b").replace("\n", "\\n")


def test_no_other_programs_directory_is_told(tmp_path: Path) -> None:
    """Where a process works is its own affair, unless it is an exporter."""
    with server(tmp_path, "migrate", script="manage.py") as (process, _):
        owner = describe_process(process.pid)
        assert isinstance(owner, Owner)
        assert owner.directory == ""


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
        [report] = add_owners(look([address("198.51.100.1")], [port]))
    assert report.probe.state is State.NOT_HERE
    assert report == Report(report.probe)
