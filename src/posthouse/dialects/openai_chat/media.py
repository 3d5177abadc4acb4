"""Where the bytes of pictures, sounds and files stand: data URIs, URLs, formats.

Sources: OpenAI's API description, `ChatCompletionRequestMessageContentPart*`
(openapi, 2026-08); https://openrouter.ai/docs/features/multimodal (files and
pictures as URLs or data URIs).
"""

import re

from posthouse.model.chat import Media

# Parameters of the media type stay with it: `audio/pcm;rate=24000`.
_DATA_URI = re.compile(r"data:([^,]{0,256}?);base64,", re.IGNORECASE)

_SOUND_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "pcm16": "audio/pcm",
    "m4a": "audio/mp4",
}
_SOUND_FORMATS = {
    **{media_type: name for name, media_type in _SOUND_TYPES.items()},
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mp3": "mp3",
    "audio/l16": "pcm16",
}
_EXTENSIONS = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/html": "html",
    "application/json": "json",
}


def read_place(text: str) -> Media:
    """Read a URL, which may hold the bytes itself."""
    match = _DATA_URI.match(text)
    if match is None:
        return Media(url=text)
    return Media(data=text[match.end() :], media_type=match[1] or None)


def read_bytes(text: str) -> Media:
    """Read what is base64 unless it says that it is something else."""
    if text.startswith(("data:", "http://", "https://")):
        return read_place(text)
    return Media(data=text)


def write_place(source: Media, media_type: str) -> str | None:
    """Write a URL or a data URI; None if it is neither.

    `media_type` is what it is taken to be if it does not tell.
    """
    if source.url is not None:
        return source.url
    if source.data is None:
        return None
    return f"data:{source.media_type or media_type};base64,{source.data}"


def sound_type(name: str | None) -> str | None:
    """The media type of a sound's format."""
    return name and _SOUND_TYPES.get(name, f"audio/{name}")


def sound_format(media_type: str | None) -> str:
    """The format that OpenAI calls a media type of sound by."""
    kind = (media_type or "audio/wav").partition(";")[0].strip().lower()
    return _SOUND_FORMATS.get(kind, kind.rpartition("/")[2])


def file_name(media_type: str | None) -> str:
    """A name for a file that has none, which OpenAI does not take."""
    kind = (media_type or "application/pdf").partition(";")[0].strip().lower()
    return f"document.{_EXTENSIONS.get(kind, 'bin')}"
