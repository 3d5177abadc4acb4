"""What the tests ask for, and what it amounts to."""

from typing import Any

from msgspec import json
from tests.fakes.steps import Behave, Behaviour
from tests.faults import scripts
from tests.faults.station import Station
from tests.faults.wire import Fields, Reply

from posthouse.billing.tokenizer import count_tokens

PROMPT = (
    "The horses are changed at every station on the long road to the north, and "
    "nobody waits for more than a quarter of an hour."
)
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "moderation": "/v1/moderations",
}
OPERATIONS = tuple(PATHS)
FORMS = [(operation, False) for operation in OPERATIONS]
FORMS += [("chat", True), ("completion", True)]
"""Every operation, whole; and those that stream, streamed."""


def body_of(
    operation: str, model: str, *, stream: bool = False, **more: Any
) -> dict[str, Any]:
    """A request's body."""
    value: dict[str, Any] = {"model": model}
    if operation == "chat":
        value["messages"] = [{"role": "user", "content": PROMPT}]
    else:
        value["prompt" if operation == "completion" else "input"] = PROMPT
    if operation in ("chat", "completion"):
        value["max_tokens"] = 16
    if stream:
        value["stream"] = True
    return {**value, **more}


def counted_prompt(operation: str, model: str) -> int:
    """What the prompt is counted as where the provider does not tell.

    A chat's one message is framed: three tokens for it, one for its role, three
    for the answer.
    """
    return count_tokens(PROMPT, model) + (7 if operation == "chat" else 0)


async def ask(
    station: Station,
    operation: str = "chat",
    model: str = "m",
    *,
    headers: Fields = (),
    **more: Any,
) -> Reply:
    """Make a call and read its reply to the end."""
    body = json.encode(body_of(operation, model, **more))
    return await station.ask(PATHS[operation], body, headers)


KINDS = {429: "rate_limit_exceeded", 500: "server_error"}


def failing(number: int) -> Behave:
    """A provider that answers everything with one error status."""
    script = scripts.status(number, KINDS.get(number, "authentication_error"))
    return lambda request: Behaviour(str(number), tuple(script(request)))
