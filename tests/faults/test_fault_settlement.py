"""D3: nothing that ends an answer leaves before its settlement is written.

The settlement is held up by a gate; what the caller has by then is all that it
may have.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import LAST_CHUNK, Behaviour
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.station import KEYS, eventually, play, running
from tests.faults.wire import DONE, Peer

from posthouse.billing.holds import Hold

LONG_ENOUGH = 0.2
"""Seconds in which what is not held up would have come."""


@contextmanager
def _gate(gate: asyncio.Event, arrived: asyncio.Event) -> Iterator[None]:
    """Let settlements wait before they write anything."""
    settle = Hold.settle

    async def waiting(hold: Hold, record: Any) -> None:
        with patch.object(Hold, "end", end):
            arrived.set()
            await gate.wait()
            await settle(hold, record)

    end = Hold.end
    with patch.object(Hold, "end", waiting):
        yield


async def _before_and_after(
    tmp_path: Path, provider: FakeUpstream, path: str, body: bytes
) -> tuple[bytes, Peer]:
    """Give what a caller has while the settlement waits; then let it be written."""
    gate, arrived = asyncio.Event(), asyncio.Event()
    text = KEYS + channel("a", provider.origin)
    with _gate(gate, arrived):
        async with running(tmp_path, text) as station:
            peer = await station.begin(path, body)
            reading = asyncio.ensure_future(peer.reply())
            async with asyncio.timeout(5):
                await arrived.wait()
            await asyncio.sleep(LONG_ENOUGH)
            before = peer.received
            assert not station.application.holds.journal.failed
            gate.set()
            seen = await reading
            record, line = await station.books(seen.call_id)
            assert line.amount == -record.price < 0
            await peer.close()
            await eventually(lambda: not station.server.context.tasks, "goes on")
    return before, peer


@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_a_stream_ends_after_its_settlement(tmp_path: Path, operation: str) -> None:
    """All words may be there before it; [DONE] and the last chunk may not."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            body = json.encode(body_of(operation, "m", stream=True))
            path = PATHS[operation]
            before, peer = await _before_and_after(tmp_path, provider, path, body)
            assert b"word15" in before
            assert b"[DONE]" not in before
            assert not before.endswith(LAST_CHUNK)
            assert peer.received.endswith(DONE + b"\r\n" + LAST_CHUNK)

    play(test)


@pytest.mark.parametrize("operation", list(PATHS))
def test_a_whole_reply_follows_its_settlement(tmp_path: Path, operation: str) -> None:
    """Not a byte of it comes before."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            body = json.encode(body_of(operation, "m"))
            path = PATHS[operation]
            before, peer = await _before_and_after(tmp_path, provider, path, body)
            assert before == b""
            assert peer.received.endswith(scripts.whole(provider.served[0].request))

    play(test)


def test_an_interruption_is_told_after_its_settlement(tmp_path: Path) -> None:
    """What was delivered is charged before the caller hears of the end."""

    async def test() -> None:
        script = scripts.part_of_stream(scripts.words(3), scripts.RESET)
        async with FakeUpstream(
            lambda request: Behaviour("cut", tuple(script(request)))
        ) as provider:
            body = json.encode(body_of("chat", "m", stream=True))
            path = PATHS["chat"]
            before, peer = await _before_and_after(tmp_path, provider, path, body)
            assert b"word2" in before
            assert b"error" not in before
            assert b"upstream_interrupted" in peer.received
            assert peer.closed

    play(test)
