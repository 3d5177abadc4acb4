"""OpenAI's routes for speech and for what is said in it.

Azure's deployments lead to the same operations: there the path names the model, and
bodies need not.
"""

from posthouse.api.calls import Calls, Deployment
from posthouse.api.deployments import media_parser
from posthouse.dialects.base import MediaDialect
from posthouse.relay.prepare import find_dialect
from posthouse.server.request import Request
from posthouse.server.routes import Route

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
            parse = media_parser(dialect, kind, model)
            await self._calls.serve(request, dialect, parse)

        return handle
