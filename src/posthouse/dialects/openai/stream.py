"""A stream of OpenAI's family, read along frame by frame.

Frames pass untouched. A frame is dropped only when it is the usage frame that
Posthouse asked for and the client did not: empty `choices`, usage set. The
tap never fails on what it does not know: a frame that is an object but unlike a
chunk passes without being counted, and one that only a lenient parser reads
(half a surrogate pair, broken UTF-8) is read by one.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest, TappedFrame
from posthouse.dialects.neutral.kept_text import KeepsText
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.dialects.openai.errors import (
    error_code,
    error_frame,
    fault_in,
)
from posthouse.dialects.openai.replies import (
    reported_usage,
    tier_of,
    with_model,
    with_model_leniently,
)
from posthouse.errors import PosthouseError, UpstreamBadResponse
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import Decoder, MalformedJSON
from posthouse.wire.sse import data_frame, event_name, with_data

MOST_CUT_OFF = 128
"""Choices that are told of an end before their end."""


class Choice(Protocol):
    """A choice of a chunk, as a dialect declares it."""

    index: Any
    finish_reason: Any
    usage: Any
    """Moonshot reports in the choice: https://platform.moonshot.cn/docs."""

    def read(self) -> tuple[str, bool]:
        """Give the text that it carries, and whether it is any of the answer."""


class Chunk(Protocol):
    """A frame's object, as a dialect declares it."""

    @property
    def choices(self) -> Sequence[Choice] | None:
        """The choices, possibly none."""

    usage: Any
    error: Any
    service_tier: Any


_DROPPED = TappedFrame(b"")


class OpenAIStreamTap(KeepsText):
    """Reads one stream along."""

    __slots__ = (
        "_decoder",
        "_finished",
        "_hide_usage",
        "_object",
        "_public_model",
        "_wanted",
        "finished",
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
        super().__init__()
        self.usage: ReportedUsage | None = None
        self.service_tier: str | None = None
        self.finished = False
        self._decoder = decoder
        self._object = object_name
        self._finished: set[int] = set()
        self._wanted = request.choices
        self._hide_usage = not request.include_usage
        self._public_model = public_model

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        if not data:
            return _without_data(raw)
        chunk: Chunk | None
        try:
            chunk = json.decode_with(self._decoder, data)
        except MalformedJSON:
            if data.startswith(b"[DONE]"):
                return TappedFrame(raw, terminal=True)
            chunk = self._decode_oddity(data)
        if chunk is None:
            return TappedFrame(self._renamed(raw, data), content=True)
        choices = chunk.choices
        if chunk.error or not (choices or chunk.usage):
            _refuse_error(raw, data)
        content = self._read_choices(choices) if choices else False
        if chunk.service_tier is not None:
            self.service_tier = tier_of(chunk.service_tier) or self.service_tier
        if chunk.usage is not None:
            self.usage = merged_usage(self.usage, reported_usage(chunk.usage))
            if self._hide_usage and self.usage is not None and not choices:
                return _DROPPED
        if self._public_model is not None:
            raw = self._renamed(raw, data)
        return TappedFrame(raw, content)

    def _read_choices(self, choices: Sequence[Choice]) -> bool:
        """Count what the choices carry; tell whether it was anything."""
        found = False
        for choice in choices:
            text, content = choice.read()
            if text:
                self._texts.append(text)
                # Most text is ASCII, whose length needs no encoding.
                size = (
                    len(text) if text.isascii() else len(text.encode(errors="replace"))
                )
                self.output_bytes += size
            if choice.finish_reason:
                content = True
                self._finish(choice.index)
            if choice.usage is not None:
                self.usage = merged_usage(self.usage, reported_usage(choice.usage))
            found = found or content
        return found

    def _finish(self, index: Any) -> None:
        if isinstance(index, int):
            self._finished.add(index)
        self.finished = len(self._finished) >= self._wanted

    def _renamed(self, raw: bytes, data: bytes) -> bytes:
        """Give the frame under the model's public name."""
        if self._public_model is None:
            return raw
        try:
            renamed = with_model(data, self._public_model)
        except MalformedJSON:
            renamed = with_model_leniently(data, self._public_model)
        return raw if renamed == data else with_data(raw, renamed)

    def _decode_oddity(self, data: bytes) -> Chunk | None:
        """Read what the decoder refused; None if it is unlike a chunk.

        Raises UpstreamFault for an error, and for what is no JSON object at all.
        """
        try:
            value = json.decode_leniently(data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict):
            raise UpstreamBadResponse
        try:
            chunk: Chunk = json.convert(value, self._decoder.type)
        except MalformedJSON:
            fault = fault_in(value)
            if fault is not None:
                raise fault from None
            return None
        return chunk

    # --- what it has come to ----------------------------------------------------

    @override
    def close(self) -> TappedFrame | None:
        return None

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        chunk = {
            "object": self._object,
            "choices": [
                {"index": index, "delta": {}, "finish_reason": "length"}
                for index in range(min(self._wanted, MOST_CUT_OFF))
                if index not in self._finished
            ],
            "posthouse": {"code": error_code(error), "message": error.message},
        }
        return data_frame(json.encode(chunk)), data_frame(b"[DONE]")


def _without_data(raw: bytes) -> TappedFrame:
    """Pass a comment; raises UpstreamFault for an error that is no event at all."""
    if raw.lstrip()[:1] == b"{":
        _refuse_error(raw, raw)
    return TappedFrame(raw)


def _refuse_error(raw: bytes, data: bytes) -> None:
    """Raise UpstreamFault if a frame tells of an error."""
    try:
        value = json.decode_leniently(data)
    except MalformedJSON:
        # The decoder skipped something that a parser has to read.
        return
    fault = fault_in(value, told=event_name(raw) == b"error")
    if fault is not None:
        raise fault
