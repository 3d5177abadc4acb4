"""Pictures, files, sounds and films, written for a provider.

Source: `ImageBlock`, `DocumentBlock`, `AudioBlock` and `VideoBlock` of botocore
1.44.5: bytes, in one of the formats that are named there, or a place in S3. A file
has a name of letters, digits and a few marks, alone in its request.
"""

import re
from typing import Any

from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import Audio, Document, Image, Media, Video

Block = dict[str, Any]

CONTENT = "messages.content"

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg"} | {
    f"image/{name}": name for name in ("gif", "webp")
}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
_SOUNDS = {"audio/wave": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3"} | {
    f"audio/{name}": name
    for name in (
        "mp3",
        "opus",
        "wav",
        "aac",
        "flac",
        "mp4",
        "ogg",
        "m4a",
        "pcm",
        "webm",
    )
}
_FILMS = {
    "video/3gpp": "three_gp",
    "video/quicktime": "mov",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
} | {f"video/{name}": name for name in ("mp4", "webm", "mpeg", "mpg", "wmv", "flv")}
_UNNAMED = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_SPACES = re.compile(r" {2,}")
_LONGEST_NAME = 100


class MediaWriter:
    """Writes the media of one request."""

    __slots__ = ("_losses", "_names")

    def __init__(self, losses: Losses) -> None:
        """Begin a request."""
        self._losses = losses
        self._names: set[str] = set()

    def image(self, part: Image) -> Block:
        """Write a picture."""
        if part.detail is not None:
            self._losses.drop(f"{CONTENT}.detail")
        return {"image": self._media(part.source, _IMAGES, "picture", "image/jpeg")}

    def audio(self, part: Audio) -> Block:
        """Write a sound."""
        return {"audio": self._media(part.source, _SOUNDS, "sound", "audio/wav")}

    def video(self, part: Video) -> Block:
        """Write a film."""
        return {"video": self._media(part.source, _FILMS, "film", "video/mp4")}

    def document(self, part: Document) -> Block:
        """Write a file to be read."""
        source = part.source
        if source.text is not None:
            block: Block = {"format": "txt", "source": {"text": source.text}}
        else:
            block = self._media(source, _DOCUMENTS, "file", "application/pdf")
        block["name"] = self._name(part.title)
        if part.context is not None:
            block["context"] = part.context
        if part.citations is not None:
            block["citations"] = {"enabled": part.citations}
        return {"document": block}

    def _name(self, title: str | None) -> str:
        """Give a name that is allowed, and no other file's."""
        plain = _SPACES.sub(" ", _UNNAMED.sub("-", title or "")).strip(" -")
        base = plain[:_LONGEST_NAME] or "document"
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}-{count}"
        self._names.add(name)
        return name

    def _media(
        self, media: Media, formats: dict[str, str], kind: str, usual: str
    ) -> Block:
        media_type = (media.media_type or usual).partition(";")[0].strip().lower()
        known = formats.get(media_type)
        if known is None:
            self._losses.refuse(
                CONTENT, f"This model takes no {kind} of type {media_type[:64]}."
            )
        return {"format": known, "source": self._source(media, kind)}

    def _source(self, media: Media, kind: str) -> Block:
        if media.data is not None:
            return {"bytes": media.data}
        if media.url is None or not media.url.startswith("s3://"):
            self._losses.refuse(
                CONTENT, f"This model takes a {kind} as base64, not by URL or id."
            )
        return {"s3Location": {"uri": media.url}}
