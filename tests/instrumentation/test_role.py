"""What a process is for, as its command line and its modules tell."""

from __future__ import annotations

import pytest

from metrics_commands.instrumentation.role import tell_role
from metrics_commands.testing import metric_value


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("/venv/bin/gunicorn shop.wsgi", "web"),
        ("/venv/lib/gunicorn/__main__.py shop.wsgi", "web"),
        ("uvicorn shop.asgi:application --workers 4", "web"),
        ("C:/venv/Scripts/waitress-serve.exe shop.wsgi", "web"),
        ("uwsgi", "web"),
        ("mod_wsgi", "web"),
        ("manage.py runserver 8000", "web"),
        ("/venv/lib/django/__main__.py runserver", "web"),
        ("shopctl runserver", "web"),
        ("celery -A shop worker -c 4", "task"),
        ("/venv/lib/celery/__main__.py --app shop worker", "task"),
        ("celery -A worker beat", "task"),
        ("celery -A worker inspect ping", "command"),
        ("celery --app beat status", "command"),
        ("celery", "command"),
        ("manage.py celery worker", "task"),
        ("manage.py db_worker", "task"),
        ("django-admin qcluster", "task"),
        ("dramatiq shop.tasks", "task"),
        ("/usr/bin/huey_consumer.py shop.huey", "task"),
        ("rq worker", "task"),
        ("manage.py migrate", "command"),
        ("manage.py", "command"),
        ("nightly.py worker", "command"),
        ("-c", "command"),
        ("", "command"),
    ],
)
def test_the_command_line_tells(line: str, role: str) -> None:
    """Servers, task workers and commands are told apart however they are started."""
    assert tell_role(line.split(), {"os", "sys"}) == role


def test_without_arguments_it_is_a_command() -> None:
    """An embedded interpreter may have no command line at all."""
    assert tell_role([], ()) == "command"


@pytest.mark.parametrize(
    ("program", "modules", "role"),
    [
        ("serve.py", {"uvicorn.server"}, "web"),
        ("serve.py", {"gunicorn.arbiter", "celery.apps.worker"}, "web"),
        ("consume.py", {"celery.apps.worker"}, "task"),
        ("manage.py", {"uvicorn.server", "celery.apps.worker"}, "command"),
        ("celery", {"uvicorn.server"}, "command"),
    ],
)
def test_of_a_script_its_modules_tell(program: str, modules: set[str], role: str) -> None:
    """A script that starts a server is one; a command that merely imports one is not."""
    assert tell_role([program], modules) == role


def test_in_memory_nothing_begins() -> None:
    """A test run, whose numbers nobody reads, is no process that counts."""
    assert metric_value("django_worker_starts_total", role="command") is None
