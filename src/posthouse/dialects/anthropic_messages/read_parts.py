"""Blocks of content, read: in requests and replies alike.

Sources: `ContentBlockParam`, `ContentBlock` and `TextCitation` of anthropic
2.12.0 (2026-11). A block that is unknown, or that only Anthropic runs, stays
whole as `Foreign`. Rules for `extras`: members of the block; `source` holds
those of its source, `cache_control` those of its mark.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw

from posthouse.dialects.anthropic_messages.caching import NAME, take_cache
from posthouse.dialects.anthropic_messages.citations import read_citation
from posthouse.dialects.neutral.members import Members
from posthouse.dialects.neutral.seal import unseal
from posthouse.model.chat import (
    Document,
    Extras,
    Foreign,
    Image,
    Media,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json

EMPTY_OBJECT = "{}"

_HISTORY = ("server_tool_use", "compaction", "fallback")
"""Blocks of the provider's that a model can do without, beside results."""


def read_blocks(
    members: Members, name: str, inputs: Sequence[Raw] = ()
) -> tuple[Part, ...]:
    """Take content: a text, or a list of blocks.

    Args:
        members: whose member it is.
        name: the member's.
        inputs: the `input` of each block as it was written, empty where there is
            none.
    """
    text = members.peek(name)
    if isinstance(text, str):
        members.take(name)
        return (Text(text),)
    blocks = members.each(name)
    for block, given in zip(blocks, inputs, strict=False):
        if block.peek("type") == "tool_use" and isinstance(block.peek("input"), dict):
            block.put_back("input", given)
    return tuple(map(read_block, blocks))


def read_block(block: Members) -> Part:
    """Read one block."""
    kind = block.needed_text("type")
    reader = _READERS.get(kind)
    return _foreign(kind, block) if reader is None else reader(block)


def _foreign(kind: str, block: Members) -> Foreign:
    harmless = kind in _HISTORY or kind.endswith("_tool_result")
    return Foreign(kind, {"type": kind} | block.extras(), harmless)


def _text(block: Members) -> Text:
    cache, extras = take_cache(block)
    return Text(
        text=block.needed_text("text"),
        citations=tuple(map(read_citation, block.each("citations"))),
        cache=cache,
        extras=extras | block.extras(),
    )


def _thinking(block: Members) -> Thinking:
    return Thinking(
        text=block.text("thinking") or "",
        signature=unseal(block.text("signature"), NAME),
        extras=block.extras(),
    )


def _redacted(block: Members) -> Thinking:
    return Thinking(
        signature=unseal(block.text("data"), NAME),
        redacted=True,
        extras=block.extras(),
    )


def _image(block: Members) -> Part:
    if not _has_known_source(block):
        return _foreign("image", block)
    source, extras = _source(block)
    cache, marked = take_cache(block)
    return Image(source=source, cache=cache, extras=extras | marked | block.extras())


def _document(block: Members) -> Part:
    texts = _texts_of_source(block)
    if texts is not None:
        source, extras = Media(text=texts), {"source": block.take("source")}
    elif _has_known_source(block):
        source, extras = _source(block)
    else:
        return _foreign("document", block)
    cache, marked = take_cache(block)
    citations = block.inner("citations")
    cites = None
    if citations is not None:
        cites = citations.flag("enabled")
        further = citations.extras()
        extras |= {"citations": further} if further else {}
    return Document(
        source=source,
        title=block.text("title"),
        context=block.text("context"),
        citations=cites,
        cache=cache,
        extras=extras | marked | block.extras(),
    )


def _search_result(block: Members) -> Part:
    """Read what a search of the caller's found: a text with its title and source."""
    texts = _joined(block.peek("content"))
    if texts is None:
        return _foreign("search_result", block)
    whole = {"type": "search_result"} | block.extras()
    cache, _ = take_cache(block)
    return Document(
        source=Media(text=texts),
        title=block.text("title"),
        context=block.text("source"),
        cache=cache,
        extras={"search_result": whole},
    )


def _texts_of_source(block: Members) -> str | None:
    """The text of a source that is a list of texts; None for any other."""
    source = block.peek("source")
    if not isinstance(source, dict) or source.get("type") != "content":
        return None
    content = source.get("content")
    return content if isinstance(content, str) else _joined(content)


def _joined(blocks: Any) -> str | None:
    if not isinstance(blocks, list):
        return None
    texts = [block.get("text") for block in blocks if isinstance(block, dict)]
    found = [text for text in texts if isinstance(text, str)]
    return "\n\n".join(found) if len(found) == len(blocks) else None


_SOURCES = ("base64", "text", "url", "file")


def _has_known_source(block: Members) -> bool:
    source = block.peek("source")
    return isinstance(source, dict) and source.get("type") in _SOURCES


def _source(block: Members) -> tuple[Media, Extras]:
    """Take a source of one of the known kinds."""
    source = block.inner("source")
    if source is None:
        raise block.wrong("source", "an object")
    kind = source.needed_text("type")
    media_type = source.text("media_type")
    match kind:
        case "base64":
            media = Media(data=source.needed_text("data"), media_type=media_type)
        case "text":
            media = Media(text=source.needed_text("data"), media_type=media_type)
        case "url":
            media = Media(url=source.needed_text("url"), media_type=media_type)
        case _:
            media = Media(file_id=source.needed_text("file_id"), media_type=media_type)
    rest = source.extras()
    return media, {"source": rest} if rest else {}


def _tool_use(block: Members) -> ToolCall:
    cache, extras = take_cache(block)
    return ToolCall(
        id=block.needed_text("id"),
        name=block.needed_text("name"),
        arguments=_arguments(block),
        cache=cache,
        extras=extras | block.extras(),
    )


def _arguments(block: Members) -> str:
    given = block.take("input")
    if given is None:
        return EMPTY_OBJECT
    if isinstance(given, Raw):
        return bytes(given).decode()
    if isinstance(given, dict):
        return json.encode(given).decode()
    raise block.wrong("input", "an object")


def _tool_result(block: Members) -> ToolResult:
    cache, extras = take_cache(block)
    return ToolResult(
        call_id=block.needed_text("tool_use_id"),
        content=read_blocks(block, "content"),
        is_error=block.flag("is_error"),
        cache=cache,
        extras=extras | block.extras(),
    )


_READERS: dict[str, Callable[[Members], Part]] = {
    "text": _text,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
