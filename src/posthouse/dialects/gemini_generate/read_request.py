"""Reading a client's request into the neutral form.

Members of the two configurations that nobody else has are extras by their whole
name: `generationConfig.imageConfig`. What a request makes no sense without stands
in a system message of its own, as content that every other dialect refuses.

Sources: https://ai.google.dev/api/generate-content (2026-11); `types.py` in
google-genai 3.4.0.
"""

from typing import Any

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_generate.read_messages import read_messages, read_system
from posthouse.dialects.gemini_generate.read_parts import arguments_in_contents
from posthouse.dialects.gemini_generate.schema import from_subset
from posthouse.dialects.gemini_generate.signatures import NAME
from posthouse.dialects.gemini_generate.tools import read_choice, read_tools
from posthouse.dialects.gemini_generate.usual_request import read_usual
from posthouse.dialects.google.names import each, inner, members_of
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.openai.envelope import judged
from posthouse.model.chat import (
    AudioOutput,
    ChatRequest,
    Extras,
    Foreign,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    Sampling,
)
from posthouse.wire import json

_value = json.decoder(Any)

CONFIG = "generationConfig"
_TIERS = {"unspecified": None, "standard": "default"}


def read_request(request: ParsedRequest) -> ChatRequest:
    """Read a client's request; raises InvalidRequest."""
    return read_usual(request) or _read_members(request)


def _read_members(request: ParsedRequest) -> ChatRequest:
    """Read whatever there is, member by member."""
    envelope = request.envelope
    body = {name: judged(value, name, _value) for name, value in envelope.items()}
    members = members_of(body, "", invalid)
    members.take("serviceTier")
    contents = members.take("contents")
    arguments = arguments_in_contents(envelope["contents"])
    needed = _read_cached(members)
    system = read_system(members.take("systemInstruction"))
    messages = [*system, *read_messages(contents, arguments)]
    tools = read_tools(members)
    choice, beside = read_choice(members)
    config = inner(members, "generationConfig", invalid) or Members({}, "", invalid)
    counted = config.take("candidateCount") is not None
    config.take("maxOutputTokens")
    sampling = _read_sampling(config)
    output_format = _read_format(config, needed)
    reasoning = _read_reasoning(config)
    modalities = tuple(name.lower() for name in config.texts("responseModalities"))
    audio = _read_audio(config)
    extras = members.extras() | beside
    extras |= {f"{CONFIG}.{name}": value for name, value in config.extras().items()}
    if needed:
        messages.insert(0, Message(Role.SYSTEM, tuple(needed)))
    return ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=choice,
        sampling=sampling,
        output_limit=request.output_limit,
        choices=request.choices if counted else None,
        output_format=output_format,
        reasoning=reasoning,
        modalities=modalities,
        audio=audio,
        service_tier=_read_tier(request.service_tier),
        stream=request.stream,
        include_usage=True,
        extras=extras,
    )


def _read_cached(members: Members) -> list[Part]:
    """Read the prompt that the provider keeps: without it nothing makes sense."""
    name = members.text("cachedContent")
    if name is None:
        return []
    return [Foreign("cachedContent", {"cachedContent": name})]


def _read_tier(tier: str | None) -> str | None:
    lower = tier and tier.lower()
    return _TIERS.get(lower, lower) if lower else None


def _read_sampling(config: Members) -> Sampling:
    return Sampling(
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.whole("topK"),
        frequency_penalty=config.number("frequencyPenalty"),
        presence_penalty=config.number("presencePenalty"),
        seed=config.whole("seed"),
        stop=config.texts("stopSequences"),
        logprobs=config.flag("responseLogprobs"),
        top_logprobs=config.whole("logprobs"),
    )


# --- the form of the answer ---------------------------------------------------------


def _read_format(config: Members, needed: list[Part]) -> OutputFormat | None:
    """Read what the answer must look like, by any of its three names.

    What nobody else can give goes to `needed`.
    """
    found = _read_new_format(config)
    if found is not None:
        return found
    kind = config.text("responseMimeType")
    schema = config.object("responseJsonSchema")
    if schema is None and config.peek("_responseJsonSchema") is not None:
        # Its name while it was new.
        schema = config.object("_responseJsonSchema")
    subset = None if schema is not None else config.object("responseSchema")
    if kind not in (None, "application/json", "text/plain"):
        # One of an enumeration's words, alone: nobody else has it.
        wanted = {
            "responseMimeType": kind,
            "responseJsonSchema": schema,
            "responseSchema": subset,
        }
        told = {name: value for name, value in wanted.items() if value is not None}
        needed.append(Foreign(f"{CONFIG}.responseMimeType", {CONFIG: told}))
        return None
    if schema is None and subset is not None:
        schema = from_subset(subset)
    if schema is not None:
        return OutputFormat(OutputKind.SCHEMA, schema)
    if kind is None:
        return None
    return OutputFormat(OutputKind.TEXT if kind == "text/plain" else OutputKind.JSON)


def _read_new_format(config: Members) -> OutputFormat | None:
    """Read `responseFormat`, if it says nothing but how text must look."""
    value = config.peek("responseFormat")
    entries = each(config, "responseFormat", invalid)
    text = inner(entries[0], "text", invalid) if len(entries) == 1 else None
    if text is not None and not entries[0].extras():
        kind = text.text("mimeType")
        schema = text.object("schema")
        json_wanted = (kind or "").upper() in ("APPLICATION_JSON", "APPLICATION/JSON")
        if (json_wanted or schema is not None) and not text.extras():
            wanted = OutputKind.JSON if schema is None else OutputKind.SCHEMA
            return OutputFormat(wanted, schema)
    config.put_back("responseFormat", value)
    return None


def _read_audio(config: Members) -> AudioOutput | None:
    """Read the voice, if nothing else is said of the speech."""
    value = config.peek("speechConfig")
    speech = inner(config, "speechConfig", invalid)
    voice = speech and inner(speech, "voiceConfig", invalid)
    built = voice and inner(voice, "prebuiltVoiceConfig", invalid)
    name = built and built.text("voiceName")
    left: Extras = {}
    for members in (speech, voice, built):
        left |= members.extras() if members is not None else {}
    if not name or left:
        config.put_back("speechConfig", value)
        return None
    return AudioOutput(name)


def _read_reasoning(config: Members) -> Reasoning | None:
    thinking = inner(config, "thinkingConfig", invalid)
    if thinking is None:
        return None
    level = thinking.text("thinkingLevel")
    lower = level and level.lower()
    if lower == "thinking_level_unspecified":
        lower = None
    found = Reasoning(
        effort=lower or None,
        budget=thinking.whole("thinkingBudget"),
        show=thinking.flag("includeThoughts"),
    )
    rest = thinking.extras()
    if rest:
        config.put_back("thinkingConfig", rest)
    return None if found == Reasoning() else found
