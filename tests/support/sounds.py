"""Sound in every format that people send, made and opened by FFmpeg's libraries."""

import io
from fractions import Fraction

import av
import numpy as np
from msgspec import Struct


class Kind(Struct, frozen=True):
    """A container and what is in it."""

    container: str
    codec: str
    rate: int
    options: dict[str, str] = {}


KINDS = {
    "wav": Kind("wav", "pcm_s16le", 24_000),
    "mp3": Kind("mp3", "libmp3lame", 44_100),
    "mp3-24k": Kind("mp3", "libmp3lame", 24_000),
    "mpga": Kind("mp2", "mp2", 48_000),
    "flac": Kind("flac", "flac", 16_000),
    "ogg-opus": Kind("ogg", "libopus", 48_000),
    "ogg-flac": Kind("ogg", "flac", 16_000),
    "aac": Kind("adts", "aac", 44_100),
    "m4a": Kind("ipod", "aac", 48_000),
    "m4a-alac": Kind("mov", "alac", 44_100),
    "mp4-fragments": Kind(
        "mp4", "aac", 24_000, {"movflags": "frag_keyframe+empty_moov"}
    ),
    "mp4-mp3": Kind("mp4", "libmp3lame", 44_100),
    "webm": Kind("webm", "libopus", 48_000),
    "webm-live": Kind("webm", "libopus", 48_000, {"live": "1"}),
    "mkv-aac": Kind("matroska", "aac", 44_100),
}
"""By a name of ours."""


def make(name: str, seconds: float) -> bytes:
    """Encode a tone with some noise."""
    kind = KINDS[name]
    size = int(kind.rate * seconds)
    tone = 8000 * np.sin(np.arange(size) * (880 * np.pi / kind.rate))
    noise = np.random.default_rng(1).normal(0, 300, size)
    samples = (tone + noise).astype("<i2").reshape(1, -1)
    target = io.BytesIO()
    with av.open(target, "w", format=kind.container, options=kind.options) as file:
        stream = file.add_stream(kind.codec, rate=kind.rate)
        stream.layout = "mono"
        step = stream.codec_context.frame_size or 1024
        for begin in range(0, size, step):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, begin : begin + step]),
                format="s16",
                layout="mono",
            )
            frame.sample_rate = kind.rate
            frame.time_base = Fraction(1, kind.rate)
            frame.pts = begin
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return target.getvalue()


def decoded_seconds(data: bytes) -> float:
    """Decode a sound to its end; raises where it cannot be."""
    with av.open(io.BytesIO(data)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
