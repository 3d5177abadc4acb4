"""From a chat to the request of another operation, in that operation's first dialect.

What an operation cannot be told, the chat's other turns, its tools and its sampling,
is named by `Losses` like that of any translation.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, structs

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.media import reads_none, urls_in
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Media,
    Message,
    Role,
    Text,
)
from posthouse.wire.multipart import Form, Part

SPOKEN = "mp3"
"""What speech is made as where the caller does not say."""
VOICE = "alloy"
_TYPES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/webm": "webm",
}


class Errand(Struct, frozen=True):
    """The request that a chat comes to."""

    operation: Operation
    dialect: str
    """Whose `parse_request` or `parse_form` reads it."""
    members: dict[str, Any] = {}
    """Of a JSON body, but for the model."""
    form: Form | None = None
    """The body, where it is a form; without the model."""
    texts: tuple[str, ...] = ()
    """What the result is about, for telling it: documents that are ranked."""
    read: tuple[Message, ...] = ()
    """Which messages it was made of, beside the last."""
    shown: bool = False
    """The result itself is wanted, as a part of the answer, not a link to it."""
    losses: tuple[str, ...] = ()
    """What the operation is not told."""


def wanted_urls(chat: ChatRequest) -> tuple[str, ...]:
    """The URLs whose bytes the errand needs."""
    last = _last(chat)
    alone = ChatRequest(dialect=chat.dialect, model=chat.model, messages=(last,))
    return urls_in(alone, reads_none)


def errand_of(chat: ChatRequest, operations: Iterable[str]) -> Errand | None:
    """Give the request of one of a model's operations; None if it has none of these.

    Raises InvalidRequest where the chat lacks what the operation needs.
    """
    last, known = _last(chat), frozenset(operations)
    if Operation.IMAGE_EDIT in known and _pictures(last):
        wanted: Operation | None = Operation.IMAGE_EDIT
    else:
        wanted = next((one for one in _ASKING if one in known), None)
    if wanted is None:
        return None
    errand = _ASKING[wanted](chat, last)
    read = (*errand.read, last)
    return structs.replace(errand, losses=_losses(chat, read))


def _last(chat: ChatRequest) -> Message:
    """The user's last message; raises InvalidRequest if there is none."""
    for message in reversed(chat.messages):
        if message.role is Role.USER:
            return message
    raise InvalidRequest("This model needs a message of the user's", param="messages")


def _losses(chat: ChatRequest, read: tuple[Message, ...]) -> tuple[str, ...]:
    losses = Losses()
    if len(chat.messages) > len(read):
        losses.drop("messages")
    if chat.tools:
        losses.drop("tools")
    if chat.output_format is not None:
        losses.drop("response_format")
    for name in chat.sampling.__struct_fields__:
        if getattr(chat.sampling, name) not in (None, ()):
            losses.drop(name)
    return losses.told


# --- pieces of a message -----------------------------------------------------------


def _words(message: Message) -> str:
    """The message's text; raises InvalidRequest if it has none."""
    text = "\n".join(part.text for part in message.parts if isinstance(part, Text))
    if not text.strip():
        raise InvalidRequest("This model needs words to work on", param="messages")
    return text


def _pictures(message: Message) -> list[Media]:
    return [part.source for part in message.parts if isinstance(part, Image)]


def _file(source: Media, name: str, stem: str) -> Part:
    """Give bytes as a field of a form; raises InvalidRequest if there are none."""
    if source.data is None:
        raise InvalidRequest(
            "This model needs the file itself, not its name", param="messages"
        )
    try:
        data = b64decode(source.data, validate=True)
    except (Base64Error, ValueError):
        raise InvalidRequest("A file is not base64", param="messages") from None
    kind = (source.media_type or "").partition(";")[0].strip().lower()
    ending = _TYPES.get(kind) or kind.rpartition("/")[2] or "bin"
    return Part(name, data, f"{stem}.{ending}", kind.encode() or None)


# --- the operations ----------------------------------------------------------------


def _image(chat: ChatRequest, last: Message) -> Errand:
    shown = "image" in chat.modalities
    members: dict[str, Any] = {
        "prompt": _words(last),
        "response_format": _form_of(shown=shown),
    }
    if chat.choices is not None:
        members["n"] = chat.choices
    return Errand(Operation.IMAGE, "openai_images", members, shown=shown)


def _form_of(*, shown: bool) -> str:
    """In which form pictures are asked for."""
    return "b64_json" if shown else "url"


def _image_edit(chat: ChatRequest, last: Message) -> Errand:
    pictures = _pictures(last)
    if not pictures:
        raise InvalidRequest("This model needs a picture", param="messages")
    name = "image" if len(pictures) == 1 else "image[]"
    parts = [Part("prompt", _words(last).encode())]
    if chat.choices is not None:
        parts.append(Part("n", str(chat.choices).encode()))
    parts += (
        _file(source, name, f"picture-{number}")
        for number, source in enumerate(pictures, 1)
    )
    shown = "image" in chat.modalities
    form = Form((*parts, Part("response_format", _form_of(shown=shown).encode())))
    return Errand(Operation.IMAGE_EDIT, "openai_image_edits", form=form, shown=shown)


def _speech(chat: ChatRequest, last: Message) -> Errand:
    wanted = chat.audio
    members: dict[str, Any] = {
        "input": _words(last),
        "voice": (wanted and wanted.voice) or VOICE,
        "response_format": (wanted and wanted.format) or SPOKEN,
    }
    shown = "audio" in chat.modalities
    return Errand(Operation.SPEECH, "openai_speech", members, shown=shown)


def _listening(operation: Operation, dialect: str) -> "Ask":
    def ask(_: ChatRequest, last: Message) -> Errand:
        sounds = [
            part.source for part in last.parts if isinstance(part, Audio | Document)
        ]
        if not sounds:
            raise InvalidRequest("This model needs a sound", param="messages")
        parts = [_file(sounds[-1], "file", "sound")]
        prompt = "\n".join(p.text for p in last.parts if isinstance(p, Text)).strip()
        if prompt:
            parts.append(Part("prompt", prompt.encode()))
        parts.append(Part("response_format", b"json"))
        return Errand(operation, dialect, form=Form(tuple(parts)))

    return ask


def _rerank(_: ChatRequest, last: Message) -> Errand:
    """Rank: the first line is the query, every other one a document."""
    texts = [part.text for part in last.parts if isinstance(part, Text)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    query, *documents = [line for line in lines if line] or [""]
    if not documents:
        raise InvalidRequest(
            "This model ranks documents: a query in the first line, and one document"
            " in each of the others",
            param="messages",
        )
    members = {"query": query, "documents": documents}
    return Errand(Operation.RERANK, "jina_rerank", members, texts=tuple(documents))


def _translation(chat: ChatRequest, last: Message) -> Errand:
    """Translate into the language that the system message names, by its code."""
    told = tuple(
        message
        for message in chat.messages
        if message.role in (Role.SYSTEM, Role.DEVELOPER)
    )
    parts = (part for message in told for part in message.parts)
    target = "\n".join(part.text for part in parts if isinstance(part, Text)).strip()
    if not target:
        raise InvalidRequest(
            "This model translates: name the language's code, like `EN`, in a system"
            " message",
            param="messages",
        )
    members = {"text": [_words(last)], "target_lang": target}
    return Errand(Operation.TRANSLATION, "deepl_translate", members, read=told)


def _embedding(_: ChatRequest, last: Message) -> Errand:
    members = {"input": _words(last), "encoding_format": "float"}
    return Errand(Operation.EMBEDDING, "openai_embeddings", members)


def _moderation(_: ChatRequest, last: Message) -> Errand:
    members = {"input": _words(last)}
    return Errand(Operation.MODERATION, "openai_moderations", members)


Ask = Callable[[ChatRequest, Message], Errand]
_ASKING: dict[Operation, Ask] = {
    Operation.IMAGE: _image,
    Operation.IMAGE_EDIT: _image_edit,
    Operation.SPEECH: _speech,
    Operation.TRANSCRIPTION: _listening(
        Operation.TRANSCRIPTION, "openai_transcription"
    ),
    Operation.AUDIO_TRANSLATION: _listening(
        Operation.AUDIO_TRANSLATION, "openai_audio_translation"
    ),
    Operation.RERANK: _rerank,
    Operation.TRANSLATION: _translation,
    Operation.EMBEDDING: _embedding,
    Operation.MODERATION: _moderation,
}
"""By what a model does, what is asked of it; the first that it does counts."""
