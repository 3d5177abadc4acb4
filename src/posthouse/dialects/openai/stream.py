"""A stream of OpenAI's family, read along frame by frame.

Frames pass untouched. A frame is dropped only when it is the usage frame that
Posthouse asked for and the client did not: empty `choices`, usage set. The
tap never fails on what it does not know: a frame that is JSON but unlike a
chunk passes without being counted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from msgspec import Raw, UnsetType
from typing_extensions import override

from posthouse.dialects.base import ParsedRequest, StreamTap, TappedFrame
from posthouse.dialects.openai.errors import (
    error_code,
    parse_error_member,
    render_error_body,
)
from posthouse.dialects.openai.replies import (
    UsageObject,
    merged_usage,
    reported_usage,
    tier_of,
    with_model,
)
from posthouse.errors import PosthouseError, UpstreamBadResponse
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import Decoder, MalformedJSON
from posthouse.wire.sse import data_frame


class ChoiceReading(NamedTuple):
    """What one choice of a chunk carries."""

    text: str
    """What the model produced, for counting."""
    content: bool
    """Whether it is anything of the answer, text or not."""


class Choice(Protocol):
    """A choice of a chunk, as a dialect declares it."""

    index: int
    finish_reason: str | None

    def read(self) -> ChoiceReading:
        """Tell what the choice carries."""


class Chunk(Protocol):
    """A frame's object, as a dialect declares it."""

    @property
    def choices(self) -> Sequence[Choice]:
        """The choices, possibly none."""

    usage: UsageObject | None
    error: Raw | UnsetType
    service_tier: Raw | UnsetType


_anything = json.decoder(dict[str, Any])

_DONE = TappedFrame(b"data: [DONE]\n\n", terminal=True)
_DROPPED = TappedFrame(b"")


class OpenAIStreamTap(StreamTap):
    """Reads one stream along."""

    __slots__ = (
        "_decoder",
        "_finished",
        "_hide_usage",
        "_object",
        "_public_model",
        "_texts",
        "_wanted",
        "finished",
        "output_bytes",
        "service_tier",
        "usage",
    )

    def __init__(
        self,
        decoder: Decoder[Any],
        object_name: str,
        request: ParsedRequest,
        public_model: str | None,
    ) -> None:
        """Start before the first frame.

        Args:
            decoder: reads the dialect's `Chunk`.
            object_name: what a chunk's `object` says.
            request: the call that the stream answers.
            public_model: replaces the model's name where it is not None.
        """
        self.usage: ReportedUsage | None = None
        self.service_tier: str | None = None
        self.finished = False
        self.output_bytes = 0
        self._decoder = decoder
        self._object = object_name
        self._texts: list[str] = []
        self._finished: set[int] = set()
        self._wanted = request.choices
        self._hide_usage = not request.include_usage
        self._public_model = public_model

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        if not data:
            return TappedFrame(raw)
        if data.startswith(b"[DONE]"):
            return _DONE
        try:
            chunk: Chunk = json.decode_with(self._decoder, data)
        except MalformedJSON:
            return self._unknown(raw, data)
        if not isinstance(chunk.error, UnsetType):
            fault = parse_error_member(bytes(chunk.error))
            if fault is not None:
                raise fault
        content = self._read_choices(chunk.choices) if chunk.choices else False
        if not isinstance(chunk.service_tier, UnsetType):
            self.service_tier = tier_of(chunk.service_tier) or self.service_tier
        if chunk.usage is not None:
            self.usage = merged_usage(self.usage, reported_usage(chunk.usage))
            if self._hide_usage and not chunk.choices:
                return _DROPPED
        if self._public_model is not None:
            raw = data_frame(with_model(data, self._public_model))
        return TappedFrame(raw, content)

    def _read_choices(self, choices: Sequence[Choice]) -> bool:
        """Count what the choices carry; tell whether it was anything."""
        found = False
        for choice in choices:
            text, content = choice.read()
            if text:
                self._texts.append(text)
                # Most text is ASCII, whose length needs no encoding.
                size = len(text) if text.isascii() else len(text.encode())
                self.output_bytes += size
            if choice.finish_reason is not None:
                content = True
                self._finished.add(choice.index)
                self.finished = len(self._finished) >= self._wanted
            found = found or content
        return found

    def _unknown(self, raw: bytes, data: bytes) -> TappedFrame:
        """Pass a frame that is an object but no chunk; refuse what is no JSON."""
        try:
            json.decode_with(_anything, data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        return TappedFrame(raw, content=True)

    @override
    def output_text(self) -> str:
        return "".join(self._texts)

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return data_frame(render_error_body(error))

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        chunk = {
            "object": self._object,
            "choices": [
                {"index": index, "delta": {}, "finish_reason": "length"}
                for index in range(self._wanted)
                if index not in self._finished
            ],
            "posthouse": {"code": error_code(error), "message": error.message},
        }
        return data_frame(json.encode(chunk)), _DONE.raw
