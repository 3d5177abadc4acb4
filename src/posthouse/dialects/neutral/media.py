"""What requests name by URL: pictures, sounds and files, for those who fetch none."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import structs

from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Media,
    Message,
    Part,
    ToolResult,
    Video,
)

_WITH_SOURCE = (Image, Audio, Video, Document)
_FILES = (Audio, Document)
_FETCHED = ("http://", "https://")

ReadsURL = Callable[[str], bool]
"""Whether providers of a dialect can themselves read what a URL leads to."""


def reads_none(_url: str) -> bool:
    """Nothing is read by the provider."""
    return False


def urls_in(
    chat: ChatRequest, reads: ReadsURL, *, pictures: bool = True
) -> tuple[str, ...]:
    """The URLs that must be fetched for a provider, in order and each once.

    Args:
        chat: the request.
        reads: tells what the provider reads itself.
        pictures: pictures and films must be, and not files and sounds alone.
    """
    kinds = _WITH_SOURCE if pictures else _FILES
    found = {
        part.source.url: None
        for message in chat.messages
        for part in _media_parts(message.parts)
        if isinstance(part, kinds)
        and part.source.url is not None
        and part.source.url.lower().startswith(_FETCHED)
        and not reads(part.source.url)
    }
    return tuple(found)


def with_media(chat: ChatRequest, found: Mapping[str, Media]) -> ChatRequest:
    """The request with what was fetched in place of where it was."""
    messages = tuple(
        structs.replace(message, parts=_filled(message.parts, found))
        if _has_any(message, found)
        else message
        for message in chat.messages
    )
    return structs.replace(chat, messages=messages)


def _has_any(message: Message, found: Mapping[str, Media]) -> bool:
    return any(part.source.url in found for part in _media_parts(message.parts))


def _media_parts(
    parts: tuple[Part, ...],
) -> Iterator[Image | Audio | Video | Document]:
    for part in parts:
        if isinstance(part, _WITH_SOURCE):
            yield part
        elif isinstance(part, ToolResult):
            yield from _media_parts(part.content)


def _filled(parts: tuple[Part, ...], found: Mapping[str, Media]) -> tuple[Any, ...]:
    filled: list[Part] = []
    for part in parts:
        if isinstance(part, _WITH_SOURCE):
            source = found.get(part.source.url or "", part.source)
            filled.append(structs.replace(part, source=source))
        elif isinstance(part, ToolResult):
            filled.append(structs.replace(part, content=_filled(part.content, found)))
        else:
            filled.append(part)
    return tuple(filled)
