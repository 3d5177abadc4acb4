"""What an answer rests on: `groundingMetadata` and `citationMetadata`, both ways.

Google counts bytes of UTF-8 where others count characters: as much of the text as
that may need is kept, up to TEXT_KEPT, and beyond it places are not told.

Source: `types.GroundingMetadata`, `types.Segment` and `types.CitationMetadata` in
google-genai 3.4.0; on the wire of the Gemini API citations are `citationSources`.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.google.names import canonical
from posthouse.dialects.neutral.members import unlike
from posthouse.model.chat import Citation, Extras

TEXT_KEPT = 64 * 1024
"""Characters of an answer."""


class Ruler:
    """Measures a text that grows, in characters and in bytes."""

    __slots__ = ("_ascii", "_kept", "_length", "_pieces")

    def __init__(self) -> None:
        """Begin before the text."""
        self._pieces: list[str] = []
        self._ascii = True
        self._length = 0
        self._kept = True

    def add(self, text: str) -> None:
        """Take what follows."""
        self._length += len(text)
        self._ascii = self._ascii and text.isascii()
        if self._length > TEXT_KEPT:
            self._pieces.clear()
            self._kept = False
        elif self._kept:
            self._pieces.append(text)

    def characters(self, count: int) -> int | None:
        """How many characters some bytes are; None if it is not known."""
        if self._ascii or count == 0:
            return count
        if not self._kept:
            return None
        data = "".join(self._pieces).encode(errors="replace")
        return len(data[:count].decode(errors="ignore"))

    def bytes(self, count: int) -> int | None:
        """How many bytes some characters are; None if it is not known."""
        if self._ascii or count == 0:
            return count
        if not self._kept:
            return None
        return len("".join(self._pieces)[:count].encode(errors="replace"))

    def between(self, start: int, end: int) -> str | None:
        """Some of the text; None if it is not known."""
        return "".join(self._pieces)[start:end] if self._kept else None


# --- reading ------------------------------------------------------------------------


def read_citations(
    grounding: Any, citations: Any, ruler: Ruler
) -> tuple[Citation, ...]:
    """Read both kinds; what is unlike them is passed over."""
    found: list[Citation] = []
    if isinstance(grounding, dict):
        found += _grounds(canonical(grounding, "groundingMetadata", unlike), ruler)
    if isinstance(citations, dict):
        members = canonical(citations, "citationMetadata", unlike)
        entries = members.get("citationSources") or members.get("citations")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                found.append(_source(canonical(entry, "citations", unlike), ruler))
    return tuple(found)


def _grounds(members: Extras, ruler: Ruler) -> list[Citation]:
    chunks = members.get("groundingChunks")
    supports = members.get("groundingSupports")
    if not isinstance(chunks, list):
        return []
    places = [_place(chunk) for chunk in chunks]
    found: list[Citation] = []
    for support in supports if isinstance(supports, list) else ():
        if not isinstance(support, dict):
            continue
        known = canonical(support, "groundingSupports", unlike)
        indices = known.get("groundingChunkIndices")
        segment = known.get("segment")
        segment = segment if isinstance(segment, dict) else {}
        start, end = _span(canonical(segment, "segment", unlike), ruler)
        for index in indices if isinstance(indices, list) else ():
            place = (
                places[index]
                if type(index) is int and 0 <= index < len(places)
                else None
            )
            if place is not None:
                found.append(Citation(*place, _text(segment), None, start, end))
    return found or [Citation(*place) for place in places if place is not None]


def _place(chunk: Any) -> tuple[str, str | None] | None:
    """Where a chunk was found: the web, a map or a store."""
    if isinstance(chunk, dict):
        for inside in chunk.values():
            uri = inside.get("uri") if isinstance(inside, dict) else None
            if isinstance(uri, str):
                title = inside.get("title")
                return uri, title if isinstance(title, str) else None
    return None


def _source(entry: Extras, ruler: Ruler) -> Citation:
    start, end = _span(entry, ruler)
    uri, title = entry.get("uri"), entry.get("title")
    return Citation(
        uri if isinstance(uri, str) else None,
        title if isinstance(title, str) else None,
        start=start,
        end=end,
    )


def _span(entry: Extras, ruler: Ruler) -> tuple[int | None, int | None]:
    end = entry.get("endIndex")
    if type(end) is not int:
        return None, None
    start = entry.get("startIndex")
    # The beginning is absent where it is nothing.
    first = ruler.characters(start if type(start) is int else 0)
    return first, ruler.characters(end)


def _text(segment: Extras) -> str | None:
    text = segment.get("text")
    return text if isinstance(text, str) else None


def count_queries(grounding: Any) -> int:
    """How many searches were made."""
    if not isinstance(grounding, dict):
        return 0
    queries = canonical(grounding, "groundingMetadata", unlike).get("webSearchQueries")
    return len(queries) if isinstance(queries, list) else 0


# --- writing ------------------------------------------------------------------------


class Cited(Struct, frozen=True):
    """A citation and the part that it stands in."""

    part: int
    citation: Citation
    ruler: Ruler


def write_grounding(cited: list[Cited]) -> Extras:
    """Write `groundingMetadata` for citations that have an address."""
    chunks: list[Extras] = []
    places: dict[str, int] = {}
    supports: list[Extras] = []
    for entry in cited:
        citation = entry.citation
        if citation.url is None:
            continue
        if citation.url not in places:
            places[citation.url] = len(chunks)
            web = {"uri": citation.url}
            if citation.title is not None:
                web["title"] = citation.title
            chunks.append({"web": web})
        segment = _segment(entry)
        if segment is not None:
            supports.append(
                {
                    "segment": segment,
                    "groundingChunkIndices": [places[citation.url]],
                }
            )
    if not chunks:
        return {}
    return {"groundingChunks": chunks, "groundingSupports": supports}


def _segment(entry: Cited) -> Extras | None:
    """Write the piece of the answer that rests on it; None if it is not known."""
    citation, ruler = entry.citation, entry.ruler
    if citation.start is None or citation.end is None:
        return None
    start, end = ruler.bytes(citation.start), ruler.bytes(citation.end)
    if start is None or end is None:
        return None
    segment: Extras = {"startIndex": start, "endIndex": end}
    if entry.part:
        segment["partIndex"] = entry.part
    text = ruler.between(citation.start, citation.end)
    return segment if text is None else segment | {"text": text}
