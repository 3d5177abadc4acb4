"""What is known of a batch and of its lines.

    validating → in_progress → finalizing → completed
        ↓             ↓    ↘        ↓
      failed      cancelling →  cancelled, expired

A line is pending, running (its call may have been made), waiting (a provider has it
in a batch of its own, a part of ours) or done. Times are Unix milliseconds.
"""

from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct

DAY_MS = 86_400_000
MOST_LINES = 50_000
"""Of a batch."""
MOST_ERRORS = 100
"""That are told of a batch that is refused."""


class BatchAPI(StrEnum):
    """Whose clients a batch is made by."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class BatchState(StrEnum):
    """How far a batch is."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED = frozenset(
    {
        BatchState.COMPLETED,
        BatchState.FAILED,
        BatchState.EXPIRED,
        BatchState.CANCELLED,
    }
)


class LineState(IntEnum):
    """How far a line is."""

    PENDING = 0
    RUNNING = 1
    DONE = 2
    WAITING = 3


class PartState(IntEnum):
    """How far a part is."""

    INTENDED = 0
    """The provider may have it; nobody has written down its name there."""
    CREATED = 1
    OVER = 2


HERE = -1
"""In place of a part's number: the line is run by us."""


class LineError(Struct, frozen=True):
    """Why a batch was refused."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchDetails(Struct, frozen=True):
    """What is told of a batch and decides nothing."""

    metadata: dict[str, str] | None = None
    errors: tuple[LineError, ...] = ()
    usage: dict[str, int] = {}
    """Tokens: input, cached, output, reasoning."""
    model: str = ""
    """The first line's."""
    times: dict[str, int] = {}
    """When each state began."""
    ends_as: str = ""
    """The state that follows when everything is written."""


class Batch(Struct, frozen=True):
    """A batch of an account's."""

    id: str
    account_id: str
    key_id: str
    """The key that made it, whose rights and limits its calls have."""
    api: BatchAPI
    endpoint: str
    state: BatchState
    input_file: str | None
    input_blob: str
    completion_window: str
    details: BatchDetails
    created_ms: int
    expires_ms: int
    output_file: str | None = None
    error_file: str | None = None
    output_blob: str | None = None
    """The results, where they are not a file of the caller's."""
    keep_seconds: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    owner: str = ""


class Line(Struct, frozen=True):
    """A line of a batch's input."""

    number: int
    """From 1, as people count."""
    custom_id: str
    place: int
    """Of its first byte in the input."""
    size: int
    tries: int = 0
    call_id: str = ""


class Answered(Struct, frozen=True):
    """A line that is done."""

    number: int
    custom_id: str
    call_id: str
    status: int
    """HTTP's; 0: it was never made."""
    body: bytes


class Place(Struct, frozen=True):
    """Where a line can be answered by a provider's own batch."""

    channel: str
    credential: int
    model: str
    """As the provider calls it."""
    url: str
    """What the line asks, as the provider's batches name it."""
    body: bytes
    """The line's request, as the provider must have it: one line of JSON."""
    reserve: int
    """What it costs at most, nano-dollars."""


class Part(Struct, frozen=True):
    """Some lines of a batch, given to a provider as one batch of its own."""

    batch_id: str
    number: int
    """From 1; none is used twice."""
    channel: str
    credential: int
    model: str
    url: str
    lines: int
    reserve: int
    """What is set aside for its lines, nano-dollars."""
    intended_ms: int
    state: PartState = PartState.INTENDED
    remote_id: str = ""
    """The provider's name for it."""

    @property
    def mark(self) -> str:
        """What the provider's batch is known by: nobody else's has it."""
        return f"{self.batch_id}-p{self.number}"


class Bought(Struct, frozen=True):
    """What a provider's batch has answered to a line."""

    channel: str
    credential: int
    model: str
    status: int
    """HTTP's."""
    body: bytes


class LineCall(Struct, frozen=True):
    """A call to be made for a line."""

    call_id: str
    key_id: str
    api: BatchAPI
    endpoint: str
    body: bytes
    batch_id: str = ""
    """Its batch's, for what the lines of one have in common."""


class LineReply(Struct, frozen=True):
    """What came of it."""

    status: int
    body: bytes
    retry_after: float | None = None
    """Seconds after which it is worth another try; None: it is not."""
    waits_for_room: bool = False
    """It was not made at all, for there was no room for it now."""


def time_of(batch: Batch, state: BatchState) -> int | None:
    """Give when a state began; None: it has not."""
    return batch.details.times.get(state.value)


def as_usage(body: dict[str, Any]) -> dict[str, int]:
    """Read the tokens that a reply tells of, in whichever dialect."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return {}
    given = {
        "input": (usage.get("input_tokens"), usage.get("prompt_tokens")),
        "output": (usage.get("output_tokens"), usage.get("completion_tokens")),
        "cached": (
            _detail(usage, "input_tokens_details", "cached_tokens"),
            _detail(usage, "prompt_tokens_details", "cached_tokens"),
        ),
        "reasoning": (
            _detail(usage, "output_tokens_details", "reasoning_tokens"),
            _detail(usage, "completion_tokens_details", "reasoning_tokens"),
        ),
    }
    return {
        name: next((one for one in values if isinstance(one, int)), 0)
        for name, values in given.items()
    }


def _detail(usage: dict[str, Any], group: str, name: str) -> Any:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None
