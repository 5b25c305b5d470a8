"""One thing a user may decide: where it was written, and what it means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.conf import settings as django_settings

from . import parsers
from .errors import ConfigurationError

SOURCES = ("option", "environment", "setting")

T = TypeVar("T")
Options = Mapping[str, Any]
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Given:
    """A value as somebody wrote it, and where: ``label`` is what an error calls it."""

    source: str
    label: str
    value: object


@dataclass(frozen=True)
class Switch:
    """A collector's name was given, to switch it on or off."""

    on: bool
    given: Given


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One thing a user may decide. ``parse`` raises ValueError saying what a value should be.

    ``alias`` is what exporters of other languages call the option; a flag takes no value there.
    """

    name: str
    parse: Callable[[object], T]
    default: T
    help: str
    option: str = ""
    metavar: str = ""
    in_environment: bool = True
    repeatable: bool = False
    alias: str = ""
    is_flag: bool = False

    @property
    def dest(self) -> str:
        """Name the option's entry in the parsed command line."""
        return self.option.lstrip("-").replace("-", "_")

    def given(self, options: Options, environment: Environment | None = None) -> Iterator[Given]:
        """Yield what was written, highest source first; an empty environment variable is unset.

        ``environment`` is that of another process, where it is one whose line was read.
        """
        variables = os.environ if environment is None else environment
        if self.option and options.get(self.dest) is not None:
            yield Given("option", self.option, options[self.dest])
        if self.in_environment and variables.get(self.name):
            yield Given("environment", f"environment variable {self.name}", variables[self.name])
        if getattr(django_settings, self.name, None) is not None:
            yield Given("setting", f"setting {self.name}", getattr(django_settings, self.name))

    def parse_given(self, given: Given) -> T:
        """Turn a written value into the setting's type, or raise ConfigurationError."""
        try:
            return self.parse(given.value)
        except ValueError as error:
            value = given.value
            if given.source == "option" and isinstance(value, list):
                # As one could write it; that it is a list is our doing.
                value = ",".join(map(str, value))
            raise ConfigurationError(
                f"{given.label} is {parsers.shorten(value)}: it should be {error}.",
                from_option=given.source == "option",
            ) from None

    def resolve(self, options: Options | None = None, environment: Environment | None = None) -> T:
        """Return the value in force, or raise ConfigurationError."""
        for given in self.given(options or {}, environment):
            return self.parse_given(given)
        return self.default

    def resolve_or_default(self, options: Options | None = None) -> T:
        """Return the value in force, or the default where it is wrong: a check has said so."""
        try:
            return self.resolve(options)
        except ConfigurationError:
            return self.default
