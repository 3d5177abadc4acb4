"""Usages of realtime sessions that the one normaliser knows nothing of."""

from typing import Any, Final

from msgspec import structs

from posthouse.billing.usage import NormalisedUsage, TokenEstimate, normalise
from posthouse.dialects.openai_realtime.meter import HEARD_PER_SECOND
from posthouse.dialects.openai_realtime.server_events import usage_of
from posthouse.model.catalog import Price
from posthouse.model.usage import Unit, Usage, UsageSource

MOST_SECONDS: Final = 86_400
"""Of one piece of speech; more is no count of seconds."""


def with_cached_audio(found: NormalisedUsage, sound: int) -> NormalisedUsage:
    """Part the cached input into sound and the rest, which cost differently."""
    quantities = found.usage.quantities
    sound = min(sound, quantities.get(Unit.CACHED_INPUT.value, 0))
    if not sound:
        return found
    parted = dict(quantities)
    parted[Unit.CACHED_INPUT.value] -= sound
    parted[Unit.CACHED_AUDIO_INPUT.value] = sound
    usage = Usage({u: n for u, n in parted.items() if n}, found.usage.source)
    return structs.replace(found, usage=usage)


def transcript_usage(usage: dict[str, Any], price: Price, heard: float) -> Usage:
    """Read what a transcript took, in units that its model is priced by.

    Args:
        usage: as the provider tells it: tokens, or seconds begun.
        price: of the model.
        heard: how many seconds were written down, as far as they were seen here.
    """
    told = _told(usage)
    if price.free or price.rates.keys() & told.quantities.keys():
        return told
    seconds = told.quantities.get(Unit.SECOND.value, 0) or -int(-heard // 1)
    if Unit.SECOND in price.rates and seconds:
        return Usage({Unit.SECOND.value: seconds}, UsageSource.MEASURED)
    if not seconds:
        return told
    sound = {Unit.AUDIO_INPUT.value: seconds * HEARD_PER_SECOND}
    return Usage(sound, UsageSource.ESTIMATED)


def _told(usage: dict[str, Any]) -> Usage:
    seconds = usage.get("seconds")
    if isinstance(seconds, int | float) and 0 <= seconds < MOST_SECONDS:
        whole = -int(-seconds // 1)
        units = {Unit.SECOND.value: whole} if whole else {}
        return Usage(units, UsageSource.PROVIDER)
    told = usage_of({"usage": usage})
    if told is None:
        return Usage({}, UsageSource.NONE)
    return normalise(told.usage, estimate=TokenEstimate(0, 0), context=0).usage
