"""Writing what a message says: a text, or a list of parts.

Sources: see `read_parts`, whose mirror this is.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_chat.media import file_name, sound_format, write_place
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Document,
    Extras,
    Foreign,
    Image,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.model.traits import CacheMarks, Traits

SIBLING = "openai_responses"
"""The dialect of the same family, for the same accounts."""
_PLACE = "messages.content"


class Writing(Struct, frozen=True):
    """One request on its way to a provider."""

    own: bool
    """It was read from this dialect: what it had beside goes back."""
    traits: Traits
    losses: Losses
    kin: bool = False
    """It was read from this dialect or its sibling: files are known by name."""

    def extras(self, extras: Extras, place: str) -> Extras:
        """Give what goes back, or tell that it is left out."""
        if not extras:
            return {}
        if self.own:
            return extras
        tell_extras(extras, place, self.losses)
        return {}

    def mark(self, cache: CacheMark | None) -> Extras:
        """Give the members that mark a part for the provider's cache."""
        return mark_of(cache, self.traits, self.losses)


def writing(dialect: str, traits: Traits, losses: Losses) -> Writing:
    """Begin to write a request that was read from a dialect."""
    own = dialect == NAME
    return Writing(own, traits, losses, own or dialect == SIBLING)


def tell_extras(extras: Extras, place: str, losses: Losses) -> None:
    """Tell of every member that no provider of this dialect would know."""
    for name in extras:
        losses.drop(f"{place}.{name}" if place else name)


def mark_of(cache: CacheMark | None, traits: Traits, losses: Losses) -> Extras:
    """Give the members that mark a part for the provider's cache."""
    if cache is None:
        return {}
    match traits.cache_marks:
        case CacheMarks.CONTROL:
            control = {"type": "ephemeral"}
            return {
                "cache_control": control | ({"ttl": cache.ttl} if cache.ttl else {})
            }
        case CacheMarks.BREAKPOINT:
            if cache.ttl is not None:
                losses.change("cache_control.ttl")
            return {"prompt_cache_breakpoint": {"mode": "explicit"}}
        case CacheMarks.NONE:
            losses.drop("cache_control")
            return {}


def write_content(parts: Sequence[Part], writing: Writing) -> str | list[Extras]:
    """Write a message's `content`.

    Args:
        parts: texts, and what users show beside them.
        writing: where it goes.
    """
    only = parts[0] if len(parts) == 1 else None
    if isinstance(only, Text) and only.is_plain():
        # Plain words, as most messages are.
        return only.text
    entries = [entry for part in parts for entry in write_part(part, writing)]
    if not entries:
        return ""
    if any(entry.get("type") != "text" for entry in entries):
        return entries
    plain = all(entry.keys() == {"type", "text"} for entry in entries)
    if len(entries) > 1 and plain and writing.traits.text_parts:
        return entries
    return joined(entries) if plain else entries


def joined(entries: list[Extras]) -> str:
    """Several texts as one."""
    return "\n".join(entry["text"] for entry in entries)


def write_part(part: Part, writing: Writing) -> list[Extras]:  # noqa: PLR0911 - a table
    """Write one part, possibly as two; raises InvalidRequest."""
    match part:
        case Text():
            return [_text(part, writing)]
        case Image():
            return [_image(part, writing)]
        case Audio():
            return [_audio(part, writing)]
        case Document():
            return _document(part, writing)
        case Video():
            return [_video(part, writing)]
        case Refusal():
            extras = writing.extras(part.extras, _PLACE)
            return [{"type": "refusal", "refusal": part.text, **extras}]
        case Foreign():
            return foreign(part, writing)
        case Thinking() | ToolCall() | ToolResult():
            # Calls and results stand beside what is said.
            if isinstance(part, Thinking) and part.text:
                writing.losses.drop("thinking")
            return []


def _text(part: Text, writing: Writing) -> Extras:
    if part.citations:
        writing.losses.drop("citations")
    _tell_signature(part, writing)
    entry: Extras = {"type": "text", "text": part.text}
    entry |= writing.mark(part.cache)
    return entry | writing.extras(part.extras, _PLACE)


def _tell_signature(part: Text | Image, writing: Writing) -> None:
    """Tell of a signature for which a part has no place."""
    if part.signature is not None and part.signature.by != NAME:
        writing.losses.drop("signature")


def _image(part: Image, writing: Writing) -> Extras:
    url = write_place(part.source, "image/png")
    if url is None:
        writing.losses.refuse(
            "messages", "This model takes pictures as URLs or base64 only."
        )
    _tell_signature(part, writing)
    inner: Extras = {"url": url}
    if part.detail is not None:
        inner["detail"] = part.detail
    entry: Extras = {"type": "image_url", "image_url": inner}
    return _whole(entry, part, writing)


def _video(part: Video, writing: Writing) -> Extras:
    url = write_place(part.source, "video/mp4")
    if url is None:
        writing.losses.refuse(
            "messages", "This model takes films as URLs or base64 only."
        )
    return _whole({"type": "video_url", "video_url": {"url": url}}, part, writing)


def _audio(part: Audio, writing: Writing) -> Extras:
    source = part.source
    data = source.url if source.data is None else source.data
    if data is None:
        writing.losses.refuse("messages", "This model takes sounds as base64 only.")
    inner = {"data": data}
    if source.data is not None or source.media_type is not None:
        inner["format"] = sound_format(source.media_type)
    entry: Extras = {"type": "input_audio", "input_audio": inner}
    extras = writing.extras(part.extras, _PLACE)
    return _joined(entry, extras)


def _document(part: Document, writing: Writing) -> list[Extras]:
    """Write a file; what is said of it goes before it as text."""
    losses = writing.losses
    source = part.source
    if part.citations is not None:
        losses.drop("citations")
    entries: list[Extras] = []
    if part.context is not None:
        losses.change("document.context")
        entries.append({"type": "text", "text": part.context})
    if source.text is not None:
        losses.change("document")
        text = f"{part.title}\n\n{source.text}" if part.title else source.text
        entry = {"type": "text", "text": text} | writing.mark(part.cache)
        return [*entries, entry | writing.extras(part.extras, _PLACE)]
    entries.append(_file(part, writing))
    return entries


def _file(part: Document, writing: Writing) -> Extras:
    """Write a file that is not told as text."""
    losses = writing.losses
    source = part.source
    inner: Extras = {}
    if source.file_id is not None:
        if not writing.kin:
            losses.refuse(
                "messages",
                "A file that another provider keeps cannot be shown to this model; "
                "send its content.",
            )
        inner["file_id"] = source.file_id
    if source.url is not None:
        losses.refuse("messages", "This model takes files as base64 only, not by URL.")
    data = write_place(source, "application/pdf")
    if data is not None:
        inner["file_data"] = data
    if not inner:
        losses.refuse("messages", "This model takes files as base64 only.")
    title = part.title
    if title is None and data is not None and not writing.own:
        title = file_name(source.media_type)
    if title is not None:
        inner["filename"] = title
    return _whole({"type": "file", "file": inner}, part, writing)


def _whole(entry: Extras, part: Image | Video | Document, writing: Writing) -> Extras:
    entry |= writing.mark(part.cache)
    return _joined(entry, writing.extras(part.extras, _PLACE))


def _joined(entry: Extras, extras: Extras) -> Extras:
    """Put back what stood in a part and in its one object."""
    kind = entry["type"]
    rest = dict(extras)
    inner: Any = rest.pop(kind, None)
    if isinstance(inner, dict):
        entry[kind] = entry[kind] | inner
    return entry | rest


def foreign(part: Foreign, writing: Writing) -> list[Extras]:
    """Put a block back that only its own dialect has, or do without it."""
    if writing.own:
        return [part.value]
    if not part.harmless:
        writing.losses.refuse(
            "messages", f"This model takes no content of type '{part.kind[:64]}'."
        )
    writing.losses.drop(f"{_PLACE}.{part.kind}")
    return []
