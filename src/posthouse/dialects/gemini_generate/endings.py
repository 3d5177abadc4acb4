"""Why an answer ended, and how likely its tokens were, both ways.

Google has no word for tools that are to be called, nor for the sequence that
stopped an answer: both are `STOP`.

Source: `types.FinishReason` and `types.LogprobsResult` in google-genai 3.4.0.
"""

from typing import Any

from posthouse.dialects.google.names import canonical
from posthouse.dialects.neutral.members import unlike
from posthouse.model.chat import Extras, Finish, FinishReason

_FILTERED = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
    "ESCALATION",
)
_READ = {
    "STOP": FinishReason.STOP,
    # Not one of Google's, but of programs that speak as it does.
    "FUNCTION_CALL": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "MALFORMED_FUNCTION_CALL": FinishReason.MALFORMED_CALL,
    "UNEXPECTED_TOOL_CALL": FinishReason.MALFORMED_CALL,
    **dict.fromkeys(_FILTERED, FinishReason.CONTENT_FILTER),
}
_WRITTEN = {
    FinishReason.STOP: "STOP",
    FinishReason.STOP_SEQUENCE: "STOP",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.PAUSE: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.CONTEXT_LENGTH: "MAX_TOKENS",
    FinishReason.CONTENT_FILTER: "SAFETY",
    FinishReason.REFUSAL: "SAFETY",
    FinishReason.MALFORMED_CALL: "MALFORMED_FUNCTION_CALL",
    FinishReason.OTHER: "OTHER",
}
_REASON = "finishReason"


def read_finish(reason: str, message: str | None, *, called: bool) -> Finish:
    """Read why an answer ended.

    Args:
        reason: Google's word.
        message: what is said of it.
        called: whether it calls tools.
    """
    upper = reason.upper()
    found = _READ.get(upper, FinishReason.OTHER)
    extras: Extras = {}
    if _WRITTEN[found] != upper:
        extras[_REASON] = reason
    if message is not None:
        extras["finishMessage"] = message
    # Servers that are like Google's have words of their own for tools.
    if called and found in (FinishReason.STOP, FinishReason.OTHER):
        found = FinishReason.TOOL_CALLS
    return Finish(found, extras=extras)


def write_finish(finish: Finish, *, own: bool) -> Extras:
    """Write the members of a candidate that tell why it ended."""
    found: Extras = {_REASON: _WRITTEN[finish.reason]}
    return found | finish.extras if own else found


# --- probabilities ------------------------------------------------------------------


def read_logprobs(value: Any) -> tuple[Extras, ...] | None:
    """Read `logprobsResult` as OpenAI has it; None if it tells nothing."""
    if not isinstance(value, dict):
        return None
    found = canonical(value, "logprobsResult", unlike)
    chosen = found.get("chosenCandidates")
    if not isinstance(chosen, list):
        return None
    tops = found.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    out = []
    for index, entry in enumerate(chosen):
        top = tops[index] if index < len(tops) else None
        others = top.get("candidates") if isinstance(top, dict) else None
        listed = others if isinstance(others, list) else []
        token = _token(entry)
        token["top_logprobs"] = [_token(other) for other in listed]
        out.append(token)
    return tuple(out)


def _token(entry: Any) -> Extras:
    members = entry if isinstance(entry, dict) else {}
    text = members.get("token")
    text = text if isinstance(text, str) else ""
    probability = members.get("logProbability", members.get("log_probability"))
    return {
        "token": text,
        # A probability of one is absent: its logarithm is nothing.
        "logprob": probability if type(probability) in (int, float) else 0,
        "bytes": list(text.encode(errors="replace")),
    }


def write_logprobs(tokens: tuple[Extras, ...]) -> Extras:
    """Write `logprobsResult`."""
    return {
        "chosenCandidates": [_candidate(token) for token in tokens],
        "topCandidates": [{"candidates": _tops(token)} for token in tokens],
    }


def _tops(token: Extras) -> list[Extras]:
    found = token.get("top_logprobs")
    tops = found if isinstance(found, list) else []
    return [_candidate(top) for top in tops if isinstance(top, dict)]


def _candidate(token: Extras) -> Extras:
    return {"token": token.get("token"), "logProbability": token.get("logprob")}
