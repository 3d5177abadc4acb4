"""What kind of media some bytes are, by their first ones and by nothing else."""

from posthouse.wire.pictures import EXTENSIONS, picture_type

UNKNOWN = "application/octet-stream"
_SOUNDS = (
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xfa", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
)
_EXTENSIONS = {
    **EXTENSIONS,
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
    "audio/wav": "wav",
}


def media_type(data: bytes) -> tuple[str, str]:
    """Name the type, and what a file of it ends with; `UNKNOWN`, `bin` for others."""
    kind = picture_type(data) or _sound_type(data)
    return (UNKNOWN, "bin") if kind is None else (kind, _EXTENSIONS[kind])


def _sound_type(data: bytes) -> str | None:
    for magic, kind in _SOUNDS:
        if data.startswith(magic):
            return kind
    is_wave = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    return "audio/wav" if is_wave else None
