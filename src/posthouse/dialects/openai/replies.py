"""Reading whole replies along: their head, their usage, the model's name."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.texts import texts_in
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class ReplyHead(Struct, gc=False):
    """The members of a whole reply that Posthouse acts on."""

    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET
    error: Any = None
    usage: Any = None
    service_tier: Any = None


_reply_head = json.decoder(ReplyHead)


def parse_reply_head(body: bytes) -> ReplyHead:
    """Read a whole reply's top level; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        head: ReplyHead = json.decode_with(_reply_head, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if head.error:
        raise _unlike(body)
    return head


def array_of(value: Raw | UnsetType, body: bytes) -> Raw:
    """Give the array that a reply consists of; raises UpstreamFault without one."""
    if isinstance(value, Raw) and json.opens_with(value, b"["):
        return value
    raise _unlike(body)


def objects_in(array: Raw) -> list[dict[str, Any]]:
    """Read the objects of an array as leniently as can be."""
    try:
        values = json.decode_leniently(bytes(array))
    except MalformedJSON:
        return []
    return [value for value in values if isinstance(value, dict)]


def _unlike(body: bytes) -> UpstreamFault:
    """What is wrong with a reply that is not what was asked for."""
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()


def tier_of(value: Any) -> str | None:
    """Read the service tier that was really used."""
    return value if isinstance(value, str) else None


_NOT_PRODUCED = frozenset({"id", "index", "type"})


def produced_text(parts: Sequence[Any]) -> str:
    """Join what a model produced: texts, names of functions, arguments."""
    return "".join(texts_in(list(parts), _NOT_PRODUCED))


_raw_name = lru_cache(maxsize=1024)(json.raw)


def with_model(body: bytes, model: str) -> bytes:
    """Replace the model's name in a reply or a chunk that carries one.

    Raises MalformedJSON.
    """
    envelope = json.decode_envelope(body)
    if "model" not in envelope:
        return body
    envelope["model"] = _raw_name(model)
    return json.encode(envelope)


def with_model_leniently(body: bytes, model: str) -> bytes:
    """Do the same for what only the lenient parser reads."""
    value = json.decode_leniently(body)
    if not isinstance(value, dict) or "model" not in value:
        return body
    return json.encode_leniently({**value, "model": model})


# --- usage ------------------------------------------------------------------------


def reported_usage(usage: Any) -> ReportedUsage | None:
    """Translate a `usage` object; None if it is none.

    What is not a whole number is absent. Where providers have several names
    for one count, the first that says something is taken.
    """
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    if not isinstance(prompt, dict):
        prompt = _NOTHING
    if not isinstance(completion, dict):
        completion = _NOTHING
    output = _whole(usage.get("completion_tokens"))
    entire = _whole(usage.get("prompt_tokens"))
    if entire is None and output is None:
        entire = _whole(usage.get("total_tokens"))
    return ReportedUsage(
        input=entire,
        output=output,
        cached_input=(
            _whole(prompt.get("cached_tokens"))
            # https://api-docs.deepseek.com/api/create-chat-completion
            or _whole(usage.get("prompt_cache_hit_tokens"))
            # Moonshot puts it beside the totals.
            or _whole(usage.get("cached_tokens"))
        ),
        cache_write_5m=(
            _whole(prompt.get("cache_write_tokens"))
            # DashScope, for prefixes that are marked to be kept.
            or _whole(prompt.get("cache_creation_input_tokens"))
        ),
        audio_input=_whole(prompt.get("audio_tokens")),
        image_input=_whole(prompt.get("image_tokens")),
        reasoning=_whole(completion.get("reasoning_tokens")),
        audio_output=_whole(completion.get("audio_tokens")),
        image_output=_whole(completion.get("image_tokens")),
    )


_NOTHING: dict[str, Any] = {}


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def merged_usage(
    old: ReportedUsage | None, new: ReportedUsage | None
) -> ReportedUsage | None:
    """Join two reports of one stream, field by field.

    The later one wins where it says something: reports are cumulative. An
    absent field or a zero says nothing, so a partial report, or one that was
    cut short, erases no earlier count.
    """
    if old is None or new is None:
        return new or old
    return ReportedUsage(
        *(
            later if later or earlier is None else earlier
            for name in ReportedUsage.__struct_fields__
            for earlier, later in ((getattr(old, name), getattr(new, name)),)
        )
    )
