"""What all tests of models need: a registry of their own, and tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from .dogs import MakeTables


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """Keep the tests' models out of the project's."""
    with isolate_apps("metrics_commands"):
        yield


@pytest.fixture
def make_tables(transactional_db: None) -> Iterator[MakeTables]:
    """Create the tables of models, and drop them afterwards."""
    made: list[type[models.Model]] = []

    def make(*kinds: type[models.Model]) -> None:
        with connection.schema_editor() as editor:
            for kind in kinds:
                editor.create_model(kind)
                made.insert(0, kind)

    yield make
    with connection.schema_editor() as editor:
        for kind in made:
            editor.delete_model(kind)
