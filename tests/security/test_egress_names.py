"""Names that users chose are looked up apart from everything else."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from posthouse.upstream.egress_names import THREADS, NameThreads

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))] * 2


async def test_slow_names_hold_up_nobody_but_each_other() -> None:
    """Look-ups of providers and the loop's other threads go on."""
    gate = threading.Event()
    used: set[str] = set()

    def ask(host: str, _: None) -> Any:
        used.add(threading.current_thread().name)
        if host == "slow":
            assert gate.wait(10)
        return FOUND

    names = NameThreads(ask)
    slow = [asyncio.ensure_future(names.look_up("slow")) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert len(used) == THREADS
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 1) == 1
    quick = asyncio.ensure_future(names.look_up("quick"))
    gate.set()
    assert await quick == ("192.0.2.7",)
    assert set(await asyncio.gather(*slow)) == {("192.0.2.7",)}
    assert all(name.startswith("egress-names") for name in used)
    names.close()


async def test_names_that_wait_are_counted() -> None:
    """One too many is told at once; places come back."""
    gate = threading.Event()

    def ask(_host: str, _port: None) -> Any:
        assert gate.wait(10)
        raise socket.gaierror("none")

    names = NameThreads(ask, threads=1, waiting=3)
    waiting = [asyncio.ensure_future(names.look_up("a")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await names.look_up("a")
    gate.set()
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(found, socket.gaierror)
    with pytest.raises(socket.gaierror):
        await names.look_up("a")
    names.close()


async def test_the_systems_resolver_is_what_asks() -> None:
    """A name that stands in every hosts file; one that is none is an OSError."""
    names = NameThreads()
    assert set(await names.look_up("localhost")) <= {"127.0.0.1", "::1"}
    for bad in ("a" * 300, "\udcff"):
        with pytest.raises(OSError):
            await names.look_up(bad)
    names.close()
