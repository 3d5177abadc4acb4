"""A moderation reply: verdicts, and usage from few providers."""

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    is_array,
    parse_reply_head,
    usage_of,
    with_model,
)
from posthouse.errors import UpstreamBadResponse


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    if not is_array(head.results):
        raise UpstreamBadResponse
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=usage_of(head),
        service_tier=None,
        output_text="",
    )
