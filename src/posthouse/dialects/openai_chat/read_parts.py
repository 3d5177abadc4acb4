"""Reading what a message says: a text, or a list of parts.

Sources: OpenAI's API description, `ChatCompletionRequestMessageContentPart*`
(openapi, 2026-08); `video_url` of DashScope, Zhipu and Ark; `cache_control` of
OpenRouter and DashScope; Mistral's parts of type `thinking`.
"""

from collections.abc import Callable
from typing import Any

from msgspec import structs

from posthouse.dialects.neutral.members import Members, Wrong
from posthouse.dialects.neutral.seal import unseal
from posthouse.dialects.openai_chat.media import read_bytes, read_place, sound_type
from posthouse.dialects.openai_chat.thoughts import NAME, take_signature
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Document,
    Extras,
    Foreign,
    Image,
    Media,
    Part,
    Refusal,
    Text,
    Thinking,
    Video,
)

_BREAKPOINT = "prompt_cache_breakpoint"
_PLAIN_BREAKPOINT = {"mode": "explicit"}
_LIFETIMES = ("5m", "1h")


def read_content(value: Any, place: str, wrong: Wrong) -> list[Part]:
    """Read a message's `content`.

    Args:
        value: a text, a list of parts or None.
        place: where it stands, dotted.
        wrong: makes an exception for what is none of them.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [Text(value)]
    if not isinstance(value, list):
        raise wrong(place, "a string or an array of parts")
    return [
        read_part(entry, f"{place}[{index}]", wrong)
        for index, entry in enumerate(value)
    ]


def read_part(value: Any, place: str, wrong: Wrong) -> Part:
    """Read one part; one of an unknown type is kept whole."""
    if isinstance(value, str):
        return Text(value)
    members = Members(value, place, wrong)
    kind = members.text("type")
    read = _READERS.get(kind or _kind_of(members))
    if read is None:
        return Foreign(kind or "", value)
    return read(members)


def _kind_of(members: Members) -> str:
    """The type of a part that does not tell it, as some clients' do not."""
    return next((name for name in _READERS if members.peek(name) is not None), "")


def _text(members: Members) -> Text:
    text = members.needed_text("text")
    cache, extras = read_mark(members)
    return Text(text, cache=cache, extras=extras)


def _image(members: Members) -> Image:
    source, inner = _place_in(members, "image_url")
    detail = inner.pop("detail", None)
    if not isinstance(detail, str | None):
        raise members.wrong("image_url.detail", "a string")
    signature = unseal(take_signature(members), NAME)
    cache, extras = read_mark(members)
    return Image(
        source,
        detail=detail,
        cache=cache,
        signature=signature,
        extras=_with(extras, "image_url", inner),
    )


def _video(members: Members) -> Video:
    source, inner = _place_in(members, "video_url")
    cache, extras = read_mark(members)
    return Video(source, cache=cache, extras=_with(extras, "video_url", inner))


def _place_in(members: Members, name: str) -> tuple[Media, Extras]:
    """Read `{name: {url}}`, or `{name: url}` as relays take it too."""
    value = members.peek(name)
    if isinstance(value, str):
        members.take(name)
        return read_place(value), {}
    inner = members.inner(name)
    if inner is None:
        raise members.wrong(name, "an object")
    return read_place(inner.needed_text("url")), inner.extras()


def _audio(members: Members) -> Audio:
    inner = members.inner("input_audio")
    if inner is None:
        raise members.wrong("input_audio", "an object")
    source = read_bytes(inner.needed_text("data"))
    kind = sound_type(inner.text("format"))
    # DashScope's data URIs have no type; the format beside them has.
    source = structs.replace(source, media_type=kind or source.media_type)
    _, extras = read_mark(members)
    return Audio(source, extras=_with(extras, "input_audio", inner.extras()))


def _file(members: Members) -> Document:
    inner = members.inner("file")
    if inner is None:
        raise members.wrong("file", "an object")
    data = inner.text("file_data")
    source = read_bytes(data) if data is not None else Media()
    file_id = inner.text("file_id")
    if data is None and file_id is None:
        raise members.wrong("file", "file_data or file_id")
    cache, extras = read_mark(members)
    return Document(
        structs.replace(source, file_id=file_id),
        title=inner.text("filename"),
        cache=cache,
        extras=_with(extras, "file", inner.extras()),
    )


def _refusal(members: Members) -> Refusal:
    return Refusal(members.needed_text("refusal"), extras=members.extras())


def _thinking(members: Members) -> Thinking:
    """Read a part of Mistral's, whose thoughts are a list of texts."""
    value = members.take("thinking")
    if not isinstance(value, list):
        value = [value]
    texts = [
        entry.get("text", "") if isinstance(entry, dict) else entry for entry in value
    ]
    return Thinking("".join(text for text in texts if isinstance(text, str)))


_READERS: dict[str, Callable[[Members], Part]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "video_url": _video,
    "refusal": _refusal,
    "thinking": _thinking,
}


def _with(extras: Extras, name: str, inner: Extras) -> Extras:
    return extras | {name: inner} if inner else extras


# --- cache marks --------------------------------------------------------------------


def read_mark(members: Members) -> tuple[CacheMark | None, Extras]:
    """Take a cache mark, by either of its names; give all extras with it."""
    mark = None
    point = members.object(_BREAKPOINT)
    if point is not None:
        mark = CacheMark()
        if point != _PLAIN_BREAKPOINT:
            # Its lifetime is one that nobody else has.
            members.put_back(_BREAKPOINT, point)
    control = members.object("cache_control")
    if control is not None:
        ttl = control.get("ttl")
        mark = CacheMark(ttl if ttl in _LIFETIMES else None)
    return mark, members.extras()
