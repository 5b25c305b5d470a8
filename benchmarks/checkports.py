"""How long ``checkports`` takes beside ``manage.py check``, on a project that is clean."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("check", "checkports")
ROUNDS = 15
GOAL = 1.5


def measure(command: str, environment: dict[str, str]) -> float:
    """Return the seconds that a command takes, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Run both in turns and print the medians and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")
        } | {"DATA_DIR": home}
        seconds: dict[str, list[float]] = {command: [] for command in COMMANDS}
        for _ in range(ROUNDS):
            for command in COMMANDS:
                seconds[command].append(measure(command, environment))
    check, checkports = (statistics.median(seconds[command]) for command in COMMANDS)
    print(f"manage.py check       {check * 1000:7.0f} ms")
    print(f"manage.py checkports  {checkports * 1000:7.0f} ms")
    print(f"ratio {checkports / check:.2f} (goal: below {GOAL})")


if __name__ == "__main__":
    main()
