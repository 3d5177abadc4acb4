"""The strings in a JSON value, for counting where nobody else has counted."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON


def texts_in(value: Any, skipped: AbstractSet[str]) -> list[str]:
    """Collect the strings of a decoded value, in order.

    Members named in `skipped` are left out with all that is below them; names
    do not count. However deep the value is, nothing recurses.
    """
    texts = []
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            left += [part[name] for name in reversed(part) if name not in skipped]
        elif isinstance(part, list):
            left.extend(reversed(part))
    return texts


def prompt_of(
    envelope: Envelope,
    members: Collection[str],
    *,
    said: Collection[str],
    skipped: AbstractSet[str],
) -> str:
    """Give a prompt's text.

    Args:
        envelope: the request's.
        members: those that a model reads, in order.
        said: those of them that are read by their strings alone. What a schema
            says is read with its names and brackets, and so is what no parser takes.
        skipped: names below `said` that are left out.
    """
    texts = []
    for name in members:
        value = envelope.get(name)
        if value is None:
            continue
        data = bytes(value)
        if name in said:
            with suppress(MalformedJSON):
                texts += texts_in(json.decode_leniently(data), skipped)
                continue
        texts.append(data.decode())
    return "\n".join(texts)
