"""Decide, in one line of ``settings.py``, where this deployment's metrics are written.

::

    from metrics_commands.directory import use_metrics_directory

    use_metrics_directory(BASE_DIR / "var" / "metrics")
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsers import shorten

logger = logging.getLogger("metrics_commands")

ENVIRONMENT_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
COMMANDS_IN_MEMORY = ("runmetrics", "checkports")
WHAT_TO_ADD = (
    "At the top of settings.py add: from metrics_commands.directory import use_metrics_directory;"
    ' use_metrics_directory(BASE_DIR / "var" / "metrics")'
)
DJANGO_PROGRAMS = ("manage.py", "django-admin", "__main__.py")
PYTEST_PROGRAMS = ("pytest", "py.test", "__main__.py")


@dataclass
class Decision:
    """What ``use_metrics_directory`` decided in this process; the system checks read it.

    ``requested`` is the path as first asked for, ``relative`` the one in force as it was written,
    where it is not absolute, ``unusable`` what cannot be used, and ``problem`` why; ``others`` what
    later calls asked for instead, ``early_metrics`` the names of metrics that existed before, whose
    values nobody merges; ``in_files`` whether this process writes into the directory at all,
    ``from_environment`` whether the environment named a path already.
    """

    requested: Path | None = None
    path: Path | None = None
    relative: str = ""
    unusable: str = ""
    problem: str = ""
    doubts: tuple[str, ...] = ()
    others: list[Path] = field(default_factory=list)
    early_metrics: tuple[str, ...] = ()
    in_files: bool = False
    from_environment: bool = False


decision = Decision()


def use_metrics_directory(path: str | os.PathLike[str]) -> None:
    """Write this process's metrics into a directory that ``manage.py runmetrics`` reads.

    PROMETHEUS_MULTIPROC_DIR, where it is set, overrules ``path``. Call it at the top of
    ``settings.py``, before any metric is made; calling it again changes nothing. It never
    raises: where the directory cannot be used, values stay in memory, the log says so once, and
    ``manage.py check`` explains. In ``runmetrics``, ``checkports``, ``test`` and under pytest
    values stay in memory as well, and nothing is created.
    """
    again = decision.requested is not None
    try:
        _use_metrics_directory(path)
    except Exception as error:
        if again:
            logger.warning("use_metrics_directory(%r) changes nothing: %s.", path, error)
            return
        # A ValueError says of itself what is wrong with the path.
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        unusable = path if decision.path is None else str(decision.path)
        _give_up(shorten(unusable), f"{kind}{error}")


def _use_metrics_directory(path: str | os.PathLike[str]) -> None:
    if not os.fspath(path) and not os.environ.get(ENVIRONMENT_VARIABLE):
        raise ValueError("the path is empty")
    requested = Path(os.path.abspath(path))
    if decision.requested is not None:
        if requested != decision.requested and requested not in decision.others:
            decision.others.append(requested)
        return
    decision.requested = requested
    decision.from_environment = bool(os.environ.get(ENVIRONMENT_VARIABLE))
    written = os.environ.get(ENVIRONMENT_VARIABLE) or os.fspath(path)
    decision.relative = "" if os.path.isabs(written) else written
    chosen = Path(os.path.abspath(written))
    decision.path = chosen
    if stays_in_memory():
        os.environ[ENVIRONMENT_VARIABLE] = str(chosen)
        decision.early_metrics = _find_metrics()
        keep_values_in_memory()
        return
    from .multiprocess.directory import prepare_directory

    prepared = prepare_directory(chosen)
    decision.path, decision.doubts = prepared.path, prepared.doubts
    decision.early_metrics = _find_metrics()
    os.environ[ENVIRONMENT_VARIABLE] = str(prepared.path)
    if prepared.problem:
        _give_up(str(prepared.path), prepared.problem)
        return
    _keep_values_in_files()


def _give_up(path: str, problem: str) -> None:
    """Stay in memory, also where prometheus_client itself would write by the environment."""
    decision.unusable, decision.problem = path, problem
    keep_values_in_memory()
    logger.warning(
        "Metrics of process %d stay in its memory, where the exporter cannot see them:"
        " directory %s: %s.",
        os.getpid(),
        path,
        problem,
    )


def adopt_environment() -> None:
    """Do what the line in ``settings.py`` does, where only the environment names a directory."""
    if stays_in_memory():
        keep_values_in_memory()
    elif decision.requested is None and os.environ.get(ENVIRONMENT_VARIABLE):
        use_metrics_directory(os.environ[ENVIRONMENT_VARIABLE])


def own_directory() -> Path | None:
    """Return where this process writes its numbers; None where they stay in memory."""
    return decision.path if decision.in_files else None


def stays_in_memory() -> bool:
    """Tell whether this process is an exporter, a checker or a test run, which write no files."""
    program, command = _read_command_line()
    if is_exporter() or (command == "test" and program in DJANGO_PROGRAMS):
        return True
    # A server may import pytest by accident, and inherit its variable from a test that started
    # it; only a test session has both.
    running_pytest = "PYTEST_VERSION" in os.environ or program in PYTEST_PROGRAMS
    return running_pytest and "_pytest" in sys.modules


def is_exporter() -> bool:
    """Tell whether this process is ``runmetrics`` or ``checkports``, which count nothing."""
    return _read_command_line()[1] in COMMANDS_IN_MEMORY


def _read_command_line() -> tuple[str, str]:
    program, *arguments = [os.path.basename(sys.argv[0] if sys.argv else ""), *sys.argv[1:]]
    return program, arguments[0] if arguments else ""


def keep_values_in_memory() -> None:
    """Make every metric from now on a plain number of this process."""
    values: Any = _values_module()
    values.ValueClass = values.MutexValue
    decision.in_files = False


def _keep_values_in_files() -> None:
    """Make every metric from now on write a value file, under an identity of our own."""
    from .multiprocess.identity import worker_identity
    from .multiprocess.value_file import ValueFile

    values: Any = _values_module()
    values.MmapedDict = ValueFile
    values.ValueClass = values.MultiProcessValue(worker_identity)
    decision.in_files = True


def _values_module() -> Any:
    # The module as a value: it is prometheus_client's own state, chosen when it is imported,
    # that has to be replaced. With the variable set, importing it makes no file yet.
    import prometheus_client.values

    return prometheus_client.values


def _find_metrics() -> tuple[str, ...]:
    """Return the names of metrics that other code made before us, without importing anything."""
    if "prometheus_client" not in sys.modules:
        return ()
    if getattr(_values_module().ValueClass, "_multiprocess", False):
        # By the environment variable alone, they have been written to files from the start.
        return ()
    from prometheus_client import REGISTRY
    from prometheus_client.metrics import MetricWrapperBase

    collectors = list(vars(REGISTRY)["_collector_to_names"])
    return tuple(
        family.name
        for collector in collectors
        if isinstance(collector, MetricWrapperBase)
        for family in collector.describe()
    )
