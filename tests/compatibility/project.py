"""A Django project on django-prometheus, and what its owner does to come over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.processes import ROOT, Samples, clean_environment, free_port, run, scrape, started

TEMPLATE = Path(__file__).parent / "peer_project"
# As docs/migrating.md has it, in its order.
REPLACEMENTS = (
    ("django_prometheus.db.backends.", "django.db.backends."),
    ("django_prometheus.cache.backends.", "django.core.cache.backends."),
    ("django_prometheus", "metrics_commands"),
)


@dataclass(frozen=True)
class Project:
    """A project in a folder, and the Python that runs it."""

    folder: Path
    python: Path

    @property
    def metrics(self) -> Path:
        """Return the directory of its value files."""
        return self.folder / "metrics"

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of its processes; our app comes from the source tree."""
        return clean_environment(
            self.folder, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1", **extra
        )

    def manage(self, *arguments: str) -> CompletedProcess[str]:
        """Run one of its commands, which must succeed."""
        command: list[str | Path] = [self.python, "manage.py", *arguments]
        environment = self.environment(PROMETHEUS_MULTIPROC_DIR=str(self.metrics))
        done = run(command, environment, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def set_apps(self, *apps: str) -> None:
        """Put these in the place of django-prometheus, or of what was put there before."""
        path = self.folder / "kennel" / "settings.py"
        head, rest = path.read_text().split('    "django.contrib.contenttypes",\n')
        tail = rest[rest.index('    "kennel",\n') :]
        lines = "".join(f'    "{app}",\n' for app in ("django.contrib.contenttypes", *apps))
        path.write_text(head + lines + tail)


def make_project(folder: Path, python: Path) -> Project:
    """Return a new project on django-prometheus, with migrations and database made under it."""
    shutil.copytree(TEMPLATE, folder)
    for path in folder.rglob("*.py-tpl"):
        path.rename(path.with_suffix(".py"))
    project = Project(folder, python)
    project.metrics.mkdir()
    project.manage("makemigrations", "kennel")
    project.manage("migrate")
    # What these two commands have counted is no test's.
    shutil.rmtree(project.metrics)
    project.metrics.mkdir()
    return project


def come_over(project: Project, *, migrations: bool = True) -> None:
    """Replace the peer's names in each file, as the documentation tells; or not in migrations."""
    project.set_apps("metrics_commands")
    for path in project.folder.rglob("*.py"):
        if path.parent.name == "migrations" and not migrations:
            continue
        text = path.read_text()
        for old, new in REPLACEMENTS:
            text = text.replace(old, new)
        path.write_text(text)


@contextmanager
def serving(project: Project, server: str, application: str) -> Iterator[str]:
    """Serve a project by one worker of gunicorn or uvicorn; yield its URL."""
    port = free_port()
    arguments = {
        "gunicorn": ["--bind", f"127.0.0.1:{port}", "--no-control-socket", application],
        "uvicorn": ["--port", str(port), "--lifespan", "off", application],
    }[server]
    ready = {"gunicorn": "Booting worker", "uvicorn": "Uvicorn running on"}[server]
    environment = project.environment(PROMETHEUS_MULTIPROC_DIR=str(project.metrics))
    command: list[str | Path] = [project.python, "-m", server, *arguments]
    with started(command, environment, cwd=project.folder) as process:
        process.wait_for(ready)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def exporting(project: Project) -> Iterator[str]:
    """Start the project's exporter; yield its URL."""
    environment = project.environment(PROMETHEUS_MULTIPROC_DIR=str(project.metrics))
    command: list[str | Path] = [project.python, "manage.py", "runmetrics", "--port", "0"]
    with started(command, environment, cwd=project.folder) as process:
        yield process.wait_for(r"Serving (http://\S+)")[1]


def read_exporter(project: Project) -> Samples:
    """Return what the project's exporter serves."""
    with exporting(project) as url:
        return scrape(url)
