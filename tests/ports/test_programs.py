"""Programs that people meet on a port: known by name, with advice that fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.owner import Owner, describe_process
from metrics_commands.ports.probe import look
from metrics_commands.ports.programs import PROGRAMS, SITE, recognise
from metrics_commands.ports.report import add_owners, advise
from tests.processes import (
    BIN,
    ROOT,
    Started,
    clean_environment,
    free_port,
    started,
    wait_until,
)

from .sockets import address, server

APPLICATION = """
def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b""]

async def asgi(scope, receive, send):
    pass
"""


@pytest.mark.parametrize(
    ("argv", "process_name", "program"),
    [
        (["/usr/sbin/nginx", "-g", "daemon off;"], "nginx", "nginx"),
        (["nginx: master process /usr/sbin/nginx"], "nginx", "nginx"),
        (["gunicorn: master [shop.wsgi]"], "gunicorn", "gunicorn"),
        (["/v/bin/python3", "/v/bin/gunicorn", "shop.wsgi"], "gunicorn", "gunicorn"),
        (["python", "-m", "uvicorn", "shop.asgi:app"], "python", "uvicorn"),
        (["/v/bin/python", "/v/bin/daphne", "shop.asgi:app"], "daphne", "daphne"),
        (["/v/bin/python", "/v/bin/waitress-serve", "shop:app"], "python", "waitress"),
        (["python", "manage.py", "runserver", "8000"], "python", "runserver"),
        (["python", "-Wd", "manage.py", "runserver_plus"], "python", "runserver"),
        (["python", "-m", "django", "runmetrics"], "python", "runmetrics"),
        (["python", "manage.py", "shell"], "python", ""),
        (["/sbin/init", "splash"], "systemd", "systemd"),
        (["/usr/bin/docker-proxy", "-proto", "tcp"], "docker-proxy", "docker-proxy"),
        (["/usr/bin/prometheus"], "prometheus", "prometheus"),
        (["/usr/bin/prometheus-node-exporter"], "prometheus-node", "node_exporter"),
        (["/usr/share/grafana/bin/grafana", "server"], "grafana", "grafana"),
        (["/S/ControlCenter.app/Contents/MacOS/ControlCenter"], "ControlCenter", "AirPlay"),
        (["/usr/libexec/AirPlayXPCHelper"], "AirPlayXPCHelper", "AirPlay"),
        (["postgres: checkpointer"], "postgres", "postgres"),
        (["/usr/bin/redis-server *:6379"], "redis-server", "redis-server"),
        (["python", "nginx.py"], "python", ""),
        (["python", "worker.py", "gunicorn"], "python", ""),
        (["/srv/my-nginx"], "my-nginx", ""),
        ([], "", ""),
    ],
)
def test_a_program_is_known_by_its_command_line_or_name(
    argv: list[str], process_name: str, program: str
) -> None:
    """What people meet on a port is called by the name they know; nothing else is guessed."""
    assert recognise(argv, process_name, 5000).name == program


def test_a_mac_program_is_airplay_on_its_ports_alone() -> None:
    """Nobody is sent to switch AirPlay off for a port that AirPlay has not."""
    assert recognise(["ControlCenter"], "ControlCenter", 7000).name == "AirPlay"
    assert recognise(["ControlCenter"], "ControlCenter", 8001).name == ""


@pytest.mark.parametrize("executable", sorted(PROGRAMS))
def test_each_advice_is_one_sentence_that_offers_another_port(executable: str) -> None:
    """Whoever cannot stop the owner still reads what to do."""
    advice = recognise([executable], "", 5000).advice.format(port=5000)
    assert advice.endswith("give the exporter another port with --port.")
    assert ". " not in advice
    assert not set(advice) & set("{}\n")


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("docker-proxy", "docker ps --filter publish={port}"),
        ("nginx", "`listen`"),
        ("prometheus", "--web.listen-address"),
        ("node_exporter", "--web.listen-address"),
        ("grafana", "grafana.ini"),
        ("systemd", "systemctl list-sockets"),
        ("daphne", "It serves a site"),
    ],
)
def test_a_running_program_is_recognised_with_its_advice(
    tmp_path: Path, program: str, hint: str
) -> None:
    """The advice names what to change in the program that really runs there."""
    with server(tmp_path, program=program) as (process, port):
        owner = owner_of(port)
        assert (owner.pid, owner.program) == (process.pid, program)
        assert hint.format(port=port) in owner.advice
        assert advise(add_owners(look([address("127.0.0.1")], [port]))) == owner.advice


@contextmanager
def site(tmp_path: Path, *command: str | Path, announces: str) -> Iterator[tuple[Started, int]]:
    """Start an application server; yield it with the port that it announces."""
    (tmp_path / "application.py").write_text(APPLICATION)
    environment = clean_environment(tmp_path)
    with started([sys.executable, *command], environment, cwd=tmp_path) as process:
        yield process, int(process.wait_for(announces)[1])


@pytest.mark.parametrize("start", [[BIN / "gunicorn"], ["-m", "gunicorn"]], ids=["script", "-m"])
def test_gunicorn_is_named_by_its_master(tmp_path: Path, start: Sequence[str | Path]) -> None:
    """Of gunicorn the master is told, which starts workers again, and of a worker its master."""
    command = [*start, "application:wsgi", "-w", "2", "-b", "127.0.0.1:0"]
    with site(tmp_path, *command, announces=r"Listening at: \S+:(\d+)") as (process, port):
        workers = wait_until(psutil.Process(process.pid).children)
        owner, worker = owner_of(port), describe_process(workers[0].pid)
        assert (owner.pid, owner.program, owner.advice) == (process.pid, "gunicorn", SITE)
        assert isinstance(worker, Owner)
        assert worker.parent == f"pid {process.pid}, gunicorn"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_uvicorn_is_named_by_its_first_process(tmp_path: Path, workers: str) -> None:
    """Of uvicorn the process to stop is told, also where it has workers."""
    command = ["-m", "uvicorn", "application:asgi", "--port", "0", "--workers", workers]
    with site(tmp_path, *command, announces=r"running on \S+:(\d+)") as (process, port):
        owner = owner_of(port)
        assert (owner.pid, owner.program, owner.advice) == (process.pid, "uvicorn", SITE)


def test_runserver_is_recognised(tmp_path: Path) -> None:
    """Django's own server is told as such."""
    port = free_port()
    arguments = ("runserver", f"127.0.0.1:{port}", "--noreload")
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", *arguments]
    with started(command, clean_environment(tmp_path)) as process:
        owner = owner_of(port)
        assert (owner.pid, owner.program, owner.advice) == (process.pid, "runserver", SITE)
        assert owner.command.endswith(f"manage.py runserver 127.0.0.1:{port} …")


def owner_of(port: int) -> Owner:
    """Return the process that holds a port, as soon as it does."""

    def look_again() -> Owner | None:
        [report] = add_owners(look([address("127.0.0.1")], [port]))
        return report.owner if isinstance(report.owner, Owner) else None

    return wait_until(look_again)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(["python", "manage.py", "runserver", "nginx:", "-m", "gunicorn"]),
        ),
        max_size=5,
    ),
    st.text(max_size=8),
    st.integers(0, 65535),
)
@settings(max_examples=80, deadline=None)
def test_no_command_line_is_told_under_a_name_of_its_own(
    argv: list[str], process_name: str, port: int
) -> None:
    """A program's name and advice are ours word for word, whatever a process calls itself."""
    program = recognise(argv, process_name, port)
    assert program.name in {"", "runserver", "runmetrics", *(p.name for p in PROGRAMS.values())}
