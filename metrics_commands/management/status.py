"""Put the status page together: what the exporter is, what it sees, and what it remembers."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from .. import __version__
from ..collectors.registry import CollectorSet
from ..discovery import Target
from ..errors import ExporterError
from ..finding import SEVERITIES, Finding, make_id
from ..multiprocess.reader import DirectoryReader
from ..ports import report
from ..ports.address import join
from ..ports.owner import Owner
from ..ports.probe import Claim, Probe, State
from ..server.activity import Activity
from ..server.status_pages import StatusPages
from ..setting import Options
from ..status.course import describe_course
from ..status.document import (
    CollectorState,
    Counted,
    FamilySize,
    Findings,
    Found,
    FoundChange,
    Role,
    Served,
    SettingInForce,
    Status,
    TriedPort,
    ValueFiles,
)
from ..status.history import History
from ..status.page import read_files, write_json, write_page
from ..status.totals import ALL, ERRORS, RESPONSES, Totals
from .examination import examine
from .recorder import Recorder
from .repetition import Repetition
from .settings_in_force import list_settings
from .watch import Sight, Watched, list_watched

MOST_FAMILIES = 12
# A run that takes no longer is nothing to be told.
QUICK_SECONDS = 1.0
SERVED = make_id(28)
# Who looks has collectors run this often where nobody scrapes, and this long is waited for them.
COLLECT_SECONDS, EXAMINE_SECONDS = 15.0, 60.0
PATIENCE = 1.5


@dataclass(frozen=True)
class Facts:
    """What stays as it is from the start on."""

    urls: tuple[str, ...]
    target: Target
    namespace: str
    options: Options
    settings: tuple[SettingInForce, ...]
    ports: tuple[TriedPort, ...]
    since: str


def collect_facts(
    namespace: str, options: Options, urls: Sequence[str], claimed: Claim, target: Target
) -> Facts:
    """Return the facts of an exporter that is about to serve."""
    settings, ports = list_settings(options), list_tried(claimed.skipped)
    return Facts(tuple(urls), target, namespace, options, settings, ports, write_time(time.time()))


class StatusPage:
    """Make the document of the moment, for as many as look."""

    def __init__(
        self,
        facts: Facts,
        collectors: CollectorSet,
        reader: DirectoryReader | None,
        activity: Activity,
    ) -> None:
        self._facts = facts
        self._collectors = collectors
        self._watched = list_watched(collectors)
        self._reader = reader
        self._activity = activity
        self.recorder = Recorder(reader, facts.namespace, activity, History())
        self._gathers = Repetition("collectors", self._collect_where_nobody_does, COLLECT_SECONDS)
        self._findings = Repetition("findings", self._examine, EXAMINE_SECONDS)

    def offer(self, asks_for_password: Callable[[], bool]) -> StatusPages:
        """Return what the server serves."""

        def make() -> Status:
            return self.make(asks_for_password=asks_for_password())

        files = {f"/{name}": file for name, file in read_files().items()}
        return StatusPages(
            lambda: write_page(make()), lambda: write_json(make()), asks_for_password, files
        )

    def make(self, *, asks_for_password: bool = False) -> Status:
        """Return all that is known now; collectors run in the background where nobody scrapes."""
        self._gathers.get(PATIENCE)
        findings = self._findings.get(PATIENCE)
        self.recorder.look()
        now, steps = time.monotonic(), self.recorder.history
        course = describe_course(steps.list_steps(now))
        sizes = list(self._list_sizes())
        return Status(
            time=write_time(time.time()),
            served=self._describe_served(asks_for_password=asks_for_password),
            counted=count(steps.latest),
            last_minute=course.last_minute,
            scrape_seconds=course.scrape_seconds,
            all_views=course.all_views,
            views=course.views,
            charts=course.charts,
            value_files=describe_files(self._reader) if self._reader else None,
            roles=tuple(list_roles(self._reader, self._facts.namespace)) if self._reader else (),
            collectors=tuple(describe(*each, now) for each in self._watched.items()),
            series=sum(each.series for each in sizes),
            families=tuple(heapq.nlargest(MOST_FAMILIES, sizes, key=lambda each: each.series)),
            ports=self._facts.ports,
            settings=self._facts.settings,
            findings=Findings(now - findings.began, findings.value) if findings else Findings(),
        )

    def _collect_where_nobody_does(self) -> None:
        began = (each.last.began for each in self._watched.values() if each.last)
        if time.monotonic() - max(began, default=-COLLECT_SECONDS) >= COLLECT_SECONDS:
            self._collectors.gather()

    def _examine(self) -> tuple[Found, ...]:
        try:
            found = examine(self._facts.options).findings
            return tuple(show_finding(each) for each in rank(found) if not is_about_us(each))
        except ExporterError as error:
            return (Found("", "error", error.message, error.hint),)

    def _describe_served(self, *, asks_for_password: bool) -> Served:
        facts = self._facts
        return Served(
            facts.urls,
            facts.target.telemetry_path,
            facts.target.scheme,
            join(facts.target.host, facts.target.port),
            facts.since,
            __version__,
            asks_for_password,
            {str(code): number for code, number in sorted(self._activity.requests.items())},
        )

    def _list_sizes(self) -> Iterator[FamilySize]:
        for (name, kind), size in self.recorder.sizes.items():
            yield FamilySize(name, kind, size, "value_files")
        for collector, each in self._watched.items():
            for (name, kind), size in (each.last.sizes if each.last else {}).items():
                yield FamilySize(name, kind, size, collector)


def count(totals: Totals | None) -> Counted:
    """Return what the workers have counted since they began."""
    if totals is None:
        return Counted(0, 0, 0)
    counts = totals.views.get(ALL, (0.0, 0.0))
    return Counted(round(totals.requests), round(counts[RESPONSES]), round(counts[ERRORS]))


def describe(name: str, watched: Watched, now: float) -> CollectorState:
    """Return how a collector fares."""
    last, going, failed = watched.last, watched.going, watched.last_failed
    if going and (last is None or now - going.began > QUICK_SECONDS):
        state = "running"
    elif last is None:
        state = "not yet"
    else:
        state = "failed" if last.error else "works"
    shown: Sight | None = last or going
    return CollectorState(
        name,
        state,
        last.seconds if last else None,
        now - shown.began if shown else None,
        watched.interval or 0.0,
        last.series if last else 0,
        watched.failures,
        failed.error if failed else "",
        now - failed.began - failed.seconds if failed else None,
    )


def describe_files(reader: DirectoryReader) -> ValueFiles:
    """Return what is known of the value files, by the families that a scrape has of them."""
    known = {family.name: family.samples for family in reader.describe_state()}

    def take(name: str) -> float:
        samples = known.get(f"django_exporter_{name}", ())
        return samples[0].value if samples else 0.0

    def take_all(name: str, label: str) -> dict[str, int]:
        samples = known.get(f"django_exporter_{name}", ())
        return {each.labels[label]: round(each.value) for each in samples}

    folded = take("last_fold_timestamp_seconds")
    return ValueFiles(
        str(reader.directory),
        reader.problem,
        take_all("value_files", "state"),
        take_all("value_files_skipped", "reason"),
        round(take("value_files_bytes")),
        round(take("archived_series")),
        round(take("folded_files")),
        write_time(folded) if folded else None,
        take("merge_duration_seconds"),
    )


def list_roles(reader: DirectoryReader, namespace: str) -> Iterator[Role]:
    """Yield the processes of each role."""
    prefix = f"{namespace}_" if namespace else ""
    workers = reader.list_workers(f"{prefix}django_worker_starts")
    for role, started in sorted(workers.starts.items()):
        living = sum(each.role == role for each in workers.living)
        yield Role(role, living, round(started), max(0, round(started) - living))


def is_about_us(finding: Finding) -> bool:
    """Tell whether a finding says that we serve, which is no news on our own page."""
    return finding.id == SERVED and f"pid {os.getpid()} " in finding.what


def rank(findings: Sequence[Finding]) -> list[Finding]:
    """Return the worst first."""
    return sorted(findings, key=lambda each: -SEVERITIES.index(each.severity))


def show_finding(finding: Finding) -> Found:
    """Return a finding as the page has it."""
    changes = (FoundChange(str(each.place), each.write) for each in finding.changes)
    return Found(finding.id, finding.severity, finding.what, finding.why, tuple(changes))


def list_tried(skipped: Sequence[Probe]) -> tuple[TriedPort, ...]:
    """Return the ports that could not be had, with pid and program of who holds them, no more."""
    tried = []
    for each in report.add_owners(skipped):
        probe, owner = each.probe, each.owner
        pid, program = None, ""
        if isinstance(owner, Owner):
            pid, program = owner.pid, owner.program or owner.command.partition(" ")[0]
        reason = "taken" if probe.state is State.TAKEN else probe.reason
        tried.append(
            TriedPort(str(probe.address), probe.port, probe.state.value, reason, pid, program)
        )
    return tuple(tried)


def write_time(moment: float) -> str:
    """Return a Unix time as people and machines read it, in local time."""
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
