"""What a reply has used, both ways.

Google reports parts beside one another: thoughts are no part of the candidates'
tokens, what tools were given to read is no part of the prompt's. A count of
nothing is absent.

Source: `types.GenerateContentResponseUsageMetadata` in google-genai 3.4.0;
https://ai.google.dev/gemini-api/docs/tokens (2026-11).
"""

from collections.abc import Iterable
from typing import Any

from msgspec import structs

from posthouse.dialects.gemini_generate.signatures import generation
from posthouse.dialects.google.names import canonical
from posthouse.dialects.neutral.members import unlike
from posthouse.model.chat import Extras
from posthouse.model.usage import ReportedUsage

_TOTALS = (
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
)
_COUNTS = (*_TOTALS, "cachedContentTokenCount", "totalTokenCount")
_BILLED_BY_QUERY = 3
"""From this generation on every query is paid, before it every answer."""


def read_usage(value: Any) -> tuple[ReportedUsage | None, Extras]:
    """Read `usageMetadata`; give what it tells beside the counts, too."""
    if not isinstance(value, dict):
        return None, {}
    found = canonical(value, "usageMetadata", unlike)
    counts = {name: _whole(found.get(name)) for name in _COUNTS}
    prompt, candidates, thoughts, read = (counts[name] for name in _TOTALS)
    entire = None if prompt is None and read is None else (prompt or 0) + (read or 0)
    output = None
    if candidates is not None or thoughts is not None:
        output = (candidates or 0) + (thoughts or 0)
    elif counts["totalTokenCount"] is not None and entire is not None:
        output = max(0, counts["totalTokenCount"] - entire)
    asked = _by_kind(found.get("promptTokensDetails"))
    given = _by_kind(found.get("candidatesTokensDetails"))
    usage = ReportedUsage(
        input=entire,
        output=output,
        cached_input=counts["cachedContentTokenCount"],
        audio_input=asked.get("AUDIO"),
        image_input=asked.get("IMAGE"),
        reasoning=thoughts,
        audio_output=given.get("AUDIO"),
        image_output=given.get("IMAGE"),
        odd=any(
            found.get(name) is not None and counts[name] is None for name in _TOTALS
        ),
    )
    return usage, {name: kept for name, kept in found.items() if name not in _COUNTS}


def with_searches(usage: ReportedUsage | None, queries: int, model: str | None) -> Any:
    """Add the searches that an answer has made."""
    if not queries or usage is None:
        return usage
    found = generation(model or "")
    each = found is None or found >= _BILLED_BY_QUERY
    return structs.replace(usage, searches=queries if each else 1)


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _by_kind(value: Any) -> dict[str, int]:
    """Read counts by modality."""
    found: dict[str, int] = {}
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            continue
        kind = entry.get("modality")
        count = _whole(entry.get("tokenCount", entry.get("token_count")))
        if isinstance(kind, str) and count is not None:
            found[kind] = found.get(kind, 0) + count
    return found


# --- writing ------------------------------------------------------------------------


def write_usage(usage: ReportedUsage, extras: Extras) -> Extras:
    """Write `usageMetadata`."""
    entire, output = usage.input or 0, usage.output or 0
    thoughts = min(usage.reasoning or 0, output)
    found: Extras = {
        "promptTokenCount": entire,
        "candidatesTokenCount": output - thoughts,
        "totalTokenCount": entire + output,
    }
    if usage.cached_input is not None:
        found["cachedContentTokenCount"] = usage.cached_input
    if usage.reasoning is not None:
        found["thoughtsTokenCount"] = thoughts
    asked = _details(
        entire, (("AUDIO", usage.audio_input), ("IMAGE", usage.image_input))
    )
    given = _details(
        output - thoughts,
        (("AUDIO", usage.audio_output), ("IMAGE", usage.image_output)),
    )
    if asked:
        found["promptTokensDetails"] = asked
    if given:
        found["candidatesTokensDetails"] = given
    return found | extras


def _details(entire: int, kinds: Iterable[tuple[str, int | None]]) -> list[Extras]:
    """Write counts by modality, if there is any but text."""
    counts = [(kind, count) for kind, count in kinds if count]
    if not counts:
        return []
    text = max(0, entire - sum(count for _, count in counts))
    return [
        {"modality": kind, "tokenCount": count}
        for kind, count in (("TEXT", text), *counts)
    ]
