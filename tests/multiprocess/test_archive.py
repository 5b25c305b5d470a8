"""The archive of the dead: it forgets what is declared otherwise, and grows to a limit."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from metrics_commands.multiprocess.archive import Archive, Shape
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.applications import read_ours
from tests.multiprocess.folds import (
    die,
    make_folder,
    make_key,
    run_passes,
    write_counters,
    write_orders,
    write_waits,
    write_worker,
)
from tests.multiprocess.somebody import Somebody

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
NO_LABELS: frozenset[tuple[str, str]] = frozenset()


@pytest.mark.parametrize(
    ("labels", "bounds"),
    [({"kind": "b"}, ("0.5", "+Inf")), ({"other": "b"}, ("0.1", "1.0", "+Inf"))],
    ids=["buckets", "labels"],
)
def test_what_is_declared_otherwise_is_forgotten_once(
    tmp_path: Path,
    labels: dict[str, str],
    bounds: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """New buckets or label names end the dead's histogram alone: one log line, one count."""
    die(write_worker(tmp_path, "1", 3))
    make_folder(tmp_path).run_pass()
    old = write_waits(tmp_path, "2", kind="b")
    new = write_waits(tmp_path, "3", bounds, **labels)
    folder = make_folder(tmp_path)
    folder.run_pass()
    assert not folder.report.forgotten  # both generations live
    old.close()
    caplog.clear()
    (tmp_path / "histogram_2.db").unlink()
    folder = make_folder(tmp_path)
    for _ in range(3):
        folder.run_pass()
    found = read_ours(tmp_path)
    assert found["wait"][2]["wait_sum", frozenset(labels.items())] == 5.0
    assert len(found["wait"][2]) == len(bounds) + 2
    assert sum(found["orders"][2].values()) == 3.0
    assert folder.report.forgotten == 1
    assert len([each for each in caplog.messages if "wait" in each]) == 1
    new.close()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["orders"], "of orders are dropped: it is declared differently now."),
        (["wait", "orders"], "of orders, wait are dropped: they are declared differently now."),
    ],
)
def test_what_is_forgotten_is_told_in_a_sentence(
    caplog: pytest.LogCaptureFixture, names: list[str], said: str
) -> None:
    """One metric or several, the log has their names once and in order."""
    archive = Archive("counter")
    archive.add({make_key(name, f"{name}_total", kind="a").encode(): (1.0, 0.0) for name in names})
    archive.keep({name: {Shape("counter", ("other",))} for name in names})
    assert caplog.messages == [f"Archived numbers {said}"]
    assert archive.entries == {}


def test_another_type_is_another_metric(tmp_path: Path) -> None:
    """A counter that became a gauge starts afresh, and the dead's count is not served beside it."""
    write_orders(tmp_path, "1", 3.0).close()
    make_folder(tmp_path).run_pass()
    gauge = ValueFile(str(tmp_path / "gauge_max_2.db"))
    gauge.write_value(make_key("orders", "orders"), 7.0, 0.0)
    folder = make_folder(tmp_path)
    folder.run_pass()
    assert folder.report.forgotten == 1
    assert read_ours(tmp_path)["orders"][2] == {("orders", NO_LABELS): 7.0}
    gauge.close()


@pytest.mark.parametrize("dead", [True, False])
def test_a_worker_killed_while_it_made_a_histogram_resets_nothing(
    tmp_path: Path, dead: bool
) -> None:
    """A file that ends after some buckets says nothing about how the metric is declared."""
    write_waits(tmp_path, "1", kind="b").close()
    make_folder(tmp_path).run_pass()
    young = write_waits(tmp_path, "2", ("0.1",), kind="b")
    if dead:
        young.close()
    folder = make_folder(tmp_path)
    folder.run_pass()
    assert not folder.report.forgotten
    assert read_ours(tmp_path)["wait"][2]["wait_sum", frozenset({("kind", "b")})] == 10.0
    young.close()


def test_a_full_archive_keeps_sums_and_whole_histograms(tmp_path: Path) -> None:
    """Beyond the limit label values become <other>; known series go on counting."""
    keys = [make_key("orders", "orders_total", kind=str(kind)) for kind in range(20)]
    write_counters(tmp_path, "1", dict.fromkeys(keys[:8], 1.0)).close()
    write_counters(tmp_path, "2", dict.fromkeys(keys[4:], 1.0)).close()
    for worker in range(5):
        write_waits(tmp_path, str(worker), kind=str(worker)).close()
    Somebody().call(run_passes, tmp_path, 1, 10)
    found = read_ours(tmp_path)
    orders = {dict(labels)["kind"]: value for (_, labels), value in found["orders"][2].items()}
    assert sum(orders.values()) == 24
    assert len(orders) <= 17
    assert orders["<other>"] >= 8
    waits = found["wait"][2]
    kinds = {dict(labels)["kind"] for _, labels in waits}
    assert kinds == {"0", "1", "<other>"}
    for kind in kinds:
        count = waits["wait_count", frozenset({("kind", kind)})]
        assert waits["wait_sum", frozenset({("kind", kind)})] == count / 3 * 5
        assert waits["wait_bucket", frozenset({("kind", kind), ("le", "+Inf")})] == count
    assert sum(waits["wait_count", frozenset({("kind", kind)})] for kind in kinds) == 15
