"""The metrics directory: which are accepted, for whom, and that readers look where writers do."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from metrics_commands.multiprocess.directory import (
    LOCK,
    Directory,
    locate_directory,
    prepare_directory,
)
from tests.multiprocess.conftest import mounted
from tests.multiprocess.somebody import NOBODY, SHARED_GROUP, Somebody, needs_root
from tests.multiprocess.writers import write_one

STRANGER = 60001
WEB = Somebody(NOBODY)
MEMBER = Somebody(NOBODY, (SHARED_GROUP,))


def make(path: Path, owner: int, mode: int, group: int = 0) -> Path:
    """Make a directory as an administrator, or a stranger, would have left it."""
    path.mkdir()
    os.chown(path, owner, group)
    path.chmod(mode)
    return path


def prepare(path: Path, somebody: Somebody = WEB) -> Directory:
    """Prepare a directory as somebody, and check that locating it then says the same."""
    prepared = somebody.call(prepare_directory, path)
    located = somebody.call(locate_directory, path)
    assert located.path == prepared.path
    assert located.doubts == prepared.doubts
    if not prepared.problem:
        assert not located.problem
        assert somebody.call(write_one, prepared.path / "counter_1.db") == 3.0
        assert (prepared.path / "counter_1.db").exists()
        # Whoever may read there finds the lock that keeps half a fold from them.
        assert somebody.call(os.access, prepared.path / LOCK, os.R_OK)
    return prepared


def mode_of(path: Path) -> int:
    """Return a path's permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_directory_is_closed_to_others(tmp_path: Path, umask: int) -> None:
    """A directory that we create, with the parents it lacks, is for our user alone."""
    path = tmp_path / "var" / "lib" / "metrics"
    assert prepare(path, Somebody(umask=umask)) == Directory(path)
    assert mode_of(path) == 0o700
    assert prepare(path, Somebody(umask=umask)) == Directory(path)


def test_locating_creates_nothing(tmp_path: Path) -> None:
    """A checker that looks for a directory leaves the disk as it was."""
    located = locate_directory(tmp_path / "var" / "metrics")
    assert "does not exist" in located.problem
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Case:
    """A directory that an administrator made, and what its web user is told."""

    owner: int
    mode: int
    group: int = 0
    problem: str = ""
    doubts: tuple[str, ...] = ()


OTHERS = "another user"
EVERYBODY = "everybody"
EXISTING = {
    "ours": Case(NOBODY, 0o700),
    "ours-and-open": Case(NOBODY, 0o777, doubts=(EVERYBODY,)),
    "ours-but-closed": Case(NOBODY, 0o500, problem="may not write"),
    "roots-with-our-group": Case(0, 0o770, SHARED_GROUP),
    "roots-setgid-to-our-group": Case(0, 0o2770, SHARED_GROUP),
    "roots-and-closed": Case(0, 0o755, problem="may not write"),
    "another-users-with-our-group": Case(STRANGER, 0o770, SHARED_GROUP, doubts=(OTHERS,)),
    "another-users-and-open": Case(STRANGER, 0o777, doubts=(OTHERS, EVERYBODY)),
    "another-users-and-closed": Case(STRANGER, 0o700, problem="may not", doubts=(OTHERS,)),
}


@needs_root
@pytest.mark.parametrize("case", EXISTING.values(), ids=EXISTING)
def test_an_existing_directory_is_used_as_it_is(place: Path, case: Case) -> None:
    """A volume that may be written is used unchanged; what looks unsafe about it is said."""
    path = make(place / "metrics", case.owner, case.mode, case.group)
    found = prepare(path, MEMBER)
    assert found.path == path
    assert case.problem in found.problem
    assert bool(found.problem) == bool(case.problem)
    assert len(found.doubts) == len(case.doubts)
    for said, expected in zip(found.doubts, case.doubts, strict=True):
        assert expected in said
    assert mode_of(path) == case.mode


@pytest.mark.parametrize("kind", ["link", "dangling-link", "file", "pipe", "below-a-file"])
def test_what_is_no_directory_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    """A link that somebody may turn elsewhere, or another mistake, is refused, never followed."""
    path = tmp_path / "metrics"
    target = tmp_path / "target"
    if kind == "link":
        target.mkdir()
    if "link" in kind:
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("")
    if kind == "below-a-file":
        path = path / "metrics"
    expected = "symbolic link" if "link" in kind else "irectory"
    assert expected in prepare(path, Somebody()).problem
    assert expected in locate_directory(path).problem
    assert target.exists() == (kind == "link")
    assert kind != "link" or not list(target.iterdir())


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_place_for_everybody_gets_a_directory_of_our_own(place: Path, mode: int) -> None:
    """In an emptyDir or below /tmp every user has a closed directory, found before it exists."""
    outer = make(place / "volume", 0, mode)
    expected = WEB.call(locate_directory, outer)
    assert not list(outer.iterdir())
    first, other = prepare(outer), prepare(outer, Somebody(STRANGER, umask=0))
    assert first == prepare(outer) == expected
    assert first.path.parent == other.path.parent == outer
    for found, owner in ((first, NOBODY), (other, STRANGER)):
        assert not found.doubts
        assert mode_of(found.path) == 0o700
        assert found.path.stat().st_uid == owner
    assert mode_of(outer) == mode


@needs_root
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_setgid_place_for_everybody_is_shared_by_its_group(place: Path, umask: int) -> None:
    """Containers of different users that share a group meet in one directory, others do not."""
    outer = make(place / "volume", 0, 0o2777, SHARED_GROUP)
    first = prepare(outer, Somebody(NOBODY, (SHARED_GROUP,), umask))
    (first.path / "counter_1.db").rename(first.path / "counter_2.db")
    second = prepare(outer, Somebody(STRANGER, (SHARED_GROUP,), umask))
    assert (first.problem, second.problem) == ("", "")
    assert first.path == second.path
    assert mode_of(first.path) == 0o2770
    for name in ("counter_1.db", "counter_2.db"):
        found = (first.path / name).stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (SHARED_GROUP, 0o660)
    outsider = prepare(outer, Somebody(STRANGER + 1))
    assert not outsider.problem
    assert outsider.path != first.path


@needs_root
@pytest.mark.parametrize("kind", ["closed", "open", "link", "dangling-link", "file"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2777])
def test_what_a_stranger_made_first_is_refused(place: Path, mode: int, kind: str) -> None:
    """A stranger who guesses our directory's name gets no numbers, and serves us none."""
    outer = make(place / "volume", 0, mode, SHARED_GROUP)
    inner = MEMBER.call(locate_directory, outer).path
    trap = place / "trap"
    if kind == "link":
        make(trap, NOBODY, 0o700)
    if kind in ("closed", "open"):
        make(inner, STRANGER, 0o700 if kind == "closed" else 0o777)
    elif kind == "file":
        inner.write_text("")
        os.chown(inner, STRANGER, STRANGER)
    else:
        inner.symlink_to(trap)
        os.chown(inner, STRANGER, STRANGER, follow_symlinks=False)
    assert prepare(outer, MEMBER).problem
    assert MEMBER.call(locate_directory, outer).problem
    assert kind != "link" or not list(trap.iterdir())


@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_directory_mounted_read_only_is_read_and_not_written(place: Path, kind: str) -> None:
    """An exporter with a read-only volume reads what workers write; as a worker it is told."""
    volume = make(place / "volume", NOBODY, 0o700)
    options = {
        "tmpfs": ("-t", "tmpfs", "-o", f"ro,uid={NOBODY},mode=700", "none"),
        "bind": ("-o", "bind,ro", str(volume)),
    }
    with mounted(place / "mounted", *options[kind]) as path:
        for somebody in (WEB, Somebody(0)):
            assert "read-only" in prepare(path, somebody).problem
            assert not somebody.call(locate_directory, path).problem


@needs_root
def test_an_exporter_on_a_read_only_volume_waits_where_workers_will_write(place: Path) -> None:
    """An exporter that starts before the first worker finds the numbers once there are any."""
    volume = make(place / "volume", 0, 0o777)
    with mounted(place / "mounted", "-o", "bind,ro", str(volume)) as path:
        assert WEB.call(prepare_directory, path).problem
        early = WEB.call(locate_directory, path)
        worker = prepare(volume)
        assert (early.path.name, early.problem) == (worker.path.name, "")
        assert [each.name for each in early.path.glob("*.db")] == ["counter_1.db"]


@needs_root
def test_what_root_creates_below_a_users_directory_is_that_users(place: Path) -> None:
    """`sudo manage.py migrate` before the first start does not lock out the web process."""
    home = make(place / "app", NOBODY, 0o755, NOBODY)
    path = home / "var" / "lib" / "metrics"
    assert not Somebody(0).call(prepare_directory, path).problem
    for made in (path, *path.parents[:2]):
        assert (made.stat().st_uid, made.stat().st_gid) == (NOBODY, NOBODY)
    assert mode_of(path) == 0o700
    assert prepare(path) == Directory(path)


@needs_root
def test_root_without_the_right_to_give_keeps_what_it_made(place: Path) -> None:
    """In a container whose root has few capabilities, metrics work from the first start on."""
    home = make(place / "app", NOBODY, 0o755, NOBODY)
    command = ("setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown")
    path = home / "metrics"
    assert prepare(path, Somebody(wrapper=command)) == Directory(path)
    assert path.stat().st_uid == 0


@needs_root
def test_a_parent_that_cannot_be_written_or_entered_is_told(place: Path) -> None:
    """A path below a directory of somebody else is a problem in words, never an exception."""
    closed = make(place / "closed", 0, 0o700)
    for path in (place / "metrics", closed / "metrics", closed / "var" / "metrics"):
        assert "Permission denied" in prepare(path).problem
