"""``manage.py checkports``: say beforehand whether ``runmetrics`` will work, and change nothing."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import conf
from ...errors import ExporterError
from ...finding import SEVERITIES, Finding
from ...ports import report
from ...ports.numbers import list_ports
from ...ports.probe import State
from ..examination import Answer, examine
from ..layout import Row, lay_out

SCHEMA_VERSION = 1
# More is of no use to a person, and a machine has enough of it.
MOST_LINES = 190
MOST_RECORDS = 500
INDENT = "    "
# Names of Django's style.
ROLES = {"critical": "ERROR", "error": "ERROR", "warning": "WARNING", "info": "MIGRATE_LABEL"}

Sections = list[list[Row]]


class Command(BaseCommand):
    """Show what an examination found, to people or to machines."""

    help = (
        "Tells whether runmetrics will find a port, who holds those that are taken, and what is"
        " going to want the same ones. It changes nothing. Exit codes: 0 all good; 1 something is"
        " wrong; 2 it could not be asked."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        conf.add_options(parser)
        parser.add_argument("--json", action="store_true", help="Write the answer as JSON.")
        parser.add_argument(
            "--fail-level",
            default="ERROR",
            choices=[each.upper() for each in reversed(SEVERITIES)],
            help="Severity from which on a finding makes the command fail.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answer = examine(options)
        except ExporterError as error:
            raise CommandError(str(error), returncode=error.exit_code) from None
        findings = sorted(answer.findings, key=lambda each: -SEVERITIES.index(each.severity))
        lowest = SEVERITIES.index(options["fail_level"].lower())
        good = all(SEVERITIES.index(each.severity) < lowest for each in findings)
        if options["json"]:
            text = json.dumps(as_document(answer, findings, good=good), indent=2)
        else:
            sections = list_sections(answer, findings, good=good)
            text = self._lay_out(sections) if self.stdout.isatty() else write_plainly(sections)
        self._write(text)
        if not good:
            raise SystemExit(1)

    def _lay_out(self, sections: Sections) -> str:
        """Return what a person reads at a terminal."""
        return "\n\n".join("\n".join(lay_out(each, self.style)) for each in sections)

    def _write(self, text: str) -> None:
        if hasattr(self.stdout, "reconfigure"):
            # A terminal that knows ASCII alone shows the rest as escapes, not as a traceback.
            self.stdout.reconfigure(errors="backslashreplace")
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError as error:
            # Python would complain again when it closes what it could not write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                reason = f"The answer cannot be written to standard output: {error.strerror}."
                raise CommandError(reason, returncode=2) from None


def list_sections(answer: Answer, findings: list[Finding], *, good: bool) -> Sections:
    """Return what a person reads: the ports, the findings, what will happen."""
    ports, others = list(list_ports_seen(answer)), list(list_findings(findings))
    left_out = len(ports) + len(others) - MOST_LINES
    last = [Row(answer.advice, role="SUCCESS" if good else "WARNING")]
    if left_out > 0:
        last.insert(0, Row(f"There are {left_out} more lines; --json has more of them."))
    ports = ports[:MOST_LINES]
    return [each for each in (ports, others[: MOST_LINES - len(ports)], last) if each]


def write_plainly(sections: Sections) -> str:
    """Return what a pipe gets: a line for each row."""
    return "\n".join(str(row) for section in sections for row in section)


def list_ports_seen(answer: Answer) -> Iterator[Row]:
    """Yield a row for each port that cannot be had, and for the first that can."""
    free = [each.probe.port for each in answer.ports if each.probe.state is State.FREE]
    for each in answer.ports:
        if each.probe.state is not State.FREE or each.probe.port == free[0]:
            yield describe_port(each, find_ours(answer, each))
    if set(free) - {*free[:1]}:
        yield Row(list_ports(set(free) - {free[0]}), "Free as well", ": ", "SUCCESS")


def describe_port(seen: report.Report, ours: int | None) -> Row:
    """Return where a port is, and what is with it."""
    place = str(seen.probe)
    rest = report.describe(seen, ours).removeprefix(place)
    role = "SUCCESS" if seen.probe.state is State.FREE or ours is not None else "ERROR"
    return Row(rest.lstrip(": "), place, ": " if rest.startswith(":") else " ", role)


def list_findings(findings: list[Finding]) -> Iterator[Row]:
    """Yield what, why and what to write."""
    for finding in findings:
        label = finding.severity.upper()
        yield Row(f"{finding.what} ({finding.id})", label, ": ", ROLES.get(finding.severity, ""))
        if finding.why:
            yield Row(finding.why, joint=INDENT)
        for change in finding.changes:
            for line in change.write.split("\n"):
                yield Row(f"{change.place}: {line}", "", INDENT, "MIGRATE_LABEL", is_code=True)


def find_ours(answer: Answer, seen: report.Report) -> int | None:
    """Return the pid of our own exporter, where it is the one that serves at a port."""
    return answer.ours.get((str(seen.probe.address), seen.probe.port))


def as_document(answer: Answer, findings: list[Finding], *, good: bool) -> dict[str, object]:
    """Return what a machine reads; ``docs/checkports.schema.json`` describes it."""
    ports, neighbours = answer.ports[:MOST_RECORDS], answer.neighbours[:MOST_RECORDS]
    return {
        "version": SCHEMA_VERSION,
        "good": good,
        "urls": list(answer.urls),
        "advice": answer.advice,
        "ports": [as_record(answer, each) for each in ports],
        "neighbours": [
            {
                "what": each.what,
                "place": asdict(each.place),
                "network": each.network,
                "host": each.host,
                "port": each.port,
                "last": each.ports[-1],
            }
            for each in neighbours
        ],
        "findings": [asdict(each) for each in findings],
        "left_out": {
            "ports": len(answer.ports) - len(ports),
            "neighbours": len(answer.neighbours) - len(neighbours),
        },
    }


def as_record(answer: Answer, seen: report.Report) -> dict[str, object]:
    """Return what is with a port; ours is also one that systemd holds for our exporter."""
    ours = find_ours(answer, seen)
    record = report.as_record(seen, ours)
    owner = record["owner"]
    return (
        {**record, "owner": {**owner, "ours": ours is not None}}
        if isinstance(owner, dict)
        else record
    )
