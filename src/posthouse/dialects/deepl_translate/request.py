"""A translation request's envelope, read from JSON or from a form.

A form's members are texts; those that are flags or lists in JSON become that, so
that providers are asked in one way.
"""

from urllib.parse import parse_qsl

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai.envelope import (
    checked_model_name,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.translating import (
    CONTEXT_LIMIT,
    language,
    texts_in,
    translation_request,
)
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope

TEXT_LIMIT = 50
"""The most texts of one request."""
MEMBER_LIMIT = 1_000
"""The most members of a form."""

_FLAGS = frozenset({"preserve_formatting", "outline_detection"}) | {
    "show_billed_characters",
    "enable_beta_languages",
}
_LISTS = frozenset({"non_splitting_tags", "splitting_tags", "ignore_tags"})
_TRUE = frozenset({"1", "true"})


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request in JSON; raises InvalidRequest."""
    return _parse(parse_envelope(body))


def parse_form_request(body: bytes) -> ParsedRequest:
    """Read a request that is a form (`x-www-form-urlencoded`)."""
    return _parse(_envelope_of(body))


def _envelope_of(body: bytes) -> Envelope:
    """Give what JSON would have said; raises InvalidRequest."""
    members: dict[str, object] = {}
    texts: list[str] = []
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MEMBER_LIMIT,
        )
    except ValueError:
        raise InvalidRequest("The form of your request is malformed") from None
    for name, value in pairs:
        if name == "text":
            texts.append(value)
        elif name in _FLAGS:
            members[name] = value in _TRUE
        elif name in _LISTS:
            members[name] = [tag.strip() for tag in value.split(",") if tag.strip()]
        else:
            members[name] = value
    if texts:
        members["text"] = texts
    return {name: json.raw(value) for name, value in members.items()}


def _parse(envelope: Envelope) -> ParsedRequest:
    texts = texts_in(envelope, "text")
    if len(texts) > TEXT_LIMIT:
        raise InvalidRequest(
            f"Too many texts: at most {TEXT_LIMIT} in one request",
            param="text",
            code="array_above_max_length",
        )
    target = optional_text(envelope, "target_lang")
    if not target:
        raise InvalidRequest(
            "Parameter 'target_lang' not specified.",
            param="target_lang",
            code="missing_required_parameter",
        )
    language(target, "target_lang")
    source = optional_text(envelope, "source_lang")
    if source:
        language(source, "source_lang")
    context = optional_text(envelope, "context") or ""
    if len(context) > CONTEXT_LIMIT:
        raise InvalidRequest(
            f"'context' may have at most {CONTEXT_LIMIT} characters",
            param="context",
            code="string_above_max_length",
        )
    # One text alone is taken as well; to providers it is a list.
    envelope["text"] = json.raw(texts)
    model = optional_text(envelope, "model")
    if model is None:
        envelope.pop("model", None)
    named = "" if model is None else checked_model_name(model)
    return translation_request(envelope, named, texts, context)


def prompt_text(request: ParsedRequest) -> str:
    """What is read, for counting."""
    envelope = request.envelope
    context = optional_text(envelope, "context") or ""
    return "\n".join((*texts_in(envelope, "text"), context))
