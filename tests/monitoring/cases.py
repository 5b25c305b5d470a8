"""For each alert a case in which it comes, and one in which it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RESPONSES = "django_http_responses_total_by_status_view_method_total"
LATENCY = "django_http_requests_latency_seconds_by_view_method"
HERE = {"job": "django", "instance": "web1:8001"}
AT = " ".join(["at", HERE["instance"]])


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, one value a minute, and what comes of them.

    ``labels`` are those of the alert besides its severity; None where it must not come.
    """

    alert: str
    name: str
    series: dict[str, str]
    labels: dict[str, str] | None = None
    says: str = ""
    at: str = "40m"

    def __str__(self) -> str:
        return f"{self.alert}: {self.name}"


def series(metric: str, values: str, **labels: str) -> dict[str, str]:
    """Return a series of the one exporter."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in (HERE | labels).items())
    return {f"{metric}{{{pairs}}}": values}


def responses(good: str, bad: str) -> dict[str, str]:
    """Return the responses of a view, those that are errors and the others."""
    view = {"view": "shop:order", "method": "POST"}
    return series(RESPONSES, good, status="200", **view) | series(
        RESPONSES, bad, status="500", **view
    )


def latencies(fast: str, slow: str) -> dict[str, str]:
    """Return the requests of a view: how many took up to a second, and how many up to two."""
    view = {"view": "shop:report", "method": "GET"}
    return {
        **series(f"{LATENCY}_bucket", fast, le="1.0", **view),
        **series(f"{LATENCY}_bucket", slow, le="2.0", **view),
        **series(f"{LATENCY}_bucket", slow, le="+Inf", **view),
        **series(RESPONSES, slow, status="200", **view),
    }


def gauge_cases(
    alert: str, metric: str, values: tuple[str, str], says: str, **labels: str
) -> Iterator[Case]:
    """Yield both cases of an alert on one gauge, whose labels it has all."""
    bad, good = values
    yield Case(alert, "bad", series(metric, bad, **labels), HERE | labels, says)
    yield Case(alert, "good", series(metric, good, **labels))


VIEW = {"job": "django", "view": "shop:order"}
FAST, SLOWLY = "DjangoErrorBudgetBurnsFast", "DjangoErrorBudgetBurnsSlowly"
REQUESTS = [
    Case(
        FAST,
        "a tenth fails",
        responses("0+90x90", "0+10x90"),
        VIEW,
        "10% of the responses of shop:order in django are errors.",
        at="80m",
    ),
    Case(
        FAST,
        "a twentieth fails for hours",
        responses("0+95x90", "0+5x90"),
        VIEW,
        "5% of the responses of shop:order in django are errors.",
        at="80m",
    ),
    Case(FAST, "as many as allowed", responses("0+995x90", "0+5x90"), at="80m"),
    Case(FAST, "no errors", responses("0+90x90", "0x90"), at="80m"),
    Case(
        FAST,
        "one bad answer of a view that is new",
        responses("_x30 0x20", "_x30 0x2 1x18"),
        at="37m",
    ),
    Case(FAST, "it is over", responses("0+90x90", "0+10x30 300x60"), at="80m"),
    Case(
        SLOWLY,
        "one in fifty",
        responses("0+98x90", "0+2x90"),
        VIEW,
        "2% of the responses of shop:order in django have been errors for a day or more.",
        at="80m",
    ),
    Case(SLOWLY, "as many as allowed", responses("0+996x90", "0+4x90"), at="80m"),
    Case(
        "DjangoLatencyHigh",
        "half of them slow",
        latencies("0+30x60", "0+60x60"),
        {"job": "django", "view": "shop:report"},
        "One request in twenty to shop:report in django takes longer than 1.9s.",
    ),
    Case("DjangoLatencyHigh", "none slow", latencies("0+60x60", "0+60x60")),
    Case("DjangoLatencyHigh", "one in an hour", latencies("0x60", "0x30 1x30"), at="32m"),
]
DATABASE = {"alias": "default", "vendor": "postgresql"}
ERRORS = "django_db_errors_total"
STORES = [
    *gauge_cases(
        "DjangoDatabaseDown",
        "django_database_up",
        ("0x60", "1x60"),
        f"Database default of django does not answer the exporter {AT}.",
        alias="default",
    ),
    *gauge_cases(
        "DjangoCacheDown",
        "django_cache_up",
        ("0x60", "1x60"),
        f"Cache default of django does not answer the exporter {AT}.",
        alias="default",
    ),
    *(
        Case(
            "DjangoDatabaseErrors",
            kind,
            series("django_db_execute_total", "0+100x60", **DATABASE)
            | series(ERRORS, "0+5x60", type=kind, **DATABASE),
            labels,
            "5% of the statements to default of django fail.",
        )
        for kind, labels in (
            ("OperationalError", {"job": "django", "alias": "default"}),
            ("UniqueViolation", None),
        )
    ),
    Case(
        "DjangoDatabaseConnectionErrors",
        "refused",
        series("django_db_new_connection_errors_total", "0+60x60", **DATABASE),
        {"job": "django", "alias": "default"},
        "Workers of django cannot have connections to default, 1 in a second.",
    ),
    Case(
        "DjangoDatabaseConnectionErrors",
        "refused long ago",
        series("django_db_new_connection_errors_total", "0+60x20 1200x40", **DATABASE),
    ),
    Case(
        "DjangoMigrationsUnapplied",
        "two",
        series("django_migrations_unapplied_total", "2x60", connection="default"),
        {"job": "django", "connection": "default"},
        "2 migrations of django are not applied to default.",
    ),
    Case(
        "DjangoMigrationsUnapplied",
        "while a release is under way",
        series("django_migrations_unapplied_total", "0x30 2x10 0x20", connection="default"),
    ),
]
WORKERS = [
    *gauge_cases(
        "DjangoNoWorkers",
        "django_workers",
        ("0x60", "1x60"),
        f"No web worker of django lives that the exporter {AT} knows.",
        role="web",
    ),
    Case("DjangoNoWorkers", "no command runs", series("django_workers", "0x60", role="command")),
    *gauge_cases(
        "DjangoValueFilesSkipped",
        "django_exporter_value_files_skipped",
        ("3x60", "0x60"),
        f"3 value files are left out by the exporter {AT}: unreadable.",
        reason="unreadable",
    ),
    *gauge_cases(
        "DjangoValueFilesUnknown",
        "django_exporter_value_files",
        ("4x60", "0x60"),
        f"Of 4 value files the exporter {AT} does not know whether their writer lives,"
        " so they are never folded.",
        state="unknown",
    ),
    *gauge_cases(
        "DjangoDeadWorkersPilingUp",
        "django_exporter_value_files",
        ("101x60", "100x60"),
        f"101 value files of dead workers lie before the exporter {AT}, and scrapes get slower.",
        state="dead",
    ),
]
BUILD = "django_exporter_build_info"
DOWN = "DjangoExporterDown"
EXPORTER = [
    Case(
        DOWN,
        "it does not answer",
        series("up", "1x10 0x50") | series(BUILD, "1x10 stale", version="1"),
        HERE,
        "Prometheus has no metrics of django from web1:8001.",
    ),
    Case(
        DOWN,
        "its target is gone",
        series("up", "1x10 stale") | series(BUILD, "1x10 stale", version="1"),
        {"job": "django"},
        "Prometheus has no metrics of django.",
    ),
    Case(DOWN, "it answers", series("up", "1x60") | series(BUILD, "1x60", version="1")),
    Case(DOWN, "another's exporter is down", series("up", "0x60")),
    Case(
        DOWN,
        "its port has changed",
        series("up", "1x10 stale")
        | series(BUILD, "1x10 stale", version="1")
        | series("up", "_x10 1x50", instance="web1:8002")
        | series(BUILD, "_x10 1x50", instance="web1:8002", version="1"),
    ),
    *gauge_cases(
        "DjangoExporterBlind",
        "django_exporter_metrics_directory_up",
        ("0x60", "1x60"),
        f"The exporter {AT} of django cannot read its metrics directory, or value files in it, and"
        " lacks numbers of workers.",
    ),
    *gauge_cases(
        "DjangoCollectorFailing",
        "django_exporter_collector_success",
        ("0x60", "1x60"),
        f"Collector tasks of the exporter {AT} fails.",
        collector="tasks",
    ),
]
LENGTH, STARTED = "celery_queue_length", "celery_task_started_total"
COMMAND = "django_command_last_{}_timestamp_seconds"


def command(name: str, **seconds_ago: int) -> dict[str, str]:
    """Return when a command last ended so, in seconds before the first minute."""
    found: dict[str, str] = {}
    for what, seconds in seconds_ago.items():
        found |= series(COMMAND.format(what), f"-{seconds}x60", command=name)
    return found


CLEARED = {"job": "django", "command": "clearsessions"}
BACKGROUND = [
    Case(
        "DjangoTaskQueueOld",
        "eleven minutes",
        series("django_task_oldest_ready_seconds", "660x60", queue="mail", backend="default"),
        {"job": "django", "queue": "mail", "backend": "default"},
        "A task in queue mail of django has been due for 11m 0s.",
    ),
    Case(
        "DjangoTaskQueueOld",
        "nine minutes",
        series("django_task_oldest_ready_seconds", "540x60", queue="mail", backend="default"),
    ),
    Case(
        "DjangoCeleryQueueStuck",
        "nothing begins",
        series(LENGTH, "7x60", queue_name="mail")
        | series(STARTED, "9x60", queue_name="mail", name="send"),
        {"job": "django", "queue_name": "mail"},
        "7 tasks wait in queue mail of django, and none has begun for ten minutes.",
    ),
    Case(
        "DjangoCeleryQueueStuck",
        "much to do",
        series(LENGTH, "7x60", queue_name="mail")
        | series(STARTED, "0+1x60", queue_name="mail", name="send"),
    ),
    Case("DjangoCeleryQueueStuck", "nothing waits", series(LENGTH, "0x60", queue_name="mail")),
    Case(
        "DjangoCommandOverdue",
        "yesterday's is missing",
        command("clearsessions", success=108_000),
        CLEARED,
        "clearsessions of django succeeded 1d 6h 40m 0s ago.",
    ),
    Case("DjangoCommandOverdue", "today's is late", command("clearsessions", success=100_000)),
    Case("DjangoCommandOverdue", "no schedule", command("migrate", success=1_000_000)),
    *(
        Case(
            "DjangoCommandFailing",
            name,
            command("clearsessions", **ends),
            CLEARED,
            "clearsessions of django failed when it last ran.",
        )
        for name, ends in (
            ("since its last success", {"success": 90_000, "completion": 3_600}),
            ("never a success", {"completion": 3_600}),
        )
    ),
    Case(
        "DjangoCommandFailing",
        "it succeeded",
        command("clearsessions", success=3_600, completion=3_600),
    ),
    Case("DjangoCommandFailing", "by hand", command("migrate", completion=3_600)),
]
CASES = [*REQUESTS, *STORES, *WORKERS, *EXPORTER, *BACKGROUND]
