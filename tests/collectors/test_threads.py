"""Threads are used again, end when they are not, and lose no job."""

from __future__ import annotations

import threading

import pytest

from metrics_commands.collectors.threads import Threads
from tests.collectors.gathers import SUCCESS, gauge, make_set, read, scrape
from tests.processes import sample, wait_until


def count_threads() -> int:
    """Return how many threads of collectors there are."""
    return [each.name for each in threading.enumerate()].count("collector")


def run(threads: Threads, count: int) -> None:
    """Do some jobs at once, and wait until all are done."""
    together = threading.Barrier(count)
    done = [threading.Event() for _ in range(count)]
    for each in done:
        threads.start(lambda: together.wait(60), each.set)
    for each in done:
        assert each.wait(60)


def test_threads_are_used_again() -> None:
    """There are as many as there were jobs at once, however many jobs there were."""
    before = count_threads()
    threads = Threads()
    for count in (1, 5, 3) * 100:
        run(threads, count)
    assert count_threads() - before <= 5


def test_threads_without_jobs_end() -> None:
    """What many scrapes at once have needed is given back."""
    threads = Threads(idle_seconds=0.01)
    names = {id(each) for each in threading.enumerate()}
    run(threads, 5)
    wait_until(lambda: not [each for each in threading.enumerate() if id(each) not in names])


def test_no_job_is_lost_to_a_thread_that_ends() -> None:
    """A job that comes just when a thread would leave is done."""
    threads = Threads(idle_seconds=0.0005)
    for _ in range(300):
        run(threads, 2)


def test_a_job_may_raise_anything() -> None:
    """What a job raises ends neither the thread nor the wait for it."""

    def work() -> None:
        raise SystemExit

    threads = Threads()
    for _ in range(3):
        done = threading.Event()
        threads.start(work, done.set)
        assert done.wait(60)


def test_a_scrape_without_threads_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Where the system gives no more threads, the page says so and comes at once."""
    collectors = make_set(good=lambda: [gauge("good", 1)])
    before = threading.stack_size(2**46)
    try:
        samples = [collectors.gather() for _ in range(2)]
    finally:
        threading.stack_size(before)
    assert all(each.complete for each in samples)
    assert caplog.text.count("can't start new thread") == 1
    assert sample(read(samples[1]), SUCCESS, collector="good") == 0
    assert sample(scrape(collectors), SUCCESS, collector="good") == 1
