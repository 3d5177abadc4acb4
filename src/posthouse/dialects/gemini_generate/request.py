"""A request's envelope, judged as far as routing and money need it.

The model and whether a stream is wanted stand in the path, not in the body.
Top-level names that are known are turned to `camelCase`; all values stand as they
were sent, but for what a parser could read in two ways.

Source: https://ai.google.dev/api/generate-content (2026-11); `types.py` in
google-genai 3.4.0.
"""

from collections.abc import Iterator, Sequence

from msgspec import Raw, Struct, field

from posthouse.dialects.base import Edits, Judged, Later, ParsedRequest, PromptSize
from posthouse.dialects.gemini_generate.asked import (
    CONTENTS_LIMIT,
    Asked,
    Config,
    Content,
    read_asked,
)
from posthouse.dialects.google.envelope import listed, one_spelling, parse_envelope
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    COUNT_LIMIT,
    checked_model_name,
    count,
    flag,
    judged,
    model_name,
    optional_text,
)
from posthouse.dialects.openai.texts import prompt_of
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

MEDIA_ALLOWANCE = 256
"""Bytes of a media part that are its frame and not its payload."""
KEPT_LIMIT = 16 * 1024
"""Bytes of a body that is kept as it was decoded to be judged; a call may be long."""

_ABSENT = Raw()
_NULL = Raw(b"null")


class _Blob(Struct, gc=False):
    mime_camel: str | None = field(default=None, name="mimeType")
    mime_type: str | None = None
    data: Raw = _ABSENT


class _Response(Struct, gc=False):
    parts: "list[_Part] | _Part | None" = None


class _Part(Struct, gc=False):
    text: str | None = None
    inline_camel: _Blob | None = field(default=None, name="inlineData")
    inline_data: _Blob | None = None
    file_camel: _Blob | None = field(default=None, name="fileData")
    file_data: _Blob | None = None
    response_camel: _Response | None = field(default=None, name="functionResponse")
    function_response: _Response | None = None


class _Content(Struct, gc=False):
    role: str | None = None
    parts: list[_Part] | _Part | None = None


# Members of an enumeration are slow to look up for each call.
_CHAT = Operation.CHAT
_NO_CONFIG = Config()
_contents = json.decoder(list[_Content] | _Content | None)
_system = json.decoder(_Content | str | None)
_object = json.decoder(dict[str, Raw] | None)
_tools = json.decoder(list[dict[str, Raw]] | dict[str, Raw] | None)

_TEXT_MEMBERS = ("contents", "systemInstruction", "tools")

_SEARCH_TOOLS = frozenset({"googleSearch", "googleSearchRetrieval"})
_FREE_TOOLS = frozenset({"codeExecution", "computerUse", "urlContext"})
"""Of these Google charges nothing but tokens, or the caller runs them."""
_OFFERED = ("functionDeclarations", *sorted(_SEARCH_TOOLS | _FREE_TOOLS))


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request whose body tells its `model` and `stream` as well.

    For callers who have no path; raises InvalidRequest.
    """
    envelope = parse_envelope(body)
    model = model_name(envelope).removeprefix("models/")
    return _parse(envelope, model, stream=flag(envelope, "stream"))


def parse_request_for(body: bytes, model: str, stream: bool) -> ParsedRequest:
    """Read a request; raises InvalidRequest.

    Args:
        body: the request's, to the letter.
        model: its name in the path, without `models/`.
        stream: whether the path says `streamGenerateContent`.
    """
    envelope, model = parse_envelope(body), checked_model_name(model)
    asked = read_asked(body, envelope)
    if asked is None:
        return _parse(envelope, model, stream=stream)
    return _parse_words(
        envelope, asked, model, kept=len(body) <= KEPT_LIMIT, stream=stream
    )


def _parse_words(
    envelope: Envelope, asked: Asked, model: str, *, kept: bool, stream: bool
) -> ParsedRequest:
    """Judge a request of words alone."""
    _read_config(envelope)
    config = asked.generation_config or _NO_CONFIG
    opening = Later(_opening, (asked.said(),))
    text_bytes = len(envelope["contents"])
    if "systemInstruction" in envelope:
        text_bytes += len(envelope["systemInstruction"])
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=model,
        stream=stream,
        prompt=PromptSize(text_bytes, len(asked.contents)),
        affinity=opening if kept else opening(),
        choices=config.candidate_count or 1,
        output_limit=config.max_output_tokens,
        include_usage=True,
        judged=Judged(envelope, asked) if kept else None,
        plain=True,
    )


def _parse(envelope: Envelope, model: str, *, stream: bool) -> ParsedRequest:
    # The path says it: a body of Google's may repeat the model, none has `stream`.
    envelope.pop("model", None)
    envelope.pop("stream", None)
    contents = read_contents(envelope)
    system = _read_system(envelope)
    config = _read_config(envelope)
    cached = optional_text(envelope, "cachedContent")
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=model,
        stream=stream,
        prompt=prompt_size(envelope, [*system, *contents], len(contents)),
        affinity=(
            _opening([*system, *contents])
            if cached is None
            else cached.encode()[:AFFINITY_LIMIT]
        ),
        choices=count(config, "candidateCount", highest=COUNT_LIMIT) or 1,
        output_limit=count(config, "maxOutputTokens"),
        include_usage=True,
        service_tier=optional_text(envelope, "serviceTier"),
        searches=_read_tools(envelope),
    )


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream, changing only what must change.

    The model is in the upstream's path.
    """
    if edits.model_only:
        return json.encode(request.envelope)
    envelope = dict(request.envelope)
    apply_edits(envelope, edits)
    return json.encode(envelope)


# --- the envelope -------------------------------------------------------------------


def read_contents(envelope: Envelope) -> list[_Content]:
    """Read the conversation; raises InvalidRequest, also where there is none."""
    value = envelope.get("contents")
    found = None if value is None else judged(value, "contents", _contents)
    contents = listed(found)
    if not contents:
        raise InvalidRequest(
            "contents is not specified",
            param="contents",
            code="missing_required_parameter",
        )
    if len(contents) > CONTENTS_LIMIT:
        raise InvalidRequest(
            f"'contents' may have at most {CONTENTS_LIMIT} entries",
            param="contents",
            code="array_above_max_length",
        )
    return contents


def _read_system(envelope: Envelope) -> list[_Content]:
    value = envelope.get("systemInstruction")
    found = None if value is None else judged(value, "systemInstruction", _system)
    if isinstance(found, str):
        return [_Content(parts=[_Part(found)])]
    return listed(found)


def _read_config(envelope: Envelope) -> Envelope:
    """Read `generationConfig`, each name once; raises InvalidRequest."""
    value = envelope.get("generationConfig")
    found = None if value is None else judged(value, "generationConfig", _object)
    if not found:
        return {}
    config = one_spelling(found)
    envelope["generationConfig"] = json.raw(config)
    if config.get("routingConfig", _NULL) != _NULL:
        raise InvalidRequest(
            "'generationConfig.routingConfig' is not offered here",
            param="generationConfig.routingConfig",
            code="unsupported_value",
        )
    return config


def _read_tools(envelope: Envelope) -> int:
    """Count priced searches; refuse server tools that have no price."""
    value = envelope.get("tools")
    found = None if value is None else judged(value, "tools", _tools)
    if not found:
        return 0
    tools = [one_spelling(tool) for tool in listed(found)]
    envelope["tools"] = json.raw(tools)
    searches = 0
    for name in (name for tool in tools for name in tool):
        if name in _SEARCH_TOOLS:
            searches = 1
        elif name != "functionDeclarations" and name not in _FREE_TOOLS:
            raise InvalidRequest.tool_not_offered(name, _OFFERED)
    return searches


# --- the prompt ---------------------------------------------------------------------


def prompt_size(
    envelope: Envelope, contents: list[_Content], messages: int
) -> PromptSize:
    """Measure the prompt; media count as parts, not as bytes."""
    text_bytes = sum(len(envelope[name]) for name in _TEXT_MEMBERS if name in envelope)
    images = audio_parts = files = 0
    for blob in _blobs(contents):
        kind = (blob.mime_camel or blob.mime_type or "").lower()
        if kind.startswith(("image/", "video/")):
            images += 1
        elif kind.startswith("audio/"):
            audio_parts += 1
        else:
            files += 1
        text_bytes -= max(0, len(blob.data) - MEDIA_ALLOWANCE)
    return PromptSize(text_bytes, messages, images, audio_parts, files)


def _blobs(contents: list[_Content]) -> Iterator[_Blob]:
    for content in contents:
        for part in listed(content.parts):
            yield from _blobs_of(part)
            response = part.response_camel or part.function_response
            for inner in listed(response and response.parts):
                yield from _blobs_of(inner)


def _blobs_of(part: _Part) -> Iterator[_Blob]:
    for blob in (
        part.inline_camel,
        part.inline_data,
        part.file_camel,
        part.file_data,
    ):
        if blob is not None:
            yield blob


def _opening(contents: Sequence[_Content | Content]) -> tuple[str, ...]:
    """What a conversation starts with, up to its first user content."""
    opening: list[str] = []
    length = 0
    for content in contents:
        texts = (part.text for part in listed(content.parts) if part.text is not None)
        text = "\n".join(texts)
        opening.append(text[: AFFINITY_LIMIT - length])
        length += len(text)
        if content.role == "user" or length >= AFFINITY_LIMIT:
            break
    return tuple(opening)


_NOT_READ = frozenset(
    {
        "data",
        "fileUri",
        "file_uri",
        "id",
        "mimeType",
        "mime_type",
        "role",
        "thoughtSignature",
        "thought_signature",
    }
)


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text, for counting where no usage was given."""
    return prompt_of(
        request.envelope,
        _TEXT_MEMBERS,
        said=("contents", "systemInstruction"),
        skipped=_NOT_READ,
    )
