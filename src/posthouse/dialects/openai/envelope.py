"""Reading the members of a request's envelope that Posthouse acts on.

Source: OpenAI's published API description (openapi, 2026-08).
"""

from typing import Any, TypeVar

from msgspec import Raw, Struct

from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

MODEL_NAME_LIMIT = 256
AFFINITY_LIMIT = 4096
COUNT_LIMIT = 128
"""The most choices that OpenAI takes in one call."""

T = TypeVar("T")


def parse_envelope(body: bytes) -> Envelope:
    """Decode a request's top level; raises InvalidRequest."""
    try:
        return json.decode_envelope(body)
    except MalformedJSON as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}",
            code="invalid_json",
        ) from None


def judged(value: Raw, name: str, decoder: "json.Decoder[T]") -> T:
    """Decode a member; raises InvalidRequest, naming it, for another type."""
    try:
        return json.decode_with(decoder, value)
    except MalformedJSON as error:
        raise InvalidRequest(
            f"Invalid value for '{name}': {error}", param=name, code="invalid_type"
        ) from None


_text = json.decoder(str)
_flag = json.decoder(bool | None)
_number = json.decoder(int | None)


def model_name(envelope: Envelope, default: str | None = None) -> str:
    """Read the model's name; raises InvalidRequest."""
    value = envelope.get("model")
    if value is None:
        if default is not None:
            return default
        raise InvalidRequest(
            "You must provide a model parameter", param="model", code="missing_model"
        )
    return checked_model_name(judged(value, "model", _text))


def checked_model_name(name: str) -> str:
    """Refuse names that no model can have; raises InvalidRequest."""
    if not name or len(name) > MODEL_NAME_LIMIT or not name.isprintable():
        raise InvalidRequest(
            "The model's name is empty, too long or has control characters",
            param="model",
            code="invalid_model",
        )
    return name


def flag(envelope: Envelope, name: str) -> bool:
    """Read a boolean member, false by default; raises InvalidRequest."""
    value = envelope.get(name)
    return value is not None and bool(judged(value, name, _flag))


def count(envelope: Envelope, name: str, highest: int | None = None) -> int | None:
    """Read a whole number of at least one; raises InvalidRequest."""
    value = envelope.get(name)
    if value is None:
        return None
    number: int | None = judged(value, name, _number)
    if number is None:
        return None
    if number < 1 or (highest is not None and number > highest):
        limits = "at least 1" if highest is None else f"from 1 to {highest}"
        raise InvalidRequest(
            f"Invalid value for '{name}': it must be {limits}",
            param=name,
            code="invalid_value",
        )
    return number


class _StreamOptions(Struct):
    include_usage: bool | None = None


_stream_options = json.decoder(_StreamOptions | None)
_other_models = json.decoder(list[str | dict[str, Any]] | None)


def wants_usage(envelope: Envelope) -> bool:
    """Whether the client asked for the stream's usage frame."""
    value = envelope.get("stream_options")
    if value is None:
        return False
    options = judged(value, "stream_options", _stream_options)
    return options is not None and bool(options.include_usage)


def named_models(envelope: Envelope) -> tuple[str, ...]:
    """Collect the models that routing extensions of a body name."""
    names: list[str] = []
    for field in ("models", "fallbacks"):
        value = envelope.get(field)
        if value is None:
            continue
        for entry in judged(value, field, _other_models) or ():
            name = entry.get("model") if isinstance(entry, dict) else entry
            if not isinstance(name, str):
                raise InvalidRequest(
                    f"Every entry of '{field}' must name a model",
                    param=field,
                    code="invalid_type",
                )
            names.append(checked_model_name(name))
    return tuple(names)


def service_tier(envelope: Envelope) -> str | None:
    """Read the service tier that the client asks for."""
    value = envelope.get("service_tier")
    return None if value is None else judged(value, "service_tier", _optional_text)


_optional_text = json.decoder(str | None)


def cache_key(envelope: Envelope) -> bytes | None:
    """Read the key by which the client groups calls with a common prefix."""
    value = envelope.get("prompt_cache_key")
    key = None if value is None else judged(value, "prompt_cache_key", _optional_text)
    return None if key is None else key.encode()[:AFFINITY_LIMIT]
