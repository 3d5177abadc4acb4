"""A Responses request's envelope, judged as far as routing and money need it.

Tools that the provider runs are searches, which are priced, or refused: nobody
would know what they cost. Where they are offered beside tools that the client
runs, and none of them is called for, they are left out instead, for agents
(Codex among them) offer them with every request.

Sources: `ResponseCreateParams` and the tool types of OpenAI's Python SDK, 3.54.
"""

from contextlib import suppress
from typing import Any, NoReturn

from msgspec import Raw, Struct, structs

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    Object,
    cache_key,
    checked_model_name,
    count,
    flag,
    judged,
    judged_once,
    model_in,
    model_name,
    named_models,
    optional_objects,
    parse_envelope,
    service_tier,
)
from posthouse.dialects.openai.kinds import RESPONSES, check_kinds
from posthouse.dialects.openai.texts import prompt_of
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

MEDIA_ALLOWANCE = 256
"""Bytes of a media part that are its frame and not its payload."""
ITEMS_LIMIT = 16_384
"""More have never been seen in one conversation."""

_ABSENT = Raw()
_NULL = Raw(b"null")


class _Part(Struct, gc=False):
    type: str = ""
    text: str | None = None
    # msgspec fills a Raw only where no union could stand in its place.
    image_url: Raw = _ABSENT
    input_audio: Raw = _ABSENT
    file_data: Raw = _ABSENT
    file_url: Raw = _ABSENT
    file_id: Raw = _ABSENT


class _Item(Struct, gc=False):
    type: str | None = None
    role: str | None = None
    content: str | list[_Part] | None = None
    output: Raw = _ABSENT
    result: Raw = _ABSENT
    tools: Raw = _ABSENT


_Input = str | list[_Item]
_input = json.decoder(_Input)
_parts = json.decoder(list[_Part])
_part = json.decoder(_Part)
_text = json.decoder(str)
_objects = json.decoder(list[dict[str, Raw]])
_raws = json.decoder(list[Raw])
_object = json.decoder(dict[str, Raw])

_IN_TOOLS = frozenset({"environment", "model", "tools", "type"})
_TEXT_MEMBERS = ("input", "instructions", "tools", "text")
_OFFERED = frozenset({"function", "custom", "namespace"})
"""What the client runs itself."""
_FREE_TOOLS = frozenset(
    {
        *_OFFERED,
        "apply_patch",
        "computer",
        "computer_use_preview",
        "local_shell",
        "mcp",
        "tool_search",
    }
)
"""What costs nothing but tokens."""
_SEARCH = "web_search"
"""What the types of all tools that search the web begin with."""
_HAS_TOOLS = frozenset({"additional_tools", "tool_search_output"})


class _Tools(Struct):
    """What the tools of a request come to."""

    kept: list[Object]
    searches: list[Object]
    unpriced: list[str]
    models: list[str]
    offered: bool = False


def parse_request(body: bytes) -> ParsedRequest:
    """Read a Responses request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    model = model_name(envelope)
    items = _read_input(envelope)
    check_kinds(envelope, RESPONSES)
    _refuse_background(envelope)
    tools = _read_tools(envelope)
    hidden = _tools_of_items(envelope, items)
    dropped = _drop_unpriced(envelope, tools)
    request = ParsedRequest(
        operation=Operation.CHAT,
        envelope=envelope,
        model=model,
        stream=flag(envelope, "stream"),
        prompt=_size(items, _text_bytes(envelope)),
        affinity=cache_key(envelope) or _opening(envelope, items),
        output_limit=count(envelope, "max_output_tokens"),
        # Every stream ends with its usage; there is nothing to ask for.
        include_usage=True,
        other_models=(*named_models(envelope), *tools.models, *hidden.models),
        service_tier=service_tier(envelope),
        searches=1 if tools.searches or hidden.searches else 0,
        dropped=dropped,
    )
    if not tools.searches or hidden.searches or not _may_miss(envelope, tools):
        return request
    return structs.replace(request, without_searches=_unsearching(request, tools))


def _read_input(envelope: Envelope) -> _Input:
    value = envelope.get("input")
    if value is None or value == _NULL:
        if any(
            envelope.get(name, _NULL) != _NULL
            for name in ("prompt", "previous_response_id", "conversation")
        ):
            return []
        raise InvalidRequest(
            "Missing required parameter: 'input'",
            param="input",
            code="missing_required_parameter",
        )
    items: _Input = judged(value, "input", _input)
    if isinstance(items, list) and len(items) > ITEMS_LIMIT:
        raise InvalidRequest(
            f"'input' may have at most {ITEMS_LIMIT} entries",
            param="input",
            code="array_above_max_length",
        )
    return items


def _refuse_background(envelope: Envelope) -> None:
    """Refuse what would go on, and cost, after the call is over."""
    if flag(envelope, "background"):
        raise InvalidRequest(
            "Responses in the background are not offered here",
            param="background",
            code="unsupported_value",
        )


# --- tools --------------------------------------------------------------------------


def _read_tools(envelope: Envelope) -> _Tools:
    found = _Tools([], [], [], [])
    if "tools" in envelope:
        tools = judged_once(envelope, "tools", optional_objects, _IN_TOOLS)
        for index, tool in enumerate(tools or ()):
            _sort_tool(found, tool, f"tools[{index}]")
    return found


def _sort_tool(found: _Tools, tool: Object, place: str) -> None:
    """Say what a tool is; collect the models that it names."""
    kind = judged(tool.get("type", _NULL), f"{place}.type", _text)
    if kind == "namespace" and "tools" in tool:
        inner = judged(tool["tools"], f"{place}.tools", _objects)
        for index, part in enumerate(inner):
            part_kind = judged(part.get("type", _NULL), f"{place}.tools.type", _text)
            if part_kind not in _OFFERED:
                _refuse_tool(part_kind)
            _add_model(found, part, f"{place}.tools[{index}].model")
    _add_model(found, tool, f"{place}.model")
    found.offered = found.offered or kind in _OFFERED
    if kind.startswith(_SEARCH):
        found.searches.append(tool)
    elif kind in _FREE_TOOLS or (kind == "shell" and _is_local(tool, place)):
        found.kept.append(tool)
    else:
        found.unpriced.append(kind)


def _add_model(found: _Tools, tool: Object, place: str) -> None:
    name = model_in(tool, place) if "model" in tool else None
    if name is not None:
        found.models.append(checked_model_name(name))


def _is_local(tool: Object, place: str) -> bool:
    """Whether a shell is the client's own, not a container of the provider's."""
    value = tool.get("environment", _NULL)
    if value == _NULL:
        return False
    environment = judged(value, f"{place}.environment", json.decoder(dict[str, Any]))
    return bool(environment.get("type") == "local")


def _tools_of_items(envelope: Envelope, items: _Input) -> _Tools:
    """Read the tools that stand in the conversation itself.

    They go on as they were judged, which is what `judged_once` is for.
    """
    found = _Tools([], [], [], [])
    holders = [
        index
        for index, item in enumerate(items if isinstance(items, list) else ())
        if item.type in _HAS_TOOLS and len(item.tools)
    ]
    if not holders:
        return found
    entries = judged(envelope["input"], "input", _raws)
    for index in holders:
        entry = judged(entries[index], f"input[{index}]", _object)
        for tool in judged_once(entry, "tools", optional_objects, _IN_TOOLS) or ():
            _sort_tool(found, tool, f"input[{index}].tools")
        entries[index] = json.raw(entry)
    envelope["input"] = json.raw(entries)
    if found.unpriced:
        _refuse_tool(found.unpriced[0])
    return found


def _drop_unpriced(envelope: Envelope, tools: _Tools) -> tuple[str, ...]:
    """Leave out what has no price, if it may be missing; raises InvalidRequest."""
    if not tools.unpriced:
        return ()
    if not _may_miss(envelope, tools):
        _refuse_tool(tools.unpriced[0])
    envelope["tools"] = json.raw([*tools.kept, *tools.searches])
    return tuple(f"-tools.{kind[:64]}" for kind in dict.fromkeys(tools.unpriced))


def _refuse_tool(kind: str) -> NoReturn:
    raise InvalidRequest(
        f"Tools of type {kind[:64]!r} are not offered here",
        param="tools",
        code="unsupported_value",
    )


def _may_miss(envelope: Envelope, tools: _Tools) -> bool:
    """Whether the provider's tools are one offer among others, and not called for."""
    choice = bytes(envelope.get("tool_choice", _NULL))
    return tools.offered and (
        choice in (b"null", b'"auto"', b'"none"') or b'"function"' in choice
    )


def _unsearching(request: ParsedRequest, tools: _Tools) -> ParsedRequest:
    """The call without its searches."""
    envelope = dict(request.envelope)
    envelope["tools"] = json.raw(tools.kept)
    dropped = (*request.dropped, "-tools.web_search")
    return structs.replace(request, envelope=envelope, searches=0, dropped=dropped)


# --- size ---------------------------------------------------------------------------


def _text_bytes(envelope: Envelope) -> int:
    """Measure the members that a model reads."""
    return sum(len(envelope[name]) for name in _TEXT_MEMBERS if name in envelope)


def _size(items: _Input, text_bytes: int) -> PromptSize:
    """Measure the prompt; media count as parts, not as bytes."""
    if isinstance(items, str):
        return PromptSize(text_bytes, 1)
    images = audio_parts = files = 0
    for item in items:
        if len(item.result) and item.type == "image_generation_call":
            images += 1
            text_bytes -= _payload(item.result)
        for part in (*_parts_of(item.content), *_output_parts(item.output)):
            if len(part.input_audio):
                audio_parts += 1
                text_bytes -= _payload(part.input_audio)
            elif part.type.endswith("_file"):
                files += 1
                text_bytes -= _payload(part.file_data)
            elif len(part.image_url) or len(part.file_id):
                images += 1
                text_bytes -= _payload(part.image_url)
    return PromptSize(text_bytes, len(items), images, audio_parts, files)


def _parts_of(content: str | list[_Part] | None) -> list[_Part]:
    return content if isinstance(content, list) else []


def _output_parts(output: Raw) -> list[_Part]:
    """The parts of a tool's result that are no text."""
    data = bytes(output)
    if b'_url"' not in data and b'"file_' not in data:
        return []
    with suppress(MalformedJSON):
        if json.opens_with(output, b"["):
            return json.decode_with(_parts, output)
        if json.opens_with(output, b"{"):
            return [json.decode_with(_part, output)]
    return []


def _payload(value: Raw) -> int:
    return max(0, len(value) - MEDIA_ALLOWANCE)


def _opening(envelope: Envelope, items: _Input) -> tuple[str, ...]:
    """What a conversation starts with, up to its first user message."""
    opening: list[str] = []
    value = envelope.get("instructions")
    if value is not None and value != _NULL:
        opening.append(judged(value, "instructions", _text)[:AFFINITY_LIMIT])
    if isinstance(items, str):
        items = [_Item(role="user", content=items)]
    length = sum(map(len, opening))
    for item in items:
        if length >= AFFINITY_LIMIT:
            break
        content = item.content
        text = content if isinstance(content, str) else _joined(content or [])
        opening.append(text[: AFFINITY_LIMIT - length])
        length += len(text)
        if item.role == "user":
            break
    return tuple(opening)


def _joined(parts: list[_Part]) -> str:
    return "\n".join(part.text for part in parts if part.text is not None)


_NOT_READ = frozenset(
    {
        "call_id",
        "encrypted_content",
        "file_data",
        "file_id",
        "file_url",
        "id",
        "image_url",
        "input_audio",
        "result",
        "role",
        "status",
        "type",
    }
)


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text, for counting where no usage was given."""
    return prompt_of(
        request.envelope,
        _TEXT_MEMBERS,
        said=("input", "instructions"),
        skipped=_NOT_READ,
    )
