"""The peer's environment: django-prometheus cannot be installed beside every Django we support."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

FOLDER = ROOT / ".venv-peer"
REQUIREMENTS = (
    "django-prometheus==2.5.0", "Django>=5.2,<5.3", "gunicorn", "uvicorn", "psutil", "tornado",
)  # fmt: skip


def make_environment() -> Path:
    """Return the peer's Python, installing what it needs where that has not been done."""
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / "installed"
    wanted = "\n".join([sys.version, *REQUIREMENTS])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        # Several test sessions may want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            run_or_tell([sys.executable, "-m", "venv", str(FOLDER)])
            run_or_tell([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS])
            stamp.write_text(wanted)
    return python


def run_or_tell(command: list[str]) -> None:
    """Run a command; where it fails, say what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
