"""The options of a program, read as the program itself would read them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn


class WrongUsageError(Exception):
    """The program itself would refuse these arguments."""


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUsageError(message)


@dataclass(frozen=True)
class Options:
    """The options of one program by name, each with its spellings.

    ``rivals`` begin alike, so that an abbreviation is ambiguous where the program finds it so;
    ``flags`` take no value, and may stand before another letter in one word; ``argument`` is the
    first word that belongs to no option.
    """

    single: Mapping[str, str] = field(default_factory=dict)
    several: Mapping[str, str] = field(default_factory=dict)
    rivals: str = ""
    flags: str = ""
    argument: str = ""
    abbreviated: bool = True

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return all values, None where one is not given; unknown options are left aside."""
        parser = _Parser(add_help=False, allow_abbrev=self.abbreviated)
        for name, spellings in self.single.items():
            parser.add_argument(*spellings.split(), dest=name)
        for name, spellings in self.several.items():
            parser.add_argument(*spellings.split(), dest=name, action="append")
        for spelling in self.rivals.split():
            parser.add_argument(spelling, nargs="?")
        for spelling in self.flags.split():
            parser.add_argument(spelling, action="store_true")
        if self.argument:
            parser.add_argument(self.argument, nargs="?")
        return vars(parser.parse_known_args(list(arguments))[0])
