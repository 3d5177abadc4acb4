"""A stream that passes from a provider to a client of this dialect."""

from typing_extensions import override

from posthouse.dialects.anthropic_messages.decoder import AnthropicDecoder
from posthouse.dialects.anthropic_messages.errors import error_frame, event
from posthouse.dialects.anthropic_messages.usage import write_usage
from posthouse.dialects.neutral.passing import PassingTap
from posthouse.dialects.openai.errors import error_code
from posthouse.errors import PosthouseError
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import with_data

_MESSAGE_START = json.raw("message_start")


class AnthropicTap(PassingTap):
    """Reads one stream along; puts the public name into its first frame."""

    __slots__ = ("_blocks", "_public_model")

    def __init__(self, public_model: str | None) -> None:
        """Start before the first frame.

        Args:
            public_model: replaces the model's name where it is not None.
        """
        self._blocks = AnthropicDecoder()
        super().__init__(self._blocks)
        self._public_model = public_model

    @override
    def renamed(self, raw: bytes, data: bytes) -> bytes:
        if self._public_model is None or b"message_start" not in data:
            return raw
        try:
            frame = json.decode_envelope(data)
            message = json.decode_envelope(bytes(frame["message"]))
        except (KeyError, MalformedJSON):
            return raw
        if "model" not in message or frame.get("type") != _MESSAGE_START:
            return raw
        message["model"] = json.raw(self._public_model)
        frame["message"] = json.raw(message)
        return with_data(raw, json.encode(frame))

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        ended = [
            {"type": "content_block_stop", "index": index}
            for index in self._blocks.open_indexes
        ]
        last = {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
            "usage": write_usage(self.usage),
            "posthouse": {"code": error_code(error), "message": error.message},
        }
        frames = [event(str(frame["type"]), json.encode(frame)) for frame in ended]
        if not self.finished:
            frames.append(event("message_delta", json.encode(last)))
        return b"".join(frames), event("message_stop", b'{"type":"message_stop"}')
