"""Reading the members of a request's envelope that Posthouse acts on.

Source: OpenAI's published API description (openapi, 2026-08).
"""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import Raw

from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

MODEL_NAME_LIMIT = 256
AFFINITY_LIMIT = 4096
COUNT_LIMIT = 128
"""The most choices that OpenAI takes in one call."""
LARGEST_NUMBER = 2**53 - 1
"""What every JSON library still reads exactly; more is no count of anything."""

_ACTED_ON = frozenset(
    {
        "background",
        "best_of",
        "conversation",
        "documents",
        "enable_search",
        "encoding_format",
        "fallbacks",
        "functions",
        "images",
        "input",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "model",
        "models",
        "moderation",
        "n",
        "partial_images",
        "previous_response_id",
        "prompt",
        "query",
        "quality",
        "service_tier",
        "size",
        "store",
        "stream",
        "stream_options",
        "suffix",
        "text",
        "tools",
        "web_search_options",
    }
)
"""The members that decide where a call goes and what it costs."""

T = TypeVar("T")
Object = dict[str, Raw]


def decode_body(body: bytes) -> Envelope:
    """Decode a request's top level, whatever it names; raises InvalidRequest."""
    try:
        return json.decode_envelope(body)
    except MalformedJSON as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}",
            code="invalid_json",
        ) from None


def parse_envelope(body: bytes) -> Envelope:
    """Decode a request's top level, names in one spelling; raises InvalidRequest."""
    envelope = decode_body(body)
    refuse_lookalikes(envelope)
    return envelope


def is_acted_on(name: str) -> bool:
    """Whether a member of this name decides anything."""
    return name in _ACTED_ON


def refuse_lookalikes(members: Object, acted_on: AbstractSet[str] = _ACTED_ON) -> None:
    """Refuse a second spelling of a name that we act on; raises InvalidRequest.

    Some servers match names whatever their case: to them `Model` after `model`
    would be the one that counts, and it was not the one that we judged.
    """
    names = "".join(members)
    if names.islower() and names.isascii():
        return
    for name in members:
        if name not in acted_on and name.casefold() in acted_on:
            raise InvalidRequest(
                f"Unknown parameter; did you mean '{name.casefold()}'?",
                param=name[:64],
                code="unknown_parameter",
            )


_PLACE = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)


def judged(value: Raw, name: str, decoder: "json.Decoder[T]") -> T:
    """Decode a member; raises InvalidRequest, naming it, for another type."""
    try:
        return decoder.decode(value)
    except json.DECODE_ERRORS as error:
        reason = json.reason_of(error)
        place = _PLACE.fullmatch(reason)
        if place is not None:
            reason, name = place[1], name + place[2]
        raise InvalidRequest(
            f"Invalid value for '{name}': {reason}", param=name, code="invalid_type"
        ) from None


optional_object = json.decoder(Object | None)
optional_objects = json.decoder(list[Object] | None)
_USAGE = frozenset({"include_usage"})
_MODEL = frozenset({"model"})
_names_or_objects = json.decoder(list[str | Object] | None)


def judged_once(
    envelope: Envelope,
    name: str,
    decoder: "json.Decoder[T]",
    acted_on: AbstractSet[str],
) -> T | None:
    """Decode a member that is an object, or a list of some, one level deep.

    Of a name that stands in an object twice, servers differ in which one
    counts: the member goes on as it was judged here, with the last one only.

    Args:
        envelope: whose member it is.
        name: the member's.
        decoder: for an object or a list, or null.
        acted_on: the names in an object that decide anything.

    Raises:
        InvalidRequest: for another type, and for other spellings of `acted_on`.
    """
    value = envelope.get(name)
    found: Any = None if value is None else judged(value, name, decoder)
    if found is None or value is None:
        return None
    for entry in found if isinstance(found, list) else (found,):
        if isinstance(entry, dict):
            refuse_lookalikes(entry, acted_on)
    again = json.encode(found)
    # Never longer: it has neither white space nor escapes without need.
    if len(again) < len(value) and not _is_the_same(bytes(value), again):
        envelope[name] = Raw(again)
    return found  # type: ignore[no-any-return]  # what the decoder gave


def _is_the_same(written: bytes, again: bytes) -> bool:
    """Whether nothing but white space can have been lost."""
    return b"\\" not in written and written.count(b'"') == again.count(b'"')


_optional_text = json.decoder(str | None)
_TRUE = Raw(b"true")
_FALSE = Raw(b"false")
_flag = json.decoder(bool | None)
_number = json.decoder(int | None)


def model_name(envelope: Envelope, default: str | None = None) -> str:
    """Read the model's name; raises InvalidRequest."""
    value = envelope.get("model")
    name = None
    if value is not None:
        small = len(value) <= MODEL_NAME_LIMIT
        name = _known_model(bytes(value)) if small else _model_in(value)
    if name is not None:
        return name
    if default is not None:
        return checked_model_name(default)
    raise InvalidRequest(
        "You must provide a model parameter", param="model", code="missing_model"
    )


def _model_in(value: bytes | Raw) -> str | None:
    """Decode a name; raises InvalidRequest for what can be none."""
    name: str | None = judged(Raw(value), "model", _optional_text)
    return None if name is None else checked_model_name(name)


_known_model = lru_cache(maxsize=1024)(_model_in)


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
    if value is None or value == _FALSE:
        return False
    return value == _TRUE or bool(judged(value, name, _flag))


def count(
    envelope: Envelope, name: str, *, lowest: int = 1, highest: int = LARGEST_NUMBER
) -> int | None:
    """Read a whole number within bounds; raises InvalidRequest."""
    value = envelope.get(name)
    if value is None:
        return None
    number: int | None = judged(value, name, _number)
    if number is None or lowest <= number <= highest:
        return number
    raise InvalidRequest(
        f"Invalid value for '{name}': it must be from {lowest} to {highest}",
        param=name,
        code="invalid_value",
    )


def wants_usage(envelope: Envelope) -> bool:
    """Whether the client asked for the stream's usage frame."""
    if "stream_options" not in envelope:
        return False
    options = judged_once(envelope, "stream_options", optional_object, _USAGE)
    if not options or "include_usage" not in options:
        return False
    return bool(judged(options["include_usage"], "stream_options.include_usage", _flag))


def named_models(envelope: Envelope) -> tuple[str, ...]:
    """Collect the models that routing extensions of a body name."""
    names: list[str] = []
    for field in ("models", "fallbacks"):
        if field not in envelope:
            continue
        entries = judged_once(envelope, field, _names_or_objects, _MODEL)
        for entry in entries or ():
            name = model_in(entry, field) if isinstance(entry, dict) else entry
            if name is None:
                raise InvalidRequest(
                    f"Every entry of '{field}' must name a model",
                    param=field,
                    code="invalid_type",
                )
            names.append(checked_model_name(name))
    if "moderation" in envelope:
        moderation = judged_once(envelope, "moderation", optional_object, _MODEL)
        name = model_in(moderation or {}, "moderation.model")
        if name is not None:
            names.append(checked_model_name(name))
    return tuple(names)


def model_in(members: Object, place: str) -> str | None:
    """Read the model that an object names, if it names one; raises InvalidRequest."""
    value = members.get("model")
    if value is None:
        return None
    name: str | None = judged(value, place, _optional_text)
    return name


def optional_text(envelope: Envelope, name: str) -> str | None:
    """Read a member that is a text; raises InvalidRequest."""
    value = envelope.get(name)
    return None if value is None else judged(value, name, _optional_text)


def service_tier(envelope: Envelope) -> str | None:
    """Read the service tier that the client asks for."""
    return optional_text(envelope, "service_tier")


def cache_key(envelope: Envelope) -> bytes | None:
    """Read the key by which the client groups calls with a common prefix."""
    key = optional_text(envelope, "prompt_cache_key")
    return None if key is None else key.encode()[:AFFINITY_LIMIT]


def beginning(value: Raw) -> bytes:
    """A member's first bytes, by which calls with a common prefix are grouped."""
    return bytes(memoryview(value)[:AFFINITY_LIMIT])


Entries = str | list[str | int | list[int]]
"""One text or several; tokens may stand for text."""
_entries = json.decoder(Entries | None)
BYTES_PER_TOKEN = 4
"""What a token given as a number stands for in the size of a prompt."""


def read_entries(envelope: Envelope, name: str) -> Entries:
    """Read the member that is a text, texts, tokens or lists of tokens.

    Raises InvalidRequest, also where there are none of them or several kinds.
    """
    value = envelope.get(name)
    entries: Entries | None = None if value is None else judged(value, name, _entries)
    if entries is None or entries == []:
        raise InvalidRequest(
            f"Missing required parameter: '{name}'",
            param=name,
            code="missing_required_parameter",
        )
    if isinstance(entries, list) and len(set(map(type, entries))) > 1:
        raise InvalidRequest(
            f"The entries of '{name}' must all be texts, tokens or lists of tokens",
            param=name,
            code="invalid_type",
        )
    return entries


def count_entries(entries: Entries) -> int:
    """How many prompts these are: a list of numbers is one."""
    if isinstance(entries, str) or isinstance(entries[0], int):
        return 1
    return len(entries)


def bytes_of_entries(entries: Entries) -> int:
    """The size of what is to be read; tokens count as BYTES_PER_TOKEN each."""
    if isinstance(entries, str):
        return len(entries.encode())
    return sum(
        len(entry.encode())
        if isinstance(entry, str)
        else BYTES_PER_TOKEN * (1 if isinstance(entry, int) else len(entry))
        for entry in entries
    )


def text_of_entries(entries: Entries) -> str:
    """The text among them; tokens given as numbers have none."""
    if isinstance(entries, str):
        return entries
    return "\n".join(entry for entry in entries if isinstance(entry, str))
