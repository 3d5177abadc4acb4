"""Every fault of the sandbox, as an application sees it through Posthouse.

The sandbox breaks; the official SDK must see a whole answer, or an error of its
class and code, in bounded time, and never half an answer that looks whole.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.acceptance.configuration import KEYS
from tests.support.posthouse import Posthouse

from posthouse.providers.sandbox import faults
from posthouse.providers.sandbox.directives import USAGES

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
ANSWER = "This is the Posthouse sandbox; no model was asked. You wrote: Hello"
LONGEST = 8.0
"""Seconds; the channels' own limit is three for an attempt as a whole."""


class Seen(NamedTuple):
    """What became of a call: `status` is 0 for an error inside a stream."""

    status: int
    code: str | None
    text: str
    seconds: float


BAD = (502, "upstream_bad_response")
GONE = (502, "upstream_unavailable")
LATE = (504, "upstream_timeout")
BUSY = (503, "upstream_overloaded")
REFUSED = (503, "upstream_unavailable")
WHOLE = (200, None)

WHOLE_REPLIES: dict[str, tuple[int, str | None]] = {
    "bad-chunk": BAD,
    "bad-framing": BAD,
    "big-header": BAD,
    "bom": WHOLE,
    "bytes": WHOLE,
    "close": GONE,
    "comments": WHOLE,
    "crlf": WHOLE,
    "empty": BAD,
    "endless": LATE,
    "eof": BAD,
    "error-event": BUSY,
    "error-first": BUSY,
    "error-in-stream": BUSY,
    "extra-bytes": WHOLE,
    "folded-header": BAD,
    "gzip-bomb": BAD,
    "hang": LATE,
    "html": BAD,
    "informational": BAD,
    "insufficient-quota": REFUSED,
    "invalid-json": BAD,
    "large-error": BUSY,
    "many-headers": BAD,
    "multiline": WHOLE,
    "redirect": BAD,
    "reset": GONE,
    "reset-mid-stream": BAD,
    "slow-bytes": LATE,
    "stall": LATE,
    "truncate": BAD,
    "wrong-type": BAD,
}
STREAMS: dict[str, tuple[int, str | None]] = {
    **WHOLE_REPLIES,
    # What has begun cannot be taken back: the error comes inside the stream.
    "bad-chunk": (0, "upstream_bad_response"),
    "eof": (0, "upstream_interrupted"),
    "error-event": (0, "upstream_overloaded"),
    "error-in-stream": (0, "upstream_overloaded"),
    "reset-mid-stream": (0, "upstream_interrupted"),
    "stall": (0, "upstream_timeout"),
    "truncate": (0, "upstream_interrupted"),
}


def test_the_tables_name_every_fault() -> None:
    assert set(WHOLE_REPLIES) == set(STREAMS) == set(faults.FAULTS)


@pytest.fixture
async def async_relayed(posthouse: Posthouse) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK's asynchronous half, pointed at Posthouse."""
    async with openai.AsyncOpenAI(
        base_url=posthouse.url + "/v1", api_key=KEYS["app"], max_retries=0, timeout=20
    ) as client:
        yield client


async def whole(client: openai.AsyncOpenAI, name: str) -> Seen:
    """Make a call for a whole reply."""

    async def call(texts: list[str]) -> None:
        reply = await client.chat.completions.create(
            model=f"fault-{name}", messages=HELLO
        )
        texts += [choice.message.content or "" for choice in reply.choices]

    return await seen(call)


async def streamed(client: openai.AsyncOpenAI, name: str) -> Seen:
    """Make a call for a stream and read it to its end."""

    async def call(texts: list[str]) -> None:
        stream = await client.chat.completions.create(
            model=f"fault-{name}", messages=HELLO, stream=True
        )
        async for part in stream:
            texts.extend(choice.delta.content or "" for choice in part.choices)

    return await seen(call)


async def seen(call: Callable[[list[str]], Any]) -> Seen:
    """Carry out a call and note what became of it."""
    began = time.monotonic()
    texts: list[str] = []
    status: int = 200
    code: str | None = None
    try:
        await call(texts)
    except openai.APIStatusError as error:
        status, code = error.status_code, error.code
    except openai.APIError as error:
        status, code = 0, error.code
    return Seen(status, code, "".join(texts), time.monotonic() - began)


@pytest.mark.parametrize("stream", [False, True])
async def test_every_fault_ends_as_promised(
    async_relayed: openai.AsyncOpenAI, stream: bool
) -> None:
    expected = {**(STREAMS if stream else WHOLE_REPLIES)}
    # How a stream that never ends is cut is not the SDK's to see.
    names = [name for name in expected if not (stream and name == "endless")]
    ask = streamed if stream else whole
    found = await asyncio.gather(*(ask(async_relayed, name) for name in names))
    wrong = [
        f"{name}: {one}"
        for name, one in zip(names, found, strict=True)
        if (one.status, one.code) != expected[name]
        or one.seconds > LONGEST
        or (one.status == 200) != (one.text == ANSWER)
        or (one.status == 0) != (ANSWER.startswith(one.text) and 0 < len(one.text) < 67)
    ]
    assert wrong == []


async def test_wrong_usage_never_spoils_an_answer(
    async_relayed: openai.AsyncOpenAI,
) -> None:
    names = sorted(USAGES - {"usage-only"})
    for ask in (whole, streamed):
        found = await asyncio.gather(*(ask(async_relayed, name) for name in names))
        assert [(one.status, one.text) for one in found] == [(200, ANSWER)] * len(names)


async def test_a_stream_that_never_ends_is_cut(
    async_relayed: openai.AsyncOpenAI,
) -> None:
    one = await streamed(async_relayed, "endless")
    assert 1 < one.seconds < LONGEST
    assert len(one.text) > len(ANSWER)
