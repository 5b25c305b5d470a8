"""``manage.py runmetrics``: serve the metrics of the whole deployment from this one process."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import conf
from ...checks import find_warnings
from ...collectors.registry import (
    CollectorSet,
    Surroundings,
    choose_collectors,
    make_collectors,
)
from ...directory import WHAT_TO_ADD
from ...errors import ExporterError
from ...exposition import text
from ...log import configure_log
from ...multiprocess.directory import MISSING, locate_directory, prepare_directory
from ...multiprocess.folding import Folder
from ...multiprocess.lock import DirectoryLock, Holder, find_exporter, own_create_time, read_holder
from ...multiprocess.reader import DirectoryReader
from ...ports import report
from ...ports.address import join, resolve
from ...ports.probe import Claim, NoPortFreeError, claim
from ...server.handlers import Telemetry
from ...server.server import serve
from ...server.shutdown import EndedEarly, Shutdown

logger = logging.getLogger("metrics_commands")

RETRY_SECONDS = 1.0
REMIND_SECONDS = 60.0


class Command(BaseCommand):
    """Compose ports, value files, collectors, exposition and server; do nothing else."""

    help = (
        "Serves the metrics of all processes of this project to Prometheus, from one port."
        " Exit codes: 0 ended by a signal; 1 no port could be had; 2 wrong configuration."
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
        log_format = conf.resolve_or_default(conf.LOG_FORMAT, options)
        # Not through Django's wrapper, which would print all of it as red as an error.
        configure_log(log_format, vars(self.stderr)["_out"])
        try:
            config = conf.load_config(options)
            names = choose_collectors(config.collectors)
            if options["once"]:
                self._print_once(config, names)
            else:
                run(config, names)
        except ExporterError as error:
            if log_format == "json":
                fields = {"exit_code": error.exit_code}
                logger.error("%s", error, extra={"fields": fields})  # noqa: TRY400
                raise SystemExit(error.exit_code) from None
            raise CommandError(str(error), returncode=error.exit_code) from None

    def _print_once(self, config: conf.Config, names: Sequence[str]) -> None:
        reader = open_directory(config)
        page = gather(make_set(config, names, reader))
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


def run(config: conf.Config, names: Sequence[str]) -> None:
    """Serve until a signal ends it, or raise ExporterError where no port can be had."""
    for warning in find_warnings():
        if warning.id != "metrics_commands.W003":
            logger.warning("%s %s (%s)", warning.msg, warning.hint, warning.id)
    with suppress(EndedEarly), Shutdown() as shutdown:
        reader = open_directory(config)
        collectors = make_set(config, names, reader)
        telemetry = Telemetry(config.telemetry_path, text.CONTENT_TYPE, lambda: gather(collectors))
        shutdown.begin()
        claimed = claim_port(config, shutdown)
        if claimed is None:
            return
        urls = list_urls(config, claimed)
        lock = lock_directory(reader, urls)
        try:
            announce(config, claimed, collectors, reader, urls)
            cut_off = serve(claimed.sockets, telemetry, shutdown)
        finally:
            if reader is not None and reader.folder is not None:
                reader.folder.stop()
            if lock is not None:
                lock.release()
        if cut_off:
            logger.warning("Scrapes that took too long were cut off: %d.", cut_off)
        logger.info("Ended by a signal.")
    leave_threads()


def leave_threads() -> None:
    """End also where an app's ``metrics.py`` has started threads that never do."""
    main = threading.main_thread()
    if any(not each.daemon for each in threading.enumerate() if each is not main):
        logger.warning("Threads that apps have started do not end; they are left behind.")
        logging.shutdown()
        os._exit(0)


def gather(collectors: CollectorSet) -> bytes:
    """Make the page of metrics."""
    return text.encode(collectors.gather())


def make_set(
    config: conf.Config, names: Sequence[str], reader: DirectoryReader | None
) -> CollectorSet:
    """Make the collectors that are on."""
    return make_collectors(names, Surroundings(config.namespace, reader))


def open_directory(config: conf.Config) -> DirectoryReader | None:
    """Return a reader of the metrics directory; None, said aloud, where none is configured."""
    if config.metrics_directory is None:
        logger.warning("No metrics directory: the numbers of workers are missing. %s", WHAT_TO_ADD)
        return None
    directory = prepare_directory(config.metrics_directory)
    if directory.problem:
        # What cannot be written may still be read: a volume that is mounted read-only.
        directory = locate_directory(config.metrics_directory)
    if directory.problem == MISSING:
        logger.warning("Metrics directory %s does not exist yet.", directory.path)
    elif directory.problem:
        logger.warning(
            "Metrics directory %s cannot be read: %s. Run the exporter as the user of the web"
            " process, or give both a group and the directory mode 2770.",
            directory.path,
            directory.problem,
        )
    if directory.refused:
        return None
    if directory.path != config.metrics_directory:
        logger.info(
            "Everybody may write into %s, so each user has a subdirectory; ours is %s.",
            config.metrics_directory,
            directory.path,
        )
    for doubt in directory.doubts:
        logger.warning("Metrics directory %s: %s.", directory.path, doubt)
    return DirectoryReader(directory.path)


def lock_directory(reader: DirectoryReader | None, urls: Sequence[str]) -> DirectoryLock | None:
    """Write who serves this directory into it, or say who does already."""
    if reader is None:
        return None
    holder = Holder(os.getpid(), own_create_time(), tuple(urls))
    try:
        lock = DirectoryLock.acquire(reader.directory)
    except OSError as error:
        logger.warning(
            "Metrics directory %s cannot be locked: %s.", reader.directory, error.strerror
        )
        return None
    if lock is None:
        other = read_holder(reader.directory)
        served = f"pid {other.pid} at {', '.join(other.urls)}" if other else "another exporter"
        logger.warning("This metrics directory is served already, by %s.", served)
        return None
    lock.publish(holder)
    # Who holds the directory folds; where a second exporter holds it, that one does.
    reader.folder = Folder(reader.directory, reader.find_shapes, pause=reader.wait_until_idle)
    reader.folder.start()
    return lock


def claim_port(config: conf.Config, shutdown: Shutdown) -> Claim | None:
    """Return listening sockets; None if the end was requested while waiting for a port."""
    deadline = time.monotonic() + config.port_wait
    reminded = -math.inf
    while not shutdown.requested:
        try:
            return claim(resolve(config.address), config.ports)
        except (NoPortFreeError, ExporterError) as refusal:
            error = explain(refusal, config.metrics_directory)
        left = deadline - time.monotonic()
        if left <= 0:
            raise error
        if time.monotonic() - reminded >= REMIND_SECONDS:
            reminded = time.monotonic()
            reasons = "; ".join(error.message.splitlines())
            logger.warning("Still without a port, trying on: %s. %s", reasons, error.hint)
        shutdown.sleep(min(RETRY_SECONDS, left))
    return None


def explain(refusal: NoPortFreeError | ExporterError, directory: Path | None) -> ExporterError:
    """Turn refused ports into one line per port and what to do."""
    if isinstance(refusal, ExporterError):
        return refusal
    findings = report.add_owners(refusal.refusals)
    exporter = find_exporter(directory) if directory else None
    lines = [report.describe(each, exporter.pid if exporter else None) for each in findings]
    if len(lines) > 1:
        lines.insert(0, "None of the ports is free:")
    return ExporterError("\n".join(lines), report.advise(findings))


def list_urls(config: conf.Config, claimed: Claim) -> list[str]:
    """Return where the metrics are served, one URL per address."""
    hosts = [str(each.getsockname()[0]) for each in claimed.sockets]
    return [f"http://{join(host, claimed.port)}{config.telemetry_path}" for host in hosts]


def announce(
    config: conf.Config,
    claimed: Claim,
    collectors: CollectorSet,
    reader: DirectoryReader | None,
    urls: Sequence[str],
) -> None:
    """Tell a person what runs, ending with the URL to open."""
    for finding in report.add_owners(claimed.skipped):
        logger.info("Skipped a port: %s.", report.describe(finding))
    logger.info("Collectors: %s.", ", ".join(collectors.collectors))
    if reader is not None:
        announce_directory(reader.directory, reader.count_workers())
    if any(each.getsockname()[0] in ("0.0.0.0", "::") for each in claimed.sockets):
        logger.warning(
            "Listening on all addresses: whoever reaches this machine reads the metrics."
        )
    logger.info("Serving %s", " and ".join(urls), extra={"fields": {"urls": list(urls)}})


def announce_directory(path: Path, workers: int) -> None:
    """Tell where the numbers come from, with a hint where nobody has written any."""
    logger.info("Metrics directory: %s; processes that left value files there: %d.", path, workers)
    if not workers and os.access(path, os.R_OK | os.X_OK):
        logger.info(
            "No process has written there yet. Start the web process; if it runs already, see"
            " that its settings call use_metrics_directory() with this path."
        )
