"""Replies that report their usage wrongly, as some providers do."""

from collections.abc import Iterator
from typing import Any

from posthouse.providers.sandbox.directives import Directives

Document = dict[str, Any]

COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
HUGE = 2**53


def distorted(document: Document, directives: Directives) -> Document:
    """Distort the usage of a whole reply, or of a stream's last chunk."""
    usage = document.get("usage")
    if usage is None:
        return document
    match directives.usage:
        case "no-usage":
            return {name: item for name, item in document.items() if name != "usage"}
        case "usage-only":
            return {**document, "choices": []}
        case "usage-negative":
            usage = {name: -usage.get(name, 1) for name in COUNTS}
        case "usage-fraction":
            usage = dict.fromkeys(COUNTS, 1.5)
        case "usage-huge":
            usage = dict.fromkeys(COUNTS, HUGE)
        case "usage-zero":
            usage = dict.fromkeys(COUNTS, 0)
        case _:
            pass
    return {**document, "usage": usage}


def distorted_chunks(
    chunks: Iterator[Document], directives: Directives
) -> Iterator[Document]:
    """Distort the usage of a stream."""
    seen = 0
    for chunk in chunks:
        seen += 1
        last = bool(chunk.get("usage"))
        match directives.usage:
            case "no-usage" if last:
                continue
            case "usage-only" if not last:
                continue
            case "usage-cumulative" if not last:
                yield {
                    **chunk,
                    "usage": dict(zip(COUNTS, (1, seen, seen + 1), strict=True)),
                }
                continue
            case "usage-twice" if last:
                yield chunk
        yield distorted(chunk, directives) if last else chunk
