"""How many tokens a prompt has: a provider's count, or else our own."""

import asyncio
from collections.abc import Callable

from msgspec import Struct, structs

from posthouse.api.calls import Calls, Parse, forwarded_headers
from posthouse.billing.estimate import estimate_prompt
from posthouse.billing.tokenizer import count_tokens, framing_tokens
from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.errors import RateLimited
from posthouse.relay.call import Incoming
from posthouse.relay.counting import CountWords
from posthouse.relay.snapshot import Menu
from posthouse.server.request import Request


class Counting(Struct, frozen=True):
    """How callers of a dialect have tokens counted."""

    dialect: Dialect
    words: CountWords
    render: Callable[[int], bytes]
    """Writes the answer, where the count is ours."""


async def answer_count(
    calls: Calls, request: Request, counting: Counting, parse: Parse
) -> bytes:
    """Count a body's prompt and write the answer; raises PosthouseError.

    It costs nothing, and is a request like any other to the key's limits.
    """
    principal = await calls.principal(request)
    parsed = await calls.parsed(request, parse)
    incoming = Incoming(
        id=request.request_id,
        principal=principal,
        dialect=counting.dialect,
        # What a search would cost is of no interest.
        request=structs.replace(parsed, searches=0),
        session=request.client.head.fields.get(b"x-session-id"),
        forwarded=forwarded_headers(request.client.head.fields),
    )

    async def own(menu: Menu) -> bytes:
        tokens = await asyncio.to_thread(_count, counting.dialect, parsed, menu)
        return counting.render(tokens)

    try:
        return await calls.relay.count(incoming, request.client, counting.words, own)
    except RateLimited:
        calls.tell_limits(request, principal)
        raise


def _count(dialect: Dialect, parsed: ParsedRequest, menu: Menu) -> int:
    """Count by ourselves.

    Pictures, sounds and files count by the estimate that money is held by.
    """
    model = menu.routes[0].first.upstream_model
    tokens = count_tokens(dialect.prompt_text(parsed), model)
    tokens += framing_tokens(parsed.prompt.messages)
    if not parsed.prompt.has_media:
        return tokens
    return max(tokens, estimate_prompt(parsed, menu.first.model))
