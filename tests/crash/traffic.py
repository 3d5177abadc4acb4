"""The calls of the crash suite: what is asked, and what it truly costs.

Every call names a model of its own, `<kind>-<number>`, so that the client's
transcript, the provider's journal and the ledger can be laid side by side
even where a client never learned its call's id. The kind tells the provider
how to behave and the price list what to charge.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

FIRST, SECOND = "first-account", "second-account"
"""What the gateway shows the provider on its two channels."""
PER_MILLION: Final = 1_000_000


class Kind(Struct, frozen=True):
    """A sort of call."""

    name: str
    path: str
    weight: int
    """How often it comes, beside the others."""
    words: int = 0
    """The answer's tokens; each is a chunk of a stream."""
    stream: bool = False
    pause: float = 0.0
    """Seconds before the provider answers."""
    pace: float = 0.0
    """Seconds between two chunks."""
    fault: str = ""
    """What the provider does instead of answering."""
    leaves: bool = False
    """The client goes away at the first byte, or soon where there is none."""

    @property
    def succeeds(self) -> bool:
        """Whether its client gets all of its answer, unless somebody is killed."""
        return self.fault in ("", "first") and not self.leaves


CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("chat", CHAT, 26, 16, pause=0.02),
        Kind("swift", CHAT, 14, 5),
        Kind("talk", CHAT, 14, 12, stream=True, pace=0.004),
        Kind("burst", CHAT, 8, 24, stream=True),
        Kind("long", CHAT, 3, 260, stream=True, pace=0.002),
        Kind("slow", CHAT, 1, 40, stream=True, pace=0.05),
        Kind("whole", COMPLETION, 6, 12, pause=0.01),
        Kind("line", COMPLETION, 6, 12, stream=True),
        Kind("embed", "/v1/embeddings", 10, pause=0.005),
        Kind("judge", "/v1/moderations", 3),
        Kind("shaky", CHAT, 3, 8, fault="first"),
        Kind("ruin", CHAT, 2, 8, fault="all"),
        Kind("bad", CHAT, 2, 8, fault="reject"),
        Kind("cut", CHAT, 1, 30, stream=True, fault="cut"),
        Kind("leave", CHAT, 2, 40, stream=True, pace=0.01, leaves=True),
        Kind("hangup", CHAT, 1, 8, pause=0.05, leaves=True),
    )
}

RATES: Final = {"input": 2_000_000_000, "cached": 500_000_000, "output": 8_000_000_000}
"""Nano-dollars per million tokens."""
JUDGEMENT: Final = 100_000
"""Nano-dollars per moderation."""

PRICES: Final = """
[[prices]]
model = "*"
input = "2"
cached_input = "0.5"
output = "8"

[[prices]]
model = "judge-*"
request = "0.0001"
"""


def kind_of(model: str) -> Kind:
    """The kind of a call, by its model."""
    return KINDS[model.partition("-")[0]]


def body_of(kind: Kind, number: int) -> bytes:
    """The request of one call; prompts are not all of one length."""
    value: dict[str, Any] = {"model": f"{kind.name}-{number:07d}"}
    text = f"Call {number}: where are the horses? " * (1 + number % 5)
    if kind.path == CHAT:
        value["messages"] = [{"role": "user", "content": text}]
    else:
        value["prompt" if kind.path == COMPLETION else "input"] = text
    if kind.words:
        value["max_tokens"] = kind.words
    if kind.stream:
        value["stream"] = True
    return msgspec.json.encode(value)


def true_price(kind: Kind, usage: Mapping[str, Any] | None) -> int:
    """What a call costs by what the provider says it truly used, nano-dollars."""
    if usage is None:
        return JUDGEMENT if kind.name == "judge" else 0
    prompt = usage["prompt_tokens"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    total = (prompt - cached) * RATES["input"] + cached * RATES["cached"]
    total += usage.get("completion_tokens", 0) * RATES["output"]
    return -(-total // PER_MILLION)
