"""What a compose file says about ports, read offline: nothing is run, built or looked up."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...finding import Change, Finding, Place, make_id
from .compose_command import make_starter, read_service
from .compose_document import LINE_END, Budget, Node, Source, parse
from .compose_ports import Entry, find_crowd, find_published_twice, read_entries, read_offers
from .compose_service import (
    Service,
    collect_services,
    count_replicas,
    has_own_network,
    read_environment,
    read_volumes,
)
from .compose_sharing import DIRECTORY, Member, compare, is_same_build
from .file import UnreadableError, read_text, report_unread
from .interpolation import read_variables
from .neighbour import ExporterLine, Neighbour, Survey

WITH_OVERRIDE = ("compose", "docker-compose")
SUFFIXES = (".yaml", ".yml")


def read_compose(
    path: Path,
    environment: Mapping[str, str],
    others: Sequence[Path] | None = None,
    base: Path | None = None,
) -> Survey:
    """Return what a compose file and its override say; what cannot be read is a finding.

    ``others`` are read on top of it in the place of an override; files are named as seen from
    ``base``.
    """
    survey = Survey()
    name = os.path.relpath(path, base or path.parent)
    try:
        import yaml  # noqa: F401
    except ImportError:
        what = f"{name} was not read: PyYAML is not installed."
        install = Change(Place("shell"), 'pip install "django-runmetrics[secure]"')
        survey.findings.append(Finding(make_id(19), "info", what, changes=(install,)))
        return survey
    budget = Budget()
    variables = read_dotenv(path.parent, environment, survey.findings)
    roots: list[Node] = []
    for file in (path, *(_find_overrides(path) if others is None else others)):
        called = os.path.relpath(file, base or path.parent)
        try:
            text = read_text(file)
            source = Source(called, LINE_END.split(text), variables, budget)
            roots += parse(text, source)
        except UnreadableError as error:
            survey.findings.append(report_unread(called, error))
    try:
        _read_services(roots, path.parent, survey)
    except UnreadableError as error:
        survey.findings.append(report_unread(f"The rest of {name}", error))
    return survey


def _find_overrides(path: Path) -> list[Path]:
    if path.stem not in WITH_OVERRIDE:
        return []
    names = [path.with_name(f"{path.stem}.override{suffix}") for suffix in SUFFIXES]
    return [each for each in names if os.path.exists(each)][:1]


def read_dotenv(
    folder: Path, environment: Mapping[str, str], findings: list[Finding]
) -> Mapping[str, str]:
    """Return the variables that compose puts into its files: the caller's, then ``.env``'s."""
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
    services = {
        name: service
        for name, service in collect_services(roots, survey.findings).items()
        if count_replicas(service)
    }
    entries: list[Entry] = []
    webs: list[Member] = []
    exporters: list[Member] = []
    for service in services.values():
        own: list[Entry] = []
        if has_own_network(service):
            # A container without a network of its own publishes nothing.
            own = read_entries(service, survey.findings)
            survey.findings += find_crowd(service, own)
            entries += own
        environment = read_environment(service, folder, survey.findings)
        volumes = read_volumes(service, services, folder)
        found = read_service(service, services, environment, folder)
        survey.neighbours += _list_published(service, own, for_exporter=bool(found.exporters))
        offers = read_offers(service)
        found.exporters = [
            replace(each, volumes=volumes, offers=() if found.neighbours else offers)
            for each in found.exporters
        ]
        survey.add(found)
        if found.exporters:
            exporters.append(_make_exporter(service, found.exporters[0]))
        elif found.neighbours:
            webs.append(Member(service, volumes, environment.get(DIRECTORY, "")))
    survey.findings += find_published_twice(entries)
    survey.findings += _compare_folders(webs, exporters)


def _list_published(
    service: Service, entries: list[Entry], *, for_exporter: bool
) -> Iterator[Neighbour]:
    starter = make_starter(service)
    for each in entries:
        text, span = each.line
        yield Neighbour(
            f"published port of '{each.service}'",
            each.node.place,
            text,
            each.host or "0.0.0.0",
            each.first,
            last=each.last,
            span=span,
            starter=starter,
            for_exporter=for_exporter,
        )


def _make_exporter(service: Service, line: ExporterLine) -> Member:
    option = line.options.get("metrics_dir")
    if isinstance(option, str) and option:
        return Member(service, line.volumes, option, fixed=True)
    return Member(service, line.volumes, line.environment.get(DIRECTORY, ""))


def _compare_folders(webs: list[Member], exporters: list[Member]) -> Iterator[Finding]:
    for exporter in exporters:
        for web in webs:
            meet = not make_starter(web.service).excludes(make_starter(exporter.service))
            if meet and is_same_build(web.service, exporter.service):
                finding = compare(web, exporter)
                if finding:
                    yield finding
