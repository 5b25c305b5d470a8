"""Models of a whole project: its migrations, its forks and its value files."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

from metrics_commands.multiprocess.reader import DirectoryReader
from tests.processes import ROOT, clean_environment, run, run_manage

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
    environment = clean_environment(home, PYTHONPATH=str(ROOT))
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
