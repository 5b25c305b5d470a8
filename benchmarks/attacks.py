"""Attack a real exporter, and compare a scrape every second meanwhile with those before.

The attackers are those of the end-to-end tests, and have a processor of their own where there are
two. ``ATTACK_SECONDS`` is how long each attack lasts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from tests.e2e.attacked import CASES, Case, attacking, make_certificate, read_outcome, serving
from tests.processes import clean_environment

IDLE_SCRAPES = 15
GOAL = 10


def main() -> None:
    """Attack in each way, and print what became of the scrapes."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            attack_once(case, Path(folder))


def attack_once(case: Case, folder: Path) -> None:
    """Print the slowest scrape under one attack, against the median of an idle exporter."""
    path, context = make_certificate(folder)
    options = ("--web-config-file", path) if case.tls else ()
    environment = clean_environment(folder)
    with serving(environment, *options, context=context if case.tls else None) as exporter:
        idle = median(exporter.scrape() for _ in range(IDLE_SCRAPES))
        before = exporter.memory
        with attacking(environment, exporter, case, case.seconds) as attack:
            times = exporter.scrape_during(attack)
            outcome = read_outcome(attack)
        ratio, grown = max(times) / idle, exporter.memory / before
    print(
        f"{case.kind}: {outcome.opened} connections; idle {idle * 1000:.0f} ms, attacked"
        f" {median(times) * 1000:.0f} ms, slowest of {len(times)} {max(times) * 1000:.0f} ms,"
        f" {ratio:.1f} × (goal at most {GOAL} ×); memory {grown:.2f} × that before"
    )


if __name__ == "__main__":
    main()
