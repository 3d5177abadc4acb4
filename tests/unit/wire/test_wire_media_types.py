"""What bytes are, pictures and sounds, whatever they are called."""

from tests.support.cases import each

from posthouse.wire.media_types import media_type


@each(
    ("data", "found"),
    [
        (b"\x89PNG\r\n\x1a\n", ("image/png", "png")),
        (b"ID3\x04", ("audio/mpeg", "mp3")),
        (b"\xff\xfb\x90", ("audio/mpeg", "mp3")),
        (b"OggS\0", ("audio/ogg", "ogg")),
        (b"fLaC", ("audio/flac", "flac")),
        (b"\xff\xf1P", ("audio/aac", "aac")),
        (b"RIFF\0\0\0\0WAVEfmt ", ("audio/wav", "wav")),
        (b"<html>", ("application/octet-stream", "bin")),
        (b"", ("application/octet-stream", "bin")),
    ],
)
def test_the_first_bytes_say_it(data: bytes, found: tuple[str, str]) -> None:
    assert media_type(data) == found
