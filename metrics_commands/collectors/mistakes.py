"""What may be wrong with a declared collector, as it stands in the code."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Sequence

from ..parsers import shorten
from .declaration import Declaration

NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")
A_NAME = "letters, digits and '_', and begin with no digit and no '__'"
# They mean something to Prometheus.
RESERVED_LABELS = ("le", "quantile")
ARGUMENTS = "name, interval, timeout and labels"


def name_of(declaration: Declaration) -> object:
    """Return the collector's name, which may be anything."""
    if declaration.name is not None:
        return declaration.name
    return getattr(declaration.function, "__name__", None)


def is_name(value: object) -> bool:
    """Tell whether Prometheus and an option can take a name."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def list_labels(declaration: Declaration) -> tuple[str, ...]:
    """Return the names of the labels; a string is one."""
    labels = declaration.labels
    return (labels,) if isinstance(labels, str) else tuple(labels)


def find_mistakes(declaration: Declaration) -> Iterator[str]:
    """Yield each mistake as the rest of a sentence that begins with the collector's name."""
    if not is_name(name_of(declaration)):
        yield f"should have a name of {A_NAME}"
    yield from find_mistakes_of_function(declaration.function)
    for what in ("interval", "timeout"):
        value = getattr(declaration, what)
        if value is not None and not is_duration(value):
            yield f"has the {what} {shorten(value)}, which should be a number of seconds above 0"
    yield from find_mistakes_of_labels(declaration)
    for unknown in declaration.unknown:
        yield f"has the argument {shorten(unknown)}, but @collector takes only {ARGUMENTS}"


def find_mistakes_of_function(function: object) -> Iterator[str]:
    """Yield why the exporter could not call a function."""
    if not callable(function) or not inspect.isfunction(inspect.unwrap(function)):
        yield "is not a function"
    elif inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield "is async, but is called in a thread without a loop: write it with def"
    else:
        try:
            inspect.signature(function).bind()
        except TypeError:
            yield "wants arguments, but is called without any"


def is_duration(value: object) -> bool:
    """Tell whether a value is a number of seconds, more than none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def find_mistakes_of_labels(declaration: Declaration) -> Iterator[str]:
    """Yield which labels could not be shown."""
    if not isinstance(declaration.labels, str | Sequence):
        yield f"has the labels {shorten(declaration.labels)}, which should be a list of names"
        return
    labels = list_labels(declaration)
    for label in labels:
        if not is_name(label):
            yield f"has the label {shorten(label)}, which should be of {A_NAME}"
        elif label in RESERVED_LABELS:
            yield f"has the label {shorten(label)}, which means something else to Prometheus"
        elif labels.count(label) > 1:
            yield f"has the label {shorten(label)} more than once"
