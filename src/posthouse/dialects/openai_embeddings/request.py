"""An embeddings request's envelope."""

from msgspec import Raw

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    judged,
    model_name,
    named_models,
    parse_envelope,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

INPUT_LIMIT = 2048
"""The most entries of one request."""
BYTES_PER_TOKEN = 4
"""What a token given as a number stands for in the size of a prompt."""

Input = str | list[str | int | list[int]]
_input = json.decoder(Input | None)
_encoding = json.decoder(str | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read an embeddings request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    entries = _read_input(envelope)
    return ParsedRequest(
        operation=Operation.EMBEDDING,
        envelope=envelope,
        model=model_name(envelope),
        stream=False,
        prompt=PromptSize(text_bytes=_text_bytes(entries)),
        affinity=bytes(envelope.get("input", Raw(b"")))[:AFFINITY_LIMIT],
        output_limit=0,
        other_models=named_models(envelope),
        wants_base64=_wants_base64(envelope),
    )


def _read_input(envelope: Envelope) -> Input:
    value = envelope.get("input")
    entries: Input | None = None if value is None else judged(value, "input", _input)
    if entries is None or entries in ("", []):
        raise InvalidRequest(
            "'input' must be a string, a list of strings or lists of tokens",
            param="input",
            code="missing_required_parameter",
        )
    if isinstance(entries, list) and not isinstance(entries[0], int):
        _check_length(entries)
    return entries


def _check_length(entries: list[str | int | list[int]]) -> None:
    if len(entries) > INPUT_LIMIT:
        raise InvalidRequest(
            f"'input' may have at most {INPUT_LIMIT} entries",
            param="input",
            code="array_above_max_length",
        )


def _text_bytes(entries: Input) -> int:
    if isinstance(entries, str):
        return len(entries.encode())
    return sum(
        len(entry.encode())
        if isinstance(entry, str)
        else BYTES_PER_TOKEN * (1 if isinstance(entry, int) else len(entry))
        for entry in entries
    )


def _wants_base64(envelope: Envelope) -> bool:
    """Read the encoding; floats are OpenAI's default."""
    value = envelope.get("encoding_format")
    encoding = None if value is None else judged(value, "encoding_format", _encoding)
    if encoding not in (None, "float", "base64"):
        raise InvalidRequest(
            "'encoding_format' must be 'float' or 'base64'",
            param="encoding_format",
            code="invalid_value",
        )
    return encoding == "base64"


def prompt_text(request: ParsedRequest) -> str:
    """The input's text; tokens given as numbers have none."""
    entries = _read_input(request.envelope)
    if isinstance(entries, str):
        return entries
    return "\n".join(entry for entry in entries if isinstance(entry, str))
