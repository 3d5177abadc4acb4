"""Subtitles of what the sandbox has heard."""

Segment = tuple[float, float, str]


def srt(segments: tuple[Segment, ...]) -> str:
    """Write SubRip subtitles."""
    return "".join(
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n\n"
        for number, (start, end, text) in enumerate(segments, 1)
    )


def vtt(segments: tuple[Segment, ...]) -> str:
    """Write WebVTT subtitles."""
    cues = (
        f"{clock(start, '.')} --> {clock(end, '.')}\n{text}\n\n"
        for start, end, text in segments
    )
    return "".join(("WEBVTT\n\n", *cues))


def clock(seconds: float, mark: str) -> str:
    """Write a time as hours, minutes, seconds and thousandths."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60_000)
    return (
        f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
    )
