"""Objects of a model are counted as they come, change and go."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from metrics_commands.models import ExportModelOperationsMixin, instrument
from metrics_commands.testing import metric_value
from project.shop.models import Order, Product

from .dogs import Count, MakeTables, make_dog


@pytest.mark.django_db
def test_objects_are_counted_as_they_come_change_and_go() -> None:
    """An insert, two updates and a delete are just that, by every way that goes by the object."""
    count = Count("product")
    tea = Product.objects.create(name="Tea", price=1)
    assert count.take() == (1, 0, 0)
    tea.save()
    Product.objects.update_or_create(name="Tea", defaults={"price": 2})
    assert count.take() == (0, 2, 0)
    Product.objects.get_or_create(name="Pot", defaults={"price": 2})
    tea.delete()
    assert count.take() == (1, 0, 1)


@pytest.mark.django_db
def test_only_success_counts() -> None:
    """What the database refuses, and what finds no row, has not happened."""
    Product.objects.create(name="Tea", price=1)
    count = Count("product")
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.create(name="Tea", price=1)
    with pytest.raises(DatabaseError), transaction.atomic():
        Product(pk=77, name="Pot", price=1).save(force_update=True)
    with pytest.raises(ValueError, match="can't be deleted"):
        Product().delete()
    assert count.take() == (0, 0, 0)
    pot = Product(pk=78, name="Pot", price=1)
    pot.save()
    assert count.take() == (1, 0, 0)
    same = Product.objects.get(pk=78)
    pot.delete()
    same.delete()
    assert count.take() == (0, 0, 1)


@pytest.mark.django_db
def test_statements_about_many_rows_stay_what_they_are() -> None:
    """A QuerySet's delete is one statement, and none of its statements is counted."""
    count = Count("product")
    Product.objects.bulk_create([Product(name=each, price=1) for each in "abc"])
    Order.objects.bulk_create([Order(product=Product.objects.get(name="a"), quantity=1)])
    Product.objects.update(price=2)
    orders = Count("order")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        Order.objects.all().delete()
    assert [each["sql"].split()[0] for each in queries] == ["DELETE"]
    Product.objects.all().delete()
    assert count.take() == (0, 0, 0)
    assert orders.take() == (0, 0, 0)


def test_async_operations_count(transactional_db: None) -> None:
    """What an async view saves and deletes is counted as well."""

    async def go() -> None:
        tea = await Product.objects.acreate(name="Tea", price=1)
        await tea.asave()
        await tea.adelete()

    count = Count("product")
    asyncio.run(go())
    assert count.take() == (1, 1, 1)


def test_an_object_with_several_tables_counts_once_for_each_model(make_tables: MakeTables) -> None:
    """A child's row and its parent's are one object of each, and a parent may stay behind."""

    class Animal(ExportModelOperationsMixin("animal"), models.Model):  # type: ignore[misc]
        legs = models.IntegerField(default=4)

        class Meta:
            app_label = "zoo"

    dog: Any = make_dog(Animal)
    make_tables(Animal, dog)
    animals, dogs = Count("animal"), Count("dog")
    rex = dog.objects.create(name="Rex")
    assert (animals.take(), dogs.take()) == ((1, 0, 0), (1, 0, 0))
    rex.save()
    assert (animals.take(), dogs.take()) == ((0, 1, 0), (0, 1, 0))
    rex.delete(keep_parents=True)
    assert (animals.take(), dogs.take()) == ((0, 0, 0), (0, 0, 1))
    dog(animal_ptr=Animal.objects.get(), name="Rex").save()
    assert (animals.take(), dogs.take()) == ((0, 1, 0), (1, 0, 0))
    dog.objects.get().delete()
    assert (animals.take(), dogs.take()) == ((0, 0, 1), (0, 0, 1))


def test_children_of_an_abstract_model_and_proxies_count(make_tables: MakeTables) -> None:
    """A mixin on an abstract base is for its children, and one on a model for its proxies."""

    class Base(ExportModelOperationsMixin("base"), models.Model):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"
            abstract = True

    class Cat(Base):
        pass

    class Kitten(ExportModelOperationsMixin("kitten"), Cat):  # type: ignore[misc]
        class Meta:
            app_label = "zoo"
            proxy = True

    make_tables(Cat)
    bases, kittens = Count("base"), Count("kitten")
    Cat.objects.create().delete()
    assert (bases.take(), kittens.take()) == ((1, 0, 1), (0, 0, 0))
    kitten = Kitten.objects.create()
    kitten.save()
    kitten.delete()
    assert (bases.take(), kittens.take()) == ((1, 1, 1), (1, 1, 1))


def test_a_delete_of_the_users_own_is_judged_by_what_it_does(make_tables: MakeTables) -> None:
    """One that only marks deletes nothing; one that forgets to return Django's answer does."""

    def mark(self: Any) -> None:
        self.name = "gone"
        self.save()

    marked = make_dog(delete=mark, label="marked")
    make_tables(marked)
    count = Count("marked")
    marked.objects.create(name="Rex").delete()
    assert count.take() == (1, 1, 0)

    class Forgetful(models.Model):
        class Meta:
            app_label = "zoo"

        def delete(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            super().delete(*args, **kwargs)

    forgetful: Any = Forgetful
    instrument(forgetful, "forgetful")
    make_tables(forgetful)
    count = Count("forgetful")
    forgetful.objects.create().delete(using="default")
    assert count.take() == (1, 0, 1)


def test_other_bases_are_still_called(make_tables: MakeTables) -> None:
    """A base that comes later keeps its own delete()."""

    class Counted(ExportModelOperationsMixin("first"), models.Model):  # type: ignore[misc]
        class Meta:
            abstract = True

    class Marked(models.Model):
        gone = models.BooleanField(default=False)

        class Meta:
            abstract = True

        def delete(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            self.gone = True

    class Fish(Counted, Marked):
        class Meta:
            app_label = "zoo"

    make_tables(Fish)
    fish = Fish.objects.create()
    fish.delete()
    assert fish.gone
    assert Fish.objects.exists()


def test_a_model_counts_once_under_a_name(make_tables: MakeTables) -> None:
    """Instrumenting twice, or below a model of the same name, counts nothing twice."""

    class Bird(models.Model):
        class Meta:
            app_label = "zoo"

    class Common(ExportModelOperationsMixin("bird")):  # type: ignore[misc]
        pass

    class Parrot(Common, Bird):
        class Meta:
            app_label = "zoo"
            proxy = True

    instrument(Bird, "bird")
    instrument(Bird, "bird")
    instrument(Bird, "animals")
    instrument(Bird, "bird")
    make_tables(Bird)
    birds, animals = Count("bird"), Count("animals")
    bird: Any = Bird()
    bird.save()
    bird.delete()
    assert (birds.take(), animals.take()) == ((1, 0, 1), (1, 0, 1))


def test_a_new_model_stands_at_zero() -> None:
    """A model is on the page before anything happens to it."""
    make_dog(label="unborn")
    for family in ("inserts", "updates", "deletes"):
        assert metric_value(f"django_model_{family}_total", model="unborn") == 0


@pytest.mark.django_db
def test_nothing_is_counted_beside_django_prometheus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    """While django-prometheus is installed, it counts and we do not."""
    (tmp_path / "django_prometheus").mkdir()
    (tmp_path / "django_prometheus" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings.INSTALLED_APPS = ["django_prometheus"]
    make_dog(label="theirs")
    assert metric_value("django_model_inserts_total", model="theirs") is None
    # Not by monkeypatch, which would put it back.
    del sys.modules["django_prometheus"]
