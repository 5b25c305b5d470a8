"""What is good enough: the numbers that a deployment decides, once for all rules."""

from __future__ import annotations

from .rule import Group, Recording

ERROR_BUDGET = "django:http_error_budget:objective"
LATENCY = "django:http_latency_seconds:objective"
QUEUE_AGE = "django:task_queue_age_seconds:objective"
COMMAND_INTERVAL = "command:django_command_interval_seconds:objective"
DAY = 24 * 60 * 60


def choose(name: str, value: float, **labels: str) -> Recording:
    """Return a rule that records one number."""
    return Recording(name, f"vector({value})", labels)


GROUP = Group(
    "objectives",
    """
    What is good enough. These numbers are yours to change; all rules and dashboards take them
    from here.

    django:http_error_budget:objective       share of a view's responses that may be 5xx
    django:http_latency_seconds:objective    time in which 19 of 20 requests are answered
    django:task_queue_age_seconds:objective  time that a task may wait once it is due
    command:django_command_interval_seconds:objective
        how often a command succeeds that runs by itself: one rule for each
    """,
    [
        choose(ERROR_BUDGET, 0.005),
        choose(LATENCY, 1),
        choose(QUEUE_AGE, 600),
        choose(COMMAND_INTERVAL, DAY, command="clearsessions"),
    ],
)
