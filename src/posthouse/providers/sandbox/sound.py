"""Spoken answers: a tone whose length follows the text, as real audio bytes."""

import base64
import math
import struct

from posthouse.providers.sandbox import tokens
from posthouse.providers.sandbox.sound_frames import MP3_FRAME, MP3_SECONDS

RATE = 24_000
"""Samples per second of pcm16 and wav."""
TONE = 440
SECONDS_PER_TOKEN = 0.02
MAX_SECONDS = 2.0

FORMATS = ("wav", "pcm16", "mp3")


def seconds(text: str) -> float:
    """Tell how long a text sounds."""
    return min(max(tokens.count(text), 1) * SECONDS_PER_TOKEN, MAX_SECONDS)


def pcm(text: str) -> bytes:
    """Give a tone as long as a text sounds; see `tone`."""
    return tone(seconds(text))


def tone(lasts: float) -> bytes:
    """Give so many seconds of a tone as 16-bit little-endian samples, one channel."""
    period = [
        int(8000 * math.sin(2 * math.pi * TONE * place / RATE))
        for place in range(RATE // TONE)
    ]
    once = struct.pack(f"<{len(period)}h", *period)
    size = 2 * int(RATE * lasts)
    return (once * (size // len(once) + 1))[:size]


def wav(samples: bytes) -> bytes:
    """Put a RIFF header before samples."""
    layout = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVE"
    return (
        head
        + b"fmt \x10\0\0\0"
        + layout
        + b"data"
        + struct.pack("<I", len(samples))
        + samples
    )


def speech(text: str, form: str) -> str:
    """Give a text's sound in base64; `form` is one of FORMATS."""
    if form == "mp3":
        data = MP3_FRAME * max(int(seconds(text) / MP3_SECONDS), 1)
    else:
        data = wav(pcm(text)) if form == "wav" else pcm(text)
    return base64.b64encode(data).decode()
