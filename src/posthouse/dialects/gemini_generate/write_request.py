"""Writing a neutral request for a provider of this dialect.

`write(read(b))` is `b` up to this normal form: names are in `camelCase`, null
members and empty texts are absent; lists stand where one object stood for them;
the role of the system instruction is absent, that of other contents is there, and
`function` is `user`; contents of the model that follow one another are one, and so
are texts and thoughts within it; results go before what is said beside them, in a
content of their own and in the order of their calls; the members of tools stand in
entries of their own, functions first; `parameters` and `responseSchema` are JSON
schema under its own names; `responseFormat` is told by the older members;
`responseMimeType` is there beside a schema; arguments are there, if empty;
`serviceTier` and the modalities are in lower and in upper case; a mode of
`allowedFunctionNames` is `ANY` or `VALIDATED`; whole numbers are written as such.

Source: https://ai.google.dev/api/generate-content (2026-11).
"""

from typing import Any

from posthouse.dialects.gemini_generate.schema import to_subset
from posthouse.dialects.gemini_generate.thinking import write_thinking
from posthouse.dialects.gemini_generate.tools import write_tools
from posthouse.dialects.gemini_generate.write_messages import (
    said_by_user,
    write_messages,
)
from posthouse.dialects.gemini_generate.writing import Writing, writing
from posthouse.dialects.google.names import canonical
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.members import invalid
from posthouse.model.chat import (
    ChatRequest,
    Extras,
    OutputFormat,
    OutputKind,
    Sampling,
)
from posthouse.model.traits import Traits
from posthouse.wire import json

MOST_STOPS = 5

_SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_TIERS = {
    "auto": None,
    "default": "standard",
    "standard": "standard",
    "standard_only": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_MODALITIES = frozenset({"text", "image", "audio"})
_JSON = "application/json"


def write_request(chat: ChatRequest, traits: Traits, losses: Losses) -> dict[str, Any]:
    """Write a request's body; raises InvalidRequest."""
    where = writing(chat.dialect, traits, losses)
    body = write_messages(chat.messages, where)
    needed = body.pop("generationConfig", {})
    body |= write_tools(chat.tools, chat.tool_choice, where)
    config = needed | _sampling(chat.sampling, where)
    config |= _amounts(chat, where)
    if chat.output_format is not None:
        config |= _output_format(chat.output_format, body, where)
    extras = dict(chat.extras)
    found = extras if where.own else _googles_own(extras)
    if where.own or "generationConfig.thinkingConfig" not in found:
        config |= write_thinking(chat.reasoning, where)
    config |= _output_kinds(chat, where)
    if config:
        body["generationConfig"] = config
    body |= _caller(chat, where)
    if not where.own:
        where.extras(extras, "")
    return _with_extras(body, found)


def _sampling(sampling: Sampling, where: Writing) -> Extras:
    config: Extras = {
        written: value
        for name, written in _SAMPLING.items()
        if (value := getattr(sampling, name)) is not None
    }
    if sampling.logit_bias is not None:
        where.losses.drop("logit_bias")
    stops = sampling.stop
    if len(stops) > MOST_STOPS and not where.own:
        where.losses.change("stop")
        stops = stops[:MOST_STOPS]
    if stops:
        config["stopSequences"] = list(stops)
    return config


def _amounts(chat: ChatRequest, where: Writing) -> Extras:
    """How many answers, and how long."""
    traits, losses = where.traits, where.losses
    config: Extras = {}
    if chat.choices is not None:
        if chat.choices > 1 and not traits.choices:
            losses.change("n")
        elif chat.choices > 1 or where.own:
            config["candidateCount"] = chat.choices
    limit = chat.output_limit
    if limit is not None:
        if traits.max_output and limit > traits.max_output:
            losses.change("max_tokens")
            limit = traits.max_output
        config["maxOutputTokens"] = limit
    return config


# --- the form of the answer ---------------------------------------------------------


def _output_format(wanted: OutputFormat, body: Extras, where: Writing) -> Extras:
    losses, traits = where.losses, where.traits
    if wanted.description is not None:
        losses.drop("response_format.description")
    if wanted.kind is OutputKind.TEXT:
        return {"responseMimeType": "text/plain"} if where.own else {}
    if wanted.kind is OutputKind.JSON or wanted.schema is None:
        return _json_mode(where)
    if not traits.schema:
        losses.change("response_format")
        schema = json.encode(wanted.schema).decode()
        _instruct(
            body,
            "Answer with nothing but a JSON value that conforms to this JSON "
            f"schema:\n{schema}",
            where,
        )
        return _json_mode(where)
    if not traits.schema_subset:
        return {"responseMimeType": _JSON, "responseJsonSchema": wanted.schema}
    cleaned = to_subset(wanted.schema)
    return {
        "responseMimeType": _JSON,
        "responseSchema": {"type": "object"} if cleaned is None else cleaned,
    }


def _json_mode(where: Writing) -> Extras:
    if where.traits.json_mode:
        return {"responseMimeType": _JSON}
    where.losses.change("response_format")
    return {}


def _instruct(body: Extras, instruction: str, where: Writing) -> None:
    """Add to what the system says."""
    part = {"text": instruction}
    if where.traits.system:
        system = body.get("systemInstruction", {"parts": []})
        body["systemInstruction"] = {**system, "parts": [*system["parts"], part]}
    else:
        body["contents"] = said_by_user([part], body["contents"])


def _output_kinds(chat: ChatRequest, where: Writing) -> Extras:
    losses = where.losses
    config: Extras = {}
    modalities = chat.modalities
    if not where.own:
        if not _MODALITIES.issuperset(modalities):
            losses.refuse("modalities", "This model gives texts, pictures and sounds.")
        if "audio" in modalities and len(modalities) > 1:
            # Models that speak do nothing else; others say what is asked.
            losses.change("modalities")
            modalities = ("audio",)
    if modalities and (where.own or modalities != ("text",)):
        config["responseModalities"] = [name.upper() for name in modalities]
    if chat.audio is None:
        return config
    voice = chat.audio.voice
    if isinstance(voice, str) and (where.own or voice[:1].isupper()):
        built = {"prebuiltVoiceConfig": {"voiceName": voice}}
        config["speechConfig"] = {"voiceConfig": built}
    elif voice is not None:
        losses.drop("audio.voice")
    if chat.audio.format is not None:
        losses.drop("audio.format")
    return config


# --- who asks -----------------------------------------------------------------------


def _caller(chat: ChatRequest, where: Writing) -> Extras:
    losses = where.losses
    if chat.user is not None:
        losses.drop("user")
    if chat.cache_key is not None:
        losses.drop("prompt_cache_key")
    if chat.parallel_tool_calls is False:
        losses.drop("parallel_tool_calls")
    tier = chat.service_tier
    if tier is None:
        return {}
    lower = tier.lower()
    if lower not in _TIERS:
        if where.own:
            return {"serviceTier": tier}
        losses.drop("service_tier")
        return {}
    written = _TIERS[lower]
    return {} if written is None else {"serviceTier": written}


def _with_extras(body: Extras, extras: Extras) -> Extras:
    """Put members back, those of the two configurations into them."""
    for name, value in extras.items():
        outer, _, inner = name.partition(".")
        if inner and outer in ("generationConfig", "toolConfig"):
            config = body.setdefault(outer, {})
            first = config.get(inner)
            both = isinstance(first, dict) and isinstance(value, dict)
            config[inner] = {**first, **value} if both else value
        else:
            body[name] = value
    return body


def _googles_own(extras: Extras) -> Extras:
    """Take what callers of OpenAI's dialect tell Google by `extra_body.google`.

    Source: https://ai.google.dev/gemini-api/docs/openai (2026-11).
    """
    outer = extras.get("extra_body")
    google = outer.get("google") if isinstance(outer, dict) else extras.get("google")
    if not isinstance(google, dict):
        return {}
    extras.pop("extra_body", None)
    extras.pop("google", None)
    rest = canonical(
        {name: value for name, value in google.items() if name != "thought_tag_marker"},
        "extra_body.google",
        invalid,
    )
    found: Extras = {}
    for name, value in rest.items():
        if name in ("cachedContent", "safetySettings"):
            found[name] = value
        elif name in ("imageConfig", "thinkingConfig") and isinstance(value, dict):
            found[f"generationConfig.{name}"] = canonical(value, name, invalid)
        else:
            extras[f"extra_body.google.{name}"] = value
    return found
