"""Reading the top level of a body, known names in one spelling.

Source: the protocol buffers' JSON mapping, https://protobuf.dev/programming-guides/json
(2026-11).
"""

from typing import Any

from posthouse.dialects.google.names import camel
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_ACTED_ON = {
    name.casefold(): name
    for name in (
        "allowedFunctionNames",
        "cachedContent",
        "candidateCount",
        "content",
        "contents",
        "functionDeclarations",
        "generationConfig",
        "maxOutputTokens",
        "model",
        "requests",
        "routingConfig",
        "serviceTier",
        "stream",
        "systemInstruction",
        "toolConfig",
        "tools",
    )
}


def parse_envelope(body: bytes) -> Envelope:
    """Decode a body's top level, known names in one spelling; raises InvalidRequest."""
    try:
        envelope = json.decode_envelope(body)
    except MalformedJSON as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}",
            code="invalid_json",
        ) from None
    return one_spelling(envelope)


def one_spelling(members: Envelope) -> Envelope:
    """Turn known names to Google's own; raises InvalidRequest.

    What is acted on may stand there once only, and not in a spelling that just
    some servers would take for it.
    """
    found: Envelope = {}
    for name, value in members.items():
        written = camel(name)
        meant = _ACTED_ON.get(written.replace("_", "").casefold())
        if written in found or (meant is not None and meant != written):
            raise InvalidRequest(
                f"Unknown or repeated parameter; did you mean '{meant or written}'?",
                param=name[:64],
                code="unknown_parameter",
            )
        found[written] = value
    return found


def listed(value: Any) -> list[Any]:
    """One object may stand for a list of one, as Google's own examples have it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
