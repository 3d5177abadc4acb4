"""A whole completion reply, read along."""

from functools import partial
from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    array_of,
    parse_reply_head,
    produced_text,
    reported_usage,
    tier_of,
    with_model,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Choice(Struct, gc=False):
    text: Any = None


_choices = json.decoder(list[_Choice])


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    choices = array_of(head.choices, body)
    usage = reported_usage(head.usage)
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=usage,
        service_tier=tier_of(head.service_tier),
        output_text=partial(_output_text, choices),
    )


def _output_text(choices: Raw) -> str:
    try:
        found = json.decode_with(_choices, choices)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    return "\n".join(produced_text((choice.text,)) for choice in found)
