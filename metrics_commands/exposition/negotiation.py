"""Choose format and compression by what a client accepts (RFC 9110, section 12.5).

Whatever cannot be understood gets what every client understands: text 0.0.4, uncompressed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from .format import ESCAPINGS, FORMATS, OPENMETRICS, PLAIN, TEXT, Format

LONGEST_HEADER = 8192
VERSIONS = {None, *(form.version for form in FORMATS)}

WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
BETWEEN = re.compile(r"[ \t,]*")
VALUE = re.compile(rf"{WORD}(?:/{WORD})?")
PARAMETER = re.compile(rf'[ \t]*;[ \t]*(?:({WORD})=({WORD}|"(?:[^"\\]|\\.)*"))?')
END = re.compile(r"[ \t]*(?:,|\Z)")
QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

# What each range of media types covers, of those that we have.
COVERED: dict[str, tuple[str, ...]] = {
    "*/*": (PLAIN, OPENMETRICS),
    "text/*": (PLAIN,),
    "application/*": (OPENMETRICS,),
    PLAIN: (PLAIN,),
    OPENMETRICS: (OPENMETRICS,),
}

Element = tuple[str, dict[str, str], float]


class Range(NamedTuple):
    """What one element of an Accept header names; None stands for any."""

    media: str
    version: str | None
    escaping: str | None

    @property
    def named(self) -> bool:
        """Tell whether it is one media type, and no wildcard."""
        return "*" not in self.media

    @property
    def specificity(self) -> tuple[int, int]:
        """Return how much it says: of the ranges that a format is in, the most specific counts."""
        parameters = (self.version, self.escaping)
        return -self.media.count("*"), sum(each is not None for each in parameters)

    def includes(self, form: Format) -> bool:
        """Tell whether a format is in this range."""
        return (
            form.media_type in COVERED[self.media]
            and self.version in (None, form.version)
            and (self.escaping in (None, form.escaping) or not form.escapes)
        )


def choose_format(accept: str) -> Format:
    """Return the format that an Accept header wants most, of those that we speak."""
    try:
        ranges = read_ranges(accept)
    except ValueError:
        return TEXT
    ranked = [(rank(form, ranges), form) for form in FORMATS]
    # Of equals the first stays, which is the one that we prefer.
    (quality, *_), best = max(ranked, key=operator.itemgetter(0))
    return best if quality > 0 else TEXT


def read_ranges(accept: str) -> dict[Range, float]:
    """Return the ranges that are ours, with their qualities; of a repeated one the first."""
    ranges: dict[Range, float] = {}
    for value, parameters, quality in read_list(accept):
        if "/" not in value:
            raise ValueError(value)
        version, escaping = parameters.get("version"), parameters.get("escaping")
        if value not in COVERED or version not in VERSIONS:
            continue
        if escaping is not None and escaping not in ESCAPINGS:
            escaping = TEXT.escaping
        ranges.setdefault(Range(value, version, escaping), quality)
    return ranges


def rank(form: Format, ranges: dict[Range, float]) -> tuple[float, bool, int]:
    """Return how much a format is wanted: its quality, whether it is named, who comes first."""
    places = {each: place for place, each in enumerate(ranges) if each.includes(form)}
    if not places:
        return 0.0, False, 0
    counting = max(places, key=lambda each: each.specificity)
    return ranges[counting], counting.named, -places[counting]


def choose_encoding(accept_encoding: str) -> Literal["gzip", "identity"]:
    """Return the content coding that an Accept-Encoding header wants, of those that we have."""
    qualities: dict[str, float] = {}
    try:
        for value, parameters, quality in read_list(accept_encoding):
            if "/" in value or parameters:
                raise ValueError(value)
            qualities.setdefault("gzip" if value == "x-gzip" else value, quality)
    except ValueError:
        return "identity"
    others = qualities.get("*", 0.0)
    gzip = qualities.get("gzip", others)
    return "gzip" if gzip and gzip >= qualities.get("identity", others) else "identity"


def read_list(header: str) -> Iterator[Element]:
    """Yield a header's elements: value, parameters and quality, in lower case.

    Raises ValueError where it breaks the grammar, or is longer than any client has reason for.
    """
    if len(header) > LONGEST_HEADER:
        raise ValueError("too long")
    text = header.lower()
    position = _find(BETWEEN, text, 0).end()
    while position < len(text):
        value = _find(VALUE, text, position)
        parameters: dict[str, str] = {}
        position = value.end()
        while parameter := PARAMETER.match(text, position):
            position = parameter.end()
            name, content = parameter.groups()
            if name in parameters:
                raise ValueError(name)
            if name:
                parameters[name] = _unquote(content)
        position = _find(BETWEEN, text, _find(END, text, position).end()).end()
        quality = parameters.pop("q", "1")
        if not QUALITY.fullmatch(quality):
            raise ValueError(quality)
        yield value[0], parameters, float(quality)


def _find(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    found = pattern.match(text, position)
    if found is None:
        raise ValueError(text[position:])
    return found


def _unquote(content: str) -> str:
    return re.sub(r"\\(.)", r"\1", content[1:-1]) if content.startswith('"') else content
