"""Every fault of a provider that a matrix test plays, streamed and not.

`FAULTS` lists them by row of the promises' table (U1 … U20) and variant. A fault
with `behave` is played by a `FakeUpstream`; those of U1 that need no server say
with `target` where the request must lead:

- `server`: a FakeUpstream with `behave`
- `tls`: the same server's port, but called with https
- `refused`, `silent`: `upstream.refusing_origin()`, `upstream.silent_origin()`
- `dns`: `NO_SUCH_HOST`
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import Struct
from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Behave,
    Behaviour,
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

NO_SUCH_HOST = "http://provider.invalid"
RETRY_AFTER_SECONDS = 7
DELIVERED_WORDS = 3
"""Content chunks that precede a fault "after content"."""
SETTLE_SECONDS = 0.02
"""A pause, so that what precedes a fault is read apart from it."""

Target = Literal["server", "tls", "refused", "silent", "dns"]
Steps = Callable[[Request], tuple[Step, ...]]


class Fault(Struct, frozen=True):
    """One cell's cause."""

    row: str
    variant: str
    stream: bool
    target: Target = "server"
    behave: Behave | None = None
    status: int | None = None
    """The HTTP status that the provider answers with, if it answers."""
    before_content: bool = True
    """Whether the fault precedes the first content byte."""

    @property
    def name(self) -> str:
        """A name for a test's id and for the fake's `--behaviour`."""
        form = "stream" if self.stream else "unary"
        return f"fault-{self.row.lower()}-{self.variant}-{form}"


def _error(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """An error object as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _status(status: int, kind: str, headers: tuple[tuple[str, str], ...] = ()) -> Steps:
    """Answer with an error status."""
    body = _error(kind, f"the provider says {status}", f"code_{status}")
    return lambda _: (Send(json_reply(status, body, headers=headers)),)


def _unreadable(body: bytes, content_type: str = "application/json") -> Steps:
    """Answer 200 with a body that is not what was asked for."""
    return lambda _: (Send(reply(200, body, content_type=content_type)),)


def _unary_bytes(request: Request) -> bytes:
    """The body of a good unary answer."""
    return json_reply(200, openai.chat_value(request)).partition(b"\r\n\r\n")[2]


def _events(request: Request, words: int) -> Iterator[bytes]:
    """The first events of a good stream: the role, then some words."""
    wanted = openai.chat_events(request, words, None)
    return (event for _, event in zip(range(words + 1), wanted, strict=False))


def _stream(*ending: Step, words: int, framing: str = "chunked") -> Steps:
    """Begin a good stream, then end it with a fault."""

    def steps(request: Request) -> tuple[Step, ...]:
        events = list(_events(request, words)) if words else []
        if framing == "chunked":
            start, body = openai.stream_head(), b"".join(chunk(e) for e in events)
        else:
            length = 100_000 if framing == "length" else None
            start = head(200, length=length, content_type=openai.EVENT_STREAM)
            body = b"".join(events)
        first = (Send(start), Send(body)) if body else (Send(start),)
        return (*first, Wait(SETTLE_SECONDS), *ending)

    return steps


def _unary(*ending: Step, framing: str = "length") -> Steps:
    """Begin a good unary answer, then end it with a fault in the middle."""

    def steps(request: Request) -> tuple[Step, ...]:
        body = _unary_bytes(request)
        length = len(body) if framing == "length" else None
        start = head(200, length=length)
        half = body[: len(body) // 2]
        return (Send(start + half), Wait(SETTLE_SECONDS), *ending)

    return steps


def _in_band(event: bytes, words: int) -> Steps:
    """A stream that carries an error object and then ends as if all were well."""
    return _stream(Send(chunk(event)), Send(LAST_CHUNK), words=words)


def _with_usage(*usages: dict[str, Any] | None) -> Steps:
    """A stream whose usage chunks are these, whatever is true."""

    def steps(request: Request) -> tuple[Step, ...]:
        count = openai.wanted_words(request)
        events = list(openai.chat_events(request, count, None))
        events += [openai.chat_event(request, None, usage=usage) for usage in usages]
        body = b"".join(chunk(event) for event in events)
        end = Send(chunk(openai.DONE) + LAST_CHUNK)
        return (Send(openai.stream_head()), Send(body), end)

    return steps


def _cumulative(request: Request) -> tuple[Step, ...]:
    """A stream in which every chunk carries the usage so far."""
    true = openai.chat_usage(request)
    prompt = true["prompt_tokens"]
    parts = []
    for index, word in enumerate(openai.words(true["completion_tokens"])):
        usage = openai.usage_of(prompt, index + 1)
        parts.append(openai.chat_event(request, {"content": word}, usage=usage))
    parts.append(openai.chat_event(request, {}, finish_reason="stop", usage=true))
    body = b"".join(chunk(part) for part in parts)
    end = Send(chunk(openai.DONE) + LAST_CHUNK)
    return (Send(openai.stream_head()), Send(body), end)


def _usage_stream(edit: Callable[[dict[str, Any]], Any]) -> Steps:
    """A stream whose one usage chunk is an edit of the truth."""
    return lambda request: _with_usage(edit(openai.chat_usage(request)))(request)


def _usage_unary(edit: Callable[[dict[str, Any]], Any]) -> Steps:
    """An unary answer whose usage is an edit of the truth; None leaves it out."""

    def steps(request: Request) -> tuple[Step, ...]:
        value = openai.chat_value(request)
        usage = edit(value.pop("usage"))
        if usage is not None:
            value["usage"] = usage
        return (Send(json_reply(200, value)),)

    return steps


def _usage_twice(request: Request) -> tuple[Step, ...]:
    """A stream that says its usage twice."""
    true = openai.chat_usage(request)
    return _with_usage(true, true)(request)


def _usage_only(request: Request) -> tuple[Step, ...]:
    """A stream of a usage chunk and nothing else: no output was made."""
    usage = openai.usage_of(openai.chat_usage(request)["prompt_tokens"], 0)
    event = openai.chat_event(request, None, usage=usage)
    end = Send(chunk(openai.DONE) + LAST_CHUNK)
    return (Send(openai.stream_head()), Send(chunk(event)), end)


def _usage_without_answer(request: Request) -> tuple[Step, ...]:
    """An unary answer with a usage and no choice."""
    usage = openai.usage_of(openai.chat_usage(request)["prompt_tokens"], 0)
    value = {**openai.chat_value(request), "choices": [], "usage": usage}
    return (Send(json_reply(200, value)),)


def _plain(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage without its details."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: usage[name] for name in names}


_ERROR = _error("server_error", "the provider broke off", "provider_broke")
_ERROR_JSON = json_reply(200, _ERROR).partition(b"\r\n\r\n")[2]
_DATA_ERROR = b"data: %b\n\n" % _ERROR_JSON
_EVENT_ERROR = b"event: error\ndata: %b\n\n" % _ERROR_JSON
_LOCATION = (("Location", "http://127.0.0.1:9/elsewhere"),)
_HTML = b"<!doctype html><title>Bad gateway</title><p>Try again later"
_RETRY = (("Retry-After", str(RETRY_AFTER_SECONDS)),)

# Variants that answer a streamed and an unary request alike.
_ALIKE: tuple[tuple[str, str, int | None, Steps], ...] = (
    ("U2", "reset", None, lambda _: (Reset(),)),
    ("U2", "close", None, lambda _: (Close(),)),
    ("U3", "retry-after", 429, _status(429, "rate_limit_exceeded", _RETRY)),
    ("U3", "plain", 429, _status(429, "rate_limit_exceeded")),
    *(("U4", str(s), s, _status(s, "server_error")) for s in (500, 502, 503, 504, 529)),
    *(("U5", str(s), s, _status(s, "authentication_error")) for s in (401, 402, 403)),
    *(("U6", str(s), s, _status(s, "invalid_request_error")) for s in (400, 404, 422)),
    *(
        ("U7", str(s), s, _status(s, "redirect", _LOCATION))
        for s in (301, 302, 303, 307, 308)
    ),
    ("U8", "html", 200, _unreadable(_HTML, "text/html")),
)

# Variants of an unary answer, and of a streamed one: name, before content, steps.
_UNARY: tuple[tuple[str, str, Steps], ...] = (
    ("U8", "invalid-json", _unreadable(b'{"id": "x", "choices": [')),
    ("U8", "wrong-type", _unreadable(b'["not", "an", "object"]')),
    ("U8", "empty", _unreadable(b"")),
    ("U9", "truncated", _unary(Close())),
    ("U14", "reset", _unary(Reset())),
    ("U15", "eof", _unary(Close(), framing="eof")),
    ("U16", "stall", _unary(Hang())),
    ("U19", "error-object", _unreadable(_ERROR_JSON)),
    ("U20", "no-usage", _usage_unary(lambda _: None)),
    ("U20", "usage-only", _usage_without_answer),
    ("U20", "no-details", _usage_unary(_plain)),
)
_SSE = openai.EVENT_STREAM
_N = DELIVERED_WORDS
_STREAMED: tuple[tuple[str, str, bool, Steps], ...] = (
    ("U8", "invalid-json", True, _unreadable(b'data: {"choices": [\n\n', _SSE)),
    ("U8", "wrong-type", True, _unreadable(b"data: [1, 2]\n\n", _SSE)),
    ("U8", "empty", True, _unreadable(b"", _SSE)),
    ("U9", "truncated", False, _stream(Close(), words=_N, framing="length")),
    ("U14", "reset-first", True, _stream(Reset(), words=0)),
    ("U14", "reset", False, _stream(Reset(), words=_N)),
    ("U15", "eof-first", True, _stream(Close(), words=0, framing="eof")),
    ("U15", "eof", False, _stream(Close(), words=_N, framing="eof")),
    ("U15", "whole-body", False, _stream(Send(LAST_CHUNK), words=_N)),
    ("U16", "stall-first", True, _stream(Hang(), words=0)),
    ("U16", "stall", False, _stream(Hang(), words=_N)),
    ("U19", "data-first", True, _in_band(_DATA_ERROR, 0)),
    ("U19", "event-first", True, _in_band(_EVENT_ERROR, 0)),
    ("U19", "data", False, _in_band(_DATA_ERROR, _N)),
    ("U19", "event", False, _in_band(_EVENT_ERROR, _N)),
    ("U20", "no-usage", False, _with_usage()),
    ("U20", "usage-only", True, _usage_only),
    ("U20", "usage-twice", False, _usage_twice),
    ("U20", "cumulative", False, _cumulative),
    ("U20", "no-details", False, _usage_stream(_plain)),
)


def _played(name: str, steps: Steps, row: str) -> Behave:
    """Make a behaviour of steps; only U20's answers amount to something."""

    def behave(request: Request) -> Behaviour:
        usage = openai.chat_usage(request) if row == "U20" else None
        return Behaviour(name, steps(request), usage)

    return behave


def _fault(row: str, variant: str, steps: Steps, *, stream: bool, **more: Any) -> Fault:
    """Make a fault that a server plays."""
    bare = Fault(row, variant, stream, **more)
    behave = _played(bare.name, steps, row)
    return Fault(row, variant, stream, behave=behave, **more)


def _all() -> Iterator[Fault]:
    """List every fault in the order of the table."""
    for stream in (False, True):
        for target in ("refused", "silent", "dns", "tls"):
            yield Fault("U1", target, stream, target)
        at_accept = Behaviour("at-accept", (Reset(),), before_reading=True)
        yield Fault("U2", "at-accept", stream, behave=AtAccept(at_accept))
        for row, variant, status, steps in _ALIKE:
            yield _fault(row, variant, steps, stream=stream, status=status)
    for row, variant, steps in _UNARY:
        yield _fault(row, variant, steps, stream=False, status=200)
    for row, variant, first, steps in _STREAMED:
        yield _fault(row, variant, steps, stream=True, status=200, before_content=first)


class AtAccept:
    """Plays one behaviour to every connection before it asks for anything."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def __call__(self, request: Request) -> Behaviour:
        return self._behaviour

    def at_accept(self, _: int) -> Behaviour:
        """Give the behaviour."""
        return self._behaviour


FAULTS: tuple[Fault, ...] = tuple(_all())
ROWS = ("U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8", "U9", "U14", "U15", "U16",
        "U19", "U20")  # fmt: skip
