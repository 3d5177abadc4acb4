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

    choices: Raw | UnsetType
    data: Raw | UnsetType
    results: Raw | UnsetType
    usage: ReportedUsage | None
    service_tier: str | None


class _PromptDetails(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class UsualUsage(Struct, gc=False):
    """A usage whose counts are all whole numbers, as nearly all are."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _UsualReply(Struct, gc=False):
    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET
    error: None = None
    usage: UsualUsage | None = None
    service_tier: str | None = None


class _OddReply(Struct, gc=False):
    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET
    error: Any = None
    usage: Any = None
    service_tier: Any = None


_usual_reply = json.decoder(_UsualReply)
_odd_reply = json.decoder(_OddReply)


def parse_reply_head(body: bytes) -> ReplyHead:
    """Read a whole reply's top level; raises UpstreamFault."""
    try:
        if not body.isascii():
            json.check_utf8(body)
        reply: _UsualReply = _usual_reply.decode(body)
    except (MalformedJSON, *json.DECODE_ERRORS):
        return _odd_reply_head(body)
    usage = reply.usage
    return ReplyHead(
        reply.choices,
        reply.data,
        reply.results,
        None if usage is None else usual_usage(usage),
        reply.service_tier,
    )


def _odd_reply_head(body: bytes) -> ReplyHead:
    """Read a reply in which something is of another type than it should be."""
    try:
        json.check_utf8(body)
        reply: _OddReply = json.decode_with(_odd_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if reply.error:
        raise _unlike(body)
    return ReplyHead(
        reply.choices,
        reply.data,
        reply.results,
        reported_usage(reply.usage),
        tier_of(reply.service_tier),
    )


_ARRAY = ord("[")


def array_of(value: Raw | UnsetType, body: bytes) -> Raw:
    """Give the array that a reply consists of; raises UpstreamFault without one."""
    if isinstance(value, Raw) and memoryview(value)[0] == _ARRAY:
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


_NOT_PRODUCED = frozenset({"format", "id", "index", "type"})


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
        odd=any(
            usage.get(name) is not None and _whole(usage[name]) is None
            for name in ("prompt_tokens", "completion_tokens")
        ),
    )


_NOTHING: dict[str, Any] = {}
_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()


def usual_usage(usage: UsualUsage) -> ReportedUsage:
    """Do what `reported_usage` does, for what is of the right types."""
    prompt = usage.prompt_tokens_details or _NO_PROMPT_DETAILS
    completion = usage.completion_tokens_details or _NO_COMPLETION_DETAILS
    output = usage.completion_tokens
    entire = usage.prompt_tokens
    if entire is None and output is None:
        entire = usage.total_tokens
    return ReportedUsage(
        entire,
        output,
        prompt.cached_tokens or usage.prompt_cache_hit_tokens or usage.cached_tokens,
        prompt.cache_write_tokens or prompt.cache_creation_input_tokens,
        None,
        prompt.audio_tokens,
        prompt.image_tokens,
        completion.reasoning_tokens,
        completion.audio_tokens,
        completion.image_tokens,
    )


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
