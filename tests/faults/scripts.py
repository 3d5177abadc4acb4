"""What a faulty provider sends, for every operation alike.

Each script is made of the good answer that the fake provider would have given
to the same request, so that a cut is a cut of the right bytes whatever the
operation.
"""

from collections.abc import Callable, Iterable
from email.utils import formatdate
from time import time
from typing import Any

import msgspec
from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Close,
    Hang,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    chunk,
    head,
    json_reply,
    reply,
)

Script = Callable[[Request], Iterable[Step]]

WORDS = 16
"""In every good answer."""
PAUSE = Wait(0.02)
"""So that what precedes a fault is read apart from it."""


# --- good answers, in parts -------------------------------------------------------


def whole(request: Request) -> bytes:
    """The body of the good answer in one piece."""
    sent = [step.data for step in openai.answer(request).steps if type(step) is Send]
    return b"".join(sent).partition(b"\r\n\r\n")[2]


def frames(request: Request) -> list[bytes]:
    """The good stream's frames: all of the answer, finish, usage, [DONE]."""
    steps = [step for step in openai.answer(request).steps if type(step) is Send]
    found = [step.data.removesuffix(LAST_CHUNK) for step in steps[1:]]
    return [data.partition(b"\r\n")[2][:-2] for data in found]


def lead(request: Request) -> int:
    """How many frames precede the first that carries content."""
    return 1 if request.target.endswith("/chat/completions") else 0


def first_frames(request: Request, words: int) -> list[bytes]:
    """The frames up to a number of words."""
    return frames(request)[: lead(request) + words]


def shown_frames(request: Request) -> list[bytes]:
    """What a client sees of the good stream, who has not asked for usage."""
    found = frames(request)
    return [*found[:-2], found[-1]]


# --- scripts ----------------------------------------------------------------------


def error_value(kind: str, message: str, code: Any = None) -> dict[str, Any]:
    """An error object as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def status(
    number: int,
    kind: str = "server_error",
    *,
    code: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Script:
    """Answer with an error status, and words that only some may see."""
    value = error_value(kind, f"the provider says {number}", code or f"code_{number}")
    return lambda _: (Send(json_reply(number, value, headers=headers)),)


def dated(seconds: float) -> Script:
    """Answer 429 with a date that is some seconds away."""

    def script(_: Request) -> tuple[Step, ...]:
        headers = (("Retry-After", formatdate(time() + seconds, usegmt=True)),)
        value = error_value("rate_limit_exceeded", "the provider says 429")
        return (Send(json_reply(429, value, headers=headers)),)

    return script


def redirect(number: int, location: str) -> Script:
    """Answer with a redirect."""
    headers = (("Location", location),)
    return lambda _: (Send(reply(number, b"the provider says go", headers=headers)),)


def body(data: bytes, content_type: str = "application/json") -> Script:
    """Answer 200 with these bytes."""
    return lambda _: (Send(reply(200, data, content_type=content_type)),)


def do(*steps: Step) -> Script:
    """Answer nothing but these steps."""
    return lambda _: steps


def part_of_body(share: float, *ending: Step, framing: str = "length") -> Script:
    """A good answer's first part, then a fault."""

    def script(request: Request) -> tuple[Step, ...]:
        data = whole(request)
        start = head(200, length=len(data) if framing == "length" else None)
        end = min(int(len(data) * share), len(data) - 1)
        return (Send(start), Send(data[:end]), PAUSE, *ending)

    return script


def part_of_stream(
    take: Callable[[Request], bytes], *ending: Step, framing: str = "chunked"
) -> Script:
    """A good stream's first bytes, then a fault."""

    def script(request: Request) -> tuple[Step, ...]:
        data = take(request)
        if framing == "chunked":
            start, sent = openai.stream_head(), chunk(data) if data else b""
        else:
            length = 100_000 if framing == "length" else None
            start = head(200, length=length, content_type=openai.EVENT_STREAM)
            sent = data
        first = (Send(start), Send(sent)) if sent else (Send(start),)
        return (*first, PAUSE, *ending)

    return script


def nothing(_: Request) -> bytes:
    """No byte of a stream."""
    return b""


def words(count: int, *, torn: bool = False) -> Callable[[Request], bytes]:
    """A stream up to a number of words, and half of the next frame if torn."""

    def take(request: Request) -> bytes:
        data = b"".join(first_frames(request, count))
        if torn:
            following = frames(request)[lead(request) + count]
            data += following[: len(following) // 2]
        return data

    return take


def all_but(last: int) -> Callable[[Request], bytes]:
    """A stream without its last frames: 1 is [DONE], 2 the usage, 3 the finish."""
    return lambda request: b"".join(frames(request)[: len(frames(request)) - last])


def then_event(take: Callable[[Request], bytes], event: bytes) -> Script:
    """A part of a stream, then an event, then an end as if all were well."""
    ending = (Send(chunk(event)), PAUSE, Send(chunk(openai.DONE) + LAST_CHUNK))
    return part_of_stream(take, *ending)


def event(value: Any, name: bytes = b"") -> bytes:
    """Write an event."""
    named = b"event: %b\n" % name if name else b""
    return b"%bdata: %b\n\n" % (named, msgspec.json.encode(value))


# --- usage ------------------------------------------------------------------------

Edit = Callable[[dict[str, Any]], Any]


def unary_usage(edit: Edit) -> Script:
    """A good answer whose usage is an edit of the truth; None leaves it out."""

    def script(request: Request) -> tuple[Step, ...]:
        value = msgspec.json.decode(whole(request))
        usage = edit(value.pop("usage", {}))
        if usage is not None:
            value["usage"] = usage
        return (Send(json_reply(200, value)),)

    return script


def stream_usage(*edits: Edit) -> Script:
    """A good stream whose usage frames are edits of the truth."""
    return lambda request: _played(
        [*frames(request)[:-2], *(_usage_frame(request, edit) for edit in edits)]
    )


def usage_everywhere(request: Request) -> tuple[Step, ...]:
    """A stream in which every frame carries the usage so far."""
    *answer, last, _ = frames(request)
    true = msgspec.json.decode(last[6:])["usage"]
    parts = []
    for index, frame in enumerate(answer):
        so_far = max(0, min(index + 1 - lead(request), WORDS))
        usage = openai.usage_of(true["prompt_tokens"], so_far)
        parts.append(event({**msgspec.json.decode(frame[6:]), "usage": usage}))
    return _played(parts)


def usage_only(request: Request) -> tuple[Step, ...]:
    """A stream of a usage frame and nothing else: no output was made."""
    return _played([_usage_frame(request, no_output)])


def _usage_frame(request: Request, edit: Edit) -> bytes:
    value = msgspec.json.decode(frames(request)[-2][6:])
    return event({**value, "usage": edit(value["usage"])})


def _played(parts: list[bytes]) -> tuple[Step, ...]:
    data = b"".join(chunk(part) for part in parts)
    end = Send(chunk(openai.DONE) + LAST_CHUNK)
    return (Send(openai.stream_head()), Send(data), end)


def without_answer(request: Request) -> tuple[Step, ...]:
    """An answer with a usage and an empty list of whatever was asked for."""
    value = msgspec.json.decode(whole(request))
    name = next(name for name in ("choices", "data", "results") if name in value)
    usage = no_output(value.get("usage") or {})
    return (Send(json_reply(200, {**value, name: [], "usage": usage})),)


def true_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The truth."""
    return usage


def no_usage(_: dict[str, Any]) -> None:
    """Nothing."""


def plain_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The totals without details."""
    return {name: n for name, n in usage.items() if not name.endswith("details")}


def no_output(usage: dict[str, Any]) -> dict[str, Any]:
    """The truth of an answer without output."""
    return {**usage, "completion_tokens": 0, "total_tokens": usage["prompt_tokens"]}


def only(*names: str) -> Edit:
    """Some of its members."""
    return lambda usage: {name: usage[name] for name in names}


def halved(usage: dict[str, Any]) -> dict[str, Any]:
    """An earlier state of a cumulative count."""
    return {**usage, "completion_tokens": usage["completion_tokens"] // 2}


HANG = Hang()
CLOSE = Close()
RESET = Reset()
END = Send(LAST_CHUNK)
