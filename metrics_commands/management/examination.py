"""Say beforehand whether ``runmetrics`` will work: configuration, directory, neighbours, ports."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import conf
from ..checks import describe_error, find_all
from ..collectors.registry import choose_collectors
from ..discovery import TargetFile
from ..errors import ConfigurationError, ExporterError
from ..finding import Change, Finding, Place, make_id
from ..multiprocess.directory import locate_directory
from ..multiprocess.lock import Holder, find_exporter, read_holder
from ..ports import report
from ..ports.address import join, resolve_all
from ..ports.neighbours.neighbour import ExporterLine, Neighbour, Survey
from ..ports.neighbours.survey import survey
from ..ports.numbers import judge_ephemeral
from ..ports.owner import Owner
from ..ports.probe import State, look
from ..ports.wish import Wish, add_option, find_clashes, is_loopback
from ..setting import Options
from ..wishes import make_wish, make_wish_of_line
from .directory_findings import examine_agreement, examine_directory
from .port import order_ports
from .settings_file import find_place


@dataclass(frozen=True)
class Answer:
    """What was found: ``urls`` is where runmetrics would serve, ``advice`` what will happen."""

    ports: Sequence[report.Report]
    neighbours: Sequence[Neighbour]
    findings: Sequence[Finding]
    urls: Sequence[str]
    advice: str
    exporter: Holder | None = None


def examine(options: Options) -> Answer:
    """Look at everything, change nothing; a wrong option raises ExporterError."""
    try:
        config = conf.load_config(options)
        choose_collectors(config.collectors)
    except ConfigurationError as error:
        wrong = {each.message: each for each in (error, *conf.find_wrong_values(options))}
        for each in wrong.values():
            if each.from_option:
                raise each from None
        findings = [describe_error(each) for each in wrong.values()]
        return Answer([], [], findings, [], "Correct that, then run checkports again.")
    surroundings = survey(find_project_folder(), os.environ)
    wish = make_wish(options, find_place)
    findings = [
        *find_all(options, find_place),
        *examine_directory(config),
        *surroundings.findings,
        *examine_neighbours(surroundings, wish, options),
        *judge_ephemeral(wish.ports, wish.move),
        *examine_target_file(config),
    ]
    return look_at_ports(config, findings, surroundings.neighbours)


def find_project_folder() -> Path:
    """Return the folder of ``manage.py``, where that is what runs; else the working directory."""
    program = Path(sys.argv[0] if sys.argv else "")
    return program.absolute().parent if program.name == "manage.py" else Path.cwd()


def examine_neighbours(surroundings: Survey, wish: Wish, options: Options) -> Iterator[Finding]:
    """Yield what will clash, and what could not be reached where it is started."""
    wishes = []
    for line in surroundings.exporters:
        try:
            wishes.append(make_wish_of_line(line, find_place))
            yield from examine_line(line, wishes[-1])
        except ConfigurationError as error:
            yield Finding(make_id(1), "error", f"{line.place}: {error.message}", error.hint)
    # Where files say how the exporter is started, nobody starts it by the settings alone.
    asked = any(options.get(each.dest) for each in (conf.PORT, conf.PORT_RANGE, conf.ADDRESS))
    if asked or not wishes:
        wishes.append(wish)
    yield from find_clashes(wishes, surroundings.neighbours)


def examine_line(line: ExporterLine, wish: Wish) -> Iterator[Finding]:
    """Yield what is wrong with one line that starts the exporter."""
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
    directory = conf.METRICS_DIRECTORY.resolve(line.options, line.environment)
    if directory is not None and not line.network:
        yield from examine_agreement(directory)


def examine_target_file(config: conf.Config) -> Iterator[Finding]:
    """Yield why the target could not be written."""
    if config.sd_file is None:
        return
    try:
        TargetFile(config.sd_file).examine()
    except ExporterError as error:
        yield Finding(make_id(29), "error", error.message, error.hint)


def look_at_ports(
    config: conf.Config, findings: list[Finding], neighbours: Sequence[Neighbour]
) -> Answer:
    """Try every port as ``runmetrics`` would, without listening."""
    directory = config.metrics_directory and locate_directory(config.metrics_directory).path
    exporter = find_exporter(directory) if directory else None
    ports = order_ports(config.ports, read_holder(directory) if directory else None)
    try:
        found = report.add_owners(look(resolve_all(config.addresses), ports))
    except ExporterError as error:
        findings.append(Finding(make_id(15), "error", error.message, error.hint))
        return Answer([], neighbours, findings, [], "No address to listen on.", exporter)
    free = list_free_ports(found, exporter)
    if not free:
        findings.append(describe_refusal(found, config))
        return Answer(found, neighbours, findings, [], report.advise(found), exporter)
    urls = [
        f"http://{join(str(each.probe.address), free[0])}{config.telemetry_path}"
        for each in found
        if each.probe.port == free[0] and not each.probe.may_be_missing
    ]
    where = " and ".join(urls) if free[0] else "on a port that the kernel will choose"
    advice = f"runmetrics will serve {where}"
    if exporter is not None:
        advice += f" once pid {exporter.pid}, which serves this directory now, has ended"
    return Answer(found, neighbours, findings, urls if free[0] else [], advice, exporter)


def list_free_ports(found: Sequence[report.Report], exporter: Holder | None) -> list[int]:
    """Return the ports that can be had on every address; our own exporter will leave its port."""
    refused = {
        each.probe.port
        for each in found
        if each.probe.state is not State.FREE
        and not each.probe.may_be_missing
        and not (exporter and isinstance(each.owner, Owner) and each.owner.pid == exporter.pid)
    }
    return [
        port for port in dict.fromkeys(each.probe.port for each in found) if port not in refused
    ]


def describe_refusal(found: Sequence[report.Report], config: conf.Config) -> Finding:
    """Say that no port can be had, and what runmetrics would do."""
    refused = [each.probe for each in found if not each.probe.may_be_missing]
    return Finding(
        make_id(16),
        "error",
        f"{refused[0]} cannot be had." if len(refused) == 1 else "No port can be had.",
        foresee_wait(
            config.port_wait, passes_by_itself=any(each.passes_by_itself for each in refused)
        ),
        (Change(Place("shell"), "python manage.py runmetrics --port 0"),),
    )


def foresee_wait(seconds: float, *, passes_by_itself: bool) -> str:
    """Say what ``runmetrics`` does where it finds no port."""
    if seconds == math.inf:
        return "runmetrics would go on trying."
    if passes_by_itself and seconds:
        return f"runmetrics would wait {seconds:g} s for it, and exit 1."
    return "runmetrics would exit 1."
