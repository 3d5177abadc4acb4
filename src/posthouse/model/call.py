"""A call, its attempts, and the record that is kept of them.

A record holds no prompt, answer, credential or client address: only what
finance and operations need.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

Affinity = bytes | tuple[str, ...] | Callable[[], tuple[str, ...]]
"""What calls have in common that one channel shall serve; or what tells it, for
nobody asks where there is no choice of channels."""


class Operation(StrEnum):
    """What is asked of a model."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    MODERATION = "moderation"
    IMAGE = "image"
    """Pictures made from a text."""
    IMAGE_EDIT = "image_edit"
    """Pictures made from pictures and a text."""
    IMAGE_VARIATION = "image_variation"
    """Pictures like another one."""
    SPEECH = "speech"
    """Speech made from a text."""
    TRANSCRIPTION = "transcription"
    """The text of speech, in its language."""
    AUDIO_TRANSLATION = "audio_translation"
    """The text of speech, in English."""
    RERANK = "rerank"
    """Documents in the order of how well they answer a query."""
    TRANSLATION = "translation"
    """Texts in another language."""
    REALTIME = "realtime"
    """A session in which is spoken and answered, over a WebSocket."""


PAID_BY_RESULT = frozenset(
    {Operation.IMAGE, Operation.IMAGE_EDIT, Operation.IMAGE_VARIATION}
)
"""Operations for which nothing is owed unless there is a result."""


class Outcome(StrEnum):
    """How a call or an attempt ended."""

    SERVED = "served"
    REJECTED = "rejected"
    """Refused by us or by the provider for what was asked."""
    FAILED = "failed"
    """No provider could answer."""
    INTERRUPTED = "interrupted"
    """The provider broke off after content had been delivered."""
    ABANDONED = "abandoned"
    """The client went away."""
    RECOVERED = "recovered"
    """The process died; settled from its journal."""


class AttemptRecord(Struct, array_like=True, gc=False):
    """One try of a call on one channel; only its cost is filled in later."""

    channel: str
    credential: int
    """Index among the channel's credentials."""
    upstream_model: str
    started_ms: int
    """Milliseconds after the call began."""
    duration_ms: int
    outcome: str
    error_code: str
    """Empty when the attempt served the call."""
    upstream_status: int
    """HTTP status, 0 when none arrived."""
    cost: int | None
    """Supplier cost in nano-dollars; None is not known."""


class CallRecord(Struct, frozen=True, array_like=True, gc=False):
    """The usage record of one call; written once, with its settlement."""

    id: str
    created_ms: int
    """Unix time in milliseconds at which the call was accepted."""
    key_id: str
    operation: str
    dialect: str
    streamed: bool
    requested_model: str
    channel: str
    """The channel that served it, or the last one tried; may be empty."""
    upstream_model: str
    usage: dict[str, int]
    usage_source: str
    cost: int | None
    """Supplier cost over all attempts, nano-dollars; None is not known."""
    list_price: int
    price: int
    """What the customer is charged, nano-dollars."""
    price_version: str
    status: int
    """HTTP status given to the client; 499 when it left before its reply's end."""
    outcome: str
    error_code: str
    first_token_ms: int
    total_ms: int
    attempts: list[AttemptRecord]
    translation: str = ""
    """The provider's dialect where it is another one, then what was left out (-)
    or written otherwise (~); empty where nothing was translated."""

    @property
    def upstream_ms(self) -> int:
        """Milliseconds in which at least one attempt was under way."""
        total = until = 0
        for begin, end in sorted(
            (attempt.started_ms, attempt.started_ms + attempt.duration_ms)
            for attempt in self.attempts
        ):
            total += max(0, end - max(begin, until))
            until = max(until, end)
        return total

    @property
    def own_ms(self) -> int:
        """The rest of `total_ms`: our own part, to about a millisecond."""
        return max(0, self.total_ms - self.upstream_ms)

    @property
    def upstream_first_ms(self) -> int:
        """The provider's part of a stream's `first_token_ms`; 0 when there is none.

        From the begin of the attempt that brought the content.
        """
        if not (self.streamed and self.first_token_ms):
            return 0
        for attempt in reversed(self.attempts):
            if attempt.channel == self.channel:
                return max(0, self.first_token_ms - attempt.started_ms)
        return 0
