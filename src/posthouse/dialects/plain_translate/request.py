"""A translation request's envelope."""

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import (
    checked_model_name,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.translating import (
    language,
    texts_in,
    translation_request,
)
from posthouse.errors import InvalidRequest

TEXT_LIMIT = 50
"""The most texts of one request."""
FORMATS = {"text/plain": None, "text/html": "html", "text/xml": "xml"}
"""What the texts may be, and what tags they then hold."""


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    texts = texts_in(envelope, "text")
    if len(texts) > TEXT_LIMIT:
        raise InvalidRequest(
            f"'text' may have at most {TEXT_LIMIT} entries",
            param="text",
            code="array_above_max_length",
        )
    target = optional_text(envelope, "target_language")
    if not target:
        raise InvalidRequest(
            "Missing required parameter: 'target_language'",
            param="target_language",
            code="missing_required_parameter",
        )
    language(target, "target_language")
    source = optional_text(envelope, "source_language")
    if source:
        language(source, "source_language")
    if (optional_text(envelope, "format") or "text/plain") not in FORMATS:
        raise InvalidRequest.not_one_of("format", FORMATS)
    model = optional_text(envelope, "model")
    named = "" if model is None else checked_model_name(model)
    return translation_request(envelope, named, texts)


def prompt_text(request: ParsedRequest) -> str:
    """What is read, for counting."""
    return "\n".join(texts_in(request.envelope, "text"))
