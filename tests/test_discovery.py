"""The file of targets: whole at every moment, Prometheus can read it, nobody else's is touched."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.discovery import (
    LARGEST,
    MARK,
    MARKER,
    Target,
    TargetFile,
    choose_host,
    is_ours,
    make_document,
)
from metrics_commands.errors import ExporterError
from tests.multiprocess.conftest import mounted
from tests.multiprocess.somebody import NOBODY, Somebody, forks, needs_root

TARGET = Target("10.0.0.5", 8001, "shop", "web-1")
MOVED = replace(TARGET, port=8002)
OURS = make_document(TARGET)
REWRITES = 200
FEW = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def _without_forks() -> Iterator[None]:
    """End the process that forks for Somebody."""
    yield
    forks.stop()


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where the exporter shall write its target, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "shop.json"


def examine(path: Path) -> str:
    """Return what is wrong with a path, '' where nothing is."""
    try:
        TargetFile(path).examine()
    except ExporterError as error:
        refused = error
    else:
        return ""
    assert refused.exit_code == 2
    assert refused.hint
    return refused.message


def write(path: Path, target: Target = TARGET) -> str:
    """Write a target; return what prevented it, '' where nothing did."""
    try:
        assert TargetFile(path).write(target)
    except ExporterError as error:
        return error.message
    return ""


def state(path: Path) -> tuple[object, ...]:
    """Return all that an overwritten, truncated or touched file would have changed."""
    found = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_mode, content


@pytest.mark.parametrize(
    ("target", "scraped", "extra"),
    [
        (TARGET, "10.0.0.5:8001", {}),
        (replace(TARGET, host="2001:db8::5"), "[2001:db8::5]:8001", {}),
        (replace(TARGET, telemetry_path="/m"), "10.0.0.5:8001", {"__metrics_path__": "/m"}),
        (replace(TARGET, scheme="https"), "10.0.0.5:8001", {"__scheme__": "https"}),
    ],
)
def test_a_document_is_one_target(target: Target, scraped: str, extra: dict[str, str]) -> None:
    """Prometheus finds one target; its labels say project and host, and nothing of the port."""
    labels = {MARKER: MARK, "instance": "web-1/shop", "host": "web-1", "project": "shop"}
    (group,) = json.loads(make_document(target))
    assert group == {"targets": [scraped], "labels": labels | extra}


@given(hostname=st.text(max_size=20), project=st.text(max_size=20))
@FEW
def test_what_we_write_is_recognised(hostname: str, project: str) -> None:
    """An exporter never refuses its own file, whatever machine and project are called."""
    assert is_ours(make_document(replace(TARGET, hostname=hostname, project=project)))


@given(
    st.recursive(
        st.sampled_from([None, 5, "", MARK]),
        lambda each: st.lists(each) | st.dictionaries(st.sampled_from(["labels", MARKER]), each),
    )
)
@FEW
def test_what_is_ours_is_a_list_of_marked_groups(written: Any) -> None:
    """Whatever somebody wrote is recognised or refused; only our own shape is recognised."""
    if is_ours(json.dumps(written).encode()):
        assert {each["labels"][MARKER] for each in written} == {MARK}


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_prometheus_can_read_what_we_write(path: Path, umask: int) -> None:
    """Another user reads the file, whatever umask the exporter runs with, also after a change."""
    for target in (TARGET, MOVED):
        assert Somebody(umask=umask).call(write, path, target) == ""
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert path.read_bytes() == make_document(target)
    assert os.listdir(path.parent) == ["shop.json"]


def test_a_target_that_stays_is_not_written_again(path: Path) -> None:
    """A restart on the same port gives Prometheus nothing to read; a move does."""
    file = TargetFile(path)
    assert file.write(TARGET)
    before = state(path)
    assert not file.write(TARGET)
    assert state(path) == before
    assert file.write(MOVED)
    assert path.read_bytes() == make_document(MOVED)


FOREIGN = {
    "targets": b'[{"targets": ["a:1"], "labels": {"job": "shop"}}]',
    "no-labels": b'[{"targets": ["a:1"]}]',
    "other-mark": OURS.replace(MARK.encode(), b"somebody"),
    "mark-elsewhere": json.dumps([{"targets": [MARK], "labels": {"job": MARKER}}]).encode(),
    "ours-and-more": OURS.rstrip()[:-1] + b', {"targets": ["a:1"], "labels": {}}]',
    "ours-cut-off": OURS[:-20],
    "yaml": b"- targets: [a:1]\n  labels: {" + MARKER.encode() + b": " + MARK.encode() + b"}\n",
    "empty": b"",
    "empty-list": b"[]",
    "deep": b"[" * LARGEST,
    "long-number": b"9" * LARGEST,
    "binary": bytes(range(256)),
    "huge": OURS + b" " * LARGEST + b"and somebody's notes",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_somebody_else_is_never_touched(path: Path, content: bytes) -> None:
    """A slip in --sd-file costs nobody a file: it is refused, at the check and when writing."""
    path.write_bytes(content)
    before = state(path)
    assert MARKER in examine(path)
    assert MARKER in write(path)
    assert state(path) == before
    assert os.listdir(path.parent) == ["shop.json"]


KINDS: dict[str, Callable[[Path], object]] = {
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to(path.with_name("other.json")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(path: Path, kind: str) -> None:
    """A link is not followed, nor replaced, even to a file of ours; a pipe is not opened."""
    other = path.with_name("other.json")
    other.write_bytes(OURS)
    KINDS[kind](path)
    before = state(path), state(other)
    assert "not a regular file" in examine(path)
    assert "not a regular file" in write(path, MOVED)
    assert (state(path), state(other)) == before


@pytest.mark.parametrize("existing", [None, OURS], ids=["missing", "ours"])
def test_examining_changes_nothing(path: Path, existing: bytes | None) -> None:
    """A check in front of the start leaves folder and file as they were."""
    if existing is not None:
        path.write_bytes(existing)
    before = path.parent.stat().st_mtime_ns, existing and state(path)
    assert examine(path) == ""
    assert (path.parent.stat().st_mtime_ns, existing and state(path)) == before


@pytest.mark.parametrize(
    ("below", "reason"),
    [("missing/shop.json", "does not exist"), ("file/shop.json", "something else")],
)
def test_a_folder_that_is_none_is_told(tmp_path: Path, below: str, reason: str) -> None:
    """The folder is not made: a typing error would become a folder that nobody watches."""
    (tmp_path / "file").touch()
    assert reason in examine(tmp_path / below)
    assert "cannot be written" in write(tmp_path / below)
    assert os.listdir(tmp_path) == ["file"]


@needs_root
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "told", "met"),
    [
        (0o755, None, "may not write into its folder", "Permission denied"),
        (0o755, 0o644, "may not write into its folder", "Permission denied"),
        (0o1777, 0o644, "another user wrote it", "not permitted"),
        (0o777, 0o600, "Permission denied", "Permission denied"),
    ],
)
def test_what_root_left_behind_is_told_before_the_start(
    path: Path, folder_mode: int, file_mode: int | None, told: str, met: str
) -> None:
    """A service's user who cannot go on after root hears it from the check, and why."""
    path.parent.chmod(folder_mode)
    if file_mode is not None:
        path.write_bytes(OURS)
        path.chmod(file_mode)
    web = Somebody(NOBODY)
    assert told in web.call(examine, path)
    assert met in web.call(write, path, MOVED)
    assert [each.read_bytes() for each in path.parent.iterdir()] == [OURS] * (file_mode is not None)


@needs_root
def test_a_file_of_our_own_goes_on_in_a_shared_folder(path: Path) -> None:
    """In a folder like /tmp each exporter follows up on the file that its user wrote."""
    path.parent.chmod(0o1777)
    web = Somebody(NOBODY)
    for target in (TARGET, MOVED):
        assert web.call(examine, path) == ""
        assert web.call(write, path, target) == ""


@needs_root
def test_a_disk_for_reading_only_is_told_before_the_start(path: Path) -> None:
    """Also root cannot write there, and hears it from the check."""
    with mounted(path.with_name("disk"), "-t", "tmpfs", "-o", "ro", "none") as disk:
        assert "read-only" in examine(disk / "shop.json")
        assert "Read-only" in write(disk / "shop.json")


def test_a_reader_never_sees_half_a_file(path: Path) -> None:
    """Prometheus reads whole JSON at any moment of two hundred changes."""
    file = TargetFile(path)
    assert file.write(TARGET)
    ended = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(REWRITES):
            assert file.write(replace(TARGET, port=9000 + number))
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 1
    assert seen <= {make_document(replace(TARGET, port=9000 + n)) for n in range(REWRITES)} | {OURS}


@pytest.mark.parametrize(
    ("listening", "chosen"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("metrics.example.org", "metrics.example.org"),
        (["127.0.0.1", "192.0.2.7"], "192.0.2.7"),
        (["::1", "127.0.0.1"], "127.0.0.1"),
        (["2001:db8::7", "192.0.2.7"], "192.0.2.7"),
        (["127.0.0.1", "2001:db8::7"], "2001:db8::7"),
        (["fe80::7%eth0", "2001:db8::7", "::1"], "2001:db8::7"),
        (["fe80::7%eth0", "::1"], "fe80::7%eth0"),
    ],
)
def test_the_best_reachable_address_is_told(listening: str | list[str], chosen: str) -> None:
    """One address is told as it is; of several, one that other machines reach, IPv4 first."""
    assert choose_host(listening) == chosen


def test_for_all_addresses_one_of_this_machine_is_told() -> None:
    """Prometheus is never sent to 0.0.0.0, which means its own machine to it."""
    own = {each.address for found in psutil.net_if_addrs().values() for each in found}
    for everywhere in ("", "0.0.0.0", "::", ["0.0.0.0", "::"]):
        assert choose_host(everywhere) in own | {socket.gethostname()}
