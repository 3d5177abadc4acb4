"""Requests for the tests of this folder."""

import json
from collections.abc import Mapping
from typing import Any

from posthouse.dialects import (
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_moderations,
)
from posthouse.dialects.base import Dialect, Edits, ParsedRequest, make_edits
from posthouse.model.catalog import Quirks

CHAT: Dialect = openai_chat.DIALECT
COMPLETIONS: Dialect = openai_completions.DIALECT
EMBEDDINGS: Dialect = openai_embeddings.DIALECT
MODERATIONS: Dialect = openai_moderations.DIALECT

BASES: dict[str, dict[str, Any]] = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai_completions": {"model": "m", "prompt": "hi"},
    "openai_embeddings": {"model": "m", "input": "hi"},
    "openai_moderations": {"model": "m", "input": "hi"},
}
NO_QUIRKS = Quirks()


def dump(value: Any) -> bytes:
    """JSON as the splice writes it: without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def with_member(dialect: Dialect, name: str, value: bytes) -> bytes:
    """The dialect's smallest request, with one more member given as JSON."""
    base = {k: v for k, v in BASES[dialect.name].items() if k != name}
    return dump(base)[:-1] + b',"%s":%s}' % (name.encode(), value)


def parse(dialect: Dialect, **members: Any) -> ParsedRequest:
    return dialect.parse_request(dump({**BASES[dialect.name], **members}))


def in_common(request: ParsedRequest) -> Any:
    """What calls of one conversation have in common."""
    affinity = request.affinity
    return affinity() if callable(affinity) else affinity


def edits(
    model: str = "m",
    quirks: Quirks = NO_QUIRKS,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as the edit is called
    drop: tuple[str, ...] = (),
) -> Edits:
    return make_edits(model, quirks, set, drop)


def render(dialect: Dialect, body: bytes, changes: Edits | None = None) -> bytes:
    """What an upstream gets of a client's body."""
    return dialect.render_request(dialect.parse_request(body), changes or edits())
