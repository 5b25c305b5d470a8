"""The shop under a real Apache with mod_wsgi."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.processes import (
    ROOT,
    Started,
    clean_environment,
    exporter,
    free_port,
    run_manage,
    scrape,
    started,
    wait_until,
)

from .documents import read_example

FOLDER = Path("/usr/lib/apache2/modules")
MODULES = ("mpm_event", "authz_core", "wsgi")
LIBRARY = Path(sysconfig.get_path("purelib"))
# Apache refuses to serve as root; whoever is not root serves as himself.
NOBODY = 65534 if os.geteuid() == 0 else None
DAEMON_LINES = ("WSGIDaemonProcess", "WSGIProcessGroup")


def fits() -> bool:
    """Tell whether the module is there, and for this very Python."""
    module = FOLDER / "mod_wsgi.so"
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so".encode()
    return module.exists() and name in module.read_bytes()


pytestmark = pytest.mark.skipif(not fits(), reason="mod_wsgi for this Python is not installed")


@pytest.fixture
def data() -> Iterator[Path]:
    """Yield a data directory of the shop that belongs to whoever runs Apache."""
    # Not below pytest's own, which nobody else may enter.
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        assert run_manage(clean_environment(home), "migrate").returncode == 0
        if NOBODY is not None:
            for each in (home, *home.rglob("*")):
                os.chown(each, NOBODY, NOBODY)
        yield home


@contextmanager
def apache(
    data: Path, environment: dict[str, str], *, embedded: bool
) -> Iterator[tuple[Started, int]]:
    """Start Apache as the page says, with paths of here; yield it with its port."""
    port = free_port()
    lines = read_example("apache")
    # The system's Python, which the module is made for, with our packages.
    for old, new in (
        (" python-home=/srv/shop/.venv", ""),
        ("python-path=/srv/shop", f"python-path={ROOT}:{LIBRARY}"),
        ("home=/srv/shop", f"home={data}"),
        ("/srv/shop/project", f"{ROOT}/project"),
    ):
        assert old in lines
        lines = lines.replace(old, new)
    kept = [
        each for each in lines.splitlines() if not embedded or each.split()[0] not in DAEMON_LINES
    ]
    own = [f"WSGIPythonPath {ROOT}:{LIBRARY}"] if embedded else [f"WSGISocketPrefix {data}/wsgi"]
    configuration = [
        f"ServerRoot {data}",
        "ServerName 127.0.0.1",
        f"PidFile {data}/pid",
        f"DefaultRuntimeDir {data}",
        f"ErrorLog {data}/error.log",
        f"Listen 127.0.0.1:{port}",
        *(f"LoadModule {each}_module {FOLDER}/mod_{each}.so" for each in MODULES),
        *own,
        *kept,
        f"<Directory {ROOT}/project>\nRequire all granted\n</Directory>\n",
    ]
    (data / "httpd.conf").write_text("\n".join(configuration))
    command: list[str | Path] = ["apache2", "-DFOREGROUND", "-f", data / "httpd.conf"]
    with started(command, environment, user=NOBODY) as server:
        yield server, port


@pytest.mark.parametrize("embedded", [False, True], ids=["daemon", "embedded"])
def test_counts_are_exact(data: Path, embedded: bool) -> None:
    """Each request counts once, also when all processes that served are killed and replaced."""
    environment = clean_environment(data, PROMETHEUS_METRICS_EXPORT_PORT="0")
    with (
        exporter(environment) as (_, url),
        apache(data, environment, embedded=embedded) as (server, port),
    ):
        sent = wait_for_web(port) + send_mix(port, 2)
        assert_exact(scrape(url), sent)
        children = psutil.Process(server.pid).children()
        for each in children:
            each.kill()
        wait_until(lambda: not any(each.is_running() for each in children))
        sent += wait_for_web(port) + send_mix(port, 1)
        assert_exact(scrape(url), sent)
