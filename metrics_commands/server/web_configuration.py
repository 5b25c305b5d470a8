"""The web configuration file: exporter-toolkit's schema, in which every mistake is an error."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .authentication import HASH, load_bcrypt
from .tls_configuration import TLS, read_tls
from .web_document import HARMLESS_KEY, Entry, read_document

SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
# The values that a header may have; none: any.
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
PART = re.compile(rf"([0-9]{{1,10}}(?:\.[0-9]{{0,10}})?|\.[0-9]{{1,10}})({'|'.join(UNITS)})")
DURATION = re.compile(rf"(?:{PART.pattern}){{1,10}}")
LONGEST_INTERVAL = 366 * 24 * 3600.0


@dataclass(frozen=True)
class Rate:
    """How often a request may come: ``interval`` in seconds apart, 0 for any; ``burst`` at once."""

    interval: float = 0.0
    burst: int = 0


@dataclass(frozen=True)
class WebConfiguration:
    """What the file says; ``users`` has bcrypt hashes, ``is_blank`` a file without a document."""

    tls: TLS | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate: Rate = Rate()
    is_blank: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the other files that it names."""
        return self.tls.files if self.tls else ()

    @property
    def has_secrets(self) -> bool:
        """Tell whether the file itself holds hashes or a key."""
        return bool(self.users) or bool(self.tls and self.tls.key.text)


def load(path: Path) -> WebConfiguration:
    """Read a web configuration file, or raise ExporterError naming the key and the line.

    ``http2: true`` is accepted: it permits HTTP/2, and HTTP/1.1 is always an answer to that.
    """
    root = read_document(path)
    if root is None:
        return WebConfiguration(is_blank=True)
    sections = root.as_section(SECTIONS)
    tls, http = sections.get("tls_server_config"), sections.get("http_server_config")
    users, rate = sections.get("basic_auth_users"), sections.get("rate_limit")
    return WebConfiguration(
        tls=read_tls(tls, path.parent) if tls else None,
        headers=read_http(http) if http else {},
        users=read_users(users) if users else {},
        rate=read_rate(rate) if rate else Rate(),
    )


def find_exposed(path: Path, configuration: WebConfiguration) -> Iterator[Path]:
    """Yield each file with a secret that every user may read; a group is given on purpose."""
    key = configuration.tls.key.path if configuration.tls else None
    for each in (path if configuration.has_secrets else None, key):
        try:
            if each and os.stat(each).st_mode & stat.S_IROTH:
                yield each
        except OSError:
            continue


def read_http(section: Entry) -> dict[str, str]:
    """Return the headers that every answer gets."""
    entries = section.as_section(("http2", "headers"))
    if "http2" in entries:
        entries["http2"].as_flag()
    if "headers" not in entries:
        return {}
    headers = {}
    for name, entry in entries["headers"].as_section(tuple(HEADERS)).items():
        value = entry.as_line()
        if not value.isascii():
            entry.refuse("must be ASCII")
        headers[name] = entry.as_choice(HEADERS[name]) if HEADERS[name] else value
    return headers


def read_users(section: Entry) -> dict[str, str]:
    """Return the bcrypt hash of each user's password."""
    users = {}
    for name, entry in section.as_mapping().items():
        if ":" in name or not name.isprintable():
            entry.refuse("is a user's name with a colon or a control character")
        value = entry.as_text()
        if not HASH.fullmatch(value):
            shown = name if HARMLESS_KEY.fullmatch(name) else "USER"
            entry.refuse(
                "must be a bcrypt hash ($2y$, $2b$ or $2a$) of cost 04 to 31",
                f"Make one with: htpasswd -nBC 10 {shown}",
            )
        users[name] = value
    if users:
        load_bcrypt()
    return users


def read_rate(section: Entry) -> Rate:
    """Return the limit on the number of requests."""
    entries = section.as_section(("interval", "burst"))
    interval, burst = entries.get("interval"), entries.get("burst")
    return Rate(read_duration(interval) if interval else 0.0, burst.as_count() if burst else 0)


def read_duration(entry: Entry) -> float:
    """Return the seconds of a duration as Go writes it."""
    text = entry.as_text()
    if text == "0":
        return 0.0
    if not DURATION.fullmatch(text):
        entry.refuse("must be a duration such as 500ms, 1s or 1m30s, or 0")
    seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    if seconds > LONGEST_INTERVAL:
        entry.refuse("must not exceed a year")
    return seconds
