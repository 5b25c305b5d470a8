"""What the log of an exporter says of a directory that its user cannot use: all of it, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ports.sockets import BECOME_NOBODY, NOBODY, needs_root, run_python

PREPARE = """
import logging, sys
from django.conf import settings
settings.configure()
from metrics_commands.conf import load_config
from metrics_commands.errors import name_user
from metrics_commands.management.metrics_directory import Tenure, open_directory, take_directory
from metrics_commands.management.patience import Patience
from metrics_commands.server.shutdown import Shutdown
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
"""
SERVE = """
tenure = Tenure(open_directory(load_config({{"metrics_dir": {!r}}})))
take_directory(tenure, Patience(0.0, Shutdown()))
if tenure.reader:
    tenure.reader.count_workers()
    tenure.reader.read()
"""
SHARE = "or give both a group and the directory mode 2770."
MAKE = "In the shell: install -d -m 700 -o USER_OF_THE_WEB_PROCESS"


@needs_root
@pytest.mark.parametrize(
    ("mode", "what", "step"),
    [
        (0o700, "user nobody may not read it", SHARE),
        (None, "user nobody cannot make it in", MAKE),
        (0o755, "It is served, but the port is not", "Let user nobody write there."),
    ],
)
def test_one_warning_says_what_is_wrong_and_what_to_do(
    common_ground: Path, mode: int | None, what: str, step: str
) -> None:
    """Opening, locking and reading fail for one reason, of which the log has one line."""
    metrics = common_ground / "metrics"
    if mode is not None:
        metrics.mkdir()
        metrics.chmod(mode)
    told = run_python(SERVE.format(str(metrics)), before=PREPARE + BECOME_NOBODY)
    (line,) = told.splitlines()
    assert line.startswith(f"WARNING Metrics directory {metrics} ")
    assert what in line
    assert step in line


@needs_root
def test_one_that_can_be_read_later_is_told(common_ground: Path) -> None:
    """What the log calls unreadable it calls readable again, and then unreadable again."""
    metrics = common_ground / "metrics"
    metrics.mkdir(mode=0o700)
    turns = f"""
logging.getLogger("metrics_commands").setLevel(logging.INFO)
os.seteuid({NOBODY})
reader = open_directory(load_config({{"metrics_dir": {str(metrics)!r}}}))
for mode in (0o700, 0o755, 0o700):
    os.seteuid(0)
    os.chmod({str(metrics)!r}, mode)
    os.seteuid({NOBODY})
    reader.read()
"""
    told = run_python(turns, before=PREPARE).splitlines()
    assert [line.split()[0] for line in told] == ["WARNING", "INFO", "WARNING"]
    assert "can be read again" in told[1]
    assert "Permission denied" in told[2]
