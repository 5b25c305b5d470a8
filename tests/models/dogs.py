"""A model of dogs, and what its objects count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models

from metrics_commands.models import ExportModelOperationsMixin
from metrics_commands.testing import metric_value

MakeTables = Callable[..., None]


class Count:
    """What a block adds to a name's inserts, updates and deletes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = self._read()

    def _read(self) -> list[float]:
        families = ("inserts", "updates", "deletes")
        return [
            metric_value(f"django_model_{each}_total", model=self._name) or 0 for each in families
        ]

    def take(self) -> tuple[float, ...]:
        """Return what was added since the last time."""
        before, self._before = self._before, self._read()
        return tuple(new - old for new, old in zip(self._before, before, strict=True))


def make_dog(*bases: type, label: str = "dog", **attributes: Any) -> Any:
    """Return a model that counts as ``label``; its other bases come after the mixin."""

    class Dog(ExportModelOperationsMixin(label), *(bases or (models.Model,))):  # type: ignore[misc]
        name = models.CharField(max_length=9, unique=True)

        class Meta:
            app_label = "zoo"

        locals().update(attributes)

    return Dog
