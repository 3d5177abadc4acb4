"""A native request for Qwen's pictures, judged."""

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    beginning,
    count,
    judged,
    judged_once,
    model_name,
    optional_object,
    parse_envelope,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

MOST_PICTURES = 6
_COUNTED = frozenset({"n"})


class _Content(Struct):
    text: str | None = None
    image: str | None = None


class _Message(Struct):
    content: list[_Content]


class _Input(Struct):
    messages: list[_Message]


_input = json.decoder(_Input | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    texts, images = _read(envelope)
    options = judged_once(envelope, "parameters", optional_object, _COUNTED) or {}
    wanted = count(options, "n", highest=MOST_PICTURES) or 1
    prompt = "\n".join(texts)
    return ParsedRequest(
        operation=Operation.IMAGE_EDIT if images else Operation.IMAGE,
        envelope=envelope,
        model=model_name(envelope),
        stream=False,
        prompt=PromptSize(text_bytes=len(prompt.encode()), images=images),
        affinity=beginning(Raw(prompt.encode() or b" ")),
        choices=wanted,
        output_limit=0,
        counted={"image": wanted},
    )


def _read(envelope: Envelope) -> tuple[list[str], int]:
    """Give the texts, and how many pictures there are."""
    value = envelope.get("input")
    found: _Input | None = None if value is None else judged(value, "input", _input)
    if found is None:
        raise InvalidRequest(
            "Missing required parameter: 'input'",
            param="input",
            code="missing_required_parameter",
        )
    contents = [one for message in found.messages for one in message.content]
    texts = [one.text for one in contents if one.text]
    return texts, sum(1 for one in contents if one.image)


def prompt_text(request: ParsedRequest) -> str:
    """The texts."""
    return "\n".join(_read(request.envelope)[0])
