"""Sockets that systemd has opened for us: ``sd_listen_fds(3)``."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import MutableMapping

from ..errors import ExporterError
from .probe import BACKLOG, Claim

FIRST_DESCRIPTOR = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
HINT = "In the .socket unit write ListenStream=127.0.0.1:8001, and leave Accept= at 'no'."


def take_sockets(environment: MutableMapping[str, str]) -> Claim | None:
    """Return the sockets that were given to this very process; None where none were.

    The variables are removed, so that no child takes the sockets for its own. Raises
    ExporterError for a descriptor that is no TCP socket.
    """
    for_us = environment.get("LISTEN_PID") == str(os.getpid())
    count = environment.get("LISTEN_FDS", "")
    for name in VARIABLES:
        if for_us:
            environment.pop(name, None)
    if not for_us or not re.fullmatch(r"[0-9]{1,4}", count) or not int(count):
        return None
    descriptors = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    sockets = tuple(_take(each) for each in descriptors)
    return Claim(sockets, sockets[0].getsockname()[1], (), given=True)


def _take(descriptor: int) -> socket.socket:
    try:
        given = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ExporterError(
            f"Descriptor {descriptor} that systemd announces is no socket ({error.strerror}).",
            HINT,
            exit_code=2,
        ) from None
    if given.type != socket.SOCK_STREAM or given.family not in (socket.AF_INET, socket.AF_INET6):
        raise ExporterError(
            f"Descriptor {descriptor} that systemd gives is no TCP socket.", HINT, exit_code=2
        )
    os.set_inheritable(descriptor, False)
    given.setblocking(False)
    try:
        given.listen(BACKLOG)
    except OSError as error:
        raise ExporterError(
            f"Descriptor {descriptor} that systemd gives cannot listen ({error.strerror}).",
            HINT,
            exit_code=2,
        ) from None
    return given
