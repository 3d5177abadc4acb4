"""Compressed replies that we did not ask for: undone within limits, or refused."""

import asyncio
import gzip
import random
import time
import zlib

import pytest
from tests.fakes.steps import LAST_CHUNK, chunk, head, reply
from tests.support.cases import each
from tests.unit.upstream.support import chat_request

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptEnd,
    ScriptStep,
)
from posthouse.upstream import encoding
from posthouse.upstream.sender import Upstream

LETTERS = bytes(b"abcdefgh "[byte % 9] for byte in range(256))
TEXT = b"data: " + random.Random(1).randbytes(300_000).translate(LETTERS)


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's wrapper."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def playing(coding: str, body: bytes, cut: int = 10_000) -> Upstream:
    """A sandbox that answers with a compressed body, in pieces."""
    start = head(200, chunked=True, headers=(("Content-Encoding", coding),))
    pieces = [body[at : at + cut] for at in range(0, len(body), cut)]
    data = [start, *(chunk(piece) for piece in pieces), LAST_CHUNK]
    steps = tuple(ScriptStep(0.0, item) for item in data)
    return Upstream(play=lambda _: Script(steps, ScriptEnd.KEEP))


async def read(upstream: Upstream, limit: int = 1 << 30) -> bytes:
    """Read everything."""
    response = await upstream.send(chat_request("sandbox://local"))
    assert b"content-encoding" not in dict(response.headers)
    return await response.read_all(limit)


@each(
    ("coding", "body"),
    lambda: [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
    ids=["gzip", "upper case", "x-gzip", "two members", "zlib", "raw deflate"],
)
@each("cut", [1_000_000, 997])
async def test_known_codings_are_undone(coding: str, body: bytes, cut: int) -> None:
    """However the compressed bytes are cut."""
    assert await read(playing(coding, body, cut)) == TEXT


async def test_a_compressed_stream_is_given_as_it_comes() -> None:
    """An event that was flushed is not held back until the end."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first = packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    last = packer.compress(b"data: 2\n\n") + packer.flush()
    start = head(200, chunked=True, headers=(("Content-Encoding", "gzip"),))
    steps = (
        ScriptStep(0.0, start + chunk(first)),
        ScriptStep(0.8, chunk(last) + LAST_CHUNK),
    )
    upstream = Upstream(play=lambda _: Script(steps))
    response = await upstream.send(chat_request("sandbox://local"))
    begin = time.monotonic()
    assert await response.read() == b"data: 1\n\n"
    assert time.monotonic() - begin < 0.7
    assert await response.read() == b"data: 2\n\n"
    assert await response.read() == b""


async def test_identity_is_no_coding() -> None:
    """The word is allowed and means nothing."""
    data = reply(200, b"plain", headers=(("Content-Encoding", "identity"),))
    upstream = Upstream(play=lambda _: Script((ScriptStep(0.0, data),)))
    response = await upstream.send(chat_request("sandbox://local"))
    assert await response.read_all(10) == b"plain"


@each("coding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_other_codings_are_refused(coding: str) -> None:
    """What we cannot read is not handed on."""
    upstream = playing(coding, b"whatever")
    with pytest.raises(ExchangeFailure) as caught:
        await upstream.send(chat_request("sandbox://local"))
    assert caught.value.kind is FailureKind.PROTOCOL
    assert caught.value.certainty is Certainty.RESPONSE_STARTED
    assert upstream.open_connections == 0


@each(
    "body",
    lambda: [
        b"not gzip at all",
        gzip.compress(TEXT, mtime=0)[:-20],
        gzip.compress(TEXT, mtime=0) + b"junk",
    ],
    ids=["garbage", "cut off", "junk behind"],
)
async def test_broken_compression_is_a_protocol_failure(body: bytes) -> None:
    """Nobody downstream could make sense of it."""
    with pytest.raises(ExchangeFailure) as caught:
        await read(playing("gzip", body))
    assert caught.value.kind is FailureKind.PROTOCOL


async def test_a_bomb_is_stopped_by_its_ratio() -> None:
    """64 MiB in 64 KiB end after little more than the free first MiB."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    upstream = playing("gzip", bomb)
    response = await upstream.send(chat_request("sandbox://local"))
    size = 0
    with pytest.raises(ExchangeFailure) as caught:  # noqa: PT012 - counts on the way
        while data := await response.read():
            assert len(data) <= encoding.PIECE_BYTES
            size += len(data)
    assert caught.value.kind is FailureKind.TOO_LARGE
    assert size <= encoding.RATIO_FREE_BYTES + encoding.PIECE_BYTES
    assert upstream.open_connections == 0


async def test_the_decoded_size_has_a_limit_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Honest compression of too much is too much."""
    monkeypatch.setattr(encoding, "DECODED_LIMIT", len(TEXT) - 1)
    with pytest.raises(ExchangeFailure) as caught:
        await read(playing("gzip", gzip.compress(TEXT, mtime=0)))
    assert caught.value.kind is FailureKind.TOO_LARGE


async def test_read_all_holds_its_limit_over_decoded_bytes() -> None:
    """The caller's limit counts what the caller gets."""
    assert await read(playing("gzip", gzip.compress(TEXT, mtime=0)), len(TEXT)) == TEXT
    with pytest.raises(ExchangeFailure, match="too_large"):
        await read(playing("gzip", gzip.compress(TEXT, mtime=0)), len(TEXT) - 1)


async def test_inflating_much_does_not_hold_up_the_loop() -> None:
    """Others get their turn between the pieces of a large body."""
    chance = random.Random(2)
    body = b"".join(chance.randbytes(11) + b"a" * 1000 for _ in range(24_000))
    packed = gzip.compress(body, 1)
    assert len(packed) < 1_000_000
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    assert await read(playing("gzip", packed, 1_000_000)) == body
    watcher.cancel()
    assert turns > len(body) // encoding.PIECE_BYTES
