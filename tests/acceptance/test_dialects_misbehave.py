"""Every fault of the sandbox, as callers of the other dialects see it.

What a fault leads to does not depend on the dialect: the table is that of OpenAI's
own callers. How it is told does: each dialect has its own errors and its own end.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.acceptance.configuration import KEYS
from tests.acceptance.test_sandbox_misbehaves import ANSWER, STREAMS, WHOLE_REPLIES
from tests.support.posthouse import Posthouse

SAID = "Hello"
OVERLOADED = "upstream_overloaded"
SECONDS = 30.0


class Dialect(NamedTuple):
    """How one dialect's callers ask, and read what they are told."""

    path: Callable[[str, bool], str]
    body: Callable[[str, bool], dict[str, Any]]
    texts: Callable[[dict[str, Any]], list[str]]
    """What an event or a whole reply says."""
    ends: Callable[[dict[str, Any]], bool]
    """Whether an event is how a whole stream ends."""
    overloaded: int = 503
    """What a dialect answers where a provider is overloaded."""


def _anthropic(value: dict[str, Any]) -> list[str]:
    if value.get("type") == "content_block_delta":
        return [value["delta"].get("text", "")]
    return [block["text"] for block in value.get("content", [])]


def _responses(value: dict[str, Any]) -> list[str]:
    if value.get("type") == "response.output_text.delta":
        return [value["delta"]]
    if value.get("object") != "response":
        return []
    return [part["text"] for item in value["output"] for part in item["content"]]


def _gemini(value: dict[str, Any]) -> list[str]:
    return [
        part.get("text", "")
        for candidate in value.get("candidates", [])
        for part in candidate["content"].get("parts", [])
    ]


DIALECTS = {
    "anthropic_messages": Dialect(
        lambda _model, _stream: "/v1/messages",
        lambda model, stream: {
            "model": model,
            "stream": stream,
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": SAID}],
        },
        _anthropic,
        lambda event: event.get("type") == "message_stop",
        overloaded=529,
    ),
    "openai_responses": Dialect(
        lambda _model, _stream: "/v1/responses",
        lambda model, stream: {
            "model": model,
            "stream": stream,
            "input": SAID,
            "store": False,
        },
        _responses,
        lambda event: event.get("type") == "response.completed",
    ),
    "gemini_generate": Dialect(
        lambda model, stream: (
            f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
            if stream
            else f"/v1beta/models/{model}:generateContent"
        ),
        lambda _model, _stream: {"contents": [{"parts": [{"text": SAID}]}]},
        _gemini,
        lambda event: any(
            candidate.get("finishReason") for candidate in event.get("candidates", [])
        ),
    ),
}


class Seen(NamedTuple):
    """What became of a call; `told` says that an error came inside the stream."""

    status: int
    text: str
    ended: bool
    told: bool


async def asked(
    session: httpx2.AsyncClient, dialect: Dialect, model: str, *, stream: bool
) -> Seen:
    """Make a call and read it to its end, however it ends."""
    path, body = dialect.path(model, stream), dialect.body(model, stream)
    data = b""
    async with session.stream("POST", path, json=body) as reply:
        with suppress(httpx2.TransportError):
            async for piece in reply.aiter_raw():
                data += piece
    status = reply.status_code
    if not stream or reply.headers["content-type"].startswith("application/json"):
        value = json.loads(data)
        text = "" if value.get("error") else dialect.texts(value)
        return Seen(status, "".join(text), ended=True, told=False)
    events = [
        json.loads(line.removeprefix(b"data:"))
        for line in data.splitlines()
        if line.startswith(b"data:")
    ]
    texts = [text for event in events for text in dialect.texts(event)]
    return Seen(
        status,
        "".join(texts),
        ended=any(dialect.ends(event) for event in events),
        told=any("error" in _innermost(event) for event in events),
    )


def _innermost(event: dict[str, Any]) -> dict[str, Any]:
    """What of an event may hold an error; null is none."""
    found = {**event, **event.get("response", {})}
    return {
        name: value
        for name, value in {**found, event.get("type", ""): True}.items()
        if value
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
async def test_every_fault_is_told_in_the_callers_dialect(
    posthouse: Posthouse, name: str, stream: bool
) -> None:
    dialect = DIALECTS[name]
    expected = {
        fault: dialect.overloaded if code == OVERLOADED and status else status
        for fault, (status, code) in (STREAMS if stream else WHOLE_REPLIES).items()
        if not (stream and fault == "endless")
    }
    headers = {"x-api-key": KEYS["app"]}
    async with httpx2.AsyncClient(
        base_url=posthouse.url, headers=headers, timeout=SECONDS
    ) as session:
        found = await asyncio.gather(
            *(
                asked(session, dialect, f"fault-{fault}", stream=stream)
                for fault in expected
            )
        )
    wrong = {}
    for (fault, status), one in zip(expected.items(), found, strict=True):
        if status == 0:
            half = ANSWER.startswith(one.text) and 0 < len(one.text) < len(ANSWER)
            good = one.status == 200 and half and one.told and not one.ended
        elif status == 200:
            good = one == Seen(200, ANSWER, ended=True, told=False)
        else:
            good = one.status == status
        if not good:
            wrong[fault] = one
    assert wrong == {}
