"""What holds now of the web configuration file and the files that it names, as they change."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import ssl
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import ExporterError
from .tls import make_context
from .tls_configuration import TLS
from .web_configuration import WebConfiguration, find_exposed, load
from .web_document import read_content

logger = logging.getLogger("metrics_commands")

# Two changes within one tick of the kernel's clock may leave the same times behind.
TICK_SECONDS = 0.1
RETRY_SECONDS = 1.0

# Device, inode, size, and the times of the last change to content and to anything.
Identity = tuple[int, int, int, int, int] | None
Identities = dict[Path, Identity]


class Door:
    """What each connection and each request has to follow; asked by the event loop only.

    An invalid file raises at the start. Later it closes the door, until it is valid again; what
    becomes unusable of a certificate, its key or the authorities leaves those before in force.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._accepted: WebConfiguration | None = None if path else WebConfiguration()
        self._context: ssl.SSLContext | None = None
        # What the context was made of.
        self._origin: tuple[TLS | None, bytes] = (None, b"")
        self._seen: Identities = {}
        self._again = math.inf
        self._is_open = True
        self._complaint = ""
        self._warned: set[Path] = set()
        if path:
            self._read(path)

    @property
    def configuration(self) -> WebConfiguration | None:
        """Return what the file says now, the same object until that changes; None while closed."""
        self._refresh()
        return self._accepted if self._is_open else None

    @property
    def context(self) -> ssl.SSLContext | None:
        """Return how a new connection speaks TLS, None for plain HTTP; the last, while closed."""
        self._refresh()
        return self._context

    @property
    def problem(self) -> str:
        """Return why the door is closed, empty while it is open."""
        self._refresh()
        return "" if self._is_open else self._complaint

    def reload(self) -> None:
        """Read all files again, changed or not."""
        self._again = -math.inf
        self._refresh()

    def _refresh(self) -> None:
        if self._path is None:
            return
        if time.monotonic() < self._again and self._seen == identify(*self._seen):
            return
        # At first, and for a while: what nobody has foreseen must not leave old rules in force.
        self._is_open = False
        self._again = time.monotonic() + RETRY_SECONDS
        try:
            self._read(self._path)
        except ExporterError as error:
            self._conclude(f"{error.message} Every request is refused until that is corrected.")

    def _read(self, path: Path) -> None:
        """Take over what the files say, or raise ExporterError."""
        # Each is looked at before it is read: a change meanwhile is then seen the next time.
        self._seen = identify(path)
        configuration = load(path)
        if configuration.is_blank and self._accepted and not self._accepted.is_blank:
            # Who truncates a file to write it anew must not let everybody in meanwhile.
            message = f"{path} has become empty; to be without any rule it has to hold {{}}."
            raise ExporterError(message, exit_code=2)
        self._seen |= identify(*configuration.files)
        trouble = self._renew_context(configuration.tls)
        if configuration != self._accepted:
            self._replace(path, configuration)
        self._is_open = True
        self._conclude(trouble)
        for each in set(find_exposed(path, configuration)) - self._warned:
            self._warned.add(each)
            logger.warning("%s can be read by every user, and holds a secret.", each)

    def _renew_context(self, tls: TLS | None) -> str:
        """Make the context anew where its parts have changed; return why the old one stays.

        Where their contents are the same it stays as well: connections of another are closed.
        """
        origin = (tls, digest(tls.files) if tls else b"")
        if self._origin == origin:
            return ""
        try:
            self._context = make_context(tls) if tls else None
        except ExporterError as error:
            # Of changed rules the old context knows nothing, so it must not stand in for them.
            if self._accepted is None or self._origin[0] != tls:
                raise
            return f"{error.message} The certificates of before stay in force."
        self._origin = origin
        return ""

    def _replace(self, path: Path, configuration: WebConfiguration) -> None:
        if self._accepted is not None:
            logger.info("%s has changed and holds from now on.", path)
            if self._accepted.tls and not configuration.tls:
                logger.warning("%s no longer asks for TLS: metrics are served in clear.", path)
        self._accepted = configuration

    def _conclude(self, complaint: str) -> None:
        """Say once what is wrong, and that it no longer is; decide when to read again anyway."""
        if complaint and complaint != self._complaint:
            logger.error("%s", complaint)
        if self._complaint and not complaint:
            logger.info("%s and the files it names are in order again.", self._path)
        self._complaint = complaint
        if complaint:
            self._again = time.monotonic() + RETRY_SECONDS
        elif is_recent(self._seen):
            self._again = time.monotonic() + TICK_SECONDS
        else:
            self._again = math.inf


def identify(*paths: Path) -> Identities:
    """Return by what a changed or exchanged file is known; None for one that is not there."""
    found: Identities = {}
    for path in paths:
        try:
            seen = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = (
                seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns,
            )  # fmt: skip
    return found


def digest(paths: Iterable[Path]) -> bytes:
    """Return by what the contents of files are known, or, where they cannot be read, the files."""
    known = hashlib.blake2b()
    for path in paths:
        try:
            content = read_content(path)
        except ExporterError:
            content = repr(identify(path)).encode()
        known.update(len(content).to_bytes(8, "big") + content)
    return known.digest()


def is_recent(files: Identities) -> bool:
    """Tell whether a file could change once more without its identity."""
    now = time.time_ns()
    return any(each and abs(now - each[-1]) < TICK_SECONDS * 1e9 for each in files.values())
