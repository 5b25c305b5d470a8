"""Registration of collectors, and a scrape of those that are on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from django.db.models import Model
from prometheus_client import Metric

from ..errors import ConfigurationError
from ..parsers import shorten
from ..setting import Switch
from .gathering import Gather, Gathered
from .joining import Joiner
from .run import RefusedError, Runner
from .threads import Threads

logger = logging.getLogger("metrics_commands")

# Code of others also gives up by sys.exit(), which is no reason to end the exporter.
FAILURES = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
BUILT_IN = (
    "application", "build_info", "cache", "celery", "database", "gc", "host", "http", "migrations",
    "models", "platform", "port", "process", "system", "tasks", "value_files", "worker_processes",
    "workers",
)  # fmt: skip
OFF_BY_DEFAULT = frozenset({"host", "worker_processes"})
MOST_NAMES = 40
# Prometheus itself waits for 10 s by default; the rest is for writing the page and sending it.
DEFAULT_SECONDS = 9.5
LONGEST_NAME = 80


class Rendered(Protocol):
    """Families that come as text, since there are too many of them to make objects first."""

    @property
    def names(self) -> Collection[str]:
        """Return all names that these families take up, in whatever format."""

    def render(
        self,
        skip: Collection[str] = (),
        *,
        openmetrics: bool = False,
        escaping: str = "underscores",
        names: Collection[str] = (),
    ) -> bytes: ...


class Merged(Rendered, Protocol):
    """The workers' families, of which a few can be had as objects as well."""

    def families(self, names: Collection[str] = ()) -> Iterable[Metric]: ...


class Collector(Protocol):
    """Yield fresh families; an exception costs the rest of this collector only.

    It may have an ``interval`` and a ``timeout``, in seconds: the first makes it run in the
    background at most that often, the second is the longest that a scrape waits for it.
    """

    def collect(self) -> Iterable[Metric | Rendered]: ...


class Worker(Protocol):
    """A process that lives; ``pid`` is 0 where it means nothing to us."""

    @property
    def process(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def pid(self) -> int: ...


class Workers(Protocol):
    """How many processes have begun, by role, and those that live."""

    @property
    def starts(self) -> Mapping[str, float]: ...

    @property
    def living(self) -> Sequence[Worker]: ...


class ValueFiles(Protocol):
    """The workers' numbers; ``problem`` says why the directory could not be listed, if so."""

    @property
    def problem(self) -> str: ...

    def read(self) -> Merged: ...

    def describe_state(self) -> Iterable[Metric]: ...

    def list_workers(self, metric: str) -> Workers: ...


class Spent(Protocol):
    """How often something was done, and how much it took in all."""

    @property
    def count(self) -> int: ...

    @property
    def total(self) -> float: ...


class Served(Protocol):
    """What the server has counted of itself."""

    @property
    def requests(self) -> Mapping[int, int]: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def errors(self) -> Mapping[str, int]: ...

    @property
    def gather_seconds(self) -> Spent: ...

    @property
    def encode_seconds(self) -> Spent: ...

    @property
    def page_bytes(self) -> Spent: ...


@dataclass(frozen=True)
class Surroundings:
    """What a collector is given: the metrics' prefix, the reader of the value files, and more.

    ``count_moves`` tells how often the port has changed; ``served`` is None where nobody serves;
    ``directory`` is that of the value files; ``counted_models`` are those of the options.
    """

    namespace: str = ""
    value_files: ValueFiles | None = None
    count_moves: Callable[[], int] = lambda: 0
    served: Served | None = None
    directory: Path | None = None
    counted_models: tuple[type[Model], ...] | None = None

    @property
    def prefix(self) -> str:
        """Return what the names of our families begin with."""
        return f"{self.namespace}_" if self.namespace else ""


Factory = Callable[[Surroundings], Collector]

_factories: dict[str, Factory] = {}


def register(name: str) -> Callable[[type], type]:
    """Register a class, made with ``Surroundings``, as the collector of this name."""

    def keep(factory: type) -> type:
        _factories[name] = factory
        return factory

    return keep


class QueryError(ValueError):
    """Refuse the collectors that a scrape asks for."""


class CollectorSet:
    """The collectors of one exporter that are on, in order, and the names of all there are."""

    def __init__(
        self, collectors: Mapping[str, Collector], known: Collection[str] = BUILT_IN
    ) -> None:
        self.collectors = collectors
        self._known = known
        threads = Threads()
        self._runners = {name: Runner(name, each, threads) for name, each in collectors.items()}
        self._joiner = Joiner(BUILT_IN, {each.name: each.shown for each in self._runners.values()})
        self._lock = threading.Lock()
        self._open: dict[tuple[str, ...], Gather] = {}

    def gather(
        self, names: Collection[str] | None = None, seconds: float = DEFAULT_SECONDS
    ) -> Gathered:
        """Run the named collectors, or all, and return what there is after so many seconds.

        Who asks for the same collectors before anybody has taken the result shares it.
        """
        chosen = tuple(name for name in self.collectors if names is None or name in names)
        with self._lock:
            gather = self._open.get(chosen)
            if gather is None:
                runners = [self._runners[name] for name in chosen]
                gather = self._open[chosen] = Gather(runners, self._joiner)
        try:
            gather.wait(seconds)
        finally:
            with self._lock:
                if self._open.get(chosen) is gather:
                    del self._open[chosen]
        return gather.take()

    def count_failures(self) -> int:
        """Return how often a collector has failed, or was missed."""
        return sum(sum(each.failures.values()) for each in self._runners.values())

    def choose(self, collect: Sequence[str], exclude: Sequence[str]) -> tuple[str, ...]:
        """Return the collectors that ``collect[]`` and ``exclude[]`` of a query leave, in order."""
        if collect and exclude:
            raise QueryError("Combined collect and exclude queries are not allowed.")
        for name in (*collect, *exclude):
            if name not in self.collectors:
                state = "disabled" if name in self._known else "missing"
                # Without the quotation marks, as other exporters write it.
                shown = ascii(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")
                raise QueryError(
                    f"Couldn't create filtered metrics handler: {state} collector: {shown[1:-1]}\n"
                    f"Collectors that are on: {list_some([*self.collectors])}"
                )
        left = set(collect or self.collectors) - set(exclude)
        return tuple(name for name in self.collectors if name in left)


def choose_collectors(
    switches: Mapping[str, Switch], own: Collection[str] = (), *, strict: bool = True
) -> list[str]:
    """Return the names of the collectors that are on, of ours and of the project's own.

    Unknown names raise ConfigurationError where all of the project's own could be read.
    """
    known = [*BUILT_IN, *own]
    for name, switch in switches.items():
        if strict and name not in known:
            raise ConfigurationError(
                f"{switch.given.label} names {shorten(name)}, which is not a collector:"
                f" it should be one of {list_some(known)}.",
                from_option=switch.given.source == "option",
            )
    return [
        name
        for name in known
        if (switches[name].on if name in switches else name not in OFF_BY_DEFAULT)
    ]


def list_some(names: Sequence[str]) -> str:
    """Return names for a message, of many the first."""
    return ", ".join([*names[:MOST_NAMES], *(["…"] if len(names) > MOST_NAMES else [])])


def make_collectors(
    names: Iterable[str],
    surroundings: Surroundings,
    own: Mapping[str, Collector] = MappingProxyType({}),
) -> CollectorSet:
    """Import and make the named collectors; one that cannot be made is logged and left out."""
    collectors: dict[str, Collector] = {}
    for name in names:
        try:
            collectors[name] = own[name] if name in own else make(name, surroundings)
        except FAILURES:
            logger.exception("Collector %s cannot start; the others are served.", name)
            collectors[name] = _Broken()
    return CollectorSet(collectors, {*BUILT_IN, *own})


def make(name: str, surroundings: Surroundings) -> Collector:
    """Import and make a collector of ours."""
    import_module(f"{__package__}.{name}")
    return _factories[name](surroundings)


class _Broken:
    def collect(self) -> Iterable[Metric | Rendered]:
        raise RefusedError("it could not be started")
