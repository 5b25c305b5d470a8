"""Rows of the dashboard of processes: the workers, and the files that they write."""

from __future__ import annotations

from .board import Row
from .panels import Panel, graph
from .queries import add_up, largest, rate, select

INSTANCE = "{{instance}}"
PROCESS = "django_worker_process"


def by_role(metric: str, unit: str, title: str, says: str) -> Panel:
    """Return a graph of a gauge by role."""
    return graph(title, {"{{role}}": add_up(select(metric), "role")}, unit, says=says)


def workers() -> Panel:
    """Return the graph of how many there are."""
    return by_role("django_workers", "short", "Workers", "Processes that count and live, by role.")


def processors() -> Panel:
    """Return the graph of what they take of the processors."""
    return graph(
        "Processors",
        {"{{role}}": add_up(rate("django_worker_cpu_seconds_total"), "role")},
        says="Processors that the workers of a role keep busy.",
    )


WORKERS = Row(
    "Workers",
    [
        workers(),
        graph(
            "Begun and ended",
            {
                f"{{{{role}}}} {what}": add_up(rate(f"django_worker_{metric}_total"), "role")
                for what, metric in (("begun", "starts"), ("ended", "deaths"))
            },
            "ops",
            says="Processes in a second; many are a crash loop, or commands by cron.",
        ),
        processors(),
        graph(
            "Memory",
            {
                "{{role}}": add_up(select("django_worker_resident_memory_bytes"), "role"),
                "{{role}} (largest)": largest(
                    select("django_worker_resident_memory_max_bytes"), "role"
                ),
            },
            "bytes",
            says="Resident memory of all workers of a role, and of the one that has most.",
        ),
        by_role("django_worker_open_fds", "short", "Open files", "File descriptors, by role."),
        by_role("django_worker_threads", "short", "Threads", "Threads, by role."),
        graph(
            "Oldest worker",
            {
                "{{role}}": largest(
                    f"time() - {select('django_worker_oldest_start_time_seconds')}", "role"
                )
            },
            "s",
            says="Time since the oldest living worker of a role began.",
        ),
        graph(
            "Processors by process",
            {"{{role}} {{pid}}": add_up(rate(f"{PROCESS}_cpu_seconds_total"), "role", "pid")},
            says="Needs --collector worker_processes.",
        ),
        graph(
            "Memory by process",
            {"{{role}} {{pid}}": add_up(select(f"{PROCESS}_resident_memory_bytes"), "role", "pid")},
            "bytes",
            says="Needs --collector worker_processes.",
        ),
    ],
)
FILES = Row(
    "Value files",
    [
        graph(
            "Value files",
            {"{{state}}": add_up(select("django_exporter_value_files"), "state")},
            says="Files by whether their writer lives. What is unknown is never folded.",
            stacked=True,
        ),
        graph(
            "Left out",
            {"{{reason}}": add_up(select("django_exporter_value_files_skipped"), "reason")},
            says="Files that are not read, wholly or in part: the log has their names.",
        ),
        graph(
            "Space",
            {INSTANCE: add_up(select("django_exporter_value_files_bytes"), "instance")},
            "bytes",
            says="Disk space of the value files.",
        ),
        graph(
            "Folded",
            {
                "files": add_up(rate("django_exporter_folded_files_total")),
                "families forgotten": add_up(rate("django_exporter_forgotten_families_total")),
            },
            "ops",
            says="Files in a second that went into the archive, and families that it dropped "
            "since they are declared differently now.",
        ),
        graph(
            "Archive",
            {INSTANCE: add_up(select("django_exporter_archived_series"), "instance")},
            says="Series that hold the counts of dead workers.",
        ),
        graph(
            "Label values refused",
            {"{{family}}": add_up(rate("django_exporter_label_sets_dropped_total"), "family")},
            "ops",
            says="Sets of label values that count as <other>, since their family is full.",
        ),
    ],
)
