"""A moderation request's envelope."""

from msgspec import Struct

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    beginning,
    judged,
    model_name,
    named_models,
    parse_envelope,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.moderation import verdicts_limit
from posthouse.wire import json
from posthouse.wire.json import Envelope

DEFAULT_MODEL = "omni-moderation-latest"
"""OpenAI's default where the request names none."""


class _Part(Struct):
    type: str
    text: str = ""


Input = str | list[str | _Part]
_input = json.decoder(Input | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a moderation request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    texts, images = _read_input(envelope)
    return ParsedRequest(
        operation=Operation.MODERATION,
        envelope=envelope,
        model=model_name(envelope, DEFAULT_MODEL),
        stream=False,
        prompt=PromptSize(
            text_bytes=sum(len(text.encode()) for text in texts), images=images
        ),
        affinity=beginning(envelope["input"]),
        output_limit=0,
        other_models=named_models(envelope),
        worded_limit=verdicts_limit(len(texts)),
    )


def _read_input(envelope: Envelope) -> tuple[list[str], int]:
    """Give the texts and the number of images."""
    value = envelope.get("input")
    entries: Input | None = None if value is None else judged(value, "input", _input)
    if entries is None or entries == []:
        raise InvalidRequest(
            "Missing required parameter: 'input'",
            param="input",
            code="missing_required_parameter",
        )
    if isinstance(entries, str):
        return [entries], 0
    texts = [entry if isinstance(entry, str) else entry.text for entry in entries]
    images = sum(
        isinstance(entry, _Part) and entry.type == "image_url" for entry in entries
    )
    return texts, images


def prompt_text(request: ParsedRequest) -> str:
    """The input's text."""
    return "\n".join(_read_input(request.envelope)[0])
