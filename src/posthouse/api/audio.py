"""OpenAI's routes for speech and for what is said in it.

Azure's deployments lead to the same operations: there the path names the model, and
bodies need not.
"""

from functools import partial

from posthouse.api.calls import Calls, Deployment
from posthouse.dialects.base import MediaDialect, ParsedRequest
from posthouse.relay.prepare import find_dialect
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import MalformedForm, is_form, read_form, render_form

_OPERATIONS = {
    "audio/speech": "openai_speech",
    "audio/transcriptions": "openai_transcription",
    "audio/translations": "openai_audio_translation",
}


class AudioRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls
        for path, name in _OPERATIONS.items():
            calls.deployments[path] = self._deployment(name)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(("POST",), f"/v1/{path}", self._calls.media(name))
            for path, name in _OPERATIONS.items()
        ]

    def _deployment(self, name: str) -> Deployment:
        """The handler of /openai/deployments/{model}/audio/…: Azure's way to ask."""
        dialect = find_dialect(name)
        if not isinstance(dialect, MediaDialect):
            raise TypeError(f"{name} has no sound")

        async def handle(request: Request, model: str) -> None:
            kind = request.header(b"content-type") or b""
            parse = (
                partial(_form_for, dialect, model, kind)
                if is_form(kind)
                else partial(_json_for, dialect, model)
            )
            await self._calls.serve(request, dialect, parse)

        return handle


def _json_for(dialect: MediaDialect, model: str, body: bytes) -> ParsedRequest:
    """Judge a JSON body as if it named the model that the path names."""
    try:
        named = {**json.decode_envelope(body), "model": json.raw(model)}
    except MalformedJSON:
        return dialect.parse_request(body)
    return dialect.parse_request(json.encode(named))


def _form_for(
    dialect: MediaDialect, model: str, kind: bytes, body: bytes
) -> ParsedRequest:
    """Judge a form as if it named the model that the path names."""
    try:
        named = render_form(read_form(kind, body).with_text("model", model))
    except MalformedForm:
        return dialect.parse_form(kind, body)
    return dialect.parse_form(named.content_type, named.data)
