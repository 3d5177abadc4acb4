"""The parts of messages, read and written.

Normal form: a picture's or file's `data:` URL is written as it was taken apart;
`annotations` and `logprobs` of texts that go back to a model are left out where
they are empty; a picture without a `detail` has `auto`. A cache breakpoint of 30
minutes is 5m, one of 12 hours 1h, as prices have them.

Sources: `ResponseInputText`, `ResponseInputImage`, `ResponseInputFile`,
`ResponseInputAudio`, `ResponseOutputText` and `ResponseOutputRefusal` of OpenAI's
Python SDK, 3.54.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, ClassVar

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Citation,
    Document,
    Extras,
    Foreign,
    Image,
    Media,
    Part,
    Refusal,
    Text,
    Thinking,
)
from posthouse.model.traits import CacheMarks, Traits

NAME = "openai_responses"
CONTENT = "content."
"""What the kind of a foreign part of a message begins with."""

_TTL = {"30m": "5m", "12h": "1h"}
_TTL_WRITTEN = {short: ttl for ttl, short in _TTL.items()}
_AUDIO_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_AUDIO_FORMATS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}
_EXTENSIONS = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md"}


# --- reading ------------------------------------------------------------------------


def read_part(part: Members) -> Part:
    """Read one part of a message's content."""
    kind = part.text("type") or "input_text"
    match kind:
        case "input_text" | "output_text" | "text":
            return read_text(part)
        case "refusal":
            return Refusal(part.needed_text("refusal"), part.extras())
        case "input_image":
            return _read_image(part)
        case "input_file":
            return _read_file(part)
        case "input_audio":
            return _read_audio(part)
        case _:
            return Foreign(CONTENT + kind, {"type": kind, **part.extras()})


def read_text(part: Members) -> Text:
    """Read a text of either side; its probabilities are read elsewhere."""
    text = part.needed_text("text")
    citations = tuple(read_citation(entry) for entry in part.each("annotations"))
    part.take("logprobs")
    return Text(text, citations, _read_mark(part), extras=part.extras())


def read_citation(entry: Members) -> Citation:
    """Read an annotation; those that are no URL keep what only OpenAI has."""
    kind = entry.take("type")
    if kind == "url_citation":
        url, title = entry.text("url"), entry.text("title")
        start, end = entry.whole("start_index"), entry.whole("end_index")
        return Citation(url, title, start=start, end=end, extras=entry.extras())
    title = entry.text("filename")
    return Citation(title=title, extras={"type": kind, **entry.extras()})


def _read_mark(part: Members) -> CacheMark | None:
    mark = part.inner("prompt_cache_breakpoint")
    if mark is None:
        return None
    ttl = mark.text("ttl")
    return CacheMark(None if ttl is None else _TTL.get(ttl, ttl))


def _read_image(part: Members) -> Image:
    url = part.text("image_url")
    file_id = part.text("file_id")
    if url is None and file_id is None:
        raise part.wrong("image_url", "a string")
    source = Media(file_id=file_id) if url is None else media_of(url)
    detail = part.text("detail")
    return Image(source, detail, _read_mark(part), extras=part.extras())


def read_picture(item: Members) -> Image | None:
    """Read a picture that the model has made; None for one that is not here."""
    result = item.peek("result")
    if not isinstance(result, str):
        return None
    for name in ("type", "id", "status", "result"):
        item.take(name)
    form = item.text("output_format") or "png"
    source = Media(data=result, media_type=f"image/{form}")
    return Image(source, extras=item.extras())


def write_picture(part: Image) -> dict[str, Any]:
    """Write a picture that the model has made as the item that it was."""
    form = (part.source.media_type or "image/png").rpartition("/")[2]
    item = {
        "type": "image_generation_call",
        "status": "completed",
        "result": part.source.data,
        **part.extras,
    }
    return item if form == "png" else {**item, "output_format": form}


def _read_file(part: Members) -> Document:
    url, data = part.text("file_url"), part.text("file_data")
    file_id = part.text("file_id")
    if data is not None:
        source = media_of(data) if data.startswith("data:") else Media(data=data)
    elif url is not None:
        source = Media(url=url)
    elif file_id is not None:
        source = Media(file_id=file_id)
    else:
        raise part.wrong("file_data", "a string")
    title = part.text("filename")
    return Document(source, title, cache=_read_mark(part), extras=part.extras())


def _read_audio(part: Members) -> Audio:
    audio = part.inner("input_audio")
    if audio is None:
        raise part.wrong("input_audio", "an object")
    form = audio.text("format")
    media_type = None if form is None else _AUDIO_TYPES.get(form, f"audio/{form}")
    source = Media(data=audio.needed_text("data"), media_type=media_type)
    return Audio(source, extras=part.extras())


def media_of(url: str) -> Media:
    """Take a URL; one that holds the bytes in base64 is taken apart."""
    if url.startswith("data:"):
        head, comma, data = url.removeprefix("data:").partition(",")
        if comma and head.endswith(";base64"):
            return Media(data=data, media_type=head.removesuffix(";base64") or None)
    return Media(url=url)


# --- writing ------------------------------------------------------------------------


class PartWriter:
    """Writes the parts of one request's messages."""

    def __init__(self, dialect: str, traits: Traits, losses: Losses) -> None:
        """Begin.

        Args:
            dialect: what the request was read from.
            traits: of the target.
            losses: is told what is left out.
        """
        self._own = dialect == NAME
        self._marks = self._own or traits.cache_marks is CacheMarks.BREAKPOINT
        self._losses = losses

    def extras(self, extras: Extras, place: str = "messages.content") -> Extras:
        """Give the members that are this dialect's; tell of those that are not."""
        if self._own:
            return extras
        for name in extras:
            self._losses.drop(f"{place}.{name}")
        return {}

    def write(self, part: Part, *, spoken: bool = False) -> dict[str, Any] | None:
        """Write a part; None for what has no place here.

        Args:
            part: of a message; neither thoughts nor calls, which are items.
            spoken: it is the model's own.
        """
        writer = self._WRITERS.get(type(part))
        if writer is not None:
            return writer(self, part, spoken)
        name = type(part).__struct_config__.tag
        return self._losses.refuse(
            f"messages.{name}", f"This model takes no parts of type {name!r}"
        )

    def _text(self, part: Text, spoken: bool) -> dict[str, Any]:
        out: dict[str, Any] = {
            "type": "output_text" if spoken else "input_text",
            "text": part.text,
        }
        if spoken and part.citations:
            out["annotations"] = self._annotations(part)
        elif part.citations:
            self._losses.drop("citations")
        self._mark(out, part.cache)
        return out | self.extras(part.extras)

    def _annotations(self, part: Text) -> list[dict[str, Any]]:
        out = []
        for citation in part.citations:
            entry = write_citation(citation, len(part.text), own=self._own)
            if entry is None:
                self._losses.drop("citations")
            else:
                out.append(entry)
        return out

    def _image(self, part: Image, _spoken: bool) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "input_image"}
        if part.source.file_id is not None:
            out["file_id"] = part.source.file_id
        else:
            out["image_url"] = url_of(part.source, "image/png")
        out["detail"] = part.detail or "auto"
        self._mark(out, part.cache)
        return out | self.extras(part.extras)

    def _document(self, part: Document, _spoken: bool) -> dict[str, Any]:
        source = part.source
        out: dict[str, Any] = {"type": "input_file"}
        if source.url is not None:
            out["file_url"] = source.url
        elif source.file_id is not None:
            out["file_id"] = source.file_id
        elif source.data is not None and source.media_type is None:
            out["file_data"] = source.data
        else:
            out["file_data"] = url_of(source, "application/pdf")
        if part.title is not None:
            out["filename"] = part.title
        elif "file_data" in out and not self._own:
            out["filename"] = _file_name(source)
        for name, value in (
            ("document.context", part.context),
            ("citations", part.citations or None),
        ):
            if value is not None:
                self._losses.drop(name)
        self._mark(out, part.cache)
        return out | self.extras(part.extras)

    def _audio(self, part: Audio, _spoken: bool) -> dict[str, Any]:
        source = part.source
        if source.data is None or not self._own:
            # Some servers take it; OpenAI's has no such part.
            return self._losses.refuse("messages.audio", "This model takes no sound")
        media_type = source.media_type or "audio/wav"
        form = _AUDIO_FORMATS.get(media_type, media_type.partition("/")[2])
        out = {
            "type": "input_audio",
            "input_audio": {"data": source.data, "format": form},
        }
        return out | self.extras(part.extras)

    def _foreign(self, part: Foreign, _spoken: bool) -> dict[str, Any] | None:
        if self._own:
            return part.value
        if not part.harmless:
            self._losses.refuse(
                f"messages.{part.kind}", f"This model takes no parts of {part.kind!r}"
            )
        self._losses.drop(f"messages.content.{part.kind.removeprefix(CONTENT)}")
        return None

    def _refusal(self, part: Refusal, spoken: bool) -> dict[str, Any]:
        extras = self.extras(part.extras)
        if spoken:
            return {"type": "refusal", "refusal": part.text, **extras}
        return {"type": "input_text", "text": part.text, **extras}

    def _thinking(self, _part: Thinking, _spoken: bool) -> None:
        self._losses.drop("thinking")

    def _mark(self, out: dict[str, Any], mark: CacheMark | None) -> None:
        if mark is None:
            return
        if not self._marks:
            # Models before GPT-5.6 refuse the member.
            self._losses.drop("cache_control")
            return
        out["prompt_cache_breakpoint"] = {"mode": "explicit"}
        if mark.ttl is not None:
            ttl = _TTL_WRITTEN.get(mark.ttl, mark.ttl)
            out["prompt_cache_breakpoint"]["ttl"] = ttl

    _WRITERS: ClassVar[dict[type, Callable[..., dict[str, Any] | None]]] = {
        Text: _text,
        Refusal: _refusal,
        Image: _image,
        Document: _document,
        Audio: _audio,
        Foreign: _foreign,
        Thinking: _thinking,
    }


def write_citation(
    citation: Citation, length: int, *, own: bool
) -> dict[str, Any] | None:
    """Write an annotation of a text; None for what OpenAI has no word for.

    Args:
        citation: what the text rests on.
        length: of the text so far, which is the place of what has none.
        own: it was read from this dialect.
    """
    extras = citation.extras if own else {}
    if citation.url is not None:
        return {
            "type": "url_citation",
            "start_index": citation.start or 0,
            "end_index": length if citation.end is None else citation.end,
            "url": citation.url,
            "title": citation.url if citation.title is None else citation.title,
            **extras,
        }
    if "type" in extras:
        name = {} if citation.title is None else {"filename": citation.title}
        return {**extras, **name}
    return None


def url_of(source: Media, default_type: str) -> str:
    """Write where bytes are as a URL, which may hold them."""
    if source.url is not None:
        return source.url
    if source.text is not None:
        data = b64encode(source.text.encode(errors="replace")).decode()
        return f"data:{source.media_type or 'text/plain'};base64,{data}"
    return f"data:{source.media_type or default_type};base64,{source.data or ''}"


def _file_name(source: Media) -> str:
    """OpenAI wants a name for every file whose bytes it is given."""
    default = "text/plain" if source.text is not None else "application/pdf"
    media_type = source.media_type or default
    return f"document.{_EXTENSIONS.get(media_type, media_type.rpartition('/')[2])}"
