"""Rate limits of keys and channels, counted in this process's memory.

A key over its limit is told so; a channel over its limit is passed over. The
caller releases each permit when its call or attempt ends.
"""

import time
from collections.abc import Callable

from typing_extensions import override

from posthouse.access.ports import Limiter
from posthouse.access.principal import Principal
from posthouse.access.windows import (
    UNLIMITED_RATES,
    Limit,
    Permit,
    Rates,
    Refusal,
    WindowTable,
    rates_of,
)
from posthouse.errors import RateLimited
from posthouse.settings.file import ChannelLimits

UNLIMITED = Permit(None, UNLIMITED_RATES, None, 0, time.monotonic)
"""The permit of everyone who has no limits."""


class Limits(Limiter):
    """The limits of all keys and channels of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with every minute empty; `clock` gives monotonic seconds."""
        self._keys = WindowTable(clock)
        self._channels = WindowTable(clock)

    @override
    async def admit(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        return self.admit_now(principal, tokens, output_tokens=output_tokens)

    @override
    def admit_now(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        """Count a call of a key; this never has to wait.

        Args:
            principal: whose call it is.
            tokens: the prompt's estimate.
            output_tokens: the answer's greatest length. It is counted as far as
                there is room in the minute, and corrected on release; so an
                answer without a limit of the caller's is no reason to refuse.

        Raises:
            RateLimited: with `retry_after` from 1 to 60 seconds.
        """
        rates = principal.rates
        if rates is None:
            return UNLIMITED
        result = self._keys.admit(principal.key_id, rates, tokens, output_tokens)
        if isinstance(result, Refusal):
            raise rate_limited(result, rates, tokens)
        return result

    @override
    def header_lines(self, principal: Principal) -> bytes:
        """Write the `x-ratelimit-*` headers of a key, for a reply that refuses."""
        rates = principal.rates or UNLIMITED_RATES
        return self._keys.header_lines(principal.key_id, rates)

    def admit_channel(self, name: str, limits: ChannelLimits) -> Permit | Refusal:
        """Count an attempt on a channel, or say why it must be passed over."""
        if limits.rpm is None and limits.concurrency is None:
            return UNLIMITED
        rates = rates_of(limits.rpm, None, limits.concurrency)
        return self._channels.admit(name, rates)


def rate_limited(refusal: Refusal, rates: Rates, tokens: int) -> RateLimited:
    """Make the error that tells the caller which limit of its key it met."""
    message = _message(refusal.limit, rates, tokens)
    return RateLimited(message, retry_after=refusal.retry_after)


def _message(limit: Limit, rates: Rates, tokens: int) -> str:
    match limit:
        case Limit.CONCURRENCY:
            return f"This key may run {rates.concurrency} requests at the same time."
        case Limit.REQUESTS:
            return f"This key may make {rates.requests} requests per minute."
        case Limit.TOKENS:
            return f"This key may use {rates.tokens} tokens per minute."
        case Limit.SIZE:
            return (
                f"This request needs about {tokens} tokens, more than the "
                f"{rates.tokens} that this key may use per minute."
            )
