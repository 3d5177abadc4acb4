"""From the reply of another operation to the answer of a chat.

Results are told in words, links in Markdown among them, and as parts where the
caller's dialect has such parts.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from posthouse.dialects.errands.asking import Errand
from posthouse.dialects.neutral.codec import ChatCodec, Identity
from posthouse.dialects.neutral.events_of import events_of
from posthouse.errors import UpstreamBadResponse
from posthouse.model.call import Operation
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    Choice,
    Finish,
    FinishReason,
    Image,
    Media,
    Part,
    Text,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_SOUND = "audio/mpeg"


class Result(Struct, frozen=True):
    """What an errand has brought."""

    content_type: bytes
    body: bytes
    usage: ReportedUsage | None
    link: str | None = None
    """Where the body can be had, if it is kept for the caller."""


def chat_reply(errand: Errand, result: Result) -> ChatReply:
    """Tell a result as the answer of a chat; raises UpstreamBadResponse."""
    parts = _TELLING[errand.operation](errand, result)
    answer = Choice(0, parts, Finish(FinishReason.STOP))
    return ChatReply(
        dialect=errand.dialect,
        choices=(answer,),
        usage=result.usage or ReportedUsage(input=0, output=0),
    )


def as_it_came(errand: Errand, result: Result) -> ChatReply:
    """Tell a result that is not what its operation brings."""
    text = Text(result.body.decode(errors="replace"))
    answer = Choice(0, (text,), Finish(FinishReason.OTHER))
    return ChatReply(dialect=errand.dialect, choices=(answer,), usage=result.usage)


def write_answer(
    reply: ChatReply, chat: ChatRequest, codec: ChatCodec, identity: Identity
) -> bytes:
    """Write the answer for the client: whole, or as the stream it has asked for."""
    if not chat.stream:
        return codec.write_reply(reply, chat, identity)
    encoder = codec.encoder(chat, identity)
    frames = [encoder.feed(event) for event in events_of(reply)]
    return b"".join((*frames, encoder.close()))


# --- results -----------------------------------------------------------------------


class _Picture(Struct):
    url: str | None = None
    b64_json: str | None = None


class _Pictures(Struct):
    data: list[_Picture]
    output_format: str = "png"


class _Transcript(Struct):
    text: str


class _Ranked(Struct):
    index: int
    relevance_score: float


class _Ranking(Struct):
    results: list[_Ranked]


class _Translated(Struct):
    text: str


class _Translations(Struct):
    translations: list[_Translated]


class _Vector(Struct):
    embedding: Any


class _Vectors(Struct):
    data: list[_Vector]


class _Moderation(Struct):
    results: list[Any]


def _read(result: Result, kind: type[Any]) -> Any:
    try:
        return json.decode(result.body, kind)
    except MalformedJSON:
        raise UpstreamBadResponse from None


Parts = tuple[Part, ...]


def _pictures(errand: Errand, result: Result) -> Parts:
    """Tell pictures by their links; those that have none carry their bytes."""
    found: _Pictures = _read(result, _Pictures)
    kind = f"image/{found.output_format}"
    links, parts = [], []
    for picture in found.data:
        if picture.b64_json is not None and errand.shown:
            source = Media(data=picture.b64_json, media_type=kind)
            parts.append(Image(source))
        elif picture.b64_json is not None:
            links.append(f"![image](data:{kind};base64,{picture.b64_json})")
        elif picture.url is not None:
            links.append(f"![image]({picture.url})")
    if not links and not parts:
        raise UpstreamBadResponse
    told = (Text("\n\n".join(links)),) if links else ()
    return (*told, *parts)


def _speech(errand: Errand, result: Result) -> Parts:
    kind = result.content_type.decode("latin-1").partition(";")[0] or _SOUND
    data = b64encode(result.body).decode()
    if errand.shown:
        words = str(errand.members.get("input", ""))
        source = Media(data=data, media_type=kind)
        sound = Audio(source, transcript=words)
        return (sound,) if result.link is None else (_linked(result.link), sound)
    return (_linked(result.link or f"data:{kind};base64,{data}"),)


def _linked(link: str) -> Text:
    return Text(f"[audio]({link})")


def _transcript(_: Errand, result: Result) -> Parts:
    found: _Transcript = _read(result, _Transcript)
    return (Text(found.text),)


def _ranking(errand: Errand, result: Result) -> Parts:
    found: _Ranking = _read(result, _Ranking)
    lines = [
        f"{place}. {_document(errand.texts, one.index)} ({one.relevance_score:.4f})"
        for place, one in enumerate(found.results, 1)
    ]
    return (Text("\n".join(lines)),)


def _document(texts: Sequence[str], index: int) -> str:
    if not 0 <= index < len(texts):
        raise UpstreamBadResponse
    return texts[index]


def _translations(_: Errand, result: Result) -> Parts:
    found: _Translations = _read(result, _Translations)
    return (Text("\n".join(one.text for one in found.translations)),)


def _vector(_: Errand, result: Result) -> Parts:
    found: _Vectors = _read(result, _Vectors)
    return tuple(Text(json.encode(one.embedding).decode()) for one in found.data)


def _judgement(_: Errand, result: Result) -> Parts:
    found: _Moderation = _read(result, _Moderation)
    return (Text(json.encode(found.results).decode()),)


_TELLING: dict[Operation, Callable[[Errand, Result], Parts]] = {
    Operation.IMAGE: _pictures,
    Operation.IMAGE_EDIT: _pictures,
    Operation.SPEECH: _speech,
    Operation.TRANSCRIPTION: _transcript,
    Operation.AUDIO_TRANSLATION: _transcript,
    Operation.RERANK: _ranking,
    Operation.TRANSLATION: _translations,
    Operation.EMBEDDING: _vector,
    Operation.MODERATION: _judgement,
}
