"""``manage.py checkports``: say beforehand whether ``runmetrics`` will work, and change nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import conf
from ...checks import find_warnings
from ...collectors.registry import choose_collectors
from ...directory import WHAT_TO_ADD
from ...errors import ConfigurationError, ExporterError
from ...multiprocess.directory import MISSING, locate_directory
from ...multiprocess.lock import find_exporter
from ...multiprocess.reader import DirectoryReader
from ...ports import report
from ...ports.address import join, resolve
from ...ports.owner import Owner
from ...ports.probe import Probe, State, look
from ...setting import Options


@dataclass(frozen=True)
class Remark:
    """Something about the configuration or the directory; an error makes the answer bad."""

    level: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Answer:
    """What was found, as ``--json`` shows it: ``advice`` says what will happen, or what to do."""

    good: bool
    ports: list[dict[str, object]]
    findings: list[Remark]
    advice: str


class Command(BaseCommand):
    """Validate the configuration, look at the ports, and tell."""

    help = (
        "Tells whether runmetrics will find a port, and who holds those that are taken. It"
        " changes nothing. Exit codes: 0 all good; 1 something is wrong; 2 it could not be asked."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        conf.add_options(parser)
        parser.add_argument("--json", action="store_true", help="Write the answer as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = examine(options)
        except ExporterError as error:
            raise CommandError(str(error), returncode=error.exit_code) from None
        if hasattr(self.stdout, "reconfigure"):
            # A terminal that knows ASCII alone shows the rest as escapes, not as a traceback.
            self.stdout.reconfigure(errors="backslashreplace")
        if options["json"]:
            self.stdout.write(json.dumps(asdict(answer), indent=2))
        else:
            lines = [str(port["line"]) for port in answer.ports]
            lines += [f"{each.message} {each.hint}".strip() for each in answer.findings]
            self.stdout.write("\n".join([*lines, answer.advice]))
        if not answer.good:
            raise SystemExit(1)


def examine(options: Options) -> Answer:
    """Look at configuration, directory and ports; a wrong option raises ExporterError."""
    try:
        config = conf.load_config(options)
        choose_collectors(config.collectors)
    except ConfigurationError as error:
        wrong = {each.message: each for each in (error, *conf.find_wrong_values(options))}
        for each in wrong.values():
            if each.from_option:
                raise each from None
        findings = [Remark("error", each.message, each.hint) for each in wrong.values()]
        return Answer(False, [], findings, "Correct that, then run checkports again.")
    findings = list(examine_directory(config.metrics_directory))
    # Without a directory, W003 would say again what stands there already.
    findings += [
        Remark("warning", f"{each.msg} ({each.id})", each.hint or "")
        for each in find_warnings()
        if each.id != "metrics_commands.W003"
    ]
    try:
        addresses = resolve(config.address)
    except ExporterError as error:
        return Answer(False, [], [*findings, Remark("error", error.message)], error.hint)
    found = report.add_owners(look(addresses, config.ports))
    exporter = find_exporter(config.metrics_directory) if config.metrics_directory else None
    ours = exporter.pid if exporter else None
    free = list_free_ports([probe for probe, _ in found])
    if free:
        urls = [
            f"http://{join(str(probe.address), probe.port)}{config.telemetry_path}"
            for probe, _ in found
            if probe.port == free[0] and probe.state is State.FREE
        ]
        where = " and ".join(urls) if free[0] else "on a port that the kernel will choose"
        advice = f"runmetrics will serve {where}"
    else:
        advice = report.advise(found)
    good = bool(free) and not any(each.level == "error" for each in findings)
    return Answer(good, [describe_port(each, ours) for each in found], findings, advice)


def list_free_ports(probes: Sequence[Probe]) -> list[int]:
    """Return the ports that can be had on every address that has to be."""
    refused = {
        probe.port for probe in probes if probe.state is not State.FREE and not probe.may_be_missing
    }
    free = {probe.port: None for probe in probes if probe.state is State.FREE}
    return [port for port in free if port not in refused]


def describe_port(finding: report.Finding, ours: int | None) -> dict[str, object]:
    """Return what is known of a port, for people and for machines."""
    probe, owner = finding
    seen = asdict(owner) if isinstance(owner, Owner) else None
    line = report.describe(finding, ours)
    return {
        "address": str(probe.address),
        "port": probe.port,
        "state": probe.state.value,
        "reason": str(owner) if owner and not seen else probe.reason,
        "owner": seen,
        "line": line,
    }


def examine_directory(path: Path | None) -> Iterator[Remark]:
    """Tell what the exporter would find in the metrics directory."""
    if path is None:
        yield Remark(
            "error",
            "No metrics directory: the numbers of workers will be missing.",
            WHAT_TO_ADD,
        )
        return
    directory = locate_directory(path)
    if directory.problem == MISSING:
        yield Remark("info", f"Metrics directory {path} does not exist yet; workers make it.")
    elif directory.problem:
        yield Remark(
            "error",
            f"Metrics directory {directory.path} cannot be read: {directory.problem}.",
            "Run this as the user of the web process, or correct the directory.",
        )
    else:
        reader = DirectoryReader(directory.path)
        workers = reader.count_workers()
        yield Remark(
            "info",
            f"Metrics directory {directory.path}: processes that left value files: {workers}.",
        )
        for why, count in sorted(reader.explain_unknown().items()):
            yield Remark(
                "warning",
                f"{count} value files there will never be folded: {why}.",
                "They are served, but pile up as workers come and go.",
            )
    for doubt in directory.doubts:
        yield Remark("warning", f"Metrics directory {directory.path}: {doubt}.")
