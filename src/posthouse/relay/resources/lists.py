"""Lists of the caller's own: known here, each thing asked of the channel that has it.

What a provider does not have any more is forgotten, unless it is so new that the
provider may only not know it yet.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from posthouse.dialects.resources.pages import (
    Wanted,
    matches,
    read_wanted,
    render_page,
)
from posthouse.dialects.resources.paths import read_path
from posthouse.errors import PosthouseError, UpstreamCredential, UpstreamRejected
from posthouse.relay.call import Call
from posthouse.relay.resources.exchange import ResourceExchange, Sent
from posthouse.relay.resources.files import NamedFiles
from posthouse.relay.resources.lookup import Caller, not_there
from posthouse.relay.resources.objects import Owned, Page
from posthouse.relay.resources.ports import Asked, ResourcePorts, plan_for
from posthouse.routing.plan import Target
from posthouse.routing.table import Channel
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

TOGETHER = 8
"""Things that are asked for at the same time."""
LOOKED_AT = 500
"""Things that one page looks at, whatever filters leave of them."""
YOUNG_MS = 60_000
_GONE = frozenset({404, 410})

Found = tuple[str, bytes]


class Lists:
    """Makes the pages of one call."""

    def __init__(
        self,
        ports: ResourcePorts,
        call: Call,
        caller: Caller,
        files: NamedFiles,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask for one caller.

        Args:
            ports: to ask by.
            call: the call.
            caller: who asks.
            files: know what ours are called elsewhere.
            wall_clock: Unix seconds.
        """
        self._files = files
        self._ports = ports
        self._call = call
        self._caller = caller
        self._clock = wall_clock
        self._turns = asyncio.Semaphore(TOGETHER)

    async def page(self, asked: Asked) -> bytes:
        """Give the body of a page; raises PosthouseError."""
        wanted = read_wanted(asked.query)
        backwards = bool(wanted.before) and not wanted.after
        cursor = await self._cursor(wanted.after or wanted.before)
        descending = wanted.ascending == backwards
        found: list[Found] = []
        looked = 0
        more = False
        while len(found) <= wanted.limit and looked < LOOKED_AT:
            page = Page(
                self._caller.family,
                asked.path.template,
                wanted.limit + 1 - len(found),
                descending=descending,
                after=cursor,
            )
            account = self._caller.principal.account_id
            rows = await self._ports.lookup.store.page(account, page)
            found += await self._fetch(rows, asked, wanted)
            looked += len(rows)
            more = len(rows) == page.limit
            if not more:
                break
            cursor = rows[-1]
        more = more or len(found) > wanted.limit
        found = found[: wanted.limit]
        if backwards:
            found.reverse()
        return render_page(found, more=more)

    async def _cursor(self, name: str) -> Owned | None:
        """The thing at which a page begins; raises NotFound for another's."""
        if not name:
            return None
        for row in await self._ports.lookup.store.find([name]):
            if row.account_id == self._caller.principal.account_id:
                return row
        raise not_there(name)

    async def _fetch(
        self, rows: list[Owned], asked: Asked, wanted: Wanted
    ) -> list[Found]:
        """Ask for some things; give those that are there and match."""
        candidates = {
            channel.name: channel
            for channel in self._ports.lookup.candidates(
                self._call.snapshot.table, self._caller
            )
        }
        tasks = [
            asyncio.create_task(self._one(row, candidates[row.channel], asked))
            for row in rows
            if row.channel in candidates
        ]
        try:
            bodies = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [
            (name, body)
            for name, body in bodies
            if body and matches(_object(body), wanted)
        ]

    async def _one(self, row: Owned, channel: Channel, asked: Asked) -> Found:
        """Ask for one thing; it is empty if it is gone."""
        async with self._turns:
            fork = self._call.fork()
            fork.enter()
            sent = Sent(
                method="GET",
                path=read_path(f"{row.kind}/{quote(row.id, safe='')}"),
                query="beta=true" if "beta=true" in asked.query else "",
                family=self._caller.family,
                dialect=self._call.incoming.dialect,
                headers=asked.headers,
                body=lambda _channel, _names: b"",
                content_type=None,
                files=self._files,
            )
            exchange = ResourceExchange(fork, self._ports.sender, sent, _heed_nothing)
            plan = plan_for(
                self._ports,
                (channel,),
                self._ports.lookup.credential(channel, (row,)),
                row.account_id,
            )
            try:
                answer = await self._ports.attempts.run(
                    plan, fork.attempts, exchange.attempt
                )
            except PosthouseError as error:
                if exchange.answer is not None and exchange.answer.ours:
                    raise UpstreamCredential from None
                if await self._is_gone(row, error):
                    return row.id, b""
                raise
            return row.id, answer.body

    async def _is_gone(self, row: Owned, error: PosthouseError) -> bool:
        """Whether a thing is there no more; then it is forgotten."""
        if not isinstance(error, UpstreamRejected):
            return False
        if error.upstream_status not in _GONE:
            return False
        if self._clock() * 1000 - row.created_ms > YOUNG_MS:
            await self._ports.lookup.store.forget(row)
        return True


async def _heed_nothing(_target: Target, _told: object) -> None:
    """What is in a list of one's own is known."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        return {}
    return value if isinstance(value, dict) else {}
