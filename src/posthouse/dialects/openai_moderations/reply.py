"""A moderation reply: verdicts, and usage from few providers."""

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    array_of,
    parse_reply_head,
    with_model,
)


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    array_of(head.results, body)
    return ParsedReply(
        body=body if public_model is None else with_model(body, public_model),
        usage=head.usage,
        service_tier=None,
        output_text=str,
    )
