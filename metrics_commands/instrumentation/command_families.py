"""The families of commands and their stages."""

from __future__ import annotations

from functools import cache

from .families import Counter, LatestGauge, prefix

COMMAND = ("command",)
STAGE = ("command", "stage")


class CommandFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        name = f"{prefix()}django_command_"
        self.runs = Counter(
            f"{name}runs",
            "Runs of manage.py commands that came to an end, by their exit status.",
            ("command", "outcome"),
        )
        self.last_success = LatestGauge(
            f"{name}last_success_timestamp_seconds",
            "When a command last succeeded, in Unix time.",
            COMMAND,
        )
        self.last_completion = LatestGauge(
            f"{name}last_completion_timestamp_seconds",
            "When a command last ended, failed or not, in Unix time.",
            COMMAND,
        )
        self.last_duration = LatestGauge(
            f"{name}last_duration_seconds",
            "Time of a command's last run, failed or not.",
            COMMAND,
        )
        self.stage_duration = LatestGauge(
            f"{name}stage_last_duration_seconds",
            "Time that the last run spent in a stage, however often it came there.",
            STAGE,
        )
        self.records = Counter(f"{name}records", "Records that a stage has processed.", STAGE)


@cache
def command_families() -> CommandFamilies:
    """Return the families, declaring them at the first call."""
    return CommandFamilies()
