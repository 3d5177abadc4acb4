"""Writing a neutral request for a provider of this dialect.

`write(read(b))` is `b` up to this normal form: null members are absent; a text
alone stands for a list with nothing else in it; `functions`, `function_call` and
what calls and returns them are `tools` and theirs; `max_tokens` is named as the
model wants it; `safety_identifier` alone is `user`; `stop` is a list; a wish for
thoughts is told in the model's way; `developer` is `system` for models that know
no other; a media part's URL stands in its object; the ids of calls that had none
are there; streams tell their usage; cache marks, thoughts and citations are there
if the model wants them.

Source: OpenAI's API description, `CreateChatCompletionRequest` (openapi, 2026-08).
"""

from typing import Any

from msgspec import to_builtins

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_chat.effort import write_reasoning
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.dialects.openai_chat.tools import write_tools
from posthouse.dialects.openai_chat.write_messages import write_messages
from posthouse.dialects.openai_chat.write_parts import (
    SIBLING,
    Writing,
    tell_extras,
    writing,
)
from posthouse.model.chat import (
    ChatRequest,
    Extras,
    OutputFormat,
    OutputKind,
    Sampling,
)
from posthouse.model.traits import Traits
from posthouse.wire import json

_CHOSEN = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
"""What models that think leave nobody to choose."""
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_OTHER_TIERS = {"standard": "default", "standard_only": "default"}
_MODALITIES = frozenset({"text", "audio", "image"})
_SHARED = frozenset(
    {
        "metadata",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
    }
)
"""What the family's other dialect calls the same and means the same by."""


def write_request(chat: ChatRequest, traits: Traits, losses: Losses) -> dict[str, Any]:
    """Write a request's body; raises InvalidRequest."""
    where = writing(chat.dialect, traits, losses)
    messages = write_messages(chat.messages, where)
    body: Extras = {"model": traits.model or chat.model, "messages": messages}
    if chat.tools or chat.tool_choice is not None:
        body |= write_tools(chat, where)
    body |= _sampling(chat.sampling, where)
    body |= _amounts(chat, where)
    if chat.output_format is not None:
        body |= _output_format(chat.output_format, messages, where)
    if chat.reasoning is not None:
        body |= write_reasoning(chat.reasoning, traits, losses)
    if chat.modalities or chat.audio is not None:
        body |= _output_kinds(chat, where)
    if chat.user is not None:
        body["user"] = chat.user
    if chat.cache_key is not None:
        body["prompt_cache_key"] = chat.cache_key
    if chat.service_tier is not None:
        body |= _tier(chat.service_tier, where)
    if chat.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body | _extras(chat, body, losses) if chat.extras else body


def _sampling(sampling: Sampling, where: Writing) -> Extras:
    body: Extras = to_builtins(sampling)
    free = where.own or where.traits.sampling
    if free and sampling.top_k is None and not sampling.stop:
        return body
    top_k, stop = body.pop("top_k", None), body.pop("stop", None)
    if not free:
        for name in _CHOSEN:
            if body.pop(name, None) is not None:
                where.losses.drop(name)
    if stop:
        body["stop"] = stop
    if top_k is not None:
        if where.own:
            body["top_k"] = top_k
        else:
            where.losses.drop("top_k")
    return body


def _amounts(chat: ChatRequest, where: Writing) -> Extras:
    """How many answers, and how long."""
    traits, losses = where.traits, where.losses
    body: Extras = {}
    if chat.choices is not None:
        if chat.choices > 1 and not traits.choices:
            losses.change("n")
        elif chat.choices > 1 or where.own:
            body["n"] = chat.choices
    limit = chat.output_limit
    if limit is not None:
        if traits.max_output and limit > traits.max_output:
            losses.change("max_tokens")
            limit = traits.max_output
        name = "max_completion_tokens" if traits.new_output_limit else "max_tokens"
        body[name] = limit
    return body


# --- the form of the answer -----------------------------------------------------------


def _output_format(
    wanted: OutputFormat, messages: list[Extras], where: Writing
) -> Extras:
    traits, losses = where.traits, where.losses
    match wanted.kind:
        case OutputKind.TEXT:
            return {"response_format": {"type": "text"}}
        case OutputKind.SCHEMA if traits.schema:
            inner: Extras = {"name": wanted.name or "answer"}
            if wanted.description is not None:
                inner["description"] = wanted.description
            if wanted.schema is not None:
                inner["schema"] = wanted.schema
            if wanted.strict is not None:
                inner["strict"] = wanted.strict
            return {"response_format": {"type": "json_schema", "json_schema": inner}}
        case OutputKind.SCHEMA:
            losses.change("response_format")
            schema = json.encode(wanted.schema or {}).decode()
            _instruct(
                messages,
                "Answer with nothing but a JSON value that conforms to this JSON "
                f"schema:\n{schema}",
            )
        case OutputKind.JSON:
            if not traits.json_mode:
                losses.change("response_format")
            if not (where.own or _speaks_of_json(messages)):
                # Such models refuse to write JSON that nobody has spoken of.
                _instruct(messages, "Answer with nothing but a JSON object.")
    return {"response_format": {"type": "json_object"}} if traits.json_mode else {}


def _speaks_of_json(messages: list[Extras]) -> bool:
    return b"json" in json.encode([m.get("content") for m in messages]).lower()


def _instruct(messages: list[Extras], instruction: str) -> None:
    """Add to what the system says."""
    first = messages[0] if messages else {}
    said = first.get("content")
    if first.get("role") in ("system", "developer") and isinstance(said, str):
        messages[0] = {**first, "content": f"{said}\n\n{instruction}"}
    else:
        messages.insert(0, {"role": "system", "content": instruction})


def _output_kinds(chat: ChatRequest, where: Writing) -> Extras:
    body: Extras = {}
    if chat.modalities and (where.own or set(chat.modalities) != {"text"}):
        if not where.own and not _MODALITIES.issuperset(chat.modalities):
            where.losses.refuse("modalities", "This model answers in text alone.")
        body["modalities"] = list(chat.modalities)
    if chat.audio is not None:
        audio: Extras = {"voice": chat.audio.voice, "format": chat.audio.format}
        body["audio"] = {name: kept for name, kept in audio.items() if kept is not None}
    return body


# --- the rest -------------------------------------------------------------------------


def _tier(tier: str, where: Writing) -> Extras:
    lower = tier.lower()
    if where.own or tier in _TIERS:
        return {"service_tier": tier}
    if lower in _TIERS or lower in _OTHER_TIERS:
        where.losses.change("service_tier")
        return {"service_tier": _OTHER_TIERS.get(lower, lower)}
    where.losses.drop("service_tier")
    return {}


def _extras(chat: ChatRequest, body: Extras, losses: Losses) -> Extras:
    """Give what goes back; tell what is left out."""
    if chat.dialect == NAME:
        extras = dict(chat.extras)
        options = extras.pop("stream_options", None)
        if isinstance(options, dict) and chat.stream:
            extras["stream_options"] = options | body["stream_options"]
        for name in ("thinking", "reasoning"):
            beside = extras.get(name)
            if isinstance(beside, dict):
                extras[name] = body.get(name, {}) | beside
        return extras
    shared = _SHARED if chat.dialect == SIBLING else frozenset[str]()
    found = {name: value for name, value in chat.extras.items() if name in shared}
    rest = {name: value for name, value in chat.extras.items() if name not in shared}
    tell_extras(rest, "", losses)
    return found
