"""How many tokens a prompt has, by our own count: nothing is asked of a provider."""

import asyncio

from posthouse.access.models import allows
from posthouse.api.calls import Calls, Parse
from posthouse.billing.estimate import estimate_prompt
from posthouse.billing.tokenizer import count_tokens, framing_tokens
from posthouse.dialects.base import Dialect
from posthouse.errors import ModelNotFound
from posthouse.model.call import Operation
from posthouse.server.request import Request


async def count_prompt(
    calls: Calls, request: Request, dialect: Dialect, parse: Parse
) -> int:
    """Count a body's prompt; raises PosthouseError.

    Pictures, sounds and files count by the estimate that money is held by.
    """
    principal = await calls.principal(request)
    parsed = await calls.parsed(request, parse)
    menu = None
    if allows(principal, parsed.model):
        menu = calls.relay.snapshot.menu(
            parsed.model, Operation.CHAT, sandbox=principal.sandbox
        )
    if menu is None:
        raise ModelNotFound(param="model")
    model = menu.routes[0].first.upstream_model
    framing = framing_tokens(parsed.prompt.messages)
    media = 0
    if parsed.prompt.has_media:
        media = estimate_prompt(parsed, menu.first.model)

    def count() -> int:
        return count_tokens(dialect.prompt_text(parsed), model)

    return max(await asyncio.to_thread(count) + framing, media)
