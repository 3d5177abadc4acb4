"""What an answer rests on, read.

Source: `Citation` and `CitationsDelta` of botocore 1.44.5: a place on the web, or one
in a document that was sent along, by characters, pages or chunks.
"""

from typing import Any

from posthouse.model.chat import Citation

_PLACES = (
    "documentChar",
    "documentPage",
    "documentChunk",
    "searchResultLocation",
)


def read_citation(value: dict[str, Any]) -> Citation:
    """Read a citation; what is unlike one is passed over."""
    location = _object(value.get("location"))
    web = _object(location.get("web"))
    kind = next((name for name in _PLACES if name in location), "")
    place = _object(location.get(kind))
    by_characters = kind == "documentChar"
    return Citation(
        url=_text(web.get("url")) or _text(value.get("source")),
        title=_text(value.get("title")),
        quote=_quote(value.get("sourceContent")),
        document=_whole(place.get("documentIndex")),
        start=_whole(place.get("start")) if by_characters else None,
        end=_whole(place.get("end")) if by_characters else None,
        extras={"location": location} if kind and not by_characters else {},
    )


def _quote(content: Any) -> str | None:
    entries = content if isinstance(content, list) else ()
    texts = [_text(_object(entry).get("text")) or "" for entry in entries]
    return "".join(texts) or None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
