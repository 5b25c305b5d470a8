"""What this process is for, and the one count that says that it has begun.

It stands in the process's own file from then on, so that one that is killed has begun all the
same. A process begins when the application is loaded in it, since it may be idle for long; one
that was forked later, with its first number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Sequence
from functools import cache
from pathlib import PurePath
from traceback import walk_stack

from ..directory import own_directory
from .families import Counter, prefix
from .guard import report_loss
from .store import beginnings, current_store

WEB, TASK, COMMAND = "web", "task", "command"
WEB_PROGRAMS = {
    "daphne", "granian", "gunicorn", "hypercorn", "mod_wsgi", "uvicorn", "uwsgi", "waitress",
    "waitress-serve",
}  # fmt: skip
WEB_COMMANDS = {"runserver", "runserver_plus", "runsslserver", "testserver"}
TASK_PROGRAMS = {
    "arq", "dramatiq", "huey_consumer", "procrastinate", "rq", "rqscheduler", "rqworker", "taskiq",
}  # fmt: skip
TASK_COMMANDS = {
    "db_worker", "process_tasks", "procrastinate", "qcluster", "rqscheduler", "rqworker",
    "rqworker-pool", "run_huey", "runapscheduler", "rundramatiq", "runworker", "scheduler_worker",
}  # fmt: skip
CELERY_SERVICES = {"beat", "worker"}
DJANGO_PROGRAMS = {"django", "django-admin", "manage"}
# Of a script that starts a server itself, what it has loaded tells.
WEB_MODULES = (
    "daphne.server", "granian.server", "gunicorn.arbiter", "hypercorn.run", "mod_wsgi",
    "uvicorn.server", "uwsgi", "waitress.server",
)  # fmt: skip
TASK_MODULES = ("celery.apps.worker", "huey.consumer")
RELOADED = ("RUN_MAIN", "WERKZEUG_RUN_MAIN")

_masters: set[int] = set()


@cache
def starts() -> Counter:
    """Return the family, declaring it at the first call."""
    return Counter(
        f"{prefix()}django_worker_starts", "Processes that have begun to count.", ["role"]
    )


@cache
def find_role() -> str:
    """Return the role of this process; its forks have the same."""
    return tell_role(sys.argv, sys.modules)


def tell_role(arguments: Sequence[str], modules: Container[str]) -> str:
    """Tell a role by a command line and what is loaded; what nobody knows is a command."""
    program, rest = name_program(arguments), arguments[1:]
    subcommand = rest[0] if rest else ""
    if "celery" in (program, subcommand):
        # The name of the app may be any word.
        pairs = zip(arguments, rest, strict=False)
        words = {word for option, word in pairs if option not in ("-A", "--app")}
        return TASK if words & CELERY_SERVICES else COMMAND
    if program in WEB_PROGRAMS or subcommand in WEB_COMMANDS:
        return WEB
    if program in TASK_PROGRAMS or subcommand in TASK_COMMANDS:
        return TASK
    if program not in DJANGO_PROGRAMS:
        for role, marks in ((WEB, WEB_MODULES), (TASK, TASK_MODULES)):
            if any(mark in modules for mark in marks):
                return role
    return COMMAND


def name_program(arguments: Sequence[str]) -> str:
    """Return the name of a program or script, or of the package that ``python -m`` runs."""
    path = PurePath(arguments[0] if arguments else "")
    return path.parent.name if path.stem == "__main__" else path.stem


def enlist() -> None:
    """Begin, now that the application is loaded, or let those begin that this process forks."""
    try:
        beginnings.append(begin)
        if loads_for_others():
            _masters.add(os.getpid())
            os.register_at_fork(after_in_child=_enlist_fork)
        elif own_directory() is not None:
            begin()
    except Exception:
        report_loss("workers")


def begin() -> None:
    """Count that this process has begun, once; a master never does, whatever else it counts."""
    try:
        store = current_store()
        with store.lock:
            if begin not in store.rows and store.pid not in _masters:
                store.rows[begin] = True
                starts().inc(find_role())
    except Exception:
        report_loss("workers")


def loads_for_others() -> bool:
    """Tell whether this process loads the application only to fork: a reloader, or a master."""
    if set(sys.argv[1:2]) & WEB_COMMANDS and "--noreload" not in sys.argv:
        return not any(os.environ.get(name) == "true" for name in RELOADED)
    if "uwsgi" in sys.modules:
        # Without a master, the process that has loaded the application becomes a worker.
        uwsgi = sys.modules["uwsgi"]
        return bool(uwsgi.worker_id() == 0 and uwsgi.masterpid() != 0)
    callers = list_gunicorn_callers()
    return bool(callers) and "spawn_worker" not in callers


def list_gunicorn_callers() -> set[str]:
    """Return the functions of gunicorn that this one is called from."""
    return {
        frame.f_code.co_name
        for frame, _ in walk_stack(None)
        if str(frame.f_globals.get("__name__")).startswith("gunicorn.")
    }


def _enlist_fork() -> None:
    """Let a worker begin that gunicorn's master has just forked, not what forks in its turn."""
    try:
        if os.getppid() in _masters and "spawn_worker" in list_gunicorn_callers():
            begin()
    except Exception:
        report_loss("workers")
