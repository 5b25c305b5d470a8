"""What counting adds to a request, a query, a cache call, a save and a worker's memory.

Three processes live at once, one that counts nothing, one with django-prometheus and one with
us, and run short batches in turns; each figure is the median of the differences within a round.
All three have the same interpreter, Django and prometheus_client, in an environment of the
peer's own, and both that count write value files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / ".venv-peer"
REQUIREMENTS = ("django-prometheus==2.5.0", "Django>=5.2,<5.3")
SIDES = ("none", "peer", "ours")
ROUNDS = 200
MEMORY_ROUNDS = 5
BATCH_SECONDS = 0.02
WARM_UP = 100
PATIENCE = 300.0


# Processor time is the same on a busy machine, where the clock also shows other work.
CLOCKS = ("clock", "processor")

Added = dict[str, list[float]]


class Case(NamedTuple):
    """Something that is done again and again, the counter that proves it, and our goal."""

    name: str
    title: str
    sample: str
    goal: float


CASES = (
    Case("wsgi", "WSGI request", "django_http_responses_before_middlewares_total", 1 / 8),
    Case("asgi", "ASGI request", "django_http_responses_before_middlewares_total", 1 / 60),
    Case("query", "database query", "django_db_execute_total", 1 / 5),
    Case("cache", "cache get", "django_cache_get_total", 1 / 2),
    Case("save", "model save", "django_model_updates_total", 1.0),
)


class Side:
    """A process of one side, and what it has been told to do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.times = 0

    def ask(self, order: str, argument: object) -> list[float]:
        """Return the numbers of the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(order, argument, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"A side ended; it could not run: {order}")
        return [float(each) for each in answer.split()]

    def run(self, case: Case, times: int) -> list[float]:
        """Return the seconds that each of so many times takes, by the clock and of processors."""
        self.times += times
        return [seconds / times for seconds in self.ask(case.name, times)]


@contextmanager
def start(side: str, python: Path) -> Iterator[Side]:
    """Start the process of a side, with a metrics directory of its own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMETHEUS_", "DJANGO_"))
    }
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [str(python), "-m", "benchmarks.request_side", side],
            cwd=ROOT,
            env=inherited | {"PROMETHEUS_MULTIPROC_DIR": directory},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield Side(process)
            finally:
                process.kill()


def prepare_peer() -> Path:
    """Return the interpreter of the peer's environment, which is made where it is missing.

    It is made under another name: whoever makes it at the same time, one of us wins whole.
    """
    python = PEER / "bin" / "python"
    if not PEER.exists():
        print(f"Making {PEER.name} …", flush=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{PEER.name}-", dir=ROOT))
        (draft / ".gitignore").write_text("*\n")
        subprocess.run([sys.executable, "-m", "venv", str(draft)], check=True)
        install = [str(draft / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        try:
            subprocess.run([*install, *REQUIREMENTS], check=True)
            os.rename(draft, PEER)
        except OSError:
            if not PEER.exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    deadline = time.monotonic() + PATIENCE
    probe = [str(python), "-c", "import django, django_prometheus"]
    while not python.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            sys.exit(f"{PEER} has no django-prometheus. Remove it, and this makes it anew.")
        time.sleep(1)
    return python


def find_times(side: Side, case: Case) -> int:
    """Return how many times fill a batch, after warming up."""
    # The first of all loads modules, and would say that one is enough.
    side.run(case, WARM_UP)
    times = 1
    while (seconds := side.run(case, times)[0]) * times < BATCH_SECONDS / 2:
        times *= 2
    return max(1, int(BATCH_SECONDS / seconds))


def measure(case: Case, python: Path, rounds: int) -> list[Added]:
    """Return what each side adds in microseconds, round by round: by the clock, of processors."""
    found: list[Added] = [{side: [] for side in SIDES} for _ in CLOCKS]
    with ExitStack() as stack:
        sides = {side: stack.enter_context(start(side, python)) for side in SIDES}
        times = {name: find_times(side, case) for name, side in sides.items()}
        for _ in range(rounds):
            # Whoever comes first in a round has no advantage in the end.
            order = random.sample(SIDES, len(SIDES))
            taken = {name: sides[name].run(case, times[name]) for name in order}
            for clock, added in enumerate(found):
                nothing = taken["none"][clock]
                added["none"].append(nothing * 1e6)
                for name in ("peer", "ours"):
                    added[name].append((taken[name][clock] - nothing) * 1e6)
        for name in ("peer", "ours"):
            [counted] = sides[name].ask("count", case.sample)
            if counted < sides[name].times:
                sys.exit(f"{case.title}: {name} counted {counted:.0f} of {sides[name].times}.")
    return found


def show(values: list[float]) -> str:
    """Return median and quartiles."""
    low, middle, high = quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def report(case: Case, found: list[Added]) -> None:
    """Print the rows of a case."""
    for clock, added in zip(CLOCKS, found, strict=True):
        columns = "".join(f"{show(added[side]):>28}" for side in SIDES)
        ratio = median(added["ours"]) / median(added["peer"])
        print(f"{case.title:15}{clock:10}{columns}{ratio:9.4f}, goal {case.goal:.4f}", flush=True)


def report_memory(python: Path) -> None:
    """Print the memory of a fresh worker of each side, after each of 200 views was asked."""
    found: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    for _ in range(MEMORY_ROUNDS):
        for name in SIDES:
            with start(name, python) as side:
                found[name].append(side.ask("memory", 0))
    for position, title in enumerate(("resident", "its own")):
        megabytes = {side: median(each[position] for each in found[side]) / 1024 for side in SIDES}
        peer, ours = (megabytes[side] - megabytes["none"] for side in ("peer", "ours"))
        print(
            f"memory, {title:8} none {megabytes['none']:.1f} MB; peer adds {peer:.2f},"
            f" ours {ours:.2f}: {ours / peer:.2f} of it, goal 1"
        )


def main() -> None:
    """Measure every case, or those named, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="wsgi, asgi, query, cache, save, memory")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    python = prepare_peer()
    head = "".join(f"{each:>28}" for each in ("nothing", "django-prometheus adds", "ours adds"))
    print(f"{'µs (quartiles)':25}{head}{'ratio':>9}")
    for case in CASES:
        if not options.cases or case.name in options.cases:
            report(case, measure(case, python, options.rounds))
    if not options.cases or "memory" in options.cases:
        report_memory(python)


if __name__ == "__main__":
    main()
