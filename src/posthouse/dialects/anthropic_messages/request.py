"""A Messages request's envelope, judged as far as routing and money need it.

Source: `MessageCreateParams` and `ToolUnionParam` of anthropic 2.12.0 (2026-11).
Requests of equal dialects are spliced: only what must change does. What other
providers have signed is left out on the way, for Anthropic would refuse it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec import Raw, Struct, structs

from posthouse.dialects.anthropic_messages.asked import (
    MESSAGES_LIMIT,
    Words,
    read_asked,
)
from posthouse.dialects.base import Edits, Judged, Later, ParsedRequest, PromptSize
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.neutral.seal import PREFIX
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    checked_model_name,
    count,
    decode_body,
    flag,
    judged,
    judged_once,
    model_in,
    model_name,
    named_models,
    optional_objects,
    optional_text,
    refuse_lookalikes,
)
from posthouse.dialects.openai.kinds import check_kinds, kinds
from posthouse.dialects.openai.texts import prompt_of
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

MEDIA_ALLOWANCE = 256
"""Bytes of a media part that are its frame and not its payload."""
_SHARE = AFFINITY_LIMIT // 4
"""Of what a conversation starts with, the room for each thing before its turns."""
KEPT_LIMIT = 16 * 1024
"""Bytes of a body that is kept as it was decoded to be judged; a call may be long."""
SEARCHES_LIMIT = 10
"""Web searches that are reckoned with where a tool does not limit them."""

_KINDS = kinds(
    temperature="number",
    top_p="number",
    top_k="number",
    stop_sequences="array",
    system="string or array",
    metadata="object",
    thinking="object",
    output_config="object",
    tool_choice="object",
    cache_control="object",
    context_management="object",
    mcp_servers="array",
    inference_geo="string",
)
_ABSENT = Raw()
_NULL = Raw(b"null")


class _Source(Struct, gc=False):
    type: Any = None
    data: Raw = _ABSENT
    content: Raw = _ABSENT


class _Block(Struct, gc=False):
    type: str = ""
    text: Any = None
    source: _Source | str | None = None
    content: Raw = _ABSENT


class _Message(Struct, gc=False):
    role: str
    content: str | list[_Block]


# Members of an enumeration are slow to look up for each call.
_CHAT = Operation.CHAT
_messages = json.decoder(list[_Message])
_blocks = json.decoder(list[_Block])
_system = json.decoder(str | list[_Block] | None)
_text = json.decoder(str)
_whole = json.decoder(int | None)
_metadata = json.decoder(dict[str, Raw] | None)

_IN_TOOLS = frozenset({"type", "model", "max_uses"})
_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "memory_", "computer_", "browser_")
"""What the caller runs."""
_FREE_TOOLS = ("web_fetch_", "tool_search_tool_", "mcp_toolset")
"""What the provider runs and takes nothing for but tokens.

https://platform.claude.com/docs/en/about-claude/pricing
"""
_SEARCH_TOOL = "web_search_"
_OFFERED = tuple(
    f"{name}…" if name.endswith("_") else name
    for name in (*_CLIENT_TOOLS, *_FREE_TOOLS, _SEARCH_TOOL)
)
"""As callers are told; most go on with the date of a version."""
_TEXT_MEMBERS = ("system", "messages", "tools", "output_config")


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request; raises InvalidRequest."""
    envelope = decode_body(body)
    asked = read_asked(body, envelope)
    if asked is None:
        return _judge_members(envelope)
    messages, kept = asked.messages, len(body) <= KEPT_LIMIT
    opening = Later(_opening, (messages, asked.system))
    text_bytes = len(envelope["messages"])
    if "system" in envelope:
        text_bytes += len(envelope["system"])
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=asked.model,
        stream=asked.stream is True,
        prompt=PromptSize(text_bytes, len(messages)),
        affinity=opening if kept else opening(),
        output_limit=asked.max_tokens,
        include_usage=True,
        judged=Judged(envelope, asked) if kept else None,
        plain=True,
    )


def _judge_members(envelope: Envelope) -> ParsedRequest:
    """Judge a request member by member; raises InvalidRequest."""
    refuse_lookalikes(envelope)
    model = model_name(envelope)
    messages = _read_messages(envelope)
    check_kinds(envelope, _KINDS)
    searches, tool_models = _read_tools(envelope)
    beginning = (_end_user(envelope), _joined(_read_system(envelope)))
    text_bytes = sum(len(envelope[name]) for name in _TEXT_MEMBERS if name in envelope)
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=model,
        stream=flag(envelope, "stream"),
        prompt=_size(messages, text_bytes),
        affinity=_opening(messages, *beginning),
        output_limit=count(envelope, "max_tokens", lowest=0),
        include_usage=True,
        other_models=named_models(envelope) + tool_models,
        service_tier=_asked_tier(envelope),
        searches=searches,
    )


def parse_count_request(body: bytes) -> ParsedRequest:
    """Read a request to count a prompt's tokens; raises InvalidRequest.

    It is a request without what concerns the answer; what stands there of it is
    left out.
    """
    request = parse_request(body)
    envelope = {
        name: value
        for name, value in request.envelope.items()
        if name not in _OF_THE_ANSWER
    }
    return structs.replace(request, envelope=envelope, stream=False, output_limit=None)


_OF_THE_ANSWER = frozenset(
    {"max_tokens", "metadata", "stream", "stop_sequences", "temperature", "top_k"}
    | {"top_p", "service_tier"}
)


def render_count(tokens: int) -> bytes:
    """Write the answer to a request to count (`MessageTokensCount`)."""
    return json.encode({"input_tokens": tokens})


class _Count(Struct, gc=False):
    input_tokens: int


_count = json.decoder(_Count)


def is_count(body: bytes) -> bool:
    """Whether this is such an answer."""
    return json.fits(_count, body)


def _read_messages(envelope: Envelope) -> list[_Message]:
    value = envelope.get("messages")
    if value is None:
        raise InvalidRequest(
            "messages: Field required",
            param="messages",
            code="missing_required_parameter",
        )
    messages: list[_Message] = judged(value, "messages", _messages)
    if not messages:
        raise InvalidRequest(
            "messages: at least one message is required",
            param="messages",
            code="empty_array",
        )
    if len(messages) > MESSAGES_LIMIT:
        raise InvalidRequest(
            f"messages: at most {MESSAGES_LIMIT} are taken",
            param="messages",
            code="array_above_max_length",
        )
    return messages


def _read_tools(envelope: Envelope) -> tuple[int, tuple[str, ...]]:
    """Count priced searches and collect models; refuse unpriced server tools."""
    if "tools" not in envelope:
        return 0, ()
    tools = judged_once(envelope, "tools", optional_objects, _IN_TOOLS)
    searches = 0
    models = []
    for index, tool in enumerate(tools or ()):
        place = f"tools[{index}]"
        value = tool.get("type", _NULL)
        kind = "custom" if value == _NULL else judged(value, f"{place}.type", _text)
        if kind.startswith(_SEARCH_TOOL):
            uses = judged(tool.get("max_uses", _NULL), f"{place}.max_uses", _whole)
            searches += min(max(uses or SEARCHES_LIMIT, 1), SEARCHES_LIMIT)
        elif not kind.startswith((*_CLIENT_TOOLS, *_FREE_TOOLS)):
            raise InvalidRequest.tool_not_offered(kind, _OFFERED)
        model = model_in(tool, f"{place}.model")
        if model is not None:
            models.append(checked_model_name(model))
    return searches, tuple(models)


def _asked_tier(envelope: Envelope) -> str | None:
    """The tier whose price may have to be paid (see `usage.tier_of`)."""
    fast = optional_text(envelope, "speed") == "fast"
    national = optional_text(envelope, "inference_geo") == "us"
    if fast or national:
        return "fast-us" if fast and national else "fast" if fast else "us"
    return optional_text(envelope, "service_tier")


# --- its size and its beginning -------------------------------------------------


class _Measure:
    """Adds up what a prompt holds."""

    __slots__ = ("files", "images", "payload")

    def __init__(self) -> None:
        self.images = self.files = self.payload = 0

    def take(self, blocks: list[_Block]) -> None:
        for block in blocks:
            source = block.source
            if isinstance(source, _Source):
                self._media(block.type, source)
            elif block.type == "tool_result" and len(block.content):
                self.take_nested(block.content)
            elif block.type == "container_upload":
                self.files += 1

    def take_nested(self, content: Raw) -> None:
        if not json.opens_with(content, b"["):
            return
        with suppress(*json.DECODE_ERRORS):
            self.take(_blocks.decode(content))

    def _media(self, kind: str, source: _Source) -> None:
        if source.type == "text":
            return
        if source.type == "content":
            if len(source.content):
                self.take_nested(source.content)
            return
        if kind == "image":
            self.images += 1
        else:
            self.files += 1
        self.payload += max(0, len(source.data) - MEDIA_ALLOWANCE)


def _size(messages: list[_Message], text_bytes: int) -> PromptSize:
    """Measure the prompt; media count as parts, not as bytes."""
    measure = None
    for message in messages:
        if isinstance(message.content, list):
            measure = measure or _Measure()
            measure.take(message.content)
    if measure is None:
        return PromptSize(text_bytes, len(messages))
    return PromptSize(
        text_bytes=max(0, text_bytes - measure.payload),
        messages=len(messages),
        images=measure.images,
        files=measure.files,
    )


def _opening(
    messages: Sequence[Words | _Message], *beginning: str | None
) -> tuple[str, ...]:
    """What a conversation starts with, up to its first user message.

    Agents have long system prompts in common: half of the room is for the rest.
    """
    opening = [text[:_SHARE] for text in beginning if text]
    room = 2 * _SHARE
    for message in messages:
        text = _joined(message.content)[:room]
        opening.append(text)
        room -= len(text)
        if message.role == "user" or room <= 0:
            break
    return tuple(opening)


def _read_system(envelope: Envelope) -> str | list[_Block]:
    value = envelope.get("system")
    found: str | list[_Block] | None
    found = None if value is None else judged(value, "system", _system)
    return found or ""


def _end_user(envelope: Envelope) -> str:
    """Of a call of an agent's, its user and session (`metadata.user_id`)."""
    if "metadata" not in envelope:
        return ""
    metadata = judged(envelope["metadata"], "metadata", _metadata) or {}
    return optional_text(metadata, "user_id") or ""


def _joined(content: str | list[_Block]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block.text, str))


_NOT_READ = frozenset(
    {"cache_control", "data", "id", "role", "signature", "tool_use_id", "type", "url"}
)


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text, for counting where no usage was given."""
    return prompt_of(
        request.envelope, _TEXT_MEMBERS, said=("messages", "system"), skipped=_NOT_READ
    )


# --- for a provider of this dialect ---------------------------------------------

_SEALED = b'"' + PREFIX.encode()
_Objects = list[dict[str, Raw]]
_objects = json.decoder(_Objects)
_THINKING = {"thinking": "signature", "redacted_thinking": "data"}


def render_request(request: ParsedRequest, edits: Edits) -> bytes:
    """Write the request for an upstream, changing only what must change."""
    envelope = dict(request.envelope)
    messages = envelope.get("messages")
    if messages is not None and _SEALED in bytes(messages):
        envelope["messages"] = _without_sealed(messages)
    apply_edits(envelope, edits)
    if "model" in envelope:
        # Some providers have it in the path alone, and drop it here.
        envelope["model"] = json.raw(edits.model)
    return json.encode(envelope)


def _without_sealed(messages: Raw) -> Raw:
    """Leave out what another dialect's provider has thought, signed or found."""
    kept = []
    for message in json.decode_with(_objects, messages):
        content = message.get("content", _NULL)
        if json.opens_with(content, b"["):
            blocks = json.decode_with(_objects, content)
            left = [block for block in blocks if not _is_sealed(block)]
            if blocks and not left:
                continue
            message["content"] = json.raw([_without_found(block) for block in left])
        kept.append(message)
    return json.raw(kept)


def _is_sealed(block: dict[str, Raw]) -> bool:
    kind = json.decode_with(_text, block.get("type", _EMPTY))
    place = _THINKING.get(kind)
    return place is not None and bytes(block.get(place, _NULL)).startswith(_SEALED)


def _without_found(block: dict[str, Raw]) -> dict[str, Raw]:
    """Leave out a text's citations of what another provider found."""
    cited = block.get("citations", _NULL)
    if not json.opens_with(cited, b"["):
        return block
    left = [
        citation
        for citation in json.decode_with(_objects, cited)
        if not bytes(citation.get("encrypted_index", _NULL)).startswith(_SEALED)
    ]
    if left:
        return block | {"citations": json.raw(left)}
    return {name: value for name, value in block.items() if name != "citations"}


_EMPTY = Raw(b'""')
