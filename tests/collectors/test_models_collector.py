"""Rows are counted of the models that somebody names, and a wrong name is said at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import connections
from prometheus_client import Metric

from metrics_commands.collectors.models import ModelsCollector, choose_models
from metrics_commands.collectors.registry import Surroundings, make_collectors
from metrics_commands.errors import ConfigurationError
from project.shop.models import Order, Product
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import scrape, succeeded
from tests.processes import sample

NAME = "PROMETHEUS_METRICS_COUNTED_MODELS"
ROWS = "django_model_rows"


@pytest.fixture
def database(add_database: AddDatabase) -> Path:
    """Return where the only database is, which nobody has opened."""
    return add_database("default")


def show(collector: ModelsCollector) -> dict[str, float]:
    """Return the rows by model; what failed is missing."""
    families: list[Metric] = []
    with suppress(RuntimeError):
        families.extend(collector.collect())
    return {each.labels["model"]: each.value for family in families for each in family.samples}


def test_rows_are_counted(database: Path, settings: LazySettings) -> None:
    """A row more or less is seen at the next run; a model that is not named is not asked for."""
    settings.PROMETHEUS_METRICS_COUNTED_MODELS = ["shop.Product"]
    call_command("migrate", verbosity=0)
    collector = ModelsCollector(Surroundings())
    assert show(collector) == {"shop.Product": 0}
    product = Product.objects.create(name="tea", price=1)
    assert show(collector) == {"shop.Product": 1}
    product.delete()
    assert show(collector) == {"shop.Product": 0}


def test_a_database_without_tables_costs_its_models(database: Path, settings: LazySettings) -> None:
    """Before ``migrate`` the collector fails and names the models, and after it they are shown."""
    settings.PROMETHEUS_METRICS_COUNTED_MODELS = ["shop.Product", "shop.Order"]
    collector = ModelsCollector(Surroundings("zoo"))
    with pytest.raises(RuntimeError, match=r"model shop.Product: .*; model shop.Order: "):
        list(collector.collect())
    with connections["default"].schema_editor() as editor:
        editor.create_model(Product)
    assert show(collector) == {"shop.Product": 0}
    with connections["default"].schema_editor() as editor:
        editor.create_model(Order)
    [family] = collector.collect()
    assert family.name == f"zoo_{ROWS}"
    assert len(family.samples) == 2


def test_without_names_nothing_is_asked(database: Path) -> None:
    """A project that names no model has no family, and its database no client."""
    samples = scrape(make_collectors(["models"], Surroundings()))
    assert succeeded(samples, "models")
    assert [name for name, _ in samples if name == ROWS] == []
    assert not database.exists()


def test_names_may_come_from_anywhere(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option is over the environment, which has commas, and that over the setting."""
    settings.PROMETHEUS_METRICS_COUNTED_MODELS = ["shop.Order", "shop.order"]
    assert choose_models() == (Order,)
    monkeypatch.setenv(NAME, "shop.Product, shop.Order")
    assert choose_models() == (Product, Order)
    assert choose_models({"count_model": ["shop.Product"]}) == (Product,)


def test_models_may_be_given(database: Path) -> None:
    """Who has chosen models already, from options too, hands them to the collector."""
    call_command("migrate", verbosity=0)
    collector = ModelsCollector(Surroundings(counted_models=(Order,)))
    assert show(collector) == {"shop.Order": 0}


@pytest.mark.parametrize("name", ["shop.Nothing", "nowhere.Order", "Order", "a.b.c", "\x1b[2J"])
def test_an_unknown_model_is_a_configuration_error(name: str) -> None:
    """The error says where the name was written and what it should be, and shows it safely."""
    with pytest.raises(ConfigurationError) as caught:
        choose_models({"count_model": ["shop.Order", name]})
    assert caught.value.exit_code == 2
    assert caught.value.from_option
    assert str(caught.value).startswith(f"--count-model names {name!a}, which is no model")


def test_an_unknown_model_costs_this_collector_alone(settings: LazySettings) -> None:
    """Where nobody has checked the names, the page is there, and says that one has failed."""
    settings.PROMETHEUS_METRICS_COUNTED_MODELS = ["shop.Nothing"]
    samples = scrape(make_collectors(["gc", "models"], Surroundings()))
    assert succeeded(samples, "gc")
    assert not succeeded(samples, "models")
    assert sample(samples, ROWS, model="shop.Nothing") is None
