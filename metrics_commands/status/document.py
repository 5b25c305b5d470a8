"""Everything that the status page says, as plain values; ``docs/status.schema.json`` has the same.

Times are ISO 8601; durations are in seconds; None is what is not known, or not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION = 1


@dataclass(frozen=True)
class Served:
    """What is served and where: ``target`` is what Prometheus asks, as host and port."""

    urls: tuple[str, ...]
    path: str
    scheme: str
    target: str
    since: str
    version: str
    asks_for_password: bool
    scrapes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TriedPort:
    """A port that could not be had, and who held it at the start as far as that can be seen."""

    address: str
    port: int
    state: str
    reason: str
    pid: int | None = None
    program: str = ""


@dataclass(frozen=True)
class Role:
    """The processes of one role."""

    role: str
    living: int
    started: int
    ended: int


@dataclass(frozen=True)
class ValueFiles:
    """The metrics directory; ``problem`` says why it cannot be read."""

    directory: str
    problem: str = ""
    states: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    archived_series: int = 0
    folded_files: int = 0
    last_fold: str | None = None
    merge_seconds: float = 0.0


@dataclass(frozen=True)
class CollectorState:
    """A collector: ``state`` is "works", "failed", "running" or "not yet".

    ``age`` is how long ago its last run began, ``last_error`` the class of the last exception.
    """

    name: str
    state: str
    seconds: float | None = None
    age: float | None = None
    interval: float = 0.0
    series: int = 0
    failures: int = 0
    last_error: str = ""
    last_error_age: float | None = None


@dataclass(frozen=True)
class FamilySize:
    """How many series a family has; ``source`` is its collector."""

    name: str
    type: str
    series: int
    source: str


@dataclass(frozen=True)
class SettingInForce:
    """One of our own settings; ``source`` is where its value was written."""

    name: str
    option: str
    value: str
    source: str
    help: str


@dataclass(frozen=True)
class FoundChange:
    """A line to write, and where."""

    place: str
    write: str


@dataclass(frozen=True)
class Found:
    """A finding of ``checkports``."""

    id: str
    severity: str
    what: str
    why: str = ""
    changes: tuple[FoundChange, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What ``checkports`` found ``age`` seconds ago; None where it has not looked yet."""

    age: float | None = None
    findings: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Counted:
    """What the workers have counted since they began, the dead included."""

    requests: int
    responses: int
    errors: int


@dataclass(frozen=True)
class Speed:
    """How the requests of a stretch of time went; ``view`` is empty for all of them.

    ``error_share`` is the share of 5xx; the percentiles are those of Prometheus.
    """

    view: str
    responses: int
    requests_per_second: float | None = None
    error_share: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Line:
    """One number in each step, oldest first."""

    name: str
    points: tuple[float | None, ...]


@dataclass(frozen=True)
class Charts:
    """The last fifteen minutes, in steps of so many seconds; the last step is not over yet."""

    step_seconds: int
    requests_per_second: Line
    error_share: Line
    latency: tuple[Line, ...]
    scrape_seconds: Line


@dataclass(frozen=True)
class Status:
    """The whole page; ``last_minute`` and ``all_views`` (15 minutes) are of all requests.

    ``views`` are those with most of them in 15 minutes.
    """

    time: str
    served: Served
    counted: Counted
    last_minute: Speed
    scrape_seconds: float | None
    all_views: Speed
    views: tuple[Speed, ...]
    charts: Charts
    value_files: ValueFiles | None
    roles: tuple[Role, ...]
    collectors: tuple[CollectorState, ...]
    series: int
    families: tuple[FamilySize, ...]
    ports: tuple[TriedPort, ...]
    settings: tuple[SettingInForce, ...]
    findings: Findings
    version: int = VERSION
