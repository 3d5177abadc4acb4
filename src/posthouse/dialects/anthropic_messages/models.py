"""The list of models, and one of them, as Anthropic's clients read them.

Source: `ModelInfo` and `SyncPage` of anthropic-sdk-python (2026-08).
"""

from collections.abc import Sequence
from typing import Any

from posthouse.wire import json

PAGE = 20
"""Models in a list whose caller does not say how many it wants."""
LARGEST_PAGE = 1000
_UNKNOWN_AGE = "1970-01-01T00:00:00Z"
"""A relay does not know when a model came out."""


def render_model(name: str) -> bytes:
    """Write one model."""
    return json.encode(_model(name))


def render_models(
    names: Sequence[str], *, limit: int = PAGE, after: str = "", before: str = ""
) -> bytes:
    """Write a page of a list.

    Args:
        names: all of the caller's, in order.
        limit: models in the page.
        after: the page begins behind this one; "" at the beginning.
        before: the page ends before this one; "" has no end but the list's.
    """
    start = _place(names, after) + 1 if after else 0
    end = _place(names, before) if before else len(names)
    if before and not after:
        start = max(start, end - limit)
    page = names[start:end][:limit]
    more = start > 0 if before and not after else start + len(page) < end
    return json.encode(
        {
            "data": [_model(name) for name in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def _place(names: Sequence[str], name: str) -> int:
    """Where a model stands; one that is not there is behind all."""
    return names.index(name) if name in names else len(names)


def _model(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _UNKNOWN_AGE,
    }
