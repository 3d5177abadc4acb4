"""Transcripts as plain text and as subtitles, written from their segments.

Sources: the W3C's WebVTT; SubRip's usual form, which has no standard. Rules: a
segment is a cue; what would end a cue or look like its times is taken out of the
text; a text without segments is one cue for the whole sound.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

_SPACES = re.compile(r"\s+")
LONGEST = 100 * 3600 - 1
"""Seconds that the times of subtitles can tell."""


class Segment(Struct, frozen=True):
    """A part of what was said; times are in seconds."""

    start: float
    end: float
    text: str


def as_text(text: str) -> bytes:
    """Write the text alone."""
    return text.strip().encode() + b"\n"


def as_srt(segments: Sequence[Segment]) -> bytes:
    """Write SubRip subtitles."""
    cues = (
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_line(one)}\n\n"
        for number, one in enumerate(segments, 1)
    )
    return "".join(cues).encode()


def as_vtt(segments: Sequence[Segment]) -> bytes:
    """Write WebVTT subtitles."""
    cues = (
        f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_escaped(_line(one))}\n\n"
        for one in segments
    )
    return "".join(("WEBVTT\n\n", *cues)).encode()


def _line(segment: Segment) -> str:
    return _SPACES.sub(" ", segment.text).strip().replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _time(seconds: float, mark: str) -> str:
    """Write a time as hours, minutes, seconds and thousandths."""
    whole = round(min(max(seconds, 0.0), LONGEST) * 1000)
    minutes, rest = divmod(whole, 60_000)
    return (
        f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
    )
