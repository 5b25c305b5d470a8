"""The collectors that apps of the project declare, each in its ``collectors.py``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.apps import apps
from django.utils.module_loading import module_has_submodule
from prometheus_client import Metric

from ..parsers import shorten
from .declaration import DECLARATIONS, Declaration
from .frames import skip_frames
from .joining import list_names
from .mistakes import find_mistakes, is_name, list_labels, name_of
from .registry import BUILT_IN, FAILURES
from .rows import Shape, make_family
from .run import RefusedError


@dataclass(frozen=True)
class Problem:
    """Why something is not collected; ``error`` is what its module raised, if it did."""

    place: str
    what: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class DeclaredCollector:
    """A function that somebody has declared to be a collector."""

    def __init__(self, name: str, declaration: Declaration) -> None:
        self.interval: float | None = declaration.interval
        self.timeout: float | None = declaration.timeout
        self.place = declaration.place
        self._function = declaration.function
        summary = (inspect.getdoc(self._function) or "").partition("\n")[0]
        documentation = summary or f"What {name} of {declaration.module} finds."
        self._shape = Shape(name, documentation, list_labels(declaration))

    def collect(self) -> Iterable[Metric]:
        """Call the function, and yield what it finds."""
        return self._shape.show(self._function())


class RefusedCollector:
    """What stands in for a collector with a mistake, and fails instead of it."""

    def __init__(self, problem: Problem) -> None:
        self.place = problem.place
        self._told = str(problem)

    def collect(self) -> Iterable[Metric]:
        """Raise what was wrong."""
        raise RefusedError(self._told)


@dataclass(frozen=True)
class Declared:
    """All that apps declare, by name, and what is wrong with it."""

    collectors: dict[str, DeclaredCollector | RefusedCollector] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _owners: dict[str, str] = field(default_factory=dict)

    def add(self, declaration: Declaration) -> None:
        """Take a collector, or what is wrong with it, under a name that is free."""
        name = name_of(declaration)
        clash = self._find_clash(name)
        mistakes = [*find_mistakes(declaration), clash]
        if not any(mistakes):
            mistakes = [self._find_same_metric(str(name))]
        if not any(mistakes):
            self.collectors[str(name)] = DeclaredCollector(str(name), declaration)
            self._owners.update(dict.fromkeys(list_metric_names(str(name)), declaration.place))
            return
        what = f"collector {shorten(name)} {' and '.join(dict.fromkeys(filter(None, mistakes)))}."
        is_free = is_name(name) and not clash
        label = str(name) if is_free else f"{declaration.module}:{declaration.line}"
        self.refuse(label, Problem(declaration.place, what))

    def refuse(self, name: str, problem: Problem) -> None:
        """Let a scrape tell that something is missing."""
        self.problems.append(problem)
        self.collectors[name] = RefusedCollector(problem)

    def _find_clash(self, name: object) -> str:
        if name in BUILT_IN:
            return "has the name of a built-in one"
        other = self.collectors.get(str(name))
        return f"has the name of the one at {other.place}" if other else ""

    def _find_same_metric(self, name: str) -> str:
        for each in list_metric_names(name):
            if each in self._owners:
                return f"takes the metric's name {each}, as the one at {self._owners[each]} does"
        return ""


def list_metric_names(name: str) -> tuple[str, ...]:
    """Return the names that are taken by what a collector of this name finds."""
    family = make_family(name, "", ())
    return list_names(family.name, family.type)


def load_declared() -> Declared:
    """Import the ``collectors.py`` of every installed app; call nothing that it declares.

    What is wrong costs itself only: a collector, or all those of a module that cannot be imported.
    """
    failed: dict[str, Problem] = {}
    for config in apps.get_app_configs():
        before = len(DECLARATIONS)
        module = f"{config.name}.collectors"
        try:
            if config.module and module_has_submodule(config.module, "collectors"):
                importlib.import_module(module)
        except FAILURES as error:
            del DECLARATIONS[before:]
            failed[module] = describe_failure(module, error)
    declared = Declared()
    for declaration in DECLARATIONS:
        declared.add(declaration)
    for module, problem in failed.items():
        declared.refuse(module, problem)
    return declared


def describe_failure(module: str, error: BaseException) -> Problem:
    """Say why a module cannot be imported, and at which of its lines."""
    what = f"{module} cannot be imported: {type(error).__name__} {shorten(str(error))}."
    first = skip_frames(error)
    error = error.with_traceback(first)
    if first is not None:
        return Problem(f"{first.tb_frame.f_code.co_filename}:{first.tb_lineno}", what, error)
    if isinstance(error, SyntaxError):
        return Problem(f"{error.filename}:{error.lineno}", what, error)
    return Problem(module, what)
