"""A real Prometheus follows the exporter through its file of targets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from metrics_commands.discovery import (
    DRAFT_PREFIX,
    DRAFT_SUFFIX,
    MARKER,
    Target,
    TargetFile,
    choose_host,
    make_document,
)
from metrics_commands.errors import ExporterError
from tests.e2e.conftest import find_program
from tests.e2e.prometheus import prometheus, write_prometheus_configuration
from tests.e2e.test_ports import free_ports
from tests.e2e.traffic import MIX, send_mix, wait_for_web
from tests.multiprocess.conftest import mounted
from tests.multiprocess.somebody import Somebody, needs_root
from tests.processes import BIN, exporter, fetch, free_port, run, run_manage, started, wait_until

TARGET = Target("127.0.0.1", 8001, "shop", "web-1")
MOVED = replace(TARGET, port=8002)
ANSWERS = 'django_http_responses_total_by_status_view_method_total{view="shop:stock"}'
# A network of its own, whose way to everybody else starts at the addresses given.
NETWORK = """
ip link set lo up
for each in $0; do
  ip address add "$each" dev lo && ip route add default dev lo src "$each" || exit 1
done
exec "$@"
"""
STOCK = next(count for kind, count in MIX.items() if kind.view == "shop:stock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of targets, in a folder of its own."""
    folder = tmp_path / "targets"
    folder.mkdir()
    return folder / "shop.json"


def state(path: Path) -> tuple[int, int, bytes]:
    """Return all that an overwritten, truncated or touched file would have changed."""
    return path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()


def configure(pattern: Path) -> Path:
    """Write a configuration of Prometheus that watches files; return where it is."""
    watched = {"files": [str(pattern)], "refresh_interval": "1s"}
    jobs = [{"job_name": "django", "file_sd_configs": [watched]}]
    return write_prometheus_configuration(pattern.parent.parent, jobs)


def ask(server: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and value of each series that an instant query finds."""
    _, _, body = fetch(f"{server}/api/v1/query?query={quote(expression)}")
    found = json.loads(body)["data"]["result"]
    return [(each["metric"], float(each["value"][1])) for each in found]


def wait_for_value(server: str, expression: str, value: float) -> dict[str, str]:
    """Wait until a query finds this value in one series; return the series' labels."""

    def look() -> dict[str, str] | None:
        found = ask(server, expression)
        return found[0][0] if [each for _, each in found] == [value] else None

    return wait_until(look, lambda: f"{expression}: {ask(server, expression)}, not {value}")


def read_group(path: Path) -> dict[str, Any]:
    """Return the one group of targets in a file."""
    (group,) = json.loads(path.read_bytes())
    found: dict[str, Any] = group
    return found


def port_of(url: str) -> int:
    """Return the port that an exporter says it serves."""
    return urlsplit(url).port or 0


def test_prometheus_follows_to_another_port(environment: dict[str, str], path: Path) -> None:
    """The exporter finds its port taken and moves: the same series go on, and no new ones begin."""
    ports = free_ports(5)
    options = (
        "--port-range",
        f"{ports[0]}-{ports[-1]}",
        "--port-wait",
        "0",
        "--sd-file",
        str(path),
    )
    web = free_port()
    shop: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--bind", f"127.0.0.1:{web}"]
    with started(shop, environment), prometheus(configure(path), environment) as server:
        wait_for_web(web)
        send_mix(web, 1)
        with exporter(environment, *options) as (process, url):
            first = port_of(url)
            assert read_group(path)["targets"] == [f"127.0.0.1:{first}"]
            up, answers = wait_for_value(server, "up", 1), wait_for_value(server, ANSWERS, STOCK)
            assert up["instance"] == f"{socket.gethostname()}/{up['project']}"
            assert process.stop() == 0
        wait_for_value(server, "up", 0)
        send_mix(web, 1)
        with (
            socket.create_server(("127.0.0.1", first)),
            exporter(environment, *options) as (_, url),
        ):
            assert port_of(url) != first
            assert read_group(path)["targets"] == [f"127.0.0.1:{port_of(url)}"]
            assert wait_for_value(server, "up", 1) == up
            assert wait_for_value(server, ANSWERS, 2 * STOCK) == answers
            for series in ("up", ANSWERS):
                assert len(ask(server, f"last_over_time({series}[10m])")) == 1


def test_a_stopped_exporter_is_down_not_gone(environment: dict[str, str], path: Path) -> None:
    """An alert on up == 0 fires and goes on firing: the file stays as it was."""
    with prometheus(configure(path), environment) as server:
        with exporter(environment, "--sd-file", str(path)) as (process, _):
            before = path.read_bytes()
            up = wait_for_value(server, "up", 1)
            assert process.stop() == 0
        assert wait_for_value(server, "up", 0) == up
        # Five scrapes later; a target that was removed would be stale after the first.
        wait_for_value(server, "sum_over_time((up == bool 0)[1m:1s]) >= bool 5", 1)
        assert wait_for_value(server, "up", 0) == up
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_file_of_somebody_else_is_refused(environment: dict[str, str], path: Path) -> None:
    """A slip in --sd-file is told before anything is served, and costs nobody a file."""
    path.write_text('[{"targets": ["db-1:9187"], "labels": {"job": "postgres"}}]')
    before = state(path)
    done = run_manage(environment, "runmetrics", "--port", "0", "--sd-file", str(path))
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert MARKER in done.stderr
    assert "Serving" not in done.stderr
    assert state(path) == before


@pytest.mark.parametrize(
    ("advertised", "target"),
    [("192.0.2.7:443", "192.0.2.7:443"), ("[2001:db8::7]", "[2001:db8::7]:{port}")],
)
def test_the_advertised_address_is_what_prometheus_is_told(
    environment: dict[str, str], path: Path, advertised: str, target: str
) -> None:
    """Behind a proxy or a published port it is the outer address; a port not given is our own."""
    with exporter(environment, "--sd-file", str(path), "--advertise", advertised) as (_, url):
        assert read_group(path)["targets"] == [target.format(port=port_of(url))]


@pytest.mark.parametrize(
    "target",
    [TARGET, replace(TARGET, host="2001:db8::7", telemetry_path="/m", scheme="https")],
    ids=["plain", "all-labels"],
)
def test_prometheus_understands_the_labels(path: Path, target: Target) -> None:
    """Path and scheme take effect, instance stays ours, and the marker is in no series."""
    path.write_bytes(make_document(target))
    path.with_name(f"{DRAFT_PREFIX}left{DRAFT_SUFFIX}").write_bytes(
        make_document(replace(target, port=9))
    )
    configuration = str(configure(path.with_name("*.json")))
    promtool = find_program("promtool", "prometheus")
    command = [promtool, "check", "service-discovery", "--timeout=2s", configuration, "django"]
    done = run(command, dict(os.environ))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["discoveredLabels"][MARKER] == "runmetrics"
    labels = {name: found["labels"][name] for name in ("instance", "host", "project")}
    assert not any(name.startswith("__meta_") for name in found["labels"])
    assert labels == {"instance": "web-1/shop", "host": "web-1", "project": "shop"}
    assert found["labels"]["__scheme__"] == target.scheme
    assert found["labels"]["__metrics_path__"] == target.telemetry_path


def write_and_meet(path: Path, event: str, happens: str) -> subprocess.CompletedProcess[str]:
    """Write in a process of its own, to which something happens at a step."""
    code = f"""
import os, pathlib, signal, sys
from tests.e2e.test_discovery import MOVED, TargetFile
path = pathlib.Path(sys.argv[1])
sys.addaudithook(lambda event, _: event == {event!r} and {happens})
TargetFile(path).write(MOVED)
"""
    return run([sys.executable, "-c", code, path], dict(os.environ))


def test_a_kill_right_before_the_rename_leaves_the_old_file(path: Path) -> None:
    """Prometheus goes on with the old target, sees no draft, and the next start writes."""
    path.write_bytes(make_document(TARGET))
    before = state(path)
    done = write_and_meet(path, "os.rename", "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    assert state(path) == before
    (draft,) = set(os.listdir(path.parent)) - {path.name}
    assert (draft[: len(DRAFT_PREFIX)], Path(draft).suffix) == (DRAFT_PREFIX, DRAFT_SUFFIX)
    assert TargetFile(path).write(MOVED)
    assert path.read_bytes() == make_document(MOVED)


@pytest.mark.parametrize("existing", [None, make_document(TARGET)], ids=["missing", "ours"])
def test_a_file_put_there_meanwhile_is_kept(path: Path, existing: bytes | None) -> None:
    """The last look is right before the rename, not when the exporter started."""
    if existing is not None:
        path.write_bytes(existing)
    done = write_and_meet(path, "tempfile.mkstemp", "path.write_bytes(b'notes')")
    assert done.returncode == 1
    assert "no exporter wrote it" in done.stderr
    assert path.read_bytes() == b"notes"
    assert os.listdir(path.parent) == [path.name]


@needs_root
def test_a_full_disk_costs_nothing_but_the_news(path: Path) -> None:
    """The old target stays whole, no draft stays behind, and the next try may succeed."""
    with mounted(path.with_name("disk"), "-t", "tmpfs", "-o", "size=64k", "none") as disk:
        file, filler = TargetFile(disk / "shop.json"), disk / "filler"
        assert file.write(TARGET)
        before = state(file.path)
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(2**17))
        with pytest.raises(ExporterError, match=r"cannot be written: No space"):
            file.write(MOVED)
        assert state(file.path) == before
        assert sorted(os.listdir(disk)) == ["filler", "shop.json"]
        filler.unlink()
        assert file.write(MOVED)


def choose_and_count(listening: list[str]) -> tuple[str, int]:
    """Return the chosen host, and how many datagrams this network has ever sent."""
    chosen = choose_host(listening)
    # A line of names, then one of numbers: received, without a port, wrong, sent.
    counted = Path("/proc/self/net/snmp").read_text().split("Udp:")[2]
    return chosen, int(counted.split()[3])


@needs_root
@pytest.mark.parametrize(
    ("addresses", "listening", "chosen"),
    [
        ("", ["0.0.0.0", "::"], None),
        ("198.51.100.5", ["::"], None),
        ("2001:db8:5::5", [""], "2001:db8:5::5"),
        ("2001:db8:5::5 198.51.100.5", ["::1", "::", "0.0.0.0"], "198.51.100.5"),
    ],
)
def test_the_address_towards_others_is_told(
    addresses: str, listening: list[str], chosen: str | None
) -> None:
    """On any machine it is the address by which others are reached, else the machine's name."""
    somebody = Somebody(wrapper=("unshare", "--net", "sh", "-c", NETWORK, addresses))
    assert somebody.call(choose_and_count, listening) == (chosen or socket.gethostname(), 0)
