"""OpenAI's Realtime API: events both ways over a WebSocket, `/v1/realtime`.

Source: the event schemas of OpenAI's SDKs (`types.realtime`, 3.51) and its guide
of what a session costs (developers.openai.com, 2026-11). The names of the beta's
events and members are read as well. Events pass as they came; what is read here
is what routing and money need.
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    PromptSize,
    StreamTap,
)
from posthouse.dialects.openai import errors
from posthouse.errors import UpgradeRequired
from posthouse.model.call import Operation
from posthouse.wire import json

INTENT, TRANSCRIPTION = "intent", "transcription"
"""What addresses say of sessions that only write down what is said."""
HELD_SECONDS = 60
"""Of sound that such a session, and each piece of it, holds money for at first."""
USUAL_OUTPUT = 4_096
"""Tokens of an answer whose session has no limit: what its hold begins with."""


def session_request(model: str, *, transcribes: bool = False) -> ParsedRequest:
    """A session of a model, as routing and money see it.

    Args:
        model: its name.
        transcribes: what is said is written down, and never answered.
    """
    return ParsedRequest(
        operation=Operation.REALTIME,
        envelope={INTENT: json.raw(TRANSCRIPTION)} if transcribes else {},
        model=model,
        stream=True,
        prompt=PromptSize(),
        affinity=b"",
        output_limit=USUAL_OUTPUT,
        counted={"second": HELD_SECONDS} if transcribes else {},
    )


def transcribes(request: ParsedRequest) -> bool:
    """Whether a session writes down what is said, and never answers."""
    return INTENT in request.envelope


class OpenAIRealtime(Dialect):
    """The dialect's object; of `Dialect` it has what a session needs.

    There is no request and no reply in one piece: see `client_events` and
    `server_events`.
    """

    name = "openai_realtime"
    manners = errors.MANNERS
    parse_error = staticmethod(errors.parse_error)

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        raise UpgradeRequired

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return b""

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return ParsedReply(body, None, None, str)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return ""


DIALECT = OpenAIRealtime()
