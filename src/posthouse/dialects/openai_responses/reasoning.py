"""Reasoning items: thoughts, their summary, and what only their provider reads.

Thoughts of other dialects are written as summaries, for that is what clients send
back: Codex leaves `content` out. Signatures of others are sealed into
`encrypted_content`; a mark on the dialect's name says that the thoughts were
withheld. An item without words is a signature alone.

OpenAI checks what it has encrypted against the item's id, which other dialects have
no place for: an own signature's value is both, parted by a colon.

Normal form: the parts of a summary, and those of `content`, are joined by empty
lines; an item that has both becomes two. A `status` is left out.

Source: `ResponseReasoningItem` of OpenAI's Python SDK, 3.54.
"""

from typing import Any

from posthouse.dialects.neutral.members import Members
from posthouse.dialects.neutral.seal import seal, unseal
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.model.chat import Signature, Thinking

BREAK = "\n\n"
"""What is between the parts of a summary."""
_WITHHELD = "*"
_COLON = ":"


def read_reasoning(item: Members) -> list[Thinking]:
    """Read an item; two parts if it holds both thoughts and a summary of them."""
    item_id = item.text("id")
    summary = _read_words(item, "summary")
    content = _read_words(item, "content")
    signature, withheld = open_signature(item.text("encrypted_content"), item_id)
    item.take("status")
    extras = item.extras()
    found = []
    if summary and content:
        found.append(Thinking(summary, summary=True, id=item_id))
    text = content or summary
    found.append(
        Thinking(
            text,
            signature,
            withheld or is_withheld(text, signature),
            bool(summary) and not content,
            item_id,
            extras,
        )
    )
    return found


def _read_words(item: Members, name: str) -> str:
    return BREAK.join(part.text("text") or "" for part in item.each(name))


def is_withheld(text: str, signature: Signature | None) -> bool:
    """Whether OpenAI has given nothing but what it alone can read."""
    return not text and signature is not None and signature.by == NAME


def open_signature(
    text: str | None, item_id: str | None
) -> tuple[Signature | None, bool]:
    """Read `encrypted_content`; tell also whether it was marked as withheld."""
    signature = unseal(text, NAME)
    if signature is None:
        return None, False
    if signature.by == NAME:
        value = signature.value
        named = (
            value if item_id is None or _COLON in value else item_id + _COLON + value
        )
        return Signature(NAME, named), False
    by = signature.by.removesuffix(_WITHHELD)
    return Signature(by, signature.value), by != signature.by


def close_signature(part: Thinking) -> dict[str, str]:
    """Give the members that tell of a signature; none if there is none.

    They are `encrypted_content` and, of what OpenAI has encrypted, the `id`.
    """
    signature = part.signature
    if signature is None:
        return {}
    if signature.by == NAME:
        item_id, colon, value = signature.value.rpartition(_COLON)
        return {"encrypted_content": value, **({"id": item_id} if colon else {})}
    if part.redacted:
        signature = Signature(signature.by + _WITHHELD, signature.value)
    return {"encrypted_content": seal(signature, NAME)}


def write_reasoning(part: Thinking, *, as_summary: bool) -> dict[str, Any]:
    """Write an item, but for its status and what only one dialect has."""
    item: dict[str, Any] = {"type": "reasoning", "summary": []}
    if part.id is not None:
        item["id"] = part.id
    if part.text and as_summary:
        item["summary"] = [{"type": "summary_text", "text": part.text}]
    elif part.text:
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    return item | close_signature(part)
