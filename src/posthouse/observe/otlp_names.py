"""What is told of calls, under the names of the GenAI semantic conventions 1.41.1.

Pure, and free of the SDK: names and values only. No attribute holds content, a
credential or an address of a caller.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from posthouse.observe.facts import AttemptFacts, CallFacts

Value = str | int | float | bool
Attributes = dict[str, Value]

DURATION_BOUNDS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""Seconds, as the conventions want them."""
OWN_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
"""Seconds of our own part."""
TOKEN_BOUNDS: Final = tuple(4**power for power in range(14))
"""Tokens, as the conventions want them."""

OPERATIONS: Final[Mapping[str, str]] = {
    "completion": "text_completion",
    "embedding": "embeddings",
}
"""Operations that the conventions call otherwise than we do."""


def call_attributes(call: CallFacts) -> Attributes:
    """Give a call's attributes."""
    found: Attributes = {
        "gen_ai.operation.name": operation_of(call),
        "gen_ai.request.model": call.requested_model,
        "gen_ai.request.stream": call.streamed,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "http.response.status_code": call.status,
        "posthouse.call.id": call.id,
        "posthouse.key.id": call.key_id,
        "posthouse.dialect": call.dialect,
        "posthouse.outcome": call.outcome,
        "posthouse.attempts": len(call.attempts),
        "posthouse.usage_source": call.usage_source,
        "posthouse.price_usd": float(call.price_usd),
        "posthouse.own_seconds": call.own_seconds,
        "posthouse.upstream_seconds": call.upstream_seconds,
    }
    if call.channel:
        found["posthouse.channel"] = call.channel
        found["gen_ai.response.model"] = call.upstream_model
    for name, value in (
        ("gen_ai.provider.name", call.provider),
        ("gen_ai.usage.cache_read.input_tokens", call.cached_tokens),
        ("gen_ai.usage.cache_creation.input_tokens", call.cache_written_tokens),
        ("gen_ai.usage.reasoning.output_tokens", call.reasoning_tokens),
        ("error.type", call.error),
    ):
        if value:
            found[name] = value
    if call.cost_usd is not None:
        found["posthouse.cost_usd"] = float(call.cost_usd)
    if call.streamed and call.first_token_ms:
        name = "gen_ai.response.time_to_first_chunk"
        found[name] = call.first_token_ms / 1000
    return found


def attempt_attributes(call: CallFacts, attempt: AttemptFacts) -> Attributes:
    """Give the attributes of one of a call's attempts."""
    found: Attributes = {
        "gen_ai.operation.name": operation_of(call),
        "gen_ai.request.model": attempt.model,
        "posthouse.channel": attempt.channel,
        "posthouse.credential": attempt.credential,
        "posthouse.outcome": attempt.outcome,
        **_server_of(attempt.origin),
    }
    if attempt.provider:
        found["gen_ai.provider.name"] = attempt.provider
    if attempt.status:
        found["http.response.status_code"] = attempt.status
    if attempt.error:
        found["error.type"] = attempt.error
    return found


def metric_attributes(call: CallFacts) -> dict[str, str]:
    """Give the attributes under which a call is counted."""
    found = {
        "gen_ai.operation.name": operation_of(call),
        "gen_ai.provider.name": call.provider or "_OTHER",
        "gen_ai.request.model": call.requested_model,
    }
    if call.upstream_model:
        found["gen_ai.response.model"] = call.upstream_model
    if call.error:
        found["error.type"] = call.error
    return found


def operation_of(call: CallFacts) -> str:
    """Name a call's operation as the conventions do."""
    return OPERATIONS.get(call.operation, call.operation)


@lru_cache(maxsize=1024)
def _server_of(origin: str) -> Attributes:
    """Give a provider's host and port."""
    url = urlsplit(origin)
    if not url.hostname:
        return {}
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.hostname, "server.port": port}
