"""What a fault is, and what it must lead to: the words of the table."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from tests.fakes.faults import Target
from tests.fakes.steps import Request
from tests.faults.scripts import Script

from posthouse.routing.health import Verdict

Operation = Literal["chat", "completion", "embedding", "moderation"]
Form = Literal["unary", "stream"]
OPERATIONS: tuple[Operation, ...] = ("chat", "completion", "embedding", "moderation")
FORMS: tuple[Form, ...] = ("unary", "stream")
ANSWERING: tuple[Operation, ...] = ("chat", "completion")
"""Operations that stream, and that write tokens."""
ROLE: tuple[Operation, ...] = ("chat",)
"""Operations whose streams begin with a frame without content."""
Quantities = dict[str, int]
USUAL_MEMORY = 32 << 20


class Expected(Struct, frozen=True):
    """What a fault must lead to."""

    status: int = 200
    """Seen by a client whose reply has not begun."""
    code: str = ""
    """Seen by it, and by one inside whose stream it is told."""
    provider_status: int = 0
    """That the provider's reply had."""
    cost_known: bool | None = False
    """That the attempt cost us nothing; None: either may be."""
    verdict: Verdict = Verdict.FAILURE
    failover: bool = True
    """Whether another channel is tried."""
    retry_after: int | None = None
    """Seconds that the client is told."""
    rest: float | None = None
    """Seconds for which the credential is not used."""
    begun: tuple[Operation, ...] = ()
    """Operations for which the head is out, with no content yet."""
    words: int | None = None
    """Words that the client has had before the fault; None: it was before them."""
    frames: Callable[[Request], list[bytes]] | None = None
    """What the client has had, where it is more than words."""
    served: bool = False
    """It is no fault: the answer counts."""
    usage: Callable[[Quantities], Quantities] | None = None
    """What is charged, given the truth; None: what was delivered, estimated."""
    prompt_counted: bool = False
    """But for the prompt, which is counted by us."""
    alert: bool = False
    """The operator is told."""
    answer: Literal["sent", "good", "events"] = "sent"
    """What a client has of an answer that counts: the bytes that the fault sent,
    those of the good answer, or the same events, however they were written."""
    cut: str = ""
    """We end the stream as by its length, with this code."""
    discarded: bool = False
    """The provider's connection serves no other request."""
    resent: bool = False
    """The request is sent once more, on a fresh connection."""
    most_sent: int | None = None
    """Bytes that the provider gets rid of at most."""


class Variation(Struct, frozen=True):
    """One way in which a provider breaks."""

    row: str
    name: str
    expected: Expected
    script: Script | None = None
    forms: tuple[Form, ...] = ("unary", "stream")
    operations: tuple[Operation, ...] = OPERATIONS
    target: Target = "server"
    at_accept: bool = False
    """The script is played before any request."""
    at_head: bool = False
    """The script is played when a request's head is there, and no more is read."""
    primer: Script | None = None
    """What a call before this one is answered with, over the same connection."""
    asked: Mapping[str, Any] = {}
    """Members of the request's body; None takes one out."""
    limits: str = ""
    """The channel's timeouts, in TOML."""
    balance: str = ""
    """In USD, of a key of its own."""
    patches: Mapping[str, Any] = {}
    """Limits that are scaled down, by their full names."""
    memory: int = USUAL_MEMORY
    """Bytes by which the process may grow meanwhile, with client and provider."""


BAD = Expected(502, "upstream_bad_response", provider_status=200)


def broken(
    words: int | None,
    *,
    code: str = "upstream_interrupted",
    begun: tuple[Operation, ...] = (),
    alert: bool = False,
) -> Expected:
    """What a stream that breaks off leads to."""
    if words is None:
        return Expected(
            502, "upstream_bad_response", provider_status=200, begun=begun, alert=alert
        )
    return Expected(
        502, code, provider_status=200, failover=False, words=words, alert=alert
    )


def truth(usage: Quantities) -> Quantities:
    """What really was used."""
    return usage
