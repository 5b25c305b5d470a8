"""``manage.py`` whose status page shows a quarter of an hour in one minute.

The history's clock runs faster, and the recorder looks as much more often; all else is as it is.
"""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from metrics_commands.management import recorder, status
from metrics_commands.status.history import History, Step
from metrics_commands.status.totals import Totals

SPEED = 15


class TimeLapse(History):
    """What happens in a second is remembered as what happened in so many."""

    def add(self, now: float, totals: Totals | None) -> None:
        super().add(SPEED * now, totals)

    def list_steps(self, now: float) -> list[Step]:
        return super().list_steps(SPEED * now)


def main() -> None:
    """Run a command of the project that ships."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    status.History = TimeLapse  # type: ignore[attr-defined]
    recorder.SHORTEST_PAUSE /= SPEED
    recorder.LONGEST_PAUSE /= SPEED
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
