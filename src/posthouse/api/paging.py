"""Lists and their pages, as the clients of the two great APIs ask for them."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from posthouse.errors import InvalidRequest
from posthouse.files.records import Page
from posthouse.server.request import Request

_CURSOR = "page_"
"""What begins the cursors of Anthropic's newer clients."""


def asked(request: Request) -> dict[str, str]:
    """Give the query's fields; the last of each name counts."""
    return dict(parse_qsl(request.query.decode("latin-1")))


def read_limit(fields: dict[str, str], usual: int, most: int) -> int:
    """Read how many entries are wanted; raises InvalidRequest."""
    text = fields.get("limit", "")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise InvalidRequest(f"limit: must be from 1 to {most}", param="limit")
    return int(text)


def read_page(fields: dict[str, str], usual: int, most: int) -> Page:
    """Read a page as OpenAI's clients name it; raises InvalidRequest."""
    order = fields.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("order: must be asc or desc", param="order")
    return Page(
        read_limit(fields, usual, most),
        order == "desc",
        fields.get("after", ""),
        fields.get("before", ""),
        fields.get("purpose", ""),
    )


def read_anthropic_page(fields: dict[str, str], usual: int, most: int) -> Page:
    """Read a page as Anthropic's clients name it; raises InvalidRequest."""
    after = fields.get("page", "").removeprefix(_CURSOR) or fields.get("after_id", "")
    return Page(
        read_limit(fields, usual, most), after=after, before=fields.get("before_id", "")
    )


def listed(page: Page, rows: Sequence[Any], render: Any) -> dict[str, Any]:
    """Write a list for OpenAI's clients; `rows` has one more if there is more."""
    shown = [render(row) for row in rows[: page.limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rows) > page.limit,
    }


def anthropic_listed(page: Page, rows: Sequence[Any], render: Any) -> dict[str, Any]:
    """Write a list for Anthropic's clients; of what stands before, the end is kept."""
    backwards = bool(page.before) and not page.after
    more = len(rows) > page.limit
    kept = rows[-page.limit :] if backwards else rows[: page.limit]
    shown = [render(row) for row in kept]
    last = shown[-1]["id"] if shown else None
    return {
        "data": shown,
        "has_more": more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": last,
        "next_page": f"{_CURSOR}{last}" if more and not backwards else None,
    }
