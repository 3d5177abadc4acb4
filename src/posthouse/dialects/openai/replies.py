"""Reading whole replies along: their head, their usage, the model's name."""

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from posthouse.dialects.openai.errors import parse_error_member
from posthouse.errors import UpstreamBadResponse
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class UsageObject(Struct):
    """A `usage` object, read leniently: a wrong type is as good as absent."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None
    prompt_cache_hit_tokens: Any = None
    """DeepSeek: https://api-docs.deepseek.com/api/create-chat-completion"""
    cached_tokens: Any = None
    """Moonshot puts it beside the totals."""


def reported_usage(usage: UsageObject) -> ReportedUsage:
    """Translate OpenAI's counters; what is not a whole number is absent."""
    prompt = _details(usage.prompt_tokens_details)
    completion = _details(usage.completion_tokens_details)
    cached = _whole(prompt.get("cached_tokens"))
    if cached is None:
        cached = _whole(usage.prompt_cache_hit_tokens)
    if cached is None:
        cached = _whole(usage.cached_tokens)
    entire = _whole(usage.prompt_tokens)
    if entire is None:
        entire = _whole(usage.total_tokens)
        if _whole(usage.completion_tokens) is not None:
            entire = None
    return ReportedUsage(
        input=entire,
        output=_whole(usage.completion_tokens),
        cached_input=cached,
        cache_write_5m=_whole(prompt.get("cache_write_tokens")),
        audio_input=_whole(prompt.get("audio_tokens")),
        image_input=_whole(prompt.get("image_tokens")),
        reasoning=_whole(completion.get("reasoning_tokens")),
        audio_output=_whole(completion.get("audio_tokens")),
        image_output=_whole(completion.get("image_tokens")),
    )


def _details(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class ReplyHead(Struct):
    """The members of a whole reply that Posthouse acts on."""

    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    usage: Raw | UnsetType = UNSET
    model: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET


_reply_head = json.decoder(ReplyHead)
_tier = json.decoder(str | None)
_usage_object = json.decoder(UsageObject | None)


def parse_reply_head(body: bytes) -> ReplyHead:
    """Read a whole reply's top level; raises UpstreamFault."""
    try:
        head: ReplyHead = json.decode_with(_reply_head, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not isinstance(head.error, UnsetType):
        fault = parse_error_member(bytes(head.error))
        if fault is not None:
            raise fault
    return head


def is_array(value: Raw | UnsetType) -> bool:
    """Whether a member is there and is an array."""
    return isinstance(value, Raw) and bytes(value).startswith(b"[")


def usage_of(head: ReplyHead) -> ReportedUsage | None:
    """Read the usage of a whole reply."""
    if isinstance(head.usage, UnsetType):
        return None
    try:
        usage = json.decode_with(_usage_object, head.usage)
    except MalformedJSON:
        return None
    return None if usage is None else reported_usage(usage)


def tier_of(value: Raw | UnsetType) -> str | None:
    """Read the service tier that was really used."""
    if isinstance(value, UnsetType):
        return None
    try:
        tier: str | None = json.decode_with(_tier, value)
    except MalformedJSON:
        return None
    return tier


def with_model(body: bytes, model: str) -> bytes:
    """Replace the model's name in a reply or a chunk that carries one."""
    envelope = json.decode_envelope(body)
    if "model" in envelope:
        envelope["model"] = json.raw(model)
    return json.encode(envelope)


def merged_usage(old: ReportedUsage | None, new: ReportedUsage) -> ReportedUsage:
    """The last word on each field; a later frame does not erase an earlier one."""
    if old is None:
        return new
    return ReportedUsage(
        *(
            getattr(old, name) if getattr(new, name) is None else getattr(new, name)
            for name in new.__struct_fields__
        )
    )
