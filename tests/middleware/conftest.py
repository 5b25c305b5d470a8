"""What all tests of the middlewares need: the URLs of their views."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from ..instrumentation import urls


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = urls.HERE
