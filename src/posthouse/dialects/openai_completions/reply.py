"""A whole completion reply, read along."""

from msgspec import Raw, Struct, UnsetType

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    is_array,
    parse_reply_head,
    tier_of,
    usage_of,
    with_model,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Choice(Struct):
    text: str | None = None


_choices = json.decoder(list[_Choice])


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    if not is_array(head.choices):
        raise UpstreamBadResponse
    usage = usage_of(head)
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=usage,
        service_tier=tier_of(head.service_tier),
        output_text="" if usage is not None else _output_text(head.choices),
    )


def _output_text(choices: Raw | UnsetType) -> str:
    if isinstance(choices, UnsetType):
        return ""
    try:
        found = json.decode_with(_choices, choices)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    return "\n".join(choice.text for choice in found if choice.text)
