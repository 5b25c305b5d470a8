"""Two exporters for all cases, one with users; FUZZ_CASES says how many cases each test has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest
from hypothesis import HealthCheck, settings

from benchmarks.deployment import hold_workers
from tests.fuzz.answers import ask
from tests.fuzz.credentials import USERS, encode
from tests.processes import ROOT, Started, clean_environment, run_manage, started

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("FUZZ_CASES", "80")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# These ask a database that is not there, or take their time.
SLOW = ("application", "cache", "database", "migrations", "system", "tasks")


@dataclass(frozen=True)
class Target:
    """A running exporter, and what it needs to answer a scrape."""

    process: Started
    port: int
    authorization: tuple[bytes, ...] = ()

    def assert_well(self) -> None:
        """It serves as before, and has nothing to complain about."""
        answer = ask(self.port, *self.authorization)
        assert answer.status == 200
        assert b"django_http_responses_total_by_status_view_method_total{" in answer.body
        assert "Traceback" not in self.process.output
        assert "failed" not in self.process.output


@contextmanager
def serve(home: Path, *options: str | Path) -> Iterator[tuple[Started, int]]:
    """Start an exporter with a few values."""
    directory = home / "metrics"
    directory.mkdir()
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", "--port", "0"]
    command += [f"--no-collector={name}" for name in SLOW]
    environment = clean_environment(home, PROMETHEUS_MULTIPROC_DIR=str(directory))
    # The shop's own collectors ask for its tables.
    assert run_manage(environment, "migrate", "--verbosity=0").returncode == 0
    with hold_workers(directory, 1, 5), started([*command, *options], environment) as process:
        url = process.wait_for(r"Serving (http://\S+)")[1]
        yield process, urlsplit(url).port or 0


@pytest.fixture(scope="session")
def _open_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serve(tmp_path_factory.mktemp("open")) as (process, port):
        yield Target(process, port)


@pytest.fixture(scope="session")
def _locked_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    home = tmp_path_factory.mktemp("locked")
    # The lowest cost, since this is about what is let in and not about how long that takes.
    users = {user: bcrypt.hashpw(word, bcrypt.gensalt(4)) for user, word in USERS.items()}
    lines = [f"  {user.decode()}: {hashed.decode()}\n" for user, hashed in users.items()]
    path = home / "web.yml"
    path.write_text("basic_auth_users:\n" + "".join(lines))
    path.chmod(0o600)
    with serve(home, "--web-config-file", path) as (process, port):
        (credentials, *_) = USERS.items()
        yield Target(process, port, (b"Authorization: Basic " + encode(*credentials),))


@pytest.fixture(scope="module")
def port(_open_exporter: Target) -> Iterator[int]:
    """Return the port of an exporter that is well, also after all these cases."""
    yield _open_exporter.port
    _open_exporter.assert_well()


@pytest.fixture(scope="module")
def locked_port(_locked_exporter: Target) -> Iterator[int]:
    """Return the port of one that asks for a user, and is well, also after all these cases."""
    yield _locked_exporter.port
    _locked_exporter.assert_well()
