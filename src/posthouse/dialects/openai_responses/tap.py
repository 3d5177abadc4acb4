"""A stream of Responses that passes, read along."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.passing import PassingTap
from posthouse.dialects.openai.errors import error_code
from posthouse.dialects.openai_responses.decoder import ResponsesDecoder
from posthouse.dialects.openai_responses.errors import failed_frames, frame
from posthouse.errors import PosthouseError
from posthouse.model.chat_events import ChatEvent, Started
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import with_data


class ResponsesTap(PassingTap):
    """Reads one stream along; see `PassingTap`."""

    __slots__ = ("_public_model", "_reader", "_started")

    def __init__(self, request: ParsedRequest, public_model: str | None) -> None:
        """Start before the first frame.

        Args:
            request: the call that the stream answers.
            public_model: replaces the model's name where it is not None.
        """
        self._reader = ResponsesDecoder()
        super().__init__(self._reader, request.choices)
        self._public_model = public_model
        self._started: Started | None = None

    @override
    def take(self, event: ChatEvent) -> bool:
        if type(event) is Started:
            self._started = event
        return super().take(event)

    @override
    def renamed(self, raw: bytes, data: bytes) -> bytes:
        if self._public_model is None or b'"response"' not in data:
            return raw
        try:
            event = json.decode_envelope(data)
            response = json.decode_envelope(bytes(event["response"]))
        except (MalformedJSON, KeyError):
            return raw
        if "model" not in response:
            return raw
        response["model"] = json.raw(self._public_model)
        event["response"] = json.raw(response)
        return with_data(raw, json.encode(event))

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return failed_frames(error, self._reader.sequence + 1, self._head())

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        response = {
            **self._head(),
            "status": "incomplete",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            "posthouse": {"code": error_code(error), "message": error.message},
        }
        told = {
            "type": "response.incomplete",
            "sequence_number": self._reader.sequence + 1,
            "response": response,
        }
        return b"", frame(told)

    def _head(self) -> dict[str, Any]:
        """What the response is called, as far as it has been told."""
        started = self._started or Started("")
        return {
            "id": started.id or "resp_unknown",
            "object": "response",
            "created_at": started.created or 0,
            "model": self._public_model or started.model or "",
        }
