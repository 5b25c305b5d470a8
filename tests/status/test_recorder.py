"""The exporter's own memory of real value files, and of who scraped it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from metrics_commands.management.recorder import Recorder
from metrics_commands.management.status import describe_files, list_roles
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.server.activity import Activity
from metrics_commands.status.course import Course, describe_course
from metrics_commands.status.history import History
from metrics_commands.status.totals import REQUESTS, STATUSES, VIEW_LATENCY, VIEW_STATUSES
from tests.multiprocess.begun import begin
from tests.multiprocess.files import encode_key, pack_file
from tests.processes import wait_until


def write_requests(directory: Path, count: int, prefix: str = "") -> None:
    """Leave what a worker has counted of so many requests, half of which have failed."""
    view = {"view": "shop:index", "method": "GET"}
    entries = [
        (encode_key(f"{prefix}{REQUESTS}", f"{prefix}{REQUESTS}_total"), count),
        (
            encode_key(f"{prefix}{STATUSES}", f"{prefix}{STATUSES}_total", {"status": "500"}),
            count / 2,
        ),
        (
            encode_key(f"{prefix}{STATUSES}", f"{prefix}{STATUSES}_total", {"status": "200"}),
            count / 2,
        ),
        (
            encode_key(
                f"{prefix}{VIEW_STATUSES}",
                f"{prefix}{VIEW_STATUSES}_total",
                {**view, "status": "500"},
            ),
            count / 2,
        ),
    ]
    buckets = [
        (
            encode_key(
                f"{prefix}{VIEW_LATENCY}", f"{prefix}{VIEW_LATENCY}_bucket", {**view, "le": bound}
            ),
            number,
        )
        for bound, number in (("0.1", count), ("+Inf", 0))
    ]
    (directory / "counter_1.db").write_bytes(pack_file(entries))
    (directory / "histogram_1.db").write_bytes(pack_file(buckets))


def describe_now(recorder: Recorder) -> Course:
    """Look, and return what is remembered."""
    recorder.look()
    return describe_course(recorder.history.list_steps(time.monotonic()))


@pytest.mark.parametrize("namespace", ["", "acme"])
def test_what_workers_write_is_in_the_charts(tmp_path: Path, namespace: str) -> None:
    """Requests, errors and latencies by view, also where the project prefixes its metrics."""
    prefix = f"{namespace}_" if namespace else ""
    write_requests(tmp_path, 0, prefix)
    activity = Activity()
    recorder = Recorder(DirectoryReader(tmp_path), namespace, activity, History())
    recorder.look()
    write_requests(tmp_path, 10, prefix)
    activity.gather_seconds.add(0.25)
    activity.encode_seconds.add(0.05)
    course = describe_now(recorder)
    assert course.last_minute.error_share == 0.5
    assert course.scrape_seconds == pytest.approx(0.3)
    (view,) = course.views
    assert view.view == "shop:index"
    assert view.p50 == pytest.approx(0.05)
    assert recorder.sizes[f"{prefix}{STATUSES}", "counter"] == 2


def test_a_directory_that_cannot_be_read_for_a_while_is_a_gap(tmp_path: Path) -> None:
    """When the volume is there again, what was counted meanwhile is no peak."""
    directory = tmp_path / "metrics"
    recorder = Recorder(DirectoryReader(directory), "", Activity(), History())
    recorder.look()
    directory.mkdir()
    write_requests(directory, 1_000_000)
    course = describe_now(recorder)
    assert course.views == ()
    write_requests(directory, 1_000_004)
    (view,) = describe_now(recorder).views
    assert (view.responses, view.error_share) == (2, 1.0)


def test_without_a_directory_scrapes_are_known() -> None:
    """The one chart that needs no worker works without any."""
    activity = Activity()
    recorder = Recorder(None, "", activity, History())
    recorder.look()
    activity.gather_seconds.add(0.5)
    assert describe_now(recorder).scrape_seconds == 0.5


def test_a_recorder_looks_by_itself_until_it_ends(tmp_path: Path) -> None:
    """The first minutes are known also where nobody has opened the page before."""
    write_requests(tmp_path, 4)
    recorder = Recorder(DirectoryReader(tmp_path), "", Activity(), History())
    with recorder.running():
        totals = wait_until(lambda: recorder.history.latest)
    assert totals.requests == 4


def test_files_and_roles_are_those_of_the_directory(tmp_path: Path) -> None:
    """What cannot be read is told with its reason, and processes with what they are for."""
    file = begin(tmp_path, "web")
    (tmp_path / "counter_2.db").write_bytes(b"")
    (tmp_path / "counter_3.db").write_bytes(b"junk")
    reader = DirectoryReader(tmp_path)
    reader.read()
    files = describe_files(reader)
    assert (files.directory, files.problem) == (str(tmp_path), "")
    assert files.skipped == {"empty": 1, "truncated": 1}
    assert files.merge_seconds > 0
    (role,) = list_roles(reader, "")
    assert (role.role, role.living, role.started, role.ended) == ("web", 1, 1, 0)
    file.close()
