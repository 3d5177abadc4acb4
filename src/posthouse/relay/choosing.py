"""What routing asks of a call: the facts for rules, the figures for policies.

Nothing here is read unless the configuration has rules or policies.
"""

from collections.abc import Mapping

from msgspec import Raw

from posthouse.billing.estimate import (
    TOKENS_PER_AUDIO,
    TOKENS_PER_CALL,
    TOKENS_PER_FILE,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    USUAL_OUTPUT,
)
from posthouse.billing.prices import PriceBook, charge
from posthouse.dialects.base import ParsedRequest
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.catalog import ModelRow
from posthouse.model.usage import Unit, Usage, UsageSource
from posthouse.relay.call import Incoming
from posthouse.routing.policies import Cost
from posthouse.routing.rules import Facts
from posthouse.routing.table import Asked
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

BYTES_PER_TOKEN = 3
"""Of an ordinary prompt, whatever its script; holds are taken for dearer ones."""
METADATA_LIMIT = 16 * 1024
"""Bytes of the body's member; a head is as short as the server has it."""
METADATA_HEADER = "x-posthouse-metadata"

_ANSWERING = frozenset({Operation.CHAT, Operation.COMPLETION})
_object = json.decoder(dict[str, Raw])
_text = json.decoder(str)


def likely_prompt(request: ParsedRequest) -> int:
    """How many tokens a prompt is likely to have; holds are taken for more."""
    size = request.prompt
    return (
        TOKENS_PER_CALL
        + max(size.text_bytes, 0) // BYTES_PER_TOKEN
        + TOKENS_PER_MESSAGE * size.messages
        + TOKENS_PER_IMAGE * size.images
        + TOKENS_PER_AUDIO * size.audio_parts
        + TOKENS_PER_FILE * size.files
    )


def likely_tokens(request: ParsedRequest, model: ModelRow | None) -> tuple[int, int]:
    """How many tokens the prompt and the answer are likely to have."""
    if request.operation not in _ANSWERING:
        return likely_prompt(request), 0
    usual = (model.usual_output if model is not None else 0) or USUAL_OUTPUT
    limit = request.output_limit
    output = usual if limit is None else min(limit, usual)
    return likely_prompt(request), output * max(request.choices, 1)


def supplier_costs(prices: PriceBook) -> Cost:
    """What a call would cost us, by each channel's supplier or its list price."""

    def cost(channel: str, provider: str, model: str, asked: Asked) -> int | None:
        price = prices.cost(channel, provider, model)
        if price is None:
            return None
        quantities = {
            Unit.INPUT.value: asked.prompt_tokens,
            Unit.OUTPUT.value: asked.output_tokens,
        }
        return charge(price, Usage(quantities, UsageSource.ESTIMATED))

    return cost


def facts_of(incoming: Incoming, *, with_metadata: bool) -> Facts:
    """What rules may ask of a call; raises InvalidRequest for a bad header."""
    principal = incoming.principal
    request = incoming.request
    return Facts(
        key=principal.name,
        group=principal.group,
        model=request.model,
        metadata=_metadata(incoming) if with_metadata else {},
        prompt_tokens=likely_prompt(request),
    )


def _metadata(incoming: Incoming) -> Mapping[str, str]:
    """Join the body's metadata with the header's, which wins.

    A member that is no object is the provider's to judge.
    """
    found: dict[str, str] = {}
    member = incoming.request.envelope.get("metadata")
    if member is not None and len(member) <= METADATA_LIMIT:
        try:
            found = _texts(bytes(member))
        except MalformedJSON:
            found = {}
    header = incoming.metadata
    if header is None:
        return found
    try:
        return found | _texts(header)
    except MalformedJSON as error:
        raise InvalidRequest(
            f"The {METADATA_HEADER} header must be a JSON object: {error}",
            code="invalid_metadata",
        ) from None


def _texts(data: bytes) -> dict[str, str]:
    """Read an object's texts, numbers and truth values; leave out what is deeper."""
    found = {}
    for name, value in json.decode_with(_object, data).items():
        if json.opens_with(value, b'"'):
            found[name] = json.decode_with(_text, value)
        elif not json.opens_with(value, b"{") and not json.opens_with(value, b"["):
            found[name] = bytes(value).decode()
    return found
