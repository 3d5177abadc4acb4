"""What a text rests on, read and written.

Source: `TextCitation` of anthropic 2.12.0 (2026-11): a place on the web, or one in a
document that was sent along, by characters, pages or blocks. What a neutral
citation has no member for stays in its `extras`, with the kind of place.
"""

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.neutral.members import Members
from posthouse.dialects.neutral.seal import PREFIX, seal
from posthouse.model.chat import Citation, Extras

_WEB = "web_search_result_location"
_CHARS = "char_location"
_INDEX = "encrypted_index"
"""Anthropic's own proof of a place on the web; sealed where another one found it."""


def read_citation(members: Members) -> Citation:
    """Read what a text rests on; a location's kind is kept where it tells more."""
    kind = members.needed_text("type")
    if kind == _WEB:
        index = members.text(_INDEX)
        genuine = index is not None and not index.startswith(PREFIX)
        return Citation(
            url=members.text("url"),
            title=members.text("title"),
            quote=members.text("cited_text"),
            extras=({_INDEX: index} if genuine else {}) | members.extras(),
        )
    start = members.whole("start_char_index") if kind == _CHARS else None
    end = members.whole("end_char_index") if kind == _CHARS else None
    told = {} if kind == _CHARS and start is not None else {"type": kind}
    return Citation(
        title=members.text("document_title"),
        quote=members.text("cited_text"),
        document=members.whole("document_index"),
        start=start,
        end=end,
        extras=told | members.extras(),
    )


def is_genuine(citation: Citation) -> bool:
    """Whether Anthropic, whose citation it was, would know it again."""
    return citation.url is None or _INDEX in citation.extras


def write_citation(citation: Citation, *, own: bool) -> Extras:
    """Write what a text rests on; `own` if its extras are of this dialect."""
    extras = citation.extras if own else {}
    kind = extras.get("type") or (_CHARS if citation.document is not None else _WEB)
    quote = {"cited_text": citation.quote or ""}
    if kind == _WEB:
        return {
            "type": _WEB,
            "url": citation.url or "",
            "title": citation.title,
            **quote,
            _INDEX: seal(None, NAME),
            **extras,
        }
    written: Extras = {"type": kind, **quote}
    if citation.document is not None:
        written["document_index"] = citation.document
        written["document_title"] = citation.title
    if kind == _CHARS:
        written["start_char_index"] = citation.start or 0
        written["end_char_index"] = citation.end or 0
    return written | extras
