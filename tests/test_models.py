"""Objects of a model are counted, and the model is as if nobody had looked."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.migrations.state import ModelState
from django.template import Context, Engine
from django.test.utils import CaptureQueriesContext, isolate_apps

from metrics_commands.models import ExportModelOperationsMixin, instrument
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.testing import metric_value
from project.shop.models import Order, Product
from tests.processes import clean_environment, run, run_manage

Build = Callable[..., type[models.Model]]
MakeTables = Callable[..., None]


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
    monkeypatch.delitem(sys.modules, "django_prometheus")


SITE = """
    import os, sys
    from pathlib import Path
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["metrics_commands", "zoo"],
    )
    django.setup()
    from zoo.models import Cat, Dog
"""
MODELS = """
    from django.db import models
    from metrics_commands.models import ExportModelOperationsMixin

    class Dog(ExportModelOperationsMixin("dog"), models.Model):
        name = models.CharField(max_length=9)

    class Cat(ExportModelOperationsMixin("cat"), models.Model):
        pass
"""
OLD_MIGRATION = """
    import metrics_commands.models
    from django.db import migrations, models

    def make_rex(apps, schema_editor):
        apps.get_model("zoo", "Dog").objects.create(name="Rex")

    class Migration(migrations.Migration):
        initial = True
        dependencies = []
        operations = [
            migrations.CreateModel(
                "Dog",
                [("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                ))],
                bases=(metrics_commands.models.ExportModelOperationsMixin("dog"), models.Model),
            ),
            migrations.AddField("Dog", "name", models.CharField(default="", max_length=9)),
            migrations.AlterField("Dog", "name", models.CharField(max_length=9)),
            migrations.CreateModel(
                "Cat",
                [("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                ))],
                bases=(metrics_commands.models.ExportModelOperationsMixin("cat"), models.Model),
            ),
            migrations.RunPython(make_rex, elidable=True),
        ]
"""
MORE_MIGRATION = """
    from django.db import migrations

    class Migration(migrations.Migration):
        dependencies = [("zoo", "0001_initial")]
        operations = []
"""


def run_site(home: Path, script: str, **files: str) -> str:
    """Run a script in a project with one app of two models; return what it prints."""
    app = home / "zoo"
    (app / "migrations").mkdir(parents=True, exist_ok=True)
    sources = {"__init__": "", "models": MODELS, "migrations/__init__": "", **files}
    for name, source in sources.items():
        (app / f"{name}.py").write_text(dedent(source))
    source = dedent(SITE) + dedent(script)
    environment = clean_environment(home, PYTHONPATH=str(Path(__file__).parent.parent))
    result = run([sys.executable, "-W", "error", "-c", source], environment, cwd=home)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_migrations_of_a_new_project_do_not_know_us(tmp_path: Path) -> None:
    """What makemigrations writes can be run without this package, and is complete."""
    script = """
        call_command("makemigrations", "zoo", verbosity=0)
        call_command("makemigrations", "--check", verbosity=0)
    """
    run_site(tmp_path, script)
    [written] = (tmp_path / "zoo" / "migrations").glob("0*.py")
    assert "CreateModel" in written.read_text()
    assert "metrics_commands" not in written.read_text()
    assert "bases" not in written.read_text()


def test_migrations_made_with_django_prometheus_go_on(tmp_path: Path) -> None:
    """With the module's name replaced they run, can be squashed, and no new one is needed."""
    script = """
        call_command("makemigrations", "--check", verbosity=0)
        call_command("migrate", verbosity=0)
        print(Dog.objects.get().name)
        call_command("squashmigrations", "zoo", "0002", interactive=False, verbosity=0)
        call_command("makemigrations", "--check", verbosity=0)
    """
    files = {"migrations/0001_initial": OLD_MIGRATION, "migrations/0002_more": MORE_MIGRATION}
    assert run_site(tmp_path, script, **files) == "Rex\n"
    [squashed] = (tmp_path / "zoo" / "migrations").glob("*squashed*.py")
    assert "metrics_commands.models.ExportModelOperationsMixin('dog')" in squashed.read_text()


def test_a_fork_shows_all_models(tmp_path: Path) -> None:
    """A worker forked after loading counts from zero, for every model."""
    script = """
        from metrics_commands.testing import metric_value
        call_command("makemigrations", "zoo", verbosity=0)
        call_command("migrate", verbosity=0)
        Dog.objects.create(name="Rex")
        pid = os.fork()
        if not pid:
            Dog.objects.create(name="Rex")
            for name in ("dog", "cat"):
                print(metric_value("django_model_inserts_total", model=name), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    """
    assert run_site(tmp_path, script).split() == ["1.0", "0.0"]


def test_value_files_have_every_model_from_the_start(tmp_path: Path) -> None:
    """The exporter shows a model at zero as soon as one process has loaded it."""
    result = run_manage(clean_environment(tmp_path), "check")
    assert result.returncode == 0, result.stderr
    families = {each.name: each for each in DirectoryReader(tmp_path / "metrics").read().families()}
    samples = families["django_model_deletes"].samples
    assert {(each.labels["model"], each.value) for each in samples} == {
        ("order", 0.0),
        ("product", 0.0),
    }
