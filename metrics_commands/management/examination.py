"""Say beforehand whether ``runmetrics`` will work: configuration, directory, neighbours, ports."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from .. import conf, exporter_settings
from ..checks import describe_error, find_all
from ..collectors.declared import Declared, load_declared
from ..collectors.models import choose_models
from ..collectors.registry import choose_collectors
from ..discovery import TargetFile
from ..errors import ConfigurationError, ExporterError
from ..finding import Finding, make_id
from ..ports import report
from ..ports.neighbours.neighbour import HOST_NETWORK, Neighbour, Survey
from ..ports.neighbours.survey import survey
from ..ports.numbers import judge_ephemeral, judge_numbers
from ..ports.wish import find_clashes, list_taken
from ..setting import Options
from ..wishes import make_wish, make_wish_of_line
from .directory_findings import examine_directory
from .line_findings import Pair, examine_lines
from .outlook import Launch, Outlook, look
from .settings_file import find_place
from .web_findings import examine_web_configuration

# Of one kind; nobody reads more.
MOST_FINDINGS = 20
# What is said of the port of the settings, which is not used where a file names another.
ABOUT_NUMBERS = {make_id(10), make_id(11), make_id(12)}
# An option for one of these is a question about that port.
ASKED = (exporter_settings.PORT, exporter_settings.PORT_RANGE, exporter_settings.ADDRESS)
# These are no trouble of the exporter's own.
OF_OTHERS = {make_id(18)}
CORRECT = "Correct the errors: until then runmetrics does not serve as it should."
GRAVE = ("error", "critical")


@dataclass(frozen=True)
class Answer:
    """What was found: ``urls`` is where runmetrics would serve, ``advice`` what will happen.

    ``ours`` has the pid of the exporter that serves the directory now, by address and port.
    """

    ports: Sequence[report.Report]
    neighbours: Sequence[Neighbour]
    findings: Sequence[Finding]
    urls: Sequence[str]
    advice: str
    ours: Mapping[tuple[str, int], int] = field(default_factory=dict)


def examine(options: Options) -> Answer:
    """Look at everything, change nothing; a wrong option raises ExporterError."""
    try:
        config = conf.load_config(options)
        declared = load_declared()
        choose_collectors(config.collectors, declared.collectors, strict=not declared.problems)
        choose_models(options)
    except ConfigurationError as error:
        wrong = {each.message: each for each in (error, *conf.find_wrong_values(options))}
        for each in wrong.values():
            if each.from_option:
                raise each from None
        findings = [describe_error(each) for each in wrong.values()]
        return Answer([], [], tidy(findings), [], "Correct that, then run checkports again.")
    surroundings = survey(find_project_folder(), os.environ)
    findings = [*find_all(options, find_place), *examine_directory(config)]
    findings += [*examine_collectors(declared), *surroundings.findings]
    pairs, launches = read_lines(surroundings, config, findings)
    findings += examine_lines(pairs, surroundings.neighbours)
    findings += find_clashes([wish for _, wish in pairs], surroundings.neighbours)
    # Where files say how the exporter is started, nobody starts it by the settings alone.
    if not pairs or any(options.get(each.dest) for each in ASKED):
        own = make_wish(options, find_place)
        launches = [Launch.of_config(config, own)]
        findings += find_clashes([own], surroundings.neighbours)
    else:
        findings = [each for each in findings if each.id not in ABOUT_NUMBERS]
    for launch in launches:
        findings += judge_numbers(launch.wish.ports, launch.wish.move)
        findings += judge_ephemeral(launch.wish.ports, launch.wish.move)
    findings += examine_target_file(config)
    for path in dict.fromkeys(launch.web_config_file for launch in launches):
        findings += examine_web_configuration(path)
    wanted = list_taken([launch.wish for launch in launches], surroundings.neighbours)
    seen = [look(launch, wanted) for launch in launches]
    findings += [finding for each in seen for finding in each.findings]
    return conclude(seen, tidy(findings), surroundings.neighbours)


def find_project_folder() -> Path:
    """Return the folder of ``manage.py``, where that is what runs; else the working directory."""
    program = Path(sys.argv[0] if sys.argv else "")
    return program.absolute().parent if program.name == "manage.py" else Path.cwd()


def read_lines(
    surroundings: Survey, config: conf.Config, findings: list[Finding]
) -> tuple[list[Pair], list[Launch]]:
    """Return what each line that starts the exporter wants, and those that will run here."""
    pairs: list[Pair] = []
    launches: list[Launch] = []
    for line in surroundings.exporters:
        try:
            wish = make_wish_of_line(line, find_place)
            launch = Launch.of_line(line, wish, config)
        except ConfigurationError as error:
            what = f"{line.place}: {error.message}"
            findings.append(Finding(make_id(1), "error", what, error.hint))
            continue
        pairs.append((line, wish))
        if line.network == HOST_NETWORK:
            launches.append(launch)
    return pairs, launches


def examine_collectors(declared: Declared) -> Iterator[Finding]:
    """Yield what is wrong with the collectors that apps declare; none was called."""
    for problem in declared.problems:
        yield Finding(
            make_id(43),
            "error",
            f"A collector cannot be used: {problem}",
            "Its metrics are missing; all others are served. Correct that line, then start"
            " runmetrics again.",
        )


def examine_target_file(config: conf.Config) -> Iterator[Finding]:
    """Yield why the target could not be written."""
    if config.sd_file is None:
        return
    try:
        TargetFile(config.sd_file).examine()
    except ExporterError as error:
        yield Finding(make_id(29), "error", error.message, error.hint)


def conclude(
    seen: Sequence[Outlook], findings: list[Finding], neighbours: Sequence[Neighbour]
) -> Answer:
    """Put together what will happen; it does not, as long as there are errors."""
    ports = {(str(p.probe.address), p.probe.port): p for each in seen for p in each.ports}
    ours = {place: pid for each in seen for place, pid in each.ours.items()}
    urls = list(dict.fromkeys(url for each in seen for url in each.urls))
    advice = "; ".join(dict.fromkeys(each.advice for each in seen))
    if not seen:
        advice = "runmetrics is started in containers alone, so no port of this machine was tried"
    errors = [each for each in findings if each.severity in GRAVE and each.id not in OF_OTHERS]
    if errors:
        hopeless = [each.advice for each in seen if not each.hopeful]
        advice = "; ".join(dict.fromkeys(hopeless)) or CORRECT
    return Answer(list(ports.values()), neighbours, findings, [] if errors else urls, advice, ours)


def tidy(findings: Sequence[Finding]) -> list[Finding]:
    """Return each finding once, without the silenced ones, and not too many of one kind."""
    kept: list[Finding] = []
    counts: Counter[tuple[str, str]] = Counter()
    for each in dict.fromkeys(findings):
        if each.id in settings.SILENCED_SYSTEM_CHECKS:
            continue
        counts[each.id, each.severity] += 1
        if counts[each.id, each.severity] <= MOST_FINDINGS:
            kept.append(each)
    for (name, severity), count in counts.items():
        if count > MOST_FINDINGS:
            what = f"There are {count - MOST_FINDINGS} more findings of this kind."
            kept.append(Finding(name, severity, what))
    return kept
