"""An embeddings request's envelope."""

from typing import Any

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    beginning,
    bytes_of_entries,
    count_entries,
    model_name,
    named_models,
    optional_text,
    parse_envelope,
    read_entries,
    text_of_entries,
)
from posthouse.dialects.openai.kinds import EMBEDDING, check_kinds
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire.json import Envelope

INPUT_LIMIT = 2048
"""The most entries of one request."""


def parse_request(body: bytes) -> ParsedRequest:
    """Read an embeddings request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    check_kinds(envelope, EMBEDDING)
    entries = read_entries(envelope, "input")
    if count_entries(entries) > INPUT_LIMIT:
        raise InvalidRequest(
            f"'input' may have at most {INPUT_LIMIT} entries",
            param="input",
            code="array_above_max_length",
        )
    return ParsedRequest(
        operation=Operation.EMBEDDING,
        envelope=envelope,
        model=model_name(envelope),
        stream=False,
        prompt=PromptSize(text_bytes=bytes_of_entries(entries)),
        affinity=beginning(envelope["input"]),
        output_limit=0,
        other_models=named_models(envelope),
        wants_base64=_wants_base64(envelope),
        token_input=not isinstance(entries, str) and not isinstance(entries[0], str),
    )


def token_inputs(request: ParsedRequest) -> list[list[int]]:
    """Give every input's tokens, where they are no texts."""
    entries: Any = read_entries(request.envelope, "input")
    return [entries] if isinstance(entries[0], int) else entries


def _wants_base64(envelope: Envelope) -> bool:
    """Read the encoding; floats are OpenAI's default."""
    encoding = optional_text(envelope, "encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidRequest.not_one_of("encoding_format", ("float", "base64"))
    return encoding == "base64"


def prompt_text(request: ParsedRequest) -> str:
    """The input's text; tokens given as numbers have none."""
    return text_of_entries(read_entries(request.envelope, "input"))
