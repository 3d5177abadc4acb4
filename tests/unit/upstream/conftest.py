"""Tests that open sockets run on asyncio's own loop and on uvloop."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

WITHOUT_SOCKETS = frozenset(
    {
        "test_upstream_bytes.py",
        "test_upstream_encoding.py",
        "test_upstream_inprocess.py",
        "test_upstream_targets.py",
    }
)


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops of a test."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "uvloop": uvloop.new_event_loop
    }
    if item.path.name not in WITHOUT_SOCKETS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops
