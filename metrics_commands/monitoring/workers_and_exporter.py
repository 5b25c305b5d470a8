"""The dashboard of the processes: those that count, and the one that serves what they count."""

from __future__ import annotations

from .board import Board, Row
from .panels import Column, graph, stat_panel, table
from .queries import add_up, increase, largest, mean, rate, select
from .worker_rows import FILES, INSTANCE, WORKERS

COLLECTOR = "{{collector}}"


NOW = Row(
    "Now",
    [
        stat_panel(
            "Exporters down",
            add_up(f"1 - {select('up')}"),
            says="Targets of the job that Prometheus cannot scrape.",
            bad=1,
        ),
        stat_panel(
            "Web workers",
            add_up(select("django_workers", 'role="web"')),
            says="Processes that answer requests, and live.",
        ),
        stat_panel(
            "Other workers",
            add_up(select("django_workers", 'role!="web"')),
            says="Task workers and commands that live.",
        ),
        stat_panel(
            "Collectors failing",
            add_up(f"1 - {select('django_exporter_collector_success')}"),
            says="Parts of the exporter that have no numbers now.",
            bad=1,
        ),
        stat_panel(
            "Directories unread",
            add_up(f"1 - {select('django_exporter_metrics_directory_up')}"),
            says="Exporters that cannot list their metrics directory, and see no worker.",
            bad=1,
        ),
        stat_panel(
            "Dead workers' files",
            add_up(select("django_exporter_value_files", 'state="dead"')),
            says="They wait to be folded into the archive, which takes a minute.",
            bad=100,
        ),
        stat_panel(
            "Scrape",
            largest(select("scrape_duration_seconds")),
            "s",
            says="Time of the longest scrape, as Prometheus sees it.",
            bad=5,
        ),
        stat_panel(
            "Page",
            mean("django_exporter_page_bytes"),
            "bytes",
            says="Mean size of a page as it is sent, compressed or not.",
        ),
    ],
)
COLLECTORS = Row(
    "Collectors",
    [
        table(
            "Collectors",
            Column("Works", largest(select("django_exporter_collector_success"), "collector")),
            Column(
                "Took",
                largest(select("django_exporter_collector_duration_seconds"), "collector"),
                "s",
            ),
            Column(
                "Age", largest(select("django_exporter_collector_age_seconds"), "collector"), "s"
            ),
            Column(
                "Failures",
                add_up(increase("django_exporter_collector_failures_total"), "collector"),
            ),
            says="What each part of the exporter does; failures in the time shown.",
        ).span(12),
        graph(
            "Time",
            {COLLECTOR: largest(select("django_exporter_collector_duration_seconds"), "collector")},
            "s",
            says="How long collectors take.",
        ).span(12),
        graph(
            "Failures",
            {
                "{{collector}} {{reason}}": add_up(
                    rate("django_exporter_collector_failures_total"), "collector", "reason"
                )
            },
            "ops",
            says="Runs in a second that failed, were given up, or had not ended since.",
        ).span(12),
        graph(
            "Age",
            {COLLECTOR: largest(select("django_exporter_collector_age_seconds"), "collector")},
            "s",
            says="How old what is shown is, of collectors with an interval of their own.",
        ).span(12),
    ],
)
EXPORTER = Row(
    "Exporter",
    [
        graph(
            "Scrapes",
            {"{{code}}": add_up(rate("promhttp_metric_handler_requests_total"), "code")},
            "reqps",
            says="Scrapes in a second, by the status of their answer.",
        ),
        graph(
            "Errors",
            {"{{cause}}": add_up(rate("promhttp_metric_handler_errors_total"), "cause")},
            "ops",
            says="Collectors that failed, and families that could not be written.",
        ),
        graph(
            "In flight",
            {INSTANCE: add_up(select("promhttp_metric_handler_requests_in_flight"), "instance")},
            says="Scrapes that are being answered.",
        ),
        graph(
            "Time of a scrape",
            {
                "gather": mean("django_exporter_gather_duration_seconds"),
                "encode": mean("django_exporter_encode_duration_seconds"),
                "merge": largest(select("django_exporter_merge_duration_seconds")),
                "Prometheus": largest(select("scrape_duration_seconds")),
            },
            "s",
            says="Its parts in the mean, and the whole as Prometheus sees it.",
        ),
        graph(
            "Processor and files",
            {
                "{{instance}} processors": add_up(rate("process_cpu_seconds_total"), "instance"),
                "{{instance}} open files": add_up(select("process_open_fds"), "instance"),
            },
            says="Of the exporter itself.",
        ),
        graph(
            "Memory",
            {INSTANCE: add_up(select("process_resident_memory_bytes"), "instance")},
            "bytes",
            says="Resident memory of the exporter itself.",
        ),
        table(
            "Versions",
            Column("Port moves", largest(select("django_exporter_port_moves_total"), "instance")),
            Column(
                "Exporters",
                add_up(
                    select("django_exporter_build_info"),
                    "instance",
                    "version",
                    "django_version",
                    "python_version",
                ),
            ),
            says="What runs where, and how often its port has changed.",
        ),
    ],
)
MACHINE = Row(
    "Machine",
    [
        graph(
            "Use",
            {"{{resource_type}}": largest(select("system_usage"), "resource_type")},
            "percent",
            says="Processors and memory of the machine.",
        ),
        graph(
            "Load",
            {
                **{
                    f"{minutes} min": largest(select(f"django_host_load{minutes}"))
                    for minutes in (1, 5, 15)
                },
                "processors": largest(select("django_host_cpus")),
            },
            says="Needs --collector host.",
        ),
        graph(
            "Memory",
            {
                name: largest(select(f"django_host_{metric}_bytes"))
                for name, metric in (
                    ("memory", "memory_size"),
                    ("available", "memory_available"),
                    ("swap", "swap_size"),
                    ("swap used", "swap_used"),
                )
            },
            "bytes",
            says="Needs --collector host.",
        ),
        graph(
            "Disks free",
            {
                "{{path}}": f"{largest(select('django_host_disk_free_bytes'), 'path')} / "
                f"{largest(select('django_host_disk_size_bytes'), 'path')}"
            },
            "percentunit",
            says="Share of the disks that the project uses. Needs --collector host.",
        ),
        graph(
            "Network",
            {
                way: largest(rate(f"django_host_network_{way}_bytes_total"))
                for way in ("receive", "transmit")
            },
            "Bps",
            says="All interfaces but loopback. Needs --collector host.",
        ),
        graph(
            "Network errors",
            {
                way: largest(rate(f"django_host_network_{way}_errors_total"))
                for way in ("receive", "transmit")
            },
            "ops",
            says="All interfaces but loopback. Needs --collector host.",
        ),
    ],
)
BOARD = Board(
    "workers-and-exporter",
    "Workers and exporter",
    "The processes of a deployment, and how well their numbers are gathered.",
    [NOW, WORKERS, FILES, COLLECTORS, EXPORTER, MACHINE],
)
