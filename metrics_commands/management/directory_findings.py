"""What the exporter would find in the metrics directory; nothing is changed or locked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .. import conf
from ..directory import ENVIRONMENT_VARIABLE, decision
from ..errors import name_user
from ..finding import Change, Finding, Place, make_id
from ..multiprocess.directory import (
    BELOW_A_FILE,
    LINK,
    MISSING,
    NO_DIRECTORY,
    Directory,
    locate_directory,
)
from ..multiprocess.lock import find_exporter
from ..multiprocess.reader import DirectoryReader

SHELL = Place("shell")
# A web process with a few hundred series and eight workers needs about as much.
LITTLE_SPACE = 16 * 1024 * 1024
# What to do about some problems; of most the user is the cause.
REMEDIES = {NO_DIRECTORY: "Name a directory.", BELOW_A_FILE: "Name a directory.", LINK: ""}
OTHER_USER = (
    "Run the exporter as the user of the web process, or give both a group and the directory mode"
    " 2770."
)


def examine_directory(config: conf.Config) -> Iterator[Finding]:
    """Yield whether it is there, usable, big enough, the workers' own, and served already."""
    path = config.metrics_directory
    if path is None:
        # A system check has said so.
        return
    directory = locate_directory(path)
    yield from examine_agreement(path)
    if directory.problem in ("", MISSING) and not os.path.lexists(directory.path):
        yield from examine_parent(directory.path)
    elif directory.problem:
        yield describe_obstacle(directory)
    else:
        yield from examine_content(directory)
    for doubt in directory.doubts:
        yield Finding(
            make_id(5),
            "warning",
            f"Metrics directory {directory.path}: {doubt}.",
            "Whoever may write there may change the numbers.",
            (Change(SHELL, f"chmod o-w {directory.path}"),) if "everybody" in doubt else (),
        )


def examine_agreement(path: Path) -> Iterator[Finding]:
    """Yield whether the exporter would read elsewhere than the workers of these settings write."""
    if decision.path is not None and decision.path != path:
        yield Finding(
            make_id(30),
            "warning",
            f"The exporter reads {path}, but processes with these settings write {decision.path}.",
            "Leave --metrics-dir away, or give the same directory to the web process.",
            (Change(Place("environment of the web process"), f"{ENVIRONMENT_VARIABLE}={path}"),),
        )


def examine_parent(path: Path) -> Iterator[Finding]:
    """Yield whether a directory that does not exist yet can be made."""
    parent = find_parent(path)
    if os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK):
        yield Finding(
            make_id(21),
            "info",
            f"Metrics directory {path} does not exist yet; the first worker, or the exporter,"
            " makes it.",
        )
        return
    yield describe_obstacle(Directory(path, MISSING))


def find_parent(path: Path) -> Path:
    """Return the nearest folder that is there."""
    return next((each for each in path.parents if os.path.lexists(each)), Path("/"))


def describe_obstacle(directory: Directory) -> Finding:
    """Say why a directory cannot be made, or not be read, and what to do."""
    path, problem = directory.path, directory.problem
    if problem == MISSING:
        return Finding(
            make_id(22),
            "error",
            f"Metrics directory {path} does not exist, and user {name_user()} cannot make it in"
            f" {find_parent(path)}.",
            "Workers would keep their numbers in memory, where the exporter cannot see them.",
            (Change(SHELL, f"install -d -m 700 -o USER_OF_THE_WEB_PROCESS {path}"),),
        )
    why = f"The exporter would see no number of any worker. {REMEDIES.get(problem, OTHER_USER)}"
    what = f"Metrics directory {path} cannot be read: {problem}."
    return Finding(make_id(22), "error", what, why.rstrip())


def examine_content(directory: Directory) -> Iterator[Finding]:
    """Yield what is with a directory that can be read."""
    path = directory.path
    if not os.access(path, os.W_OK | os.X_OK):
        yield Finding(
            make_id(23),
            "warning",
            f"Metrics directory {path} cannot be written by this user.",
            "The exporter would serve it, but neither remember its port nor fold the files of"
            " dead workers, so that scrapes grow slower.",
        )
    try:
        space = os.statvfs(path)
    except OSError:
        return
    free = space.f_bavail * space.f_frsize
    if free < LITTLE_SPACE:
        yield Finding(
            make_id(24),
            "warning",
            f"Metrics directory {path} has {free // 1024} KiB left.",
            "Metrics for which there is no room stay in their worker's memory, unseen.",
        )
    reader = DirectoryReader(path)
    workers = reader.count_workers()
    exporter = find_exporter(path)
    yield Finding(
        make_id(26),
        "info",
        f"Metrics directory {path}, {describe_access(path)}; processes that left value files:"
        f" {workers}.",
        "" if workers else "The web process writes there once it runs with these settings.",
    )
    yield from examine_workers(reader)
    if exporter is not None:
        yield Finding(
            make_id(28),
            "info",
            f"An exporter serves this directory: pid {exporter.pid}"
            f" at {' and '.join(exporter.urls)}.",
            "A second one waits up to --port-wait for its end, and then gives up.",
        )


def examine_workers(reader: DirectoryReader) -> Iterator[Finding]:
    """Yield of whose workers the exporter could not tell all."""
    for why, count in sorted(reader.explain_unknown().items()):
        yield Finding(
            make_id(25),
            "warning",
            f"Value files there ({count}) will never be folded: {why}.",
            "They are served, but pile up as workers come and go.",
        )
    for why, count in sorted(reader.explain_hidden().items()):
        yield Finding(
            make_id(42),
            "info",
            f"Processes that left value files there cannot be seen from here ({count}): {why}.",
            "They are counted, but their CPU time, memory, open files and threads are not shown."
            ' To share a PID namespace, write `pid: "service:NAME"` in a compose file, and'
            " `shareProcessNamespace: true` for a pod.",
        )


def describe_access(path: Path) -> str:
    """Say whose a directory is, and its mode."""
    found = path.stat()
    return f"owner {name_user(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"
