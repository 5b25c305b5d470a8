"""The dashboard of what runs besides requests: commands, Django's tasks, and Celery."""

from __future__ import annotations

from .board import Board, Row, variable
from .panels import Column, graph, stat_panel, table
from .queries import add_up, divide, increase, largest, or_zero, quantile, rate, select

RUNS = "django_command_runs_total"
FINISHED = "django_task_finished_total"
FAILED = "celery_task_failed_total"
SUCCEEDED = "celery_task_succeeded_total"
COMMAND = 'command=~"$command"'
QUEUE = 'queue=~"$queue"'
CELERY_QUEUE = 'queue_name=~"$celery_queue"'


def age(metric: str, *labels: str) -> str:
    """Return how long ago the latest of timestamps is."""
    return f"time() - {largest(select(metric, COMMAND), *labels)}"


NOW = Row(
    "Now",
    [
        stat_panel(
            "Commands failed",
            add_up(increase(RUNS, COMMAND, 'outcome="failure"')),
            says="Runs that failed in the time shown.",
            bad=1,
        ),
        stat_panel(
            "Tasks waiting",
            add_up(largest(select("django_task_results", QUEUE, 'status="ready"'), "queue")),
            says="Django's tasks that are due, in the database.",
        ),
        stat_panel(
            "Oldest task",
            largest(select("django_task_oldest_ready_seconds", QUEUE)),
            "s",
            says="How long a task has been due that nobody has begun.",
            bad=600,
        ),
        stat_panel(
            "Tasks failing",
            divide(
                or_zero(add_up(rate(FINISHED, QUEUE, 'status="failed"'))),
                add_up(rate(FINISHED, QUEUE)),
            ),
            "percentunit",
            says="Share of Django's tasks that failed.",
            bad=0.05,
        ),
        stat_panel(
            "Celery waiting",
            add_up(largest(select("celery_queue_length", CELERY_QUEUE), "queue_name")),
            says="Tasks in the queues of the Redis broker.",
        ),
        stat_panel(
            "Celery workers",
            add_up(select("celery_active_worker_count", CELERY_QUEUE)),
            says="Workers, once for each queue that they take from.",
        ),
        stat_panel(
            "Celery active",
            add_up(select("celery_worker_tasks_active")),
            says="Tasks that run now.",
        ),
        stat_panel(
            "Celery failing",
            divide(
                add_up(rate(FAILED, CELERY_QUEUE)),
                f"({add_up(rate(FAILED, CELERY_QUEUE))} + {add_up(rate(SUCCEEDED, CELERY_QUEUE))})",
            ),
            "percentunit",
            says="Share of runs of tasks that failed.",
            bad=0.05,
        ),
    ],
)
COMMANDS = Row(
    "Commands",
    [
        table(
            "Commands",
            Column(
                "Since success",
                age("django_command_last_success_timestamp_seconds", "command"),
                "s",
            ),
            Column(
                "Since end", age("django_command_last_completion_timestamp_seconds", "command"), "s"
            ),
            Column(
                "Took",
                largest(select("django_command_last_duration_seconds", COMMAND), "command"),
                "s",
            ),
            Column("Failures", add_up(increase(RUNS, COMMAND, 'outcome="failure"'), "command")),
            says="The last run of each command; failures in the time shown.",
        ).span(12),
        graph(
            "Runs",
            {"{{command}} {{outcome}}": add_up(rate(RUNS, COMMAND), "command", "outcome")},
            "ops",
            says="Runs in a second that came to an end.",
        ).span(12),
        graph(
            "Time",
            {
                "{{command}}": largest(
                    select("django_command_last_duration_seconds", COMMAND), "command"
                )
            },
            "s",
            says="Time of the last run.",
        ),
        graph(
            "Time of stages",
            {
                "{{command}} {{stage}}": largest(
                    select("django_command_stage_last_duration_seconds", COMMAND),
                    "command",
                    "stage",
                )
            },
            "s",
            says="Time that the last run spent in a stage.",
        ),
        graph(
            "Records",
            {
                "{{command}} {{stage}}": add_up(
                    rate("django_command_records_total", COMMAND), "command", "stage"
                )
            },
            "ops",
            says="Records in a second that a stage has processed.",
        ),
    ],
)
TASKS = Row(
    "Django's tasks",
    [
        graph(
            "In the database",
            {
                "{{queue}} {{status}}": largest(
                    select("django_task_results", QUEUE), "queue", "status"
                )
            },
            says="Tasks by queue and status (django-tasks-db).",
        ),
        graph(
            "Oldest and longest",
            {
                "{{queue}} waits": largest(
                    select("django_task_oldest_ready_seconds", QUEUE), "queue"
                ),
                "{{queue}} runs": largest(
                    select("django_task_longest_running_seconds", QUEUE), "queue"
                ),
            },
            "s",
            says="How long a task has been due, and how long one runs or its worker is dead.",
        ),
        graph(
            "Throughput",
            {
                f"{{{{task}}}} {what}": add_up(rate(f"django_task_{what}_total", QUEUE), "task")
                for what in ("enqueued", "started")
            },
            "ops",
            says="Tasks in a second. What is enqueued faster than started piles up.",
        ),
        graph(
            "Ends",
            {"{{task}} {{status}}": add_up(rate(FINISHED, QUEUE), "task", "status")},
            "ops",
            says="Tasks in a second that ended.",
        ),
        graph(
            "Run p95",
            {"{{task}}": quantile(0.95, "django_task_run_seconds", QUEUE, by=("task",))},
            "s",
            says="19 of 20 runs took no longer.",
        ),
        graph(
            "Wait p95",
            {"{{task}}": quantile(0.95, "django_task_wait_seconds", QUEUE, by=("task",))},
            "s",
            says="19 of 20 tasks waited no longer, once due.",
        ),
    ],
)
CELERY = Row(
    "Celery",
    [
        graph(
            "Queues",
            {"{{queue_name}}": largest(select("celery_queue_length", CELERY_QUEUE), "queue_name")},
            says="Tasks that wait in the Redis broker.",
        ),
        graph(
            "Workers",
            {
                "{{queue_name}} workers": add_up(
                    select("celery_active_worker_count", CELERY_QUEUE), "queue_name"
                ),
                "{{queue_name}} at once": add_up(
                    select("celery_active_process_count", CELERY_QUEUE), "queue_name"
                ),
                "active": add_up(select("celery_worker_tasks_active")),
                "up": largest(select("celery_worker_up")),
            },
            says="Workers of a queue, tasks that they can run at once, and tasks that run.",
        ),
        graph(
            "Tasks",
            {
                what: add_up(rate(f"celery_task_{what}_total", CELERY_QUEUE))
                for what in (
                    "sent",
                    "received",
                    "started",
                    "succeeded",
                    "failed",
                    "retried",
                    "rejected",
                    "revoked",
                )
            },
            "ops",
            says="What becomes of tasks, in a second.",
        ),
        graph(
            "Failures",
            {"{{name}} {{exception}}": add_up(rate(FAILED, CELERY_QUEUE), "name", "exception")},
            "ops",
            says="Runs in a second that failed, by class of exception.",
        ),
        graph(
            "Run p95",
            {"{{name}}": quantile(0.95, "celery_task_runtime", CELERY_QUEUE, by=("name",))},
            "s",
            says="19 of 20 runs that succeeded took no longer.",
        ),
        graph(
            "Wait p95",
            {"{{name}}": quantile(0.95, "celery_task_queue_wait_time", CELERY_QUEUE, by=("name",))},
            "s",
            says="19 of 20 tasks waited no longer, from sent or their ETA.",
        ),
    ],
)
BOARD = Board(
    "tasks-and-commands",
    "Tasks and commands",
    "Commands of manage.py, Django's own tasks, and Celery's.",
    [NOW, COMMANDS, TASKS, CELERY],
    [
        variable("command", "Command", RUNS, "command"),
        variable("queue", "Queue", "django_task_enqueued_total", "queue"),
        variable("celery_queue", "Celery queue", "celery_task_sent_total", "queue_name"),
    ],
)
