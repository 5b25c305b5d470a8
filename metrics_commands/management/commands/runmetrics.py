"""``manage.py runmetrics``: serve the metrics of the whole deployment from this one process."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import conf, exporter_settings
from ...checks import find_all
from ...collectors.databases import kept_connections
from ...collectors.declared import load_declared
from ...collectors.models import choose_models
from ...collectors.registry import (
    CollectorSet,
    Surroundings,
    choose_collectors,
)
from ...discovery import Target, TargetFile, choose_host
from ...errors import ExporterError
from ...finding import make_id
from ...log import configure_log
from ...multiprocess.reader import DirectoryReader
from ...ports.address import join
from ...ports.probe import Claim
from ...server.activity import Activity
from ...server.door import Door
from ...server.server import serve
from ...server.shutdown import EndedEarly, Shutdown
from ...server.telemetry import Question
from ...setting import Options
from ..banner import Beginning, find_roots, make_banner
from ..memory import return_large_blocks
from ..metrics_directory import Tenure, announce_directory, open_directory, take_directory
from ..pages import Pages
from ..patience import Patience
from ..port import announce_port, claim_port, list_urls
from ..service import announce_door, make_service, reload_door
from ..status import StatusPage, collect_facts
from ..watch import make_watched

logger = logging.getLogger("metrics_commands")

MakeCollectors = Callable[[Surroundings], CollectorSet]
Announce = Callable[[CollectorSet, DirectoryReader | None, Sequence[str]], None]


class Command(BaseCommand):
    """Compose ports, value files, collectors, exposition and server; do nothing else."""

    help = (
        "Serves the metrics of all processes of this project to Prometheus, from one port."
        " Exit codes: 0 ended by a signal; 1 no port could be had, or another exporter serves the"
        " metrics directory; 2 wrong configuration."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        conf.add_options(parser)
        parser.add_argument(
            "--once",
            action="store_true",
            help="Write one scrape to standard output and exit; no port is opened.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        log_format = exporter_settings.LOG_FORMAT.resolve_or_default(options)
        # Not through Django's wrapper, which would print all of it as red as an error.
        configure_log(log_format, vars(self.stderr)["_out"])
        try:
            config = conf.load_config(options)
            make = choose(config, options)
            if options["once"]:
                self._print_once(config, make)
            else:
                shows_banner = log_format == "text" and self.stderr.isatty()
                run(config, options, make, self._show_banner if shows_banner else announce)
        except ExporterError as error:
            if log_format == "json":
                fields = {"exit_code": error.exit_code}
                logger.error("%s", error, extra={"fields": fields})  # noqa: TRY400
                raise SystemExit(error.exit_code) from None
            raise CommandError(str(error), returncode=error.exit_code) from None

    def _show_banner(
        self, collectors: CollectorSet, reader: DirectoryReader | None, urls: Sequence[str]
    ) -> None:
        directory, workers = (reader.directory, reader.count_workers()) if reader else (None, 0)
        names = list(collectors.collectors)
        beginning = Beginning(name_project(), urls, names, directory, workers)
        # A terminal that has gone costs the banner, as it costs lines of the log.
        with suppress(OSError):
            self.stderr.write(make_banner(beginning, self.style), style_func=str, ending="")
            self.stderr.flush()

    def _print_once(self, config: conf.Config, make: MakeCollectors) -> None:
        collectors = make_set(config, make, Tenure(open_directory(config)))
        page = Pages(collectors, Activity()).make(Question()).body
        if hasattr(self.stdout, "reconfigure"):
            self.stdout.reconfigure(encoding="utf-8")
        try:
            self.stdout.write(page.decode(), ending="")
            self.stdout.flush()
        except OSError as error:
            # Python would complain again when it closes what it could not write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                reason = f"The page cannot be written to standard output: {error.strerror}."
                raise ExporterError(reason) from None


def choose(config: conf.Config, options: Options) -> MakeCollectors:
    """Return what makes the collectors that are on, or raise ConfigurationError."""
    declared = load_declared()
    for problem in declared.problems:
        logger.error("%s", problem, exc_info=problem.error)
    own = declared.collectors
    names = choose_collectors(config.collectors, own, strict=not declared.problems)
    models = choose_models(options)

    def make(surroundings: Surroundings) -> CollectorSet:
        return make_watched(names, replace(surroundings, counted_models=models), own)

    return make


def run(config: conf.Config, options: Options, make: MakeCollectors, tell: Announce) -> None:
    """Serve until a signal ends it, or raise ExporterError where no port can be had."""
    for finding in find_all():
        # Of a missing directory, opening it says more.
        if finding.severity != "info" and finding.id != make_id(3):
            logger.warning("%s %s (%s)", finding.what, finding.why, finding.id)
    if config.sd_file is not None:
        TargetFile(config.sd_file).examine()
    return_large_blocks()
    with suppress(EndedEarly), Shutdown() as shutdown, kept_connections():
        door = Door(config.web_config_file)
        tenure = Tenure(open_directory(config))
        activity = Activity()
        collectors = make_set(config, make, tenure, activity)
        telemetry = Pages(collectors, activity).offer(config.telemetry_path)
        shutdown.begin()
        take_directory(tenure, Patience(config.port_wait, shutdown))
        try:
            claimed = claim_port(config, tenure.predecessor, shutdown)
            urls = list_urls(config.telemetry_path, claimed, find_scheme(door))
            tenure.publish(urls, 0 if claimed.given else claimed.port)
            announce_port(claimed, tenure.predecessor)
            target = make_target(config, claimed, door)
            publish_target(config, target)
            announce_door(door)
            tell(collectors, tenure.reader, urls)
            service = make_service(config, door, telemetry, activity, target.host)
            facts = collect_facts(config.namespace, options, urls, claimed, target)
            page = StatusPage(facts, collectors, tenure.reader, activity)
            service.status = page.offer(lambda: service.gate.asks_for_password)
            with page.recorder.running():
                cut_off = serve(
                    claimed.sockets,
                    service,
                    shutdown,
                    find_context=lambda: door.context,
                    reload=partial(reload, config, claimed, door),
                )
        finally:
            tenure.end()
        if cut_off:
            logger.warning("Scrapes that took too long were cut off: %d.", cut_off)
        logger.info("Ended by a signal.")
    leave_threads()


def reload(config: conf.Config, claimed: Claim, door: Door) -> None:
    """Read again what can change while we serve, and write the target again."""
    reload_door(door)
    publish_target(config, make_target(config, claimed, door))


def leave_threads() -> None:
    """End also where an app's ``metrics.py`` has started threads that never do."""
    main = threading.main_thread()
    if any(not each.daemon for each in threading.enumerate() if each is not main):
        logger.warning("Threads that apps have started do not end; they are left behind.")
        logging.shutdown()
        os._exit(0)


def make_set(
    config: conf.Config, make: MakeCollectors, tenure: Tenure, served: Activity | None = None
) -> CollectorSet:
    """Make the collectors that are on."""
    return make(
        Surroundings(
            config.namespace,
            tenure.reader,
            lambda: tenure.moves,
            served,
            config.metrics_directory,
        )
    )


def make_target(config: conf.Config, claimed: Claim, door: Door) -> Target:
    """Return where Prometheus finds us."""
    host, port = config.advertise or (None, None)
    return Target(
        host or choose_host([str(each.getsockname()[0]) for each in claimed.sockets]),
        port or claimed.port,
        project=name_project(),
        hostname=socket.gethostname(),
        telemetry_path=config.telemetry_path,
        scheme=find_scheme(door),
    )


def publish_target(config: conf.Config, target: Target) -> None:
    """Write where Prometheus finds us; a failure costs the file, not the exporter."""
    if config.sd_file is None:
        return
    try:
        TargetFile(config.sd_file).write(target)
    except ExporterError as error:
        logger.warning("%s %s", error.message, error.hint)
    else:
        where = join(target.host, target.port)
        logger.info("Target for Prometheus: %s, in %s.", where, config.sd_file)


def find_scheme(door: Door) -> str:
    """Return how Prometheus speaks to us."""
    return "http" if door.context is None else "https"


def name_project() -> str:
    """Return the project's name, as the first part of its settings module has it."""
    return os.environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0] or "django"


def announce(collectors: CollectorSet, reader: DirectoryReader | None, urls: Sequence[str]) -> None:
    """Tell the log what runs, ending with the URL to open."""
    logger.info("Collectors: %s.", ", ".join(collectors.collectors))
    if reader is not None:
        announce_directory(reader.directory, reader.count_workers())
    logger.info("Page with charts: %s", " and ".join(find_roots(urls)))
    logger.info("Serving %s", " and ".join(urls), extra={"fields": {"urls": list(urls)}})
