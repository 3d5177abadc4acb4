"""Counting the tokens of a prompt: POST /v1beta/models/{model}:countTokens.

Source: https://ai.google.dev/api/tokens (2026-11).
"""

from msgspec import Struct

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.dialects.gemini_generate.request import (
    parse_request_for,
    render_request,
)
from posthouse.dialects.google.envelope import parse_envelope
from posthouse.errors import InvalidRequest
from posthouse.wire import json

_WHOLE = "generateContentRequest"


def parse_count_for(body: bytes, model: str) -> ParsedRequest:
    """Read what is to be counted; raises InvalidRequest.

    Args:
        body: contents alone, or a whole request under `generateContentRequest`.
        model: its name in the path, without `models/`.
    """
    envelope = parse_envelope(body)
    whole = envelope.get(_WHOLE)
    if whole is None:
        return parse_request_for(body, model, stream=False)
    if "contents" in envelope:
        raise InvalidRequest(
            f"'contents' and '{_WHOLE}' exclude each other", param=_WHOLE
        )
    return parse_request_for(bytes(whole), model, stream=False)


def render_count(tokens: int) -> bytes:
    """Write how many tokens a prompt has."""
    return json.encode({"totalTokens": tokens})


def render_count_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Ask for the tokens of a whole request, which names its model."""
    whole = json.decode_envelope(render_request(request, edits))
    name = edits.model if "/" in edits.model else f"models/{edits.model}"
    return json.encode({_WHOLE: {"model": name, **whole}})


class _Count(Struct, gc=False, rename="camel"):
    total_tokens: int


_count = json.decoder(_Count)


def is_count(body: bytes) -> bool:
    """Whether a reply tells how many tokens a prompt has."""
    return json.fits(_count, body)
