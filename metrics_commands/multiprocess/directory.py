"""Make the metrics directory safe to write into, and find the one that the writers use."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import name_user
from .value_file import is_shared_by_group

MISSING = "it does not exist"
NO_DIRECTORY = "it is not a directory"
BELOW_A_FILE = "a part of its path is not a directory"
LINK = "it is a symbolic link, which somebody may point elsewhere: name its target"
# What keeps readers from seeing half a fold; a reader that finds none takes none.
LOCK = "fold.lock"


@dataclass(frozen=True)
class Directory:
    """Where values go. ``problem`` says why it cannot be used, ``doubts`` what looks unsafe.

    ``refused`` is True where what is there must not be read either.
    """

    path: Path
    problem: str = ""
    doubts: tuple[str, ...] = ()
    refused: bool = False


def prepare_directory(path: Path) -> Directory:
    """Create or accept a directory to write value files into; never raise.

    One that is created is 0700. One that exists is accepted if we own it, or if root does and
    we may write; a root-owned one that everybody may write gets a subdirectory of our own.
    """
    try:
        _make_directory(path, 0o700)
        found = os.lstat(path)
        problem = _explain_kind(found)
        if not problem and _is_for_everybody(found):
            path = _make_subdirectory(path, found)
            found = os.lstat(path)
            problem = _explain_kind(found) or _explain_subdirectory(found)
        doubts = tuple(_find_doubts(path, found))
    except NotADirectoryError:
        return Directory(path, BELOW_A_FILE, refused=True)
    except OSError as error:
        return Directory(path, f"it cannot be made or examined: {os.strerror(error.errno or 0)}")
    except ValueError as error:
        return Directory(path, f"that is no path: {error}")
    if not problem and not os.access(path, os.W_OK | os.X_OK):
        problem = f"user {name_user()} may not write there, or its file system is read-only"
    if not problem:
        _make_lock(path)
    return Directory(path, problem, doubts)


def locate_directory(path: Path) -> Directory:
    """Find the directory that ``prepare_directory`` gives writers of our user; create nothing."""
    try:
        found = os.lstat(path)
        problem = _explain_kind(found)
        if not problem and _is_for_everybody(found):
            path = _subdirectory(path, found)
            if not os.path.lexists(path):
                return Directory(path)  # the first worker will make it
            found = os.lstat(path)
            problem = _explain_kind(found) or _explain_subdirectory(found)
        doubts = tuple(_find_doubts(path, found))
    except FileNotFoundError:
        return Directory(path, MISSING)
    except NotADirectoryError:
        return Directory(path, BELOW_A_FILE, refused=True)
    except OSError as error:
        return Directory(path, f"it cannot be examined: {os.strerror(error.errno or 0)}")
    if problem:
        return Directory(path, problem, doubts, refused=True)
    if not os.access(path, os.R_OK | os.X_OK):
        problem = f"user {name_user()} may not read it"
    return Directory(path, problem, doubts)


def _make_lock(path: Path) -> None:
    """Make the lock before there is anything to read, so that no reader is without at a fold."""
    # On a full disk it is the exporter's to make, at the first fold.
    with suppress(OSError):
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path / LOCK, flags, 0o644)
        try:
            if is_shared_by_group(path.stat()) and os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o660)
        finally:
            os.close(descriptor)


def _make_directory(path: Path, mode: int = 0o777) -> None:
    """Make a directory and the parents it lacks; one that exists stays as it is."""
    if not path.parent.exists():
        _make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
        _give_to_parents_owner(path)


def _give_to_parents_owner(path: Path) -> None:
    """Let a command that root ran before the first start not lock out the web process's user."""
    parent = path.parent.stat()
    if os.geteuid() == 0 and parent.st_uid != 0 and not parent.st_mode & stat.S_IWOTH:
        # Root of a container may lack the right to give; what it keeps, it can still use.
        with suppress(OSError):
            os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def _explain_kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return LINK
    if not stat.S_ISDIR(found.st_mode):
        return NO_DIRECTORY
    return ""


def _is_for_everybody(found: os.stat_result) -> bool:
    return found.st_uid == 0 and bool(found.st_mode & stat.S_IWOTH)


def _subdirectory(path: Path, parent: os.stat_result) -> Path:
    if is_shared_by_group(parent):
        return path / f"django-metrics-gid{parent.st_gid}"
    return path / f"django-metrics-uid{os.geteuid()}"


def _make_subdirectory(path: Path, parent: os.stat_result) -> Path:
    inner = _subdirectory(path, parent)
    shared = is_shared_by_group(parent)
    # mkdir() obeys the umask, and a chmod() after it would leave a moment in which a worker of
    # another user finds the directory closed.
    umask = os.umask(0o007 if shared else 0o077)
    try:
        inner.mkdir(mode=0o770 if shared else 0o700)
    except FileExistsError:
        pass
    finally:
        os.umask(umask)
    return inner


def _explain_subdirectory(found: os.stat_result) -> str:
    """Refuse a subdirectory that a stranger put there before us."""
    if found.st_uid == os.geteuid():
        return ""
    if is_shared_by_group(found) and not found.st_mode & stat.S_IWOTH:
        return ""
    return "another user made it in a directory that everybody may write"


def _find_doubts(path: Path, found: os.stat_result) -> list[str]:
    doubts: list[str] = []
    if stat.S_ISLNK(found.st_mode):
        return doubts
    # Root works for the user whose project this is, and gave the directory away itself.
    given_away = os.geteuid() == 0 and path.parent.stat().st_uid == found.st_uid
    trusted = given_away or is_shared_by_group(found)
    if found.st_uid not in (0, os.geteuid()) and not trusted:
        doubts.append(f"it belongs to another user (uid {found.st_uid})")
    if found.st_mode & stat.S_IWOTH:
        doubts.append("everybody on this machine may write into it")
    return doubts
