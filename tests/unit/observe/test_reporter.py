"""The reporter: bounded, in a thread of its own, and not stopped by faults."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from posthouse.observe.facts import LogEntry
from posthouse.observe.reporter import BATCH, Reporter


def entry(number: int) -> LogEntry:
    """Make something to tell."""
    return LogEntry(number, "info", "test", f"entry {number}", {})


class Listener:
    """A consumer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.batches: list[int] = []
        self.finished = False
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.lose: Callable[[int], int] = lambda _: 0

    def take(self, items: Sequence[Any]) -> int:
        self.entered.set()
        self.gate.wait(10)
        self.batches.append(len(items))
        lost = self.lose(len(items))
        self.told += items
        return lost

    def idle(self) -> None:
        pass

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True
        self.gate.set()


def until(condition: Callable[[], object]) -> None:
    """Wait a moment for a condition."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.observe.reporter.WAKE_SECONDS", 0.01)


def test_what_is_put_is_described_and_told_in_order() -> None:
    listener = Listener()
    reporter = Reporter(listener, entry)
    reporter.start()
    for number in range(10):
        reporter.put(number)
    reporter.put(entry(10))
    until(lambda: len(listener.told) == 11)
    assert listener.told == [entry(number) for number in range(11)]
    reporter.close()
    assert listener.finished


def test_a_full_queue_drops_what_comes_and_counts_it() -> None:
    listener = Listener()
    listener.gate.clear()
    reporter = Reporter(listener, entry, most=3)
    reporter.start()
    reporter.put(0)
    assert listener.entered.wait(5)
    for number in range(1, 11):
        reporter.put(number)
    assert (reporter.queued, reporter.dropped) == (3, 7)
    listener.gate.set()
    until(lambda: len(listener.told) == 4)
    reporter.put(11)
    until(lambda: len(listener.told) == 5)
    assert reporter.dropped == 7
    reporter.close()


def test_many_are_told_in_batches_and_all_of_them_at_the_end() -> None:
    listener = Listener()
    reporter = Reporter(listener, entry)
    for number in range(2 * BATCH + 1):
        reporter.put(number)
    reporter.start()
    reporter.close()
    assert listener.batches == [BATCH, BATCH, 1]
    assert len(listener.told) == 2 * BATCH + 1


def test_a_consumer_that_hangs_is_left_behind() -> None:
    class Hanging(Listener):
        def close(self) -> None:
            self.closed = True

    listener = Hanging()
    listener.gate.clear()
    reporter = Reporter(listener, entry)
    reporter.start()
    reporter.put(0)
    assert listener.entered.wait(5)
    began = time.monotonic()
    reporter.close(0.1)
    assert time.monotonic() - began < 2
    assert listener.closed
    listener.gate.set()


def test_what_cannot_be_delivered_is_counted_and_the_next_one_tried() -> None:
    listener = Listener()
    listener.lose = lambda count: count
    reporter = Reporter(listener, entry)
    reporter.start()
    reporter.put(0)
    until(lambda: reporter.failed == 1)
    listener.lose = lambda _: 0
    reporter.put(1)
    until(lambda: len(listener.told) == 2)
    assert reporter.failed == 1
    reporter.close()


def test_a_fault_of_the_consumer_does_not_end_the_thread() -> None:
    def explode(_: int) -> int:
        raise RuntimeError("a fault")

    listener = Listener()
    listener.lose = explode
    reporter = Reporter(listener, entry)
    reporter.start()
    reporter.put(0)
    until(lambda: reporter.failed == 1)
    listener.lose = lambda _: 0
    reporter.put(1)
    until(lambda: listener.told == [entry(1)])
    reporter.close()


def test_putting_costs_a_microsecond_or_so() -> None:
    """The budget is 1 µs; machines differ."""
    reporter = Reporter(Listener(), entry, most=100_000)
    began = time.process_time()
    for number in range(50_000):
        reporter.put(number)
    assert (time.process_time() - began) / 50_000 < 10e-6
