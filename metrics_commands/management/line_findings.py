"""What is wrong with the lines of a project's files that start the exporter."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from .. import exporter_settings
from ..directory import ENVIRONMENT_VARIABLE
from ..errors import ConfigurationError
from ..finding import Change, Finding, Place, make_id
from ..ports.neighbours.neighbour import COMPOSE, ExporterLine, Neighbour
from ..ports.numbers import list_ports
from ..ports.wish import Wish, add_option, is_loopback
from ..setting import Options
from .directory_findings import examine_agreement

Pair = tuple[ExporterLine, Wish]


def examine_lines(pairs: Sequence[Pair], neighbours: Collection[Neighbour]) -> Iterator[Finding]:
    """Yield what is wrong with each line, and with two of them together."""
    for line, wish in pairs:
        yield from examine_reach(line, wish)
        yield from examine_offers(line, wish, neighbours)
        yield from examine_workers(line, neighbours)
    for (one, _), (other, _) in combinations(pairs, 2):
        yield from examine_couple(one, other)


def examine_reach(line: ExporterLine, wish: Wish) -> Iterator[Finding]:
    """Yield whether nobody outside of its container reaches an exporter."""
    if line.reached_from_outside and all(map(is_loopback, wish.addresses)):
        text = add_option(line.text, "--address=0.0.0.0")
        yield Finding(
            make_id(13),
            "warning",
            f"The exporter of {line.place} listens on {', '.join(wish.addresses)} alone, inside"
            " its container.",
            "Nobody outside of that container reaches it there, Prometheus neither.",
            (Change(line.place, text),) if text != line.text else (),
        )


def examine_offers(
    line: ExporterLine, wish: Wish, neighbours: Collection[Neighbour]
) -> Iterator[Finding]:
    """Yield each port that a container offers while nothing in it listens there."""
    alone = line.network == line.starter.service and all(
        each.network != line.network for each in neighbours
    )
    if not alone or 0 in wish.ports:
        return
    for offer in line.offers:
        if not any(offer.first <= port <= offer.last for port in wish.ports):
            single = offer.first == offer.last and len(wish.ports) == 1
            text = wish.rewrite(offer.first) if single else wish.text
            yield Finding(
                make_id(32),
                "warning",
                f"Nobody listens on {list_ports(range(offer.first, offer.last + 1))}, which"
                f" {offer.place} offers; the exporter of '{line.starter.service}' listens on"
                f" {list_ports(wish.ports)} ({wish.place}).",
                "Whoever is sent there is refused.",
                (Change(wish.place, text),) if text != wish.text else (),
            )


def examine_workers(line: ExporterLine, neighbours: Collection[Neighbour]) -> Iterator[Finding]:
    """Yield whether the exporter reads elsewhere than the web lines of the same file write."""
    directory = find_directory(line.options, line.environment)
    # Of containers the volumes count, which have been compared.
    if directory is None or line.starter.kind == COMPOSE:
        return
    webs = [each for each in neighbours if each.environment and each.starter == line.starter]
    written = {find_directory({}, each.environment): each for each in webs}
    written.pop(None, None)
    if written and directory not in written:
        path, web = next(iter(written.items()))
        yield Finding(
            make_id(30),
            "warning",
            f"The exporter of {line.place} reads {directory}, but {web.what} writes {path}.",
            "Give the same directory to both.",
            (Change(Place(f"environment of {line.place}"), f"{ENVIRONMENT_VARIABLE}={path}"),),
        )
    elif not written and has_our_environment(line):
        yield from examine_agreement(directory)


def has_our_environment(line: ExporterLine) -> bool:
    """Tell whether a line would be given the directory that this process was given."""
    return line.environment.get(ENVIRONMENT_VARIABLE) == os.environ.get(ENVIRONMENT_VARIABLE)


def find_directory(options: Options, environment: Mapping[str, str]) -> Path | None:
    """Return the metrics directory of another process, None where it is not told, or is wrong."""
    try:
        return exporter_settings.METRICS_DIRECTORY.resolve(options, environment)
    except ConfigurationError:
        return None


def examine_couple(one: ExporterLine, other: ExporterLine) -> Iterator[Finding]:
    """Yield whether two exporters that run together serve one directory."""
    store = find_store(one)
    apart = one.starter.excludes(other.starter) or one.starter.is_alternative_to(other.starter)
    if store and store == find_store(other) and not apart:
        yield Finding(
            make_id(31),
            "warning",
            f"Two exporters serve one metrics directory ({one.place} and {other.place}).",
            "One exporter is enough: the second waits up to --port-wait for the end of the first,"
            " and then exits 1.",
        )


def find_store(line: ExporterLine) -> tuple[str, str] | None:
    """Return what holds the directory of a line, and where in it; None where it is not known."""
    directory = find_directory(line.options, line.environment)
    if directory is None or line.starter.kind != COMPOSE:
        return ("", str(directory)) if directory else None
    for folder in (directory, *directory.parents):
        if str(folder) in line.volumes:
            return line.volumes[str(folder)], str(directory.relative_to(folder))
    return None
