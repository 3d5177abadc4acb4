"""How much to hold before a call: arithmetic on byte lengths, no tokenizer.

Rules: an estimate errs upwards. Ordinary text, code and JSON in any script is
never estimated below 95 % of its tokens; random data and tables of single
digits may take up to half as many again, which settlement then draws. Media
count a maximum per part. A hold takes the dearest rates that may apply: no
cached price, the requested service tier if it is dearer, the long-context
rates if the estimate reaches them.
"""

from collections.abc import Mapping

from msgspec import Struct

from posthouse.billing.prices import rates_for
from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.model.call import PAID_BY_RESULT, Operation
from posthouse.model.catalog import ModelRow, Price
from posthouse.model.money import MAX_AMOUNT, PER_MILLION

BYTES_PER_TOKEN = 2
"""Dense JSON has 2.2 bytes to a token, Chinese 2.3 (older encodings) or 3.2,
English 3.6, source code 4.2."""
TOKENS_PER_MESSAGE = 4
TOKENS_PER_CALL = 8
"""What frames a prompt beside its messages."""
TOKENS_PER_IMAGE = 5_000
TOKENS_PER_AUDIO = 12_000
"""Twenty minutes of speech at ten tokens a second."""
TOKENS_PER_SECOND = 10
"""Of sound whose length is known."""
TOKENS_PER_FILE = 50_000

THOUGHTS = 8_192
"""What a model that thinks is allowed beside an answer that is short."""
USUAL_OUTPUT = 4_096
MAX_OUTPUT = 16_384
"""For a model of which nothing is known."""

# On the path of every call: there a member of an enumeration is slow to look up,
# and min() and max() cost three times what a comparison does.
_CHAT = Operation.CHAT
_ANSWERING = frozenset({_CHAT, Operation.COMPLETION})
_DEFAULT_TIERS = frozenset({None, "auto", "default", "standard"})

# Plain strings: they are looked up for every call.
_OUTPUT_UNITS = ("output", "reasoning", "audio_output", "image_output")
_TEXT_UNITS = ("input", "cache_write_5m")
_MEDIA_UNITS = (*_TEXT_UNITS, "image_input")
_AUDIO_UNITS = (*_MEDIA_UNITS, "audio_input")


def estimate_prompt(request: ParsedRequest, model: ModelRow | None) -> int:
    """Estimate a prompt's tokens by its byte length and parts.

    No served chat exceeds its model's window; a list to embed may, for the
    window is that of each of its entries.
    """
    size = request.prompt
    tokens = (
        TOKENS_PER_CALL
        + (max(size.text_bytes, 0) + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN
        + TOKENS_PER_MESSAGE * size.messages
    )
    if size.images or size.audio_parts or size.files or size.audio_seconds:
        tokens += _media_tokens(size)
    if model is None or not model.context or request.operation not in _ANSWERING:
        return tokens
    return min(tokens, model.context)


def _media_tokens(size: PromptSize) -> int:
    """Estimate what is not text."""
    sound = TOKENS_PER_SECOND * size.audio_seconds
    return (
        TOKENS_PER_IMAGE * size.images
        + (sound or TOKENS_PER_AUDIO * size.audio_parts)
        + TOKENS_PER_FILE * size.files
    )


def held_output(request: ParsedRequest, model: ModelRow | None) -> int:
    """Give the output tokens that a call's first hold covers, all choices.

    The client's limit counts as far as the model's reaches. Without one, a
    whole reply may be as long as the model's longest; a stream begins with the
    usual length and is extended. Operations that answer otherwise than by text
    say themselves how much they may make.
    """
    if request.operation not in _ANSWERING:
        words = request.output_limit or 0
        if words and request.worded_limit and (model is None or model.reasoning):
            words += THOUGHTS
        return words * max(request.choices, 1)
    longest = model.max_output if model is not None else 0
    limit = request.output_limit
    if limit is None:
        usual = model.usual_output if model is not None else 0
        limit = (usual or USUAL_OUTPUT) if request.stream else (longest or MAX_OUTPUT)
    elif 0 < longest < limit:
        limit = longest
    return max(limit, 0) * (request.choices or 1)


def hold_amount(
    price: Price,
    request: ParsedRequest,
    *,
    prompt_tokens: int,
    model: ModelRow | None,
    hold_max: int,
) -> int:
    """Give a call's first hold in nano-dollars, from 0 to `hold_max`.

    Args:
        price: what the customer pays.
        request: what is asked for.
        prompt_tokens: the prompt's estimate.
        model: the catalogue's facts; None is not known.
        hold_max: the most that one call may hold, in nano-dollars.
    """
    if price.free:
        return 0
    output = held_output(request, model)
    units = _input_units(request.prompt)
    dearest = 0
    prompts = _prompts(request)
    tier = _named_tier(price, request)
    for rates in _possible_rates(price, prompt_tokens, tier):
        total = prompts * prompt_tokens * _dearest(rates, units)
        total += output * _dearest(rates, _OUTPUT_UNITS)
        total += request.searches * rates.get("search", 0)
        for unit, count in request.counted.items():
            total += count * rates.get(unit, 0)
        total += prompts * rates.get("request", 0)
        dearest = max(dearest, total)
    return min(-(-dearest // PER_MILLION), hold_max, MAX_AMOUNT)


def _prompts(request: ParsedRequest) -> int:
    """How often the prompt may be read.

    A model that gives one answer at a time is asked for each; who will serve the
    call is not known yet.
    """
    return request.choices if request.operation is _CHAT else 1


class PlainRates(Struct, frozen=True):
    """The dearest rates of a call of text, for a price without steps or tiers."""

    input: int
    output: int
    request: int


def plain_rates(price: Price) -> PlainRates | None:
    """Find a price's rates for ordinary holds; None where they are not plain."""
    if price.long_context or price.service_tiers:
        return None
    if price.free:
        return PlainRates(0, 0, 0)
    return PlainRates(
        _dearest(price.rates, _TEXT_UNITS),
        _dearest(price.rates, _OUTPUT_UNITS),
        price.rates.get("request", 0),
    )


def plain_hold(
    rates: PlainRates,
    request: ParsedRequest,
    *,
    prompt_tokens: int,
    model: ModelRow | None,
    hold_max: int,
) -> tuple[int, int]:
    """Give `hold_amount`, and what the prompt alone costs at most.

    For a call of text only, at a price of plain rates.
    """
    prompt = prompt_tokens * rates.input + rates.request
    total = held_output(request, model) * rates.output
    total += prompt if request.choices == 1 else prompt * _prompts(request)
    total, prompt = -(-total // PER_MILLION), -(-prompt // PER_MILLION)
    if prompt <= total <= hold_max <= MAX_AMOUNT:
        return total, prompt
    highest = min(hold_max, MAX_AMOUNT)
    return min(total, highest), min(prompt, highest)


def extension_amount(
    price: Price, request: ParsedRequest, *, prompt_tokens: int, tokens: int
) -> int:
    """Give what so many more output tokens of a stream may cost at most."""
    if price.free:
        return 0
    rate = max(
        _dearest(rates, _OUTPUT_UNITS)
        for rates in _possible_rates(price, prompt_tokens, request.service_tier)
    )
    return min(-(-max(tokens, 0) * rate // PER_MILLION), MAX_AMOUNT)


def _named_tier(price: Price, request: ParsedRequest) -> str | None:
    """The tier to hold for: what is paid by its result has variants, no tiers.

    One that the price does not name is at the plain rate, whoever makes it.
    """
    tier = request.service_tier
    if request.operation in PAID_BY_RESULT and tier not in price.service_tiers:
        return None
    return tier


def _possible_rates(
    price: Price, prompt_tokens: int, service_tier: str | None
) -> tuple[Mapping[str, int], ...]:
    """Give every table of rates that the call may end with.

    The provider says only in its reply which tier it used: the default, the
    one asked for, or any where it has another name for what was asked.
    """
    if service_tier in _DEFAULT_TIERS:
        return (rates_for(price, prompt_tokens),)
    tiers = price.service_tiers
    possible = (service_tier,) if service_tier in tiers else tuple(tiers)
    return tuple(rates_for(price, prompt_tokens, tier) for tier in (None, *possible))


def _dearest(rates: Mapping[str, int], units: tuple[str, ...]) -> int:
    dearest = 0
    for unit in units:
        rate = rates.get(unit, 0)
        if rate > dearest:  # noqa: PLR1730 - see above
            dearest = rate
    return dearest


def _input_units(size: PromptSize) -> tuple[str, ...]:
    """Give the units that a prompt's tokens may be charged in.

    A written cache may be dearer than plain input, and providers write it of
    their own accord; one that lives for an hour must be asked for.
    """
    if size.audio_parts:
        return _AUDIO_UNITS
    return _MEDIA_UNITS if size.images or size.files else _TEXT_UNITS
