"""One fold: the files of some dead workers of one kind move into the archive, or stay.

First they move into ``folding/`` under the next generation's number; then the archive of that
generation, which has taken them, replaces the old one; then they go. Whatever lies in
``folding/`` counts if its number is above the archive's generation, so a crash between any two
steps leaves a directory that reads the same; ``settle`` then gives back what was not taken.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .archive import (
    Archive,
    Shape,
    archive_path,
    read_archive,
    read_entries,
    require_generation,
    write_draft,
)
from .directory import LOCK
from .liveness import State, find_file_system, is_awaited, judge
from .merging import ARCHIVE
from .source import name_parts

FOLDER = "folding"
DROPPED = "drop-"
DRAFT = ".new"
PENDING = re.compile(r"(?P<generation>\d{1,9})-(?P<name>.+\.db)")


@dataclass
class DeadFile:
    """A file whose writer is dead; the lease that proves it lasts until ``descriptor`` closes."""

    path: Path
    descriptor: int


def fold(
    directory: Path,
    kind: str,
    names: list[str],
    living: Mapping[str, set[Shape]],
    pause: Callable[[], None],
) -> tuple[Archive, int] | None:
    """Fold some dead files of one kind, and forget what the living declare otherwise.

    ``pause`` is called between files, to let a scrape go first. Returns the archive and how many
    files it took; None where one of them came to life again meanwhile: then all have their names
    back. Raises OSError, with the same effect.
    """
    folding = directory / FOLDER
    draft = folding / f"{kind}_{ARCHIVE}-{os.urandom(3).hex()}{DRAFT}"
    with ExitStack() as leases:
        dead = list(_lease(directory, names, leases))
        # It runs before the leases end, while nobody who waits for a file can write into it.
        leases.callback(settle, directory)
        with locked(directory, fcntl.LOCK_EX):
            generation = require_generation(directory, kind) + 1
            moved = _move(directory, dead, f"{generation}-")
        if not all(map(_is_still_dead, moved)):
            return None
        sync_directory(folding)
        sync_directory(directory)
        archive = read_archive(directory, kind)
        archive.generation = generation
        for each in sorted(moved, key=lambda each: each.path.stat().st_mtime_ns):
            pause()
            archive.add(read_entries(each.path)[1])
        pause()
        archive.keep(living)
        write_draft(archive, draft, directory.stat())
        with locked(directory, fcntl.LOCK_EX):
            # Whoever looked a file up just before it moved may open it only now; and an exporter
            # that is about to end may still fold when the next one has begun.
            overtaken = require_generation(directory, kind) != generation - 1
            ours = {each.path.name for each in moved}
            if overtaken or _list_untaken(directory, kind, generation) != ours:
                return None
            if not all(map(_is_still_dead, moved)):
                return None
            os.rename(draft, archive_path(directory, kind))
        sync_directory(directory)
    return archive, len(moved)


def drop(directory: Path, names: list[str]) -> None:
    """Remove files of dead workers whose numbers end with them."""
    with ExitStack() as leases:
        dead = list(_lease(directory, names, leases))
        leases.callback(settle, directory)
        with locked(directory, fcntl.LOCK_EX):
            moved = _move(directory, dead, DROPPED)
        for each in moved:
            if _is_still_dead(each):
                each.path.unlink()


def settle(directory: Path) -> None:
    """Leave ``folding/`` empty: what an archive has taken goes, the rest gets its name back.

    Whoever waited for a file, or opened it after a crash had ended our lease, goes on with it
    there, and the next pass judges it anew.
    """
    folding = directory / FOLDER
    with locked(directory, fcntl.LOCK_EX):
        for draft in folding.glob(f"*{DRAFT}"):
            draft.unlink(missing_ok=True)
        for path in folding.glob(f"{DROPPED}*"):
            _return(path, directory / path.name.removeprefix(DROPPED))
        for name, generation, kind, original in _list_moved(directory):
            if generation <= require_generation(directory, kind):
                (folding / name).unlink(missing_ok=True)
            else:
                _return(folding / name, directory / original)


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


def _move(directory: Path, dead: list[DeadFile], prefix: str) -> list[DeadFile]:
    """Move files into ``folding/``; return where those are that were still there."""
    moved = []
    for each in dead:
        target = directory / FOLDER / f"{prefix}{each.path.name}"
        # Servers' hooks remove files as well: prometheus_client's mark_process_dead.
        with suppress(FileNotFoundError):
            os.rename(each.path, target)
            moved.append(DeadFile(target, each.descriptor))
    return moved


def _is_still_dead(moved: DeadFile) -> bool:
    """Tell whether nobody waits for a file, and it is where we moved it, and the one we hold."""
    try:
        found = os.lstat(moved.path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(moved.descriptor)) and not is_awaited(moved.descriptor)


def _return(source: Path, target: Path) -> None:
    """Give a file its name back, or one like it where a third process has taken the name."""
    try:
        os.link(source, target)
    except OSError:
        # Linux also refuses links to files of other users.
        if not _is_same(source, target):
            os.rename(source, target.with_stem(f"{target.stem}-{os.urandom(3).hex()}"))
            return
    source.unlink()


def list_pending(directory: Path) -> list[tuple[str, int, str]]:
    """Return name, generation and kind of the files that lie in ``folding/`` alone."""
    return [
        (name, generation, kind)
        for name, generation, kind, original in _list_moved(directory)
        # A crash while it got its name back leaves it under both.
        if not _is_same(directory / FOLDER / name, directory / original)
    ]


def _list_moved(directory: Path) -> list[tuple[str, int, str, str]]:
    """Return name, generation, kind and former name of the files in ``folding/``."""
    try:
        names = sorted(os.listdir(directory / FOLDER))
    except OSError:
        return []
    found = []
    for name in names:
        match = PENDING.fullmatch(name)
        parts = name_parts(match["name"]) if match else None
        if match and parts:
            found.append((name, int(match["generation"]), parts[0], match["name"]))
    return found


def _list_untaken(directory: Path, kind: str, generation: int) -> set[str]:
    """Return the names of all that an archive of this generation would say it has taken."""
    return {
        name
        for name, number, its_kind, _ in _list_moved(directory)
        if its_kind == kind and number <= generation
    }


def _is_same(first: Path, second: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except OSError:
        return False


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
        # Said, not only closed: a child that was forked meanwhile has the descriptor as well.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
