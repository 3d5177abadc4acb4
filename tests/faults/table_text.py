"""U17, U21 and U22: streams without end, usage that cannot be, odd events."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes import openai
from tests.fakes.steps import LAST_CHUNK, Request, Send, Step, Wait, chunk, head
from tests.faults import scripts
from tests.faults.scripts import Script
from tests.faults.variation import (
    ANSWERING,
    BAD,
    USUAL_MEMORY,
    Expected,
    Operation,
    Quantities,
    Variation,
    truth,
)

# --- U17 --------------------------------------------------------------------------


def _wordy(request: Request, text: str) -> bytes:
    """A frame of the request's operation with some text."""
    chat = request.target.endswith("/chat/completions")
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    choice |= {"delta": {"content": text}} if chat else {"text": text}
    return scripts.event({"choices": [choice]})


def _without_end(pause: float, text: str) -> Script:
    """Words for longer than anybody listens."""

    def script(request: Request) -> tuple[Step, ...]:
        frame = Send(chunk(_wordy(request, text)))
        return (Send(openai.stream_head()), *(frame, Wait(pause)) * 1000)

    return script


def _endless_body(_: Request) -> tuple[Step, ...]:
    part = Send(chunk(b" " * 65_536))
    return (Send(head(200, chunked=True)), *(part,) * 100)


def endless() -> Iterator[Variation]:
    """U17: more than anybody can want, in time, bytes or money."""
    whole = {"posthouse.relay.unary.REPLY_LIMIT": 1 << 20}
    yield Variation("U17", "body", BAD, _endless_body, ("unary",), patches=whole)
    size = {"posthouse.relay.stream.STREAM_LIMIT": 16_000}
    for name, code, script, more in (
        (
            "time",
            "upstream_timeout",
            _without_end(0.01, "word "),
            {"limits": "{ connect = 2, first_byte = 2, idle = 2, total = 0.4 }"},
        ),
        (
            "bytes",
            "upstream_bad_response",
            _without_end(0.001, "word " * 100),
            {"patches": size},
        ),
        (
            "money",
            "insufficient_quota",
            _without_end(0.001, "word " * 200),
            {"balance": "0.034", "asked": {"max_tokens": None}},
        ),
    ):
        cut = Expected(served=True, cut=code, discarded=True)
        forms = ("stream",)
        yield Variation("U17", name, cut, script, forms, ANSWERING, **more)  # type: ignore[arg-type]


# --- U21 --------------------------------------------------------------------------

_TOKENS: tuple[Operation, ...] = ("chat", "completion", "embedding")


def _each(value: Any) -> scripts.Edit:
    """Every count of a usage is this, and there are no details."""
    return lambda usage: {
        name: value for name in usage if not name.endswith("_details")
    }


def _no_prompt(usage: dict[str, Any]) -> dict[str, Any]:
    return {**scripts.plain_usage(usage), "prompt_tokens": 0}


def _output_only(usage: Quantities) -> Quantities:
    return {unit: count for unit, count in usage.items() if unit == "output"}


def impossible_usages() -> Iterator[Variation]:
    """U21: what cannot be is charged as we count it, and told."""
    counted = Expected(served=True, alert=True)
    unread = Expected(served=True, alert=True, usage=_output_only, prompt_counted=True)
    for name, edit, expected in (
        ("negative", _each(-7), counted),
        ("fraction", _each(12.5), counted),
        ("text", _each("12"), counted),
        ("absurd", _each(10**12), counted),
        ("more-than-64-bits", _each(2**70), counted),
        ("no-prompt", _no_prompt, unread),
    ):
        unary = scripts.unary_usage(edit)
        yield Variation("U21", name, expected, unary, ("unary",), _TOKENS)
        stream = scripts.stream_usage(edit)
        yield Variation("U21", name, expected, stream, ("stream",), ANSWERING)


# --- U22 --------------------------------------------------------------------------

_SEPARATORS = "\u2028\u2029\x85"
_CONTROLS = b"\x0b\x0c\x1c\x1d\x1e"
Edit = Callable[[Request, list[bytes]], bytes]


def _played(edit: Edit, *, piece: int = 0, apart: bool = False) -> Script:
    """The good stream, written otherwise.

    Args:
        edit: writes the stream's bytes from its frames.
        piece: bytes of a chunk; 0: all in one.
        apart: whether each chunk is written by itself.
    """

    def script(request: Request) -> tuple[Step, ...]:
        data = edit(request, scripts.frames(request))
        size = piece or len(data)
        chunks = [chunk(data[at : at + size]) for at in range(0, len(data), size)]
        sent = chunks if apart else [b"".join(chunks)]
        return (Send(openai.stream_head()), *map(Send, sent), Send(LAST_CHUNK))

    return script


def _plain(_: Request, frames: list[bytes]) -> bytes:
    return b"".join(frames)


def _ends(*ends: bytes) -> Edit:
    """Lines that end otherwise, in turn."""

    def edit(_: Request, frames: list[bytes]) -> bytes:
        given = iter(ends * (2 * len(frames)))
        return re.sub(b"\n", lambda _: next(given), b"".join(frames))

    return edit


def _framed(before: bytes = b"", after: bytes = b"") -> Edit:
    """Something before and after each frame."""
    return lambda _, frames: b"".join(before + frame + after for frame in frames)


def _no_space(_: Request, frames: list[bytes]) -> bytes:
    return b"".join(frame.replace(b"data: ", b"data:", 1) for frame in frames)


def _over_lines(_: Request, frames: list[bytes]) -> bytes:
    """Each value over two lines."""
    return b"".join(frame.replace(b",", b"\ndata: ,", 1) for frame in frames)


def _saying(text: bytes) -> Edit:
    """One more word, written as it stands."""

    def edit(request: Request, frames: list[bytes]) -> bytes:
        said = _wordy(request, "{text}").replace(b"{text}", text)
        return b"".join([*frames[:2], said, *frames[2:]])

    return edit


_BOM = b"\xef\xbb\xbf"
_STREAMS: tuple[tuple[str, Script], ...] = (
    ("crlf", _played(_ends(b"\r\n"))),
    ("cr", _played(_ends(b"\r"))),
    ("mixed-ends", _played(_ends(b"\r\n", b"\n", b"\r", b"\r"))),
    ("bom", _played(lambda _, frames: _BOM + b"".join(frames))),
    ("comments", _played(_framed(b": waiting\n\n:\n", b":\n\n"))),
    ("no-space", _played(_no_space)),
    ("no-colon", _played(_framed(b"data\n\n"))),
    ("several-lines", _played(_over_lines)),
    ("other-fields", _played(_framed(b"id: 7\nretry: 10\nevent: message\nx: y\n"))),
    ("nul", _played(_framed(b"id: a\0b\n: \0\n"))),
    ("byte-by-byte", _played(_plain, piece=1)),
    ("byte-by-byte-apart", _played(_plain, piece=1, apart=True)),
    ("crlf-byte-by-byte", _played(_ends(b"\r\n"), piece=1, apart=True)),
    ("5-mb-event", _played(_saying(b"x" * 5_000_000))),
    ("separators", _played(_saying(_SEPARATORS.encode()))),
    ("escaped-separators", _played(_saying(rb"\u2028\u000b\u001c\u0085"))),
    ("controls", _played(_saying(_CONTROLS))),
    ("split-utf-8", _played(_saying("驿站\U0001f40e".encode()), piece=1, apart=True)),
    ("invalid-utf-8", _played(_saying(b"\xff\xfe\xc3"))),
    ("half-a-pair", _played(_saying(rb"\ud83d"))),
    ("no-last-line", _played(lambda _, frames: b"".join(frames)[:-2])),
)


def oddities() -> Iterator[Variation]:
    """U22: the same events, however they are written and cut."""
    same = Expected(served=True, usage=truth, answer="events")
    for name, script in _STREAMS:
        memory = 128 << 20 if name == "5-mb-event" else USUAL_MEMORY
        yield Variation(
            "U22", name, same, script, ("stream",), ANSWERING, memory=memory
        )
