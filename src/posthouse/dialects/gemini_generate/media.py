"""Where the bytes of pictures, sounds, films and files stand in a part.

`inlineData` has them in base64, `fileData` names a place. Places that only a key of
the provider's opens (its Files API, Google's storage) are ids, not addresses: no
other provider can use them and nobody else can fetch them.

Source: https://ai.google.dev/gemini-api/docs/file-input-methods (2026-11).
"""

import base64
import re
from urllib.parse import urlsplit

from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import Audio, Document, Extras, Image, Media, Video

_OWN_PLACE = re.compile(
    r"gs://|(?:https://generativelanguage\.googleapis\.com/[^?]*)?files/", re.IGNORECASE
)
_FILM_SITE = re.compile(
    r"https?://(?:www\.|m\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE
)
_BEGINNINGS = (
    ("/9j/", "image/jpeg"),
    ("iVBORw0KGgo", "image/png"),
    ("R0lGOD", "image/gif"),
    ("JVBERi0", "application/pdf"),
    ("SUQz", "audio/mpeg"),
    ("T2dnUw", "audio/ogg"),
    ("ZkxhQw", "audio/flac"),
)
_RIFF = "UklGR"
_EXTENSIONS = {
    "aac": "audio/aac",
    "avi": "video/avi",
    "csv": "text/csv",
    "flac": "audio/flac",
    "gif": "image/gif",
    "heic": "image/heic",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "md": "text/markdown",
    "mov": "video/mov",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}

MediaPart = Image | Audio | Video | Document


def read_inline(blob: Members) -> tuple[Media, str | None]:
    """Read `inlineData`: its bytes and its name."""
    source = Media(
        data=blob.needed_text("data"), media_type=blob.text("mimeType") or None
    )
    return source, blob.text("displayName")


def read_file(blob: Members) -> tuple[Media, str | None]:
    """Read `fileData`: its place and its name."""
    place = blob.needed_text("fileUri")
    media_type = blob.text("mimeType") or None
    title = blob.text("displayName")
    if _OWN_PLACE.match(place):
        return Media(file_id=place, media_type=media_type), title
    if media_type is None and _FILM_SITE.match(place):
        return Media(url=place, media_type="video/*"), title
    return Media(url=place, media_type=media_type), title


def media_part(source: Media, title: str | None, extras: Extras) -> MediaPart:
    """Make a part of some bytes or their place, by what kind they are of."""
    media_type = source.media_type or _type_of_place(source.url or "") or ""
    kind = media_type.lower().partition("/")[0]
    if title is not None and kind in ("image", "audio", "video"):
        extras = {**extras, "displayName": title}
    match kind:
        case "image":
            return Image(source, extras=extras)
        case "audio":
            return Audio(source, extras=extras)
        case "video":
            return Video(source, extras=extras)
        case _:
            return Document(source, title=title, extras=extras)


def write_source(source: Media, usual: str) -> Extras | None:
    """Write the member that holds some bytes or names their place.

    Args:
        source: of a part.
        usual: the media type that they have if nothing tells.

    Returns:
        None if there is neither.
    """
    if source.data is not None:
        media_type = source.media_type or sniffed(source.data) or usual
        return {"inlineData": {"mimeType": media_type, "data": source.data}}
    if source.text is not None:
        data = base64.b64encode(source.text.encode(errors="replace")).decode()
        media_type = source.media_type or "text/plain"
        return {"inlineData": {"mimeType": media_type, "data": data}}
    place = source.file_id if source.url is None else source.url
    if place is None:
        return None
    if source.media_type == "video/*":
        return {"fileData": {"fileUri": place}}
    known = source.media_type or _type_of_place(place)
    named = {} if known is None else {"mimeType": known}
    return {"fileData": {**named, "fileUri": place}}


def is_own_place(place: str) -> bool:
    """Whether Google itself knows how to get there."""
    return bool(_OWN_PLACE.match(place) or _FILM_SITE.match(place))


def sniffed(data: str) -> str | None:
    """Tell a media type by how its base64 begins; None if it is not known."""
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    if data.startswith(_RIFF):
        # The kind stands at the eighth byte.
        head = base64.b64decode(data[:16] + "==", validate=False)
        return "image/webp" if head[8:12] == b"WEBP" else "audio/wav"
    return None


def _type_of_place(place: str) -> str | None:
    """Tell a media type by how an address ends."""
    try:
        path = urlsplit(place).path
    except ValueError:
        return None
    return _EXTENSIONS.get(path.rpartition(".")[2].lower())
