"""Keep a failure of metrics away from the application."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("metrics_commands")

_reported: set[str] = set()


def report_loss(what: str) -> None:
    """Log the first failure of its kind, with its traceback; call it where it was caught."""
    if what not in _reported:
        _reported.add(what)
        logger.error(
            "A number was lost while counting %s; further losses there are not logged.",
            what,
            exc_info=sys.exc_info(),
        )
