"""What a compose file says about ports, read offline: nothing is run, built or looked up."""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...finding import Change, Finding, Place, make_id
from .compose_document import LINE_END, LONGEST_LINE, Budget, Node, Source, parse
from .compose_ports import Entry, find_clashes, find_crowd, read_entries
from .compose_service import (
    Service,
    collect_services,
    find_network,
    has_own_network,
    read_argv,
    read_environment,
    read_volumes,
)
from .compose_sharing import DIRECTORY, Member, compare, is_same_build
from .file import UnreadableError, read_text, report_unread
from .interpolation import read_variables
from .neighbour import ExporterLine, Neighbour, Survey
from .servers import read_command

WITH_OVERRIDE = ("compose", "docker-compose")
SUFFIXES = (".yaml", ".yml")
SEPARATOR = re.compile(r"[;&|(`\n]")
# To parse one server's options takes as long as that many steps elsewhere.
STEPS_PER_COMMAND = 250


def read_compose(path: Path, environment: Mapping[str, str]) -> Survey:
    """Return what a compose file and its override say; what cannot be read is a finding."""
    survey = Survey()
    try:
        import yaml  # noqa: F401
    except ImportError:
        what = f"{path.name} was not read: PyYAML is not installed."
        install = Change(Place(path.name), 'pip install "django-runmetrics[secure]"')
        survey.findings.append(Finding(make_id(19), "info", what, changes=(install,)))
        return survey
    budget = Budget()
    variables = _read_dotenv(path.parent, environment, survey.findings)
    roots: list[Node] = []
    for file in (path, *_find_overrides(path)):
        try:
            text = read_text(file)
            source = Source(file.name, LINE_END.split(text), variables, budget)
            roots += parse(text, source)
        except UnreadableError as error:
            survey.findings.append(report_unread(file.name, error))
    try:
        _read_services(roots, path.parent, survey)
    except UnreadableError as error:
        survey.findings.append(report_unread(f"The rest of {path.name}", error))
    return survey


def _find_overrides(path: Path) -> list[Path]:
    if path.stem not in WITH_OVERRIDE:
        return []
    names = [path.with_name(f"{path.stem}.override{suffix}") for suffix in SUFFIXES]
    return [each for each in names if os.path.exists(each)][:1]


def _read_dotenv(
    folder: Path, environment: Mapping[str, str], findings: list[Finding]
) -> Mapping[str, str]:
    path = folder / ".env"
    if not os.path.exists(path):
        return environment
    try:
        found = read_variables(read_text(path), environment)
    except UnreadableError as error:
        findings.append(report_unread(path.name, error))
        return environment
    return ChainMap(dict(environment), found)


def _read_services(roots: list[Node], folder: Path, survey: Survey) -> None:
    for root in roots:
        include = root.entries().get("include")
        if include and not include.is_null:
            what = f"{include.place}: what compose includes there is not followed."
            survey.findings.append(Finding(make_id(19), "info", what))
    services = collect_services(roots, survey.findings)
    entries: list[Entry] = []
    webs: list[Member] = []
    exporters: list[Member] = []
    for service in services.values():
        if has_own_network(service):
            # A container without a network of its own publishes nothing.
            own = read_entries(service, survey.findings)
            survey.neighbours += _list_published(own)
            survey.findings += find_crowd(service, own)
            entries += own
        environment = read_environment(service, folder, survey.findings)
        volumes = read_volumes(service, services, folder)
        found = _read_command(service, services, environment, folder)
        found.exporters = [replace(each, volumes=volumes) for each in found.exporters]
        survey.add(found)
        if found.exporters:
            exporters.append(_make_exporter(service, found.exporters[0]))
        elif found.neighbours:
            webs.append(Member(service, volumes, environment.get(DIRECTORY, "")))
    survey.findings += find_clashes(entries)
    survey.findings += _compare_folders(webs, exporters)


def _list_published(entries: list[Entry]) -> Iterator[Neighbour]:
    for each in entries:
        what, place, text = f"published port of '{each.service}'", each.node.place, each.node.text
        for port in each.ports:
            yield Neighbour(what, place, text, each.host or "0.0.0.0", port)


def _read_command(
    service: Service,
    services: Mapping[str, Service],
    environment: Mapping[str, str],
    folder: Path,
) -> Survey:
    """Return what the command of a service listens on, each at the line that names its port."""
    argv, node = read_argv(service)
    if not argv or node is None:
        return Survey()
    commands = 1 + sum(len(SEPARATOR.findall(word)) for word in argv)
    node.source.budget.spend(STEPS_PER_COMMAND * commands)
    network = find_network(service, services)
    found = read_command(
        argv,
        environment,
        node.place,
        service.name,
        folder=folder,
        network=network,
        text=node.text,
    )
    survey = Survey(findings=found.findings)
    for each in found.neighbours:
        # What a gunicorn.conf.py says stands there, not here.
        here = each.place == node.place
        place, text = _find_line(node, each.port) if here else (each.place, each.text)
        survey.neighbours.append(replace(each, place=place, text=text))
    for line in found.exporters:
        named = line.options.get("port") or line.options.get("port_range") or "runmetrics"
        place, text = _find_line(node, named)
        survey.exporters.append(
            replace(line, place=place, text=text, reached_from_outside=has_own_network(service))
        )
    return survey


def _find_line(node: Node, named: object) -> tuple[Place, str]:
    """Return that line of a long command where a port is named, by default its first one."""
    word = re.compile(rf"(?<!\w){re.escape(str(named))}(?!\w)")
    lines = node.source.lines[node.line - 1 : node.end_line]
    node.source.budget.spend(len(lines))
    for number, line in enumerate(lines, node.line):
        if len(line) <= LONGEST_LINE and word.search(line):
            return Place(node.source.file, number), line.strip()
    return node.place, node.text


def _make_exporter(service: Service, line: ExporterLine) -> Member:
    option = line.options.get("metrics_dir")
    if isinstance(option, str) and option:
        return Member(service, line.volumes, option, fixed=True)
    return Member(service, line.volumes, line.environment.get(DIRECTORY, ""))


def _compare_folders(webs: list[Member], exporters: list[Member]) -> Iterator[Finding]:
    for exporter in exporters:
        for web in webs:
            if is_same_build(web.service, exporter.service):
                finding = compare(web, exporter)
                if finding:
                    yield finding
