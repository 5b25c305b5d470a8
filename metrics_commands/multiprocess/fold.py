"""One fold: the files of some dead workers of one kind move into the archive, or stay.

First they move into ``folding/`` under the next generation's number; then the archive of that
generation, which has taken them, replaces the old one; then they go. Whatever lies in
``folding/`` counts if its number is above the archive's generation, so a crash between any two
steps leaves a directory that reads the same.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .archive import (
    WORKER,
    Archive,
    Shape,
    archive_path,
    read_archive,
    read_entries,
    read_generation,
    write_draft,
)
from .liveness import State, find_file_system, is_awaited, judge
from .source import name_parts

FOLDER = "folding"
LOCK = "fold.lock"
DROPPED = "drop-"
PENDING = re.compile(r"(?P<generation>\d{1,9})-(?P<name>.+\.db)")


@dataclass
class DeadFile:
    """A file whose writer is dead; the lease that proves it lasts until ``descriptor`` closes."""

    path: Path
    descriptor: int


def fold(
    directory: Path, kind: str, names: list[str], living: Mapping[str, set[Shape]]
) -> tuple[Archive, int] | None:
    """Fold some dead files, and all of the kind that an earlier run left in ``folding/``.

    Returns the archive and how many files it took. Returns None where a file came to life again
    meanwhile: it has its name back, and the rest waits in ``folding/``. Raises OSError.
    """
    folding = directory / FOLDER
    generation = read_generation(directory, kind) + 1
    with ExitStack() as leases:
        moved = _move(directory, list(_lease(directory, names, leases)), generation)
        sync_directory(folding)
        sync_directory(directory)
        pending = [
            folding / name
            for name, number, its_kind in list_pending(directory)
            if its_kind == kind and number >= generation
        ]
        archive = read_archive(directory, kind)
        archive.generation = generation
        for path in sorted(pending, key=lambda each: each.stat().st_mtime_ns):
            archive.add(read_entries(path)[1])
        archive.keep(living)
        draft = folding / f"{kind}_{WORKER}.new"
        write_draft(archive, draft, directory.stat())
        with locked(directory, fcntl.LOCK_EX):
            # Whoever looked a file up just before it moved may open it only now.
            if _return_awaited(moved, folding, generation):
                return None
            os.rename(draft, archive_path(directory, kind))
        sync_directory(directory)
        for path in pending:
            path.unlink(missing_ok=True)
    return archive, len(pending)


def drop(directory: Path, names: list[str]) -> None:
    """Remove files of dead workers whose numbers end with them."""
    with ExitStack() as leases:
        for dead in _lease(directory, names, leases):
            target = directory / FOLDER / f"{DROPPED}{dead.path.name}"
            os.rename(dead.path, target)
            if is_awaited(dead.descriptor):
                _return(target, dead.path)
            else:
                target.unlink()


def _lease(directory: Path, names: list[str], leases: ExitStack) -> Iterator[DeadFile]:
    """Yield the files whose writers are still dead, each held by a lease."""
    file_system = find_file_system(directory)
    for name in names:
        parts = name_parts(name)
        try:
            descriptor = open_to_read(str(directory / name))
        except OSError:
            continue
        leases.callback(os.close, descriptor)
        if parts and judge(descriptor, parts[1], file_system).state is State.DEAD:
            yield DeadFile(directory / name, descriptor)


def _move(directory: Path, dead: list[DeadFile], generation: int) -> list[DeadFile]:
    """Move files into ``folding/``; return those that nobody waits for."""
    folding = directory / FOLDER
    with locked(directory, fcntl.LOCK_EX):
        for each in dead:
            os.rename(each.path, folding / f"{generation}-{each.path.name}")
        returned = _return_awaited(dead, folding, generation)
    return [each for each in dead if each not in returned]


def _return_awaited(dead: list[DeadFile], folding: Path, generation: int) -> list[DeadFile]:
    awaited = [each for each in dead if is_awaited(each.descriptor)]
    for each in awaited:
        _return(folding / f"{generation}-{each.path.name}", each.path)
    return awaited


def _return(source: Path, target: Path) -> None:
    """Give a file its name back, or one like it where a third process has taken the name."""
    try:
        os.link(source, target)
    except FileExistsError:
        os.rename(source, target.with_stem(f"{target.stem}-{os.urandom(3).hex()}"))
    else:
        source.unlink()


def list_pending(directory: Path) -> list[tuple[str, int, str]]:
    """Return name, generation and kind of the files that lie in ``folding/``."""
    try:
        names = sorted(os.listdir(directory / FOLDER))
    except OSError:
        return []
    found = []
    for name in names:
        match = PENDING.fullmatch(name)
        parts = name_parts(match["name"]) if match else None
        if match and parts:
            found.append((name, int(match["generation"]), parts[0]))
    return found


def open_to_read(path: str) -> int:
    """Open a file for a lease."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def sync_directory(path: Path) -> None:
    """Bring renames within a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path, how: int) -> Iterator[None]:
    """Hold the lock that keeps readers from seeing half a step; readers share it.

    A reader that finds no lock file, or may not open it, needs none: nobody folds there.
    """
    create = os.O_CREAT if how == fcntl.LOCK_EX else 0
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | create
    try:
        descriptor = os.open(directory / LOCK, flags, 0o644)
    except OSError:
        if how == fcntl.LOCK_EX:
            raise
        yield
        return
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
