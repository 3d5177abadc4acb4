"""How many tokens a prompt has, by the word of who would answer it.

Nothing depends on it but the caller's own reckoning: a provider that refuses,
fails or takes its time is asked once, and its health is not judged by that.
"""

from collections.abc import Awaitable, Callable

from msgspec import Struct, structs

from posthouse.dialects.base import Edits, ParsedRequest
from posthouse.model.exchange import ExchangeFailure
from posthouse.relay.call import Call
from posthouse.relay.sending import dispatch
from posthouse.relay.snapshot import Menu
from posthouse.routing.plan import Plan
from posthouse.upstream.ports import Sender, UpstreamResponse

SECONDS = 10.0
"""How long a provider may take to count."""
REPLY_LIMIT = 64 * 1024
"""Bytes of what it says."""

OwnCount = Callable[[Menu], Awaitable[bytes]]
"""Counts, and writes the answer."""


class CountWords(Struct, frozen=True):
    """How providers of a dialect are asked to count."""

    render: Callable[[ParsedRequest, Edits], bytes]
    """Writes the request's body."""
    is_count: Callable[[bytes], bool]
    """Whether a reply's body is an answer."""


async def ask_to_count(
    call: Call, plan: Plan, sender: Sender, words: CountWords
) -> bytes | None:
    """Give the answer of the channel that would be asked first.

    None if it does not count, or cannot just now.
    """
    target = plan.next(call.clock())
    if target is None:
        return None
    prepared = call.prepared(target)
    if not prepared.count_target:
        return None
    blank = prepared.whole
    seconds = min(blank.timeouts.total, SECONDS)
    request = structs.replace(
        blank,
        target=prepared.count_target,
        headers=blank.headers + call.incoming.forwarded,
        body=words.render(call.incoming.request, prepared.edits),
        timeouts=structs.replace(blank.timeouts, total=seconds),
    )
    try:
        response = await dispatch(call, sender, prepared, request)
        body = await _read(response)
    except ExchangeFailure:
        return None
    return body if response.status == 200 and words.is_count(body) else None


async def _read(response: UpstreamResponse) -> bytes:
    try:
        return await response.read_all(REPLY_LIMIT)
    except BaseException:
        response.abort()
        raise
