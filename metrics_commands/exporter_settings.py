"""Every setting of the exporter: its name, type, default, and one sentence of help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import parsers
from .setting import Setting

ADDRESS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_EXPORT_ADDRESS",
    parsers.parse_addresses,
    ("127.0.0.1",),
    "Address or host name to listen on; an empty one means all addresses, IPv4 and IPv6.",
    option="--address",
    metavar="HOST",
    repeatable=True,
)
PORT = Setting(
    "PROMETHEUS_METRICS_EXPORT_PORT",
    parsers.parse_port,
    8001,
    "Port to listen on; 0 lets the kernel choose one.",
    option="--port",
    metavar="PORT",
)
PORT_RANGE: Setting[tuple[int, ...]] = Setting(
    "PROMETHEUS_METRICS_EXPORT_PORT_RANGE",
    parsers.parse_port_range,
    (),
    "Ports to try in order, both ends included; in settings.py also range() or a list.",
    option="--port-range",
    metavar="FIRST-LAST",
)
PORT_WAIT = Setting(
    "PROMETHEUS_METRICS_PORT_WAIT",
    parsers.parse_wait,
    10.0,
    "Seconds to wait for a taken port, or for the exporter before this one; or 'forever'.",
    option="--port-wait",
    metavar="SECONDS",
)
METRICS_DIRECTORY: Setting[Path | None] = Setting(
    "PROMETHEUS_MULTIPROC_DIR",
    parsers.parse_directory,
    None,
    "Directory that holds the workers' value files; use_metrics_directory() sets it for workers.",
    option="--metrics-dir",
    metavar="DIR",
)
SD_FILE: Setting[Path | None] = Setting(
    "PROMETHEUS_METRICS_SD_FILE",
    parsers.parse_sd_file,
    None,
    "File to write the target into, for file_sd_configs: an absolute path that ends in .json.",
    option="--sd-file",
    metavar="PATH",
)
ADVERTISE: Setting[tuple[str, int | None] | None] = Setting(
    "PROMETHEUS_METRICS_ADVERTISE",
    parsers.parse_advertise,
    None,
    "Address at which Prometheus reaches this exporter, where it is another than it listens on.",
    option="--advertise",
    metavar="HOST[:PORT]",
)
TELEMETRY_PATH = Setting(
    "PROMETHEUS_METRICS_TELEMETRY_PATH",
    parsers.parse_telemetry_path,
    "/metrics",
    "Path under which Prometheus finds the metrics.",
    option="--telemetry-path",
    metavar="PATH",
)
COLLECTORS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_COLLECTORS",
    parsers.parse_names,
    (),
    "Collector to switch on.",
    option="--collector",
    metavar="NAME",
    repeatable=True,
)
NO_COLLECTORS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_NO_COLLECTORS",
    parsers.parse_names,
    (),
    "Collector to switch off.",
    option="--no-collector",
    metavar="NAME",
    repeatable=True,
)
EXPORT_MIGRATIONS = Setting(
    "PROMETHEUS_EXPORT_MIGRATIONS",
    parsers.parse_switch,
    True,
    "Whether the exporter looks for unapplied migrations in every database.",
    in_environment=False,
)
COUNTED_MODELS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_COUNTED_MODELS",
    parsers.parse_names,
    (),
    "Model whose rows the exporter counts, as 'app.Model'.",
    option="--count-model",
    metavar="APP.MODEL",
    repeatable=True,
)
WEB_CONFIG_FILE: Setting[Path | None] = Setting(
    "PROMETHEUS_METRICS_WEB_CONFIG_FILE",
    parsers.parse_file,
    None,
    "Web configuration file with TLS, users, headers and a rate limit, as exporters know it.",
    option="--web-config-file",
    metavar="PATH",
    alias="--web.config.file",
)
MAX_REQUESTS = Setting(
    "PROMETHEUS_METRICS_MAX_REQUESTS",
    parsers.parse_limit,
    40,
    "Scrapes that may be in work at once, before others are refused; 0 means any number.",
    option="--max-requests",
    metavar="N",
)
OPEN_HEALTH = Setting(
    "PROMETHEUS_METRICS_OPEN_HEALTH",
    parsers.parse_switch,
    False,
    "Let /-/healthy answer without a password, for probes that cannot send one.",
    option="--open-health",
    is_flag=True,
)
ACCESS_LOG = Setting(
    "PROMETHEUS_METRICS_ACCESS_LOG",
    parsers.parse_switch,
    False,
    "Log every request.",
    option="--access-log",
    is_flag=True,
)
LOG_FORMAT = Setting(
    "PROMETHEUS_METRICS_LOG_FORMAT",
    parsers.parse_log_format,
    "text",
    "Format of the log: 'text', or 'json' for one object per line.",
    option="--log-format",
    metavar="FORMAT",
)
NAMESPACE = Setting(
    "PROMETHEUS_METRIC_NAMESPACE",
    parsers.parse_namespace,
    "",
    "Prefix of the django_… and system_usage metrics; the public dashboards expect none.",
    in_environment=False,
)
EXPORTER_SETTINGS: tuple[Setting[Any], ...] = (
    ADDRESS,
    PORT,
    PORT_RANGE,
    PORT_WAIT,
    METRICS_DIRECTORY,
    SD_FILE,
    ADVERTISE,
    TELEMETRY_PATH,
    COLLECTORS,
    NO_COLLECTORS,
    EXPORT_MIGRATIONS,
    COUNTED_MODELS,
    WEB_CONFIG_FILE,
    MAX_REQUESTS,
    OPEN_HEALTH,
    ACCESS_LOG,
    LOG_FORMAT,
    NAMESPACE,
)
