"""What somebody must look at; docs/alerts.md says what to do about each."""

from __future__ import annotations

from .objectives import COMMAND_INTERVAL, ERROR_BUDGET, LATENCY, QUEUE_AGE
from .recording import ALL_RATE, ERROR_SHARE, ERRORS, VIEW_QUANTILE
from .rule import CRITICAL, WARNING, Alert, Group

# A view that is seldom asked for must not wake anybody for one bad answer.
LEAST_ERRORS = 5


def burn(pace: float, long: str, short: str) -> str:
    """Return where the error budget is spent so many times too fast, still and for long."""
    most = f"{pace:g} * scalar({ERROR_BUDGET})"
    return f"""\
(
  {ERROR_SHARE}{long} > {most}
  and {ERROR_SHARE}{short} > {most}
  and sum by (namespace, job, view) (increase({ERRORS}[{long}])) > {LEAST_ERRORS}
)"""


REQUESTS = [
    Alert(
        "DjangoErrorBudgetBurnsFast",
        CRITICAL,
        "2m",
        f"{burn(14.4, '1h', '5m')}\nor\n{burn(6, '6h', '30m')}",
        "A view fails so often that its error budget of a month is gone within days.",
        "{{ $value | humanizePercentage }} of the responses of {{ $labels.view }} in"
        " {{ $labels.job }} are errors.",
    ),
    Alert(
        "DjangoErrorBudgetBurnsSlowly",
        WARNING,
        "15m",
        f"{burn(3, '1d', '2h')}\nor\n{burn(1, '3d', '6h')}",
        "A view fails more often than its error budget allows.",
        "{{ $value | humanizePercentage }} of the responses of {{ $labels.view }} in"
        " {{ $labels.job }} have been errors for a day or more.",
    ),
    Alert(
        "DjangoLatencyHigh",
        WARNING,
        "10m",
        f"""
        {VIEW_QUANTILE}:p95_rate5m > scalar({LATENCY})
        and {ALL_RATE} > 0.1
        """,
        "A view is slow.",
        "One request in twenty to {{ $labels.view }} in {{ $labels.job }} takes longer than"
        " {{ $value | humanizeDuration }}.",
    ),
]
STORES = [
    Alert(
        "DjangoDatabaseDown",
        CRITICAL,
        "2m",
        "django_database_up == 0",
        "A database does not answer.",
        "Database {{ $labels.alias }} of {{ $labels.job }} does not answer the exporter at"
        " {{ $labels.instance }}.",
    ),
    Alert(
        "DjangoDatabaseErrors",
        WARNING,
        "10m",
        """
        sum by (namespace, job, alias) (
          rate(django_db_errors_total{type!~"IntegrityError|.*Violation"}[5m])
        )
        /
        sum by (namespace, job, alias) (rate(django_db_execute_total[5m]))
        > 0.01
        """,
        "Database statements fail.",
        "{{ $value | humanizePercentage }} of the statements to {{ $labels.alias }} of"
        " {{ $labels.job }} fail.",
    ),
    Alert(
        "DjangoDatabaseConnectionErrors",
        WARNING,
        "5m",
        """
        sum by (namespace, job, alias) (rate(django_db_new_connection_errors_total[5m])) > 0
        """,
        "Workers cannot connect to a database.",
        "Workers of {{ $labels.job }} cannot have connections to {{ $labels.alias }},"
        " {{ $value | humanize }} in a second.",
    ),
    Alert(
        "DjangoMigrationsUnapplied",
        WARNING,
        "15m",
        "max by (namespace, job, connection) (django_migrations_unapplied_total) > 0",
        "A database is behind the code.",
        "{{ $value }} migrations of {{ $labels.job }} are not applied to {{ $labels.connection }}.",
    ),
    Alert(
        "DjangoCacheDown",
        WARNING,
        "2m",
        "django_cache_up == 0",
        "A cache does not answer.",
        "Cache {{ $labels.alias }} of {{ $labels.job }} does not answer the exporter at"
        " {{ $labels.instance }}.",
    ),
]
WORKERS = [
    Alert(
        "DjangoNoWorkers",
        CRITICAL,
        "5m",
        'django_workers{role=~"web|task"} == 0',
        "No worker is left.",
        "No {{ $labels.role }} worker of {{ $labels.job }} lives that the exporter at"
        " {{ $labels.instance }} knows.",
    ),
    Alert(
        "DjangoValueFilesSkipped",
        WARNING,
        "15m",
        "django_exporter_value_files_skipped > 0",
        "Numbers of workers are left out.",
        "{{ $value }} value files are left out by the exporter at {{ $labels.instance }}:"
        " {{ $labels.reason }}.",
    ),
    Alert(
        "DjangoValueFilesUnknown",
        WARNING,
        "30m",
        'django_exporter_value_files{state="unknown"} > 0',
        "The exporter cannot tell whether workers live.",
        "Of {{ $value }} value files the exporter at {{ $labels.instance }} does not know"
        " whether their writer lives, so they are never folded.",
    ),
    Alert(
        "DjangoDeadWorkersPilingUp",
        WARNING,
        "30m",
        'django_exporter_value_files{state="dead"} > 100',
        "Files of dead workers are not folded.",
        "{{ $value }} value files of dead workers lie before the exporter at"
        " {{ $labels.instance }}, and scrapes get slower.",
    ),
]
EXPORTER = [
    Alert(
        "DjangoExporterDown",
        CRITICAL,
        "5m",
        """
        up == 0
        and on (namespace, job, instance) count_over_time(django_exporter_build_info[3d])
        or
        count by (namespace, job) (count_over_time(django_exporter_build_info[3d]))
        unless on (namespace, job) up
        """,
        "The exporter is down, or Prometheus does not find it.",
        "Prometheus has no metrics of {{ $labels.job }}"
        "{{ with $labels.instance }} from {{ . }}{{ end }}.",
    ),
    Alert(
        "DjangoExporterBlind",
        CRITICAL,
        "5m",
        "django_exporter_metrics_directory_up == 0",
        "The exporter cannot read the metrics directory.",
        "The exporter at {{ $labels.instance }} of {{ $labels.job }} cannot read its metrics"
        " directory, or value files in it, and lacks numbers of workers.",
    ),
    Alert(
        "DjangoCollectorFailing",
        WARNING,
        "15m",
        "django_exporter_collector_success == 0",
        "A part of the exporter has no numbers.",
        "Collector {{ $labels.collector }} of the exporter at {{ $labels.instance }} fails.",
    ),
]
BACKGROUND = [
    Alert(
        "DjangoTaskQueueOld",
        WARNING,
        "5m",
        f"""
        max by (namespace, job, backend, queue) (django_task_oldest_ready_seconds)
        > scalar({QUEUE_AGE})
        """,
        "Tasks wait too long.",
        "A task in queue {{ $labels.queue }} of {{ $labels.job }} has been due for"
        " {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "DjangoCeleryQueueStuck",
        WARNING,
        "5m",
        """
        max by (namespace, job, queue_name) (min_over_time(celery_queue_length[10m])) > 0
        unless on (namespace, job, queue_name)
        sum by (namespace, job, queue_name) (increase(celery_task_started_total[10m])) > 0
        """,
        "Nobody works on a queue of Celery.",
        "{{ $value }} tasks wait in queue {{ $labels.queue_name }} of {{ $labels.job }}, and"
        " none has begun for ten minutes.",
    ),
    Alert(
        "DjangoCommandOverdue",
        WARNING,
        "5m",
        f"""
        time() - max by (namespace, job, command) (django_command_last_success_timestamp_seconds)
        > on (command) group_left ()
        1.25 * {COMMAND_INTERVAL}
        """,
        "A command has not succeeded when it should have.",
        "{{ $labels.command }} of {{ $labels.job }} succeeded {{ $value | humanizeDuration }} ago.",
    ),
    Alert(
        "DjangoCommandFailing",
        WARNING,
        "1m",
        f"""
        (
          max by (namespace, job, command) (django_command_last_completion_timestamp_seconds)
          > max by (namespace, job, command) (django_command_last_success_timestamp_seconds)
          or
          max by (namespace, job, command) (django_command_last_completion_timestamp_seconds)
          unless
          max by (namespace, job, command) (django_command_last_success_timestamp_seconds)
        )
        and on (command) {COMMAND_INTERVAL}
        """,
        "The last run of a command failed.",
        "{{ $labels.command }} of {{ $labels.job }} failed when it last ran.",
    ),
]
GROUP = Group(
    "alerts",
    """
    What somebody must look at. They need objectives.yml and recording.yml beside them.
    """,
    [*REQUESTS, *STORES, *WORKERS, *EXPORTER, *BACKGROUND],
)
