"""Writing what is said and shown: texts, pictures, sounds, films, files.

Source: see `read_parts`, whose mirror this is.
"""

from posthouse.dialects.gemini_generate.media import is_own_place, write_source
from posthouse.dialects.gemini_generate.signatures import NAME, sign_thought
from posthouse.dialects.gemini_generate.writing import Writing
from posthouse.model.chat import (
    Audio,
    Document,
    Extras,
    Foreign,
    Image,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)

_BLOBS = ("inlineData", "fileData")
_USUAL = {
    Image: "image/png",
    Audio: "audio/wav",
    Video: "video/mp4",
    Document: "application/pdf",
}


def write_said(part: Part, writing: Writing) -> list[Extras]:
    """Write a part that is neither call nor result; raises InvalidRequest."""
    match part:
        case Text():
            return _text(part, writing)
        case Thinking():
            return _thinking(part, writing)
        case Refusal():
            writing.losses.change("messages.content.refusal")
            writing.extras(part.extras, "messages.content")
            return [{"text": part.text}] if part.text else []
        case Foreign():
            return _foreign(part, writing)
        case Image() | Audio() | Video() | Document():
            return _shown(part, writing)
        case ToolCall() | ToolResult():
            return []


def _text(part: Text, writing: Writing) -> list[Extras]:
    if part.citations:
        writing.losses.drop("citations")
    writing.mark(part.cache)
    signature = _own(part.signature, writing)
    # An empty part is refused.
    if not (part.text or signature or part.extras):
        return []
    return [{"text": part.text, **signature, **_beside(part, writing)}]


def _own(signature: Signature | None, writing: Writing) -> Extras:
    """A part's signature, if it is Google's."""
    if signature is None:
        return {}
    if signature.by == NAME:
        return {"thoughtSignature": signature.value}
    writing.losses.drop("signature")
    return {}


def _thinking(part: Thinking, writing: Writing) -> list[Extras]:
    signature = part.signature
    own = signature is not None and signature.by == NAME
    if not (own or writing.own):
        # Only who has signed it can use it.
        writing.losses.drop("thinking")
        return []
    entry: Extras = {"text": part.text, "thought": True}
    if signature is not None:
        entry["thoughtSignature"] = sign_thought(part)
    return [entry | _beside(part, writing)]


def _foreign(part: Foreign, writing: Writing) -> list[Extras]:
    if writing.own:
        return [part.value]
    if not part.harmless:
        writing.losses.refuse(
            "messages", f"This model does not know content of type '{part.kind[:64]}'."
        )
    writing.losses.drop(f"messages.content.{part.kind}")
    return []


def _beside(part: Text | Thinking, writing: Writing) -> Extras:
    return writing.extras(part.extras, "messages.content")


# --- media --------------------------------------------------------------------------


def _shown(part: Image | Audio | Video | Document, writing: Writing) -> list[Extras]:
    """Write a medium; what is said of it goes before it as text."""
    if isinstance(part, Audio):
        if part.source == Media():
            return _remembered(part, writing)
    else:
        writing.mark(part.cache)
    entry = _source(part.source, _USUAL[type(part)], writing)
    extras = dict(writing.extras(part.extras, "messages.content"))
    title = extras.pop("displayName", None)
    before: list[Extras] = []
    if isinstance(part, Image):
        if part.detail not in (None, "auto"):
            writing.losses.drop("messages.content.detail")
        entry |= _own(part.signature, writing)
    elif isinstance(part, Document):
        before = _said_of(part, writing)
        title = part.title if writing.own else None
    if title is not None:
        _join(entry, {"displayName": title})
    for name in _BLOBS:
        inner = extras.pop(name, None)
        if isinstance(inner, dict):
            _join(entry, inner)
    return [*before, entry | extras]


def _join(entry: Extras, members: Extras) -> None:
    """Add to the only member of a part."""
    for name in _BLOBS:
        if name in entry:
            entry[name] = entry[name] | members


def _source(source: Media, usual: str, writing: Writing) -> Extras:
    losses = writing.losses
    if source.file_id is not None and source.data is None and not writing.own:
        losses.refuse(
            "messages", "This model knows nothing of files at another provider."
        )
    url = source.url
    if (
        url is not None
        and not (writing.traits.image_urls or writing.own)
        and not is_own_place(url)
    ):
        losses.refuse("messages", "This model takes no URLs; send the bytes in base64.")
    entry = write_source(source, usual)
    if entry is None:
        losses.refuse("messages", "There is nothing in a part that should be shown.")
    return entry


def _remembered(part: Audio, writing: Writing) -> list[Extras]:
    """Write what was heard in place of a sound that only its provider has."""
    if not part.transcript:
        writing.losses.refuse(
            "messages", "This model knows nothing of sounds at another provider."
        )
    writing.losses.change("messages.content.audio")
    return [{"text": part.transcript}]


def _said_of(part: Document, writing: Writing) -> list[Extras]:
    losses = writing.losses
    if part.citations is not None:
        losses.drop("citations")
    if part.title is not None and not writing.own:
        losses.drop("document.title")
    if part.context is None:
        return []
    losses.change("document.context")
    return [{"text": part.context}]
