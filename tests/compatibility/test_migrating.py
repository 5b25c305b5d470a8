"""A real project made with django-prometheus comes over, one release after the other."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.processes import fetch, parse_samples, sample

from .project import Project, come_over, read_exporter, serving
from .test_pages import name_family, read_ours, read_peer
from .traffic import TRAFFIC, Visit, send, send_traffic

Copy = Callable[[str], Project]
DJANGO_CACHES = "django.core.cache.backends"
LINES = {
    'settings.py: DATABASES["default"]["ENGINE"] = "django.db.backends.sqlite3"',
    'settings.py: DATABASES["elsewhere"]["ENGINE"] = "django.db.backends.sqlite3"',
    f'settings.py: CACHES["default"]["BACKEND"] = "{DJANGO_CACHES}.locmem.LocMemCache"',
    f'settings.py: CACHES["files"]["BACKEND"] = "{DJANGO_CACHES}.filebased.FileBasedCache"',
    'settings.py: "metrics_commands.middleware.PrometheusBeforeMiddleware",',
    'settings.py: "metrics_commands.middleware.PrometheusAfterMiddleware",',
    'kennel/urls.py: path("", include("metrics_commands.urls"))',
    "kennel/models.py: from metrics_commands.models import ExportModelOperationsMixin",
}

pytestmark = pytest.mark.e2e


def check(project: Project) -> tuple[list[str], set[str]]:
    """Return the ids of what the checks find, and the lines that they tell to write."""
    said = project.manage("check", "--tag", "metrics").stderr
    lines = re.findall(r"^((?:settings|kennel/\w+)\.py: .+)$", said, re.MULTILINE)
    return sorted(set(re.findall(r"\.(W\d{3})\)", said))), set(lines)


def test_first_the_exporter_serves_what_django_prometheus_counts(copy: Copy) -> None:
    """With both apps installed the exporter's page is the peer's, and nothing counts twice."""
    project = copy("project")
    project.set_apps("metrics_commands", "django_prometheus")
    with serving(project, "gunicorn", "peer_page:wsgi") as url:
        send_traffic(url)
        theirs = parse_samples(fetch(f"{url}/peer-page")[2].decode())
        ours = read_exporter(project)
    families = {name_family(name) for name, _ in theirs if "migrations" not in name}
    assert sample(theirs, "django_http_requests_before_middlewares_total") == len(TRAFFIC)
    assert {key: value for key, value in ours.items() if name_family(key[0]) in families} == {
        key: value for key, value in theirs.items() if name_family(key[0]) in families
    }


def test_checks_name_each_place_and_the_line_to_write(copy: Copy) -> None:
    """Before the move one finding has all lines, half-way each place has its own, then none."""
    project = copy("project")
    project.set_apps("metrics_commands", "django_prometheus")
    ids, lines = check(project)
    assert ids == ["W027"]
    assert lines == {'settings.py: INSTALLED_APPS.remove("django_prometheus")', *LINES}
    project.set_apps("metrics_commands")
    ids, lines = check(project)
    assert ids == ["W033", "W034", "W035", "W037", "W038"]
    assert lines == LINES
    come_over(project)
    assert check(project) == ([], set())


def test_a_port_of_django_prometheus_is_named_while_it_would_take_it(copy: Copy) -> None:
    """Whoever keeps the port in settings.py for runmetrics is told who opens it first."""
    project = copy("project")
    project.set_apps("metrics_commands", "django_prometheus")
    path = project.folder / "kennel" / "settings.py"
    path.write_text(path.read_text() + "PROMETHEUS_METRICS_EXPORT_PORT_RANGE = [0]\n")
    ids, lines = check(project)
    assert "W036" in ids
    assert "settings.py: # PROMETHEUS_METRICS_EXPORT_PORT_RANGE = …" in lines
    project.set_apps("metrics_commands")
    assert "W036" not in check(project)[0]


def test_half_way_nothing_counts_twice(copy: Copy) -> None:
    """An engine or backend that was forgotten counts by itself, and not by us as well."""
    project = copy("project")
    project.set_apps("metrics_commands")
    with serving(project, "gunicorn", "kennel.wsgi:application") as url:
        for path in ("/query", "/cache"):
            assert send(url, Visit(path)) == 200
        samples = read_exporter(project)
    assert sample(samples, "django_db_execute_total", alias="default", vendor="sqlite") == 2
    assert sample(samples, "django_cache_get_total", backend="locmem") == 8


def test_models_and_migrations_come_over_by_search_and_replace(copy: Copy) -> None:
    """No migration comes of it, the old database goes on, and a new one can be made."""
    project = copy("project")
    come_over(project)
    migration = project.folder / "kennel" / "migrations" / "0001_initial.py"
    assert "metrics_commands.models.ExportModelOperationsMixin('dog')" in migration.read_text()
    assert "No changes detected" in project.manage("makemigrations", "--check").stdout
    assert "No migrations to apply" in project.manage("migrate").stdout
    (project.folder / "db.sqlite3").unlink()
    assert "Applying kennel.0001_initial... OK" in project.manage("migrate").stdout


def test_numbers_go_on(copy: Copy) -> None:
    """What django-prometheus counted is added to what we count: no counter falls."""
    project = copy("project")
    before = read_peer(project, "gunicorn")
    come_over(project)
    after = read_ours(project, "gunicorn")
    for name, labels in (
        ("django_http_requests_before_middlewares_total", {}),
        ("django_http_responses_total_by_status_total", {"status": "200"}),
        ("django_db_execute_many_total", {"alias": "default", "vendor": "sqlite"}),
        ("django_model_deletes_total", {"model": "dog"}),
    ):
        counted = sample(before, name, **labels)
        assert counted
        assert sample(after, name, **labels) == 2 * counted
    fallen = {
        key: value
        for key, value in before.items()
        if key[0].endswith(("_total", "_count", "_bucket"))
        and "migrations" not in key[0]
        and after.get(key, 0.0) < value
    }
    assert fallen == {}


def test_an_old_migration_may_go_on_importing_django_prometheus(copy: Copy) -> None:
    """Where it stays installed, its families and ours of the same names do not collide."""
    project = copy("project")
    come_over(project, migrations=False)
    migration = project.folder / "kennel" / "migrations" / "0001_initial.py"
    assert "import django_prometheus.models" in migration.read_text()
    assert "No changes detected" in project.manage("makemigrations", "--check").stdout
    (project.folder / "db.sqlite3").unlink()
    assert "Applying kennel.0001_initial... OK" in project.manage("migrate").stdout
    samples = read_ours(project, "gunicorn")
    assert sample(samples, "django_model_inserts_total", model="dog") == 3
    assert sample(samples, "django_migrations_applied_total", connection="default") == 3
