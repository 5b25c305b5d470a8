# mypy: disable-error-code="untyped-decorator"
"""Tasks that do what tasks do: succeed, fail, try again, reject, and hang."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import shared_task  # type: ignore[import-untyped]
from celery.exceptions import Reject  # type: ignore[import-untyped]


@shared_task
def succeed() -> None:
    """Do nothing."""


@shared_task
def fail() -> None:
    """Raise."""
    raise LookupError("as always")


@shared_task(bind=True)
def retry(self: Any) -> None:
    """Fail twice, and succeed then."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@shared_task
def reject() -> None:
    """Give the message back for nobody."""
    raise Reject("not mine", requeue=False)


@shared_task
def hang(path: str) -> None:
    """Write the pid of this process, and never end."""
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(60)
