"""The class of a model that is counted is as if nobody had looked."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.migrations.state import ModelState
from django.template import Context, Engine
from django.test.utils import isolate_apps

from metrics_commands.models import ExportModelOperationsMixin
from project.shop.models import Product

Build = Callable[..., type[models.Model]]


def build_plain(*mixin: type) -> Any:
    """Return a model with all that Meta may say."""

    class Dog(*mixin, models.Model):  # type: ignore[misc]
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "zoo"
            ordering = ("name",)
            indexes = (models.Index(fields=["name"], name="by_name"),)
            constraints = (models.UniqueConstraint(fields=["name"], name="one_name"),)
            swappable = "ZOO_DOG"

    return Dog


def build_below_abstract(*mixin: type) -> Any:
    """Return a model whose Meta is its abstract base's."""

    class Base(models.Model):
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "zoo"
            abstract = True
            ordering = ("name",)
            get_latest_by = "name"
            indexes = (models.Index(fields=["name"], name="by_name"),)
            constraints = (models.UniqueConstraint(fields=["name"], name="one_name"),)

    class Dog(*mixin, Base):  # type: ignore[misc]
        pass

    return Dog


def build_below_managers(*mixin: type) -> Any:
    """Return a model whose abstract base names its managers, in a Meta that is not inherited."""

    class Base(models.Model):
        name = models.CharField(max_length=9)
        everything: models.Manager[Any] = models.Manager()
        living: models.Manager[Any] = models.Manager()

        class Meta:
            app_label = "zoo"
            abstract = True
            default_manager_name = "living"
            base_manager_name = "everything"

    class Dog(*mixin, Base):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"

    return Dog


def build_child(*mixin: type) -> Any:
    """Return a model with a table of its own and its parent's, whose ordering it inherits."""

    class Animal(models.Model):
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "zoo"
            ordering = ("name",)
            get_latest_by = "name"

    class Dog(*mixin, Animal):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"

    return Dog


def build_proxy(*mixin: type) -> Any:
    """Return a proxy."""

    class Animal(models.Model):
        class Meta:
            app_label = "zoo"

    class Dog(*mixin, Animal):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"
            proxy = True

    return Dog


def build_with_metaclass(*mixin: type) -> Any:
    """Return a model that has a metaclass of somebody else's, as trees and polymorphism need."""

    class Kind(models.base.ModelBase):
        pass

    class Base(models.Model, metaclass=Kind):
        class Meta:
            abstract = True

    class Dog(*mixin, Base):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"

    return Dog


def describe(model: Any) -> dict[str, object]:
    """Return what can be told of a model."""
    meta, state = model._meta, ModelState.from_model(model)
    names = [
        "label", "ordering", "get_latest_by", "abstract", "proxy", "swappable", "db_table",
        "managed", "permissions", "original_attrs", "default_manager_name", "base_manager_name",
    ]  # fmt: skip
    return {name: getattr(meta, name) for name in names} | {
        "bases": [each.__name__ for each in model.__mro__],
        "kind": type(model).__name__,
        "fields": [(each.name, each.deconstruct()[1:]) for each in meta.get_fields()],
        "indexes": meta.indexes,
        "constraints": meta.constraints,
        "managers": [each.name for each in meta.managers],
        "default": meta.default_manager.name,
        "base": meta.base_manager.name,
        "parents": [each.__name__ for each in meta.parents],
        "state": (state.name, list(state.fields), state.options, state.bases, state.managers),
        "problems": [each.id for each in model.check()],
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "build",
    [
        build_plain,
        build_below_abstract,
        build_below_managers,
        build_child,
        build_proxy,
        build_with_metaclass,
    ],
)
def test_the_model_is_as_without(build: Build) -> None:
    """Meta, managers, bases, fields and what migrations see of a model know nothing of us."""
    with isolate_apps("metrics_commands"):
        expected = describe(build())
    with isolate_apps("metrics_commands"):
        found = describe(build(ExportModelOperationsMixin("dog")))
    assert found == expected


def test_templates_may_not_delete() -> None:
    """The methods keep their marks, so that no template can call them."""
    template = Engine().from_string("{{ product.delete }}{{ product.save }}")
    assert template.render(Context({"product": Product(pk=1)})) == ""


def test_objects_can_be_pickled() -> None:
    """A counted object goes through a cache or a queue."""
    assert pickle.loads(pickle.dumps(Product(pk=1, name="Tea"))).name == "Tea"
