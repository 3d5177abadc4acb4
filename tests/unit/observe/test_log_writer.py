"""Entries are written elsewhere, and lost before they hold anybody up."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator

import pytest

from posthouse.observe.log_writer import LogWriter

SIZE = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, LogWriter]]:
    """A small pipe's reading end, and a writer to the other."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SIZE)
    with os.fdopen(writing, "w") as stream:
        writer = LogWriter(stream, most=10)
        yield reading, writer
        os.set_blocking(reading, False)
        try:
            while os.read(reading, 65_536):
                time.sleep(0.001)
        except BlockingIOError:
            pass
        writer.close()
    os.close(reading)


def entry(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x", 1, text, None, None)


def test_before_and_after_serving_entries_are_written_at_once(pipe) -> None:
    reading, writer = pipe
    writer.handle(entry("before"))
    assert os.read(reading, 100) == b"before\n"
    writer.begin()
    writer.handle(entry("meanwhile"))
    writer.end()
    writer.handle(entry("after"))
    assert os.read(reading, 100) == b"meanwhile\nafter\n"
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_holds_up_nobody(pipe) -> None:
    """What does not fit is counted, and what did comes whole and in order."""
    reading, writer = pipe
    writer.begin()
    began = time.monotonic()
    for number in range(200):
        writer.handle(entry(f"{number:03} " + "x" * 1000))
        time.sleep(0.0001)
    assert time.monotonic() - began < 1
    assert 180 <= writer.dropped < 200
    kept = 200 - writer.dropped
    data = b""
    while data.count(b"\n") < kept:
        data += os.read(reading, 65_536)
    numbers = [int(line[:3]) for line in data.splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == kept


def test_a_pipe_that_is_closed_costs_its_entries() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = LogWriter(stream)
        writer.begin()
        os.close(reading)
        writer.handle(entry("lost"))
        writer.end()
        assert writer.dropped == 1
