"""Why an answer ended, read and written.

Source: `StopReason` and `RefusalStopDetails` of anthropic 2.12.0 (2026-11). What a
provider adds later is `OTHER`, with its word in the extras.
"""

from typing import Any

from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import Extras, Finish, FinishReason

_READ = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.CONTEXT_LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
}
WRITTEN = {reason: word for word, reason in _READ.items()} | {
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.MALFORMED_CALL: "end_turn",
    FinishReason.OTHER: "end_turn",
}
"""`stop_reason`, if nothing else tells more."""

# Members of an enumeration are slow to look up.
_STOP = FinishReason.STOP
ENDED = Finish(_STOP)
"""What counts where nothing was told."""


def take_finish(members: Members) -> Finish | None:
    """Take why it ended; None where it has not."""
    word, sequence = members.text("stop_reason"), members.text("stop_sequence")
    details = members.take("stop_details")
    if word is None:
        return None
    extras: Extras = {} if details is None else {"stop_details": details}
    reason = _READ.get(word)
    if reason is None:
        return Finish(FinishReason.OTHER, sequence, {"stop_reason": word} | extras)
    return Finish(reason, sequence, extras)


def write_finish(
    finish: Finish | None, *, own: bool, calls: bool, refused: bool = False
) -> dict[str, Any]:
    """Write `stop_reason`, `stop_sequence` and `stop_details`.

    Args:
        finish: as it was told; None counts as an end like any other.
        own: its extras are of this dialect.
        calls: tools were called, of which not every provider says so.
        refused: the model's words are a refusal.
    """
    finish = finish or ENDED
    word = WRITTEN[finish.reason]
    if finish.reason is _STOP and (calls or refused):
        word = "tool_use" if calls else "refusal"
    details = None
    if own and finish.extras:
        word = finish.extras.get("stop_reason", word)
        details = finish.extras.get("stop_details")
    return {
        "stop_reason": word,
        "stop_sequence": finish.stop_sequence,
        "stop_details": details,
    }
