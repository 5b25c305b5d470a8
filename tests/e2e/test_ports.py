"""Taken ports and full ranges, with real owners and real exit codes."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import (
    BIN,
    ROOT,
    clean_environment,
    exporter,
    fetch,
    free_port,
    run_manage,
    started,
    wait_until,
)

HOLD = """
import socket, sys, time
held = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1].split(",")]
print("held", flush=True)
time.sleep(600)
"""


def free_ports(count: int) -> list[int]:
    """Return adjacent ports that are free, the first of them chosen by the kernel."""
    return wait_until(lambda: try_adjacent(free_port(), count))


def try_adjacent(first: int, count: int) -> list[int]:
    """Return so many ports from a first one on, or none where another program has one."""
    ports = list(range(first, first + count))
    with ExitStack() as opened:
        try:
            for port in ports:
                opened.enter_context(socket.create_server(("127.0.0.1", port)))
        except (OSError, OverflowError):
            return []
    return ports


def holder(tmp_path: Path, ports: list[int]) -> list[str | Path]:
    """Return the command of a program that holds ports, with a secret in its arguments."""
    script = tmp_path / "holder.py"
    script.write_text(HOLD)
    listed = ",".join(map(str, ports))
    return [sys.executable, script, listed, "--password", "hunter2", "--port", str(ports[0])]


def test_a_taken_port_names_its_owner_and_no_secret(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The message holds the owner's pid and program, and the port may be had afterwards."""
    ports = free_ports(1)
    with started(holder(tmp_path, ports), environment) as process:
        process.wait_for("held")
        done = run_manage(environment, "runmetrics", "--port", str(ports[0]), "--port-wait", "0")
        assert done.returncode == 1
        assert f"127.0.0.1:{ports[0]} is taken by pid {process.pid}" in done.stderr
        assert "holder.py" in done.stderr
        assert f"--port {ports[0]}" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr

        checked = run_manage(environment, "checkports", "--port", str(ports[0]), "--json")
        assert checked.returncode == 1
        (port,) = json.loads(checked.stdout)["ports"]
        assert (port["state"], port["owner"]["pid"]) == ("taken", process.pid)
        assert "hunter2" not in checked.stdout


def test_a_range_moves_on_and_tells_what_it_skipped(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The first free port of a range is taken; the skipped one is told with its owner."""
    ports = free_ports(5)
    span = f"{ports[0]}-{ports[-1]}"
    with started(holder(tmp_path, ports[:1]), environment) as process:
        process.wait_for("held")
        with exporter(environment, "--port-range", span) as (exporting, url):
            assert any(f"127.0.0.1:{port}/" in url for port in ports[1:])
            assert f"{ports[0]} is taken by pid {process.pid}" in exporting.output
            checked = run_manage(environment, "checkports", "--port-range", span)
            assert checked.returncode == 0
            assert f"{ports[0]} is taken by pid {process.pid}" in checked.stdout
            assert "the exporter of this metrics directory" in checked.stdout


def test_a_full_range_exits_with_a_line_per_port(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Each port of the range is told with its owner, and the exit code is 1."""
    ports = free_ports(3)
    with started(holder(tmp_path, ports), environment) as process:
        process.wait_for("held")
        span = f"{ports[0]}-{ports[-1]}"
        done = run_manage(environment, "runmetrics", "--port-range", span, "--port-wait", "0.5")
        assert done.returncode == 1
        assert f"None of the ports is free: 127.0.0.1:{ports[0]} is" in done.stderr
        assert "; waiting for one of them up to 0.5 s." in done.stderr
        for port in ports:
            assert f"127.0.0.1:{port} is taken by pid {process.pid}" in done.stderr


def test_exporters_started_together_never_share_a_port(tmp_path: Path) -> None:
    """Two exporters, each with a directory of its own, find different ports of one range."""
    # More than two, since any program on the machine may take one meanwhile.
    ports = free_ports(6)
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics"]
    command += ["--port-range", f"{ports[0]}-{ports[-1]}"]
    with ExitStack() as opened:
        both = [
            opened.enter_context(started(command, clean_environment(tmp_path / name)))
            for name in ("one", "two")
        ]
        urls = {each.wait_for(r"Serving (http://\S+)")[1] for each in both}
        assert len(urls) == 2
        assert urls <= {f"http://127.0.0.1:{port}/metrics" for port in ports}
        assert all(fetch(url)[0] == 200 for url in urls)


def test_waiting_for_a_port_ends_when_it_is_free(environment: dict[str, str]) -> None:
    """An exporter that waits takes the port as soon as its holder leaves."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics"]
        command += ["--port", port, "--port-wait", "forever"]
        opened = ExitStack()
        with opened:
            process = opened.enter_context(started(command, environment))
            process.wait_for(rf"127.0.0.1:{port} is taken by pid .*; waiting for it\.\n")
            held.close()
            process.wait_for("Serving")
            assert process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_waiting_ends_in_order(
    environment: dict[str, str], number: signal.Signals
) -> None:
    """Whoever waits for a port can be told to stop."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics"]
        command += ["--port", str(held.getsockname()[1]), "--port-wait", "60"]
        with started(command, environment) as process:
            process.wait_for(r"is taken by pid .*; waiting for it up to 60 s\.\n")
            assert process.stop(number) == 0


def test_waiting_for_a_port_has_an_end(environment: dict[str, str]) -> None:
    """After the seconds asked for, and one line about it, the exporter gives up."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        start = time.monotonic()
        done = run_manage(environment, "runmetrics", "--port", port, "--port-wait", "2.5")
        assert time.monotonic() - start >= 2.5
    assert done.returncode == 1
    assert done.stderr.count("; waiting for it up to 2.5 s.") == 1
    assert "is taken by pid" in done.stderr.splitlines()[-2]


def test_an_exporter_writes_no_value_file_by_the_variable_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Where settings.py does not call use_metrics_directory(), the exporter still only reads."""
    place = tmp_path / "numbers"
    place.mkdir()
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "__init__.py").write_text("")
    (tmp_path / "counting" / "models.py").write_text(
        "from prometheus_client import Counter\nvisits = Counter('visits_total', 'Visits.')\n"
    )
    (tmp_path / "bare.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['metrics_commands', 'counting']\nDATABASES = {}\n"
    )
    bare = {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": str(tmp_path)}
    done = run_manage(
        environment | bare | {"PROMETHEUS_MULTIPROC_DIR": str(place)}, "runmetrics", "--once"
    )
    assert done.returncode == 0, done.stderr
    assert list(place.glob("*.db")) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "70000"], "--port is '70000': it should be a whole number"),
        (["--port", "80a"], "--port is '80a': it should be a whole number"),
        (["--port-range", "8050-8001"], "reversed"),
        (["--port", "8001", "--port-range", "8001-8050"], "both given"),
        (["--collector", "nonsense"], "which is not a collector"),
        (["--log-format", "xml"], "'text' or 'json'"),
        (["--telemetry-path", "metrics"], "a path such as '/metrics'"),
        (["--port-wait", "-1"], "a number of seconds"),
        (["--address", "127.0.0.1:8001"], "without a port"),
        (["--address", "300.1.1.1"], "--address is '300.1.1.1': it should be an IP address"),
        (["--address", "127.0.0.1", "--address", "x y"], "--address is '127.0.0.1,x y': it"),
        (["--sd-file", "/targets.yml"], "JSON is written, not YAML"),
    ],
)
def test_a_wrong_value_is_one_sentence(
    environment: dict[str, str], arguments: list[str], expected: str
) -> None:
    """Exit code 2, one line, no usage block, no traceback, and nothing was started."""
    done = run_manage(environment, "runmetrics", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_addresses_that_cannot_be_had_say_so(environment: dict[str, str]) -> None:
    """A foreign address and a name that does not resolve have sentences of their own."""
    for address, sentence in (
        ("192.0.2.1", "192.0.2.1 is not an address of this machine"),
        ("nowhere.invalid", "The address nowhere.invalid does not resolve"),
    ):
        for command in ("runmetrics", "checkports"):
            done = run_manage(environment, command, "--address", address)
            assert done.returncode == 1
            assert sentence in done.stdout + done.stderr


def test_all_addresses_means_both_families(environment: dict[str, str]) -> None:
    """An empty address listens on IPv4 and IPv6, and the start says so aloud."""
    with exporter(environment, "--address", "") as (process, url):
        assert "Listening on all addresses" in process.output
        port = int(url.split(":")[2].split("/")[0])
        assert fetch(f"http://127.0.0.1:{port}/-/healthy")[0] == 200
        page = process.wait_for(rf"Page with charts: (http://127.0.0.1:{port}/)")[1]
        assert fetch(page)[0] == 200
        if socket.has_ipv6:
            assert fetch(f"http://[::1]:{port}/-/healthy")[0] == 200


def test_json_log_is_one_object_per_line(environment: dict[str, str], tmp_path: Path) -> None:
    """Every line parses, also the one that says why the start failed."""
    with exporter(environment, "--log-format", "text") as (_, url):
        port = url.split(":")[2].split("/")[0]
        options = ("--log-format", "json", "--port", port, "--port-wait", "0")
        done = run_manage(clean_environment(tmp_path / "other"), "runmetrics", *options)
    assert done.returncode == 1
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert entries[-1]["level"] == "error"
    assert "is taken by pid" in entries[-1]["message"]


def test_once_prints_a_page_and_opens_nothing(environment: dict[str, str], home: Path) -> None:
    """The page is on standard output alone; a reader that leaves early is no error."""
    done = run_manage(environment, "runmetrics", "--once", "--port", "1")
    assert done.returncode == 0, done.stderr
    assert 'django_exporter_collector_success{collector="value_files"} 1.0' in done.stdout
    assert not (home / "metrics" / "exporter.lock").exists()
    command = f"{BIN}/python manage.py runmetrics --once | head -1"
    with started(["bash", "-c", f"set -o pipefail; {command}"], environment) as piped:
        wait_until(lambda: piped.popen.poll() is not None)
        assert piped.wait() == 0
        assert "Traceback" not in piped.output
