"""Thoughts in messages: `reasoning_content` and what signs it.

Sources: https://api-docs.deepseek.com/guides/thinking_mode, Zhipu and Moonshot
(`reasoning_content`); vLLM and OpenRouter (`reasoning`);
https://openrouter.ai/docs/use-cases/reasoning-tokens (`reasoning_details` with
`reasoning.text`, `reasoning.summary` and `reasoning.encrypted`, 2026-10); Mistral
(a part of type `thinking`).

Clients who keep a message whole send `reasoning_details` back: that is where
signatures of other dialects' providers travel, sealed.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import structs

from posthouse.dialects.neutral.members import Members
from posthouse.dialects.neutral.seal import seal, unseal
from posthouse.model.chat import Extras, Thinking

NAME = "openai_chat"

_NAMES = ("reasoning_content", "reasoning")
"""Names for the same thoughts; some servers send both."""
_TEXT = "reasoning.text"
_SUMMARY = "reasoning.summary"
_ENCRYPTED = "reasoning.encrypted"


def read_thoughts(members: Members) -> list[Thinking]:
    """Take the thoughts of a message out of its members."""
    texts = [members.text(name) for name in _NAMES]
    text = next(filter(None, texts), "")
    details = _joined(read_details(members.take("reasoning_details")))
    if not details:
        return [Thinking(text)] if text else []
    if text and not any(detail.text for detail in details):
        # A stream's text came apart from its signature.
        first = next(
            (index for index, detail in enumerate(details) if not detail.redacted), None
        )
        if first is None:
            return [Thinking(text), *details]
        details[first] = structs.replace(details[first], text=text)
    return details


def read_details(value: Any) -> list[tuple[Any, Thinking]]:
    """Read `reasoning_details`; what is unlike them is passed over.

    Each comes with the index by which the pieces of a stream are told apart.
    """
    if not isinstance(value, list):
        return []
    return [detail for entry in value if (detail := _read_detail(entry)) is not None]


def _read_detail(entry: Any) -> tuple[Any, Thinking] | None:
    if not isinstance(entry, dict):
        return None
    kind = entry.get("type")
    if kind == _ENCRYPTED:
        signature = unseal(_text(entry, "data"), NAME)
        if signature is None:
            return None
        thought = Thinking("", signature, redacted=True, id=_text(entry, "id"))
        return None, thought
    if kind not in (_TEXT, _SUMMARY):
        return None
    text = _text(entry, "text" if kind == _TEXT else "summary") or ""
    thought = Thinking(
        text,
        unseal(_text(entry, "signature"), NAME),
        summary=kind == _SUMMARY,
        id=_text(entry, "id"),
    )
    return entry.get("index"), thought


def _joined(details: list[tuple[Any, Thinking]]) -> list[Thinking]:
    """Join the pieces that clients keep of a stream as they came."""
    found: list[Thinking] = []
    open_index: Any = None
    for index, piece in details:
        last = found[-1] if found else None
        if last is None or index is None or index != open_index:
            found.append(piece)
        else:
            found[-1] = Thinking(
                last.text + piece.text,
                piece.signature or last.signature,
                summary=last.summary,
                id=last.id or piece.id,
            )
        open_index = index
    return found


def _text(entry: Extras, name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None


def write_details(thoughts: Iterable[Thinking]) -> list[Extras]:
    """Write `reasoning_details`, if any of the thoughts is more than its text."""
    found = list(thoughts)
    if all(thought == Thinking(thought.text) for thought in found):
        return []
    return [write_detail(thought, index) for index, thought in enumerate(found)]


def write_detail(thought: Thinking, index: int) -> Extras:
    """Write one of the `reasoning_details`."""
    entry: Extras = {"type": _TEXT, "text": thought.text}
    if thought.redacted:
        entry = {"type": _ENCRYPTED, "data": seal(thought.signature, NAME)}
    elif thought.summary:
        entry = {"type": _SUMMARY, "summary": thought.text}
    if thought.signature is not None and not thought.redacted:
        entry["signature"] = seal(thought.signature, NAME)
    if thought.id is not None:
        entry["id"] = thought.id
    return entry | {"format": "unknown", "index": index}


def write_signature(extra_content: Extras | None, signature: str) -> Extras:
    """Add a signature where Google's OpenAI layer keeps one.

    Source: https://ai.google.dev/gemini-api/docs/thought-signatures (2026-10).
    """
    found = dict(extra_content or {})
    google = found.get("google")
    kept = google if isinstance(google, dict) else {}
    found["google"] = {**kept, "thought_signature": signature}
    return found


def take_signature(members: Members) -> str | None:
    """Take it out again; what stands beside it is left."""
    value = members.take("extra_content")
    if not isinstance(value, dict):
        members.put_back("extra_content", value)
        return None
    google = value.get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(google, dict) or not isinstance(signature, str):
        members.put_back("extra_content", value)
        return None
    rest = {name: kept for name, kept in google.items() if name != "thought_signature"}
    others = {name: kept for name, kept in value.items() if name != "google"}
    if rest:
        others["google"] = rest
    members.put_back("extra_content", others or None)
    return signature
