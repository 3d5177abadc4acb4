"""Looks at channels while no call does: off unless a channel asks for it.

A provider is asked for its list of models, or for one token of a chat. A list
tells that it can be reached: it half-opens a breaker, and a failure counts like
a call's. A chat tells that it serves: it closes the breaker, and brings back a
credential that had been refused. Nobody is charged, nothing is recorded as a
call. Looks are spread, and few are under way at a time.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct, structs

from posthouse.errors import PosthouseError
from posthouse.model.call import Operation
from posthouse.model.exchange import ExchangeFailure, Timeouts, UpstreamRequest
from posthouse.observe.logs import logger
from posthouse.relay.authorize import find_authorizer
from posthouse.relay.faults import (
    AttemptFailed,
    exchange_failed,
    status_failed,
    verdict_of,
)
from posthouse.relay.prepare import Prepared, channel_request, find_dialect
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.health import HealthTable, LastProbe, Verdict
from posthouse.routing.table import Channel, Member, offered_as
from posthouse.settings.file import ProbeSpec
from posthouse.upstream.ports import Sender, UpstreamResponse
from posthouse.wire import json

AT_ONCE = 8
"""Looks under way at a time."""
SPREAD = 0.2
"""By how much of its interval a look comes earlier or later."""
FIRST_BYTE = 15.0
TOTAL = 20.0
"""Seconds that a look takes at most, where the channel allows a call no less."""
PROBED_IN = "openai_chat"
"""The dialect of the question that is asked of a channel."""
REPLY_LIMIT = 64 * 1024

log = logger("posthouse")


class Told(Struct, frozen=True):
    """Who is told what looks have shown of credentials."""

    refused: Callable[[Channel, int, int], None]
    """The channel, the credential's index, the provider's status."""
    accepted: Callable[[Channel, int], None]


class Prober:
    """Looks at the channels of one process that ask for it."""

    def __init__(
        self,
        health: HealthTable,
        sender: Sender,
        told: Told,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin with no channel; see `follow`.

        Args:
            health: what is told of channels.
            sender: reaches providers.
            told: hears of credentials.
            clock: monotonic seconds, the table's.
            chance: gives numbers from 0 to 1.
        """
        self._health = health
        self._sender = sender
        self._told = told
        self._clock = clock
        self._chance = chance
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._specs: dict[str, ProbeSpec] = {}
        self._snapshot: Snapshot
        self._turns: dict[str, int] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Look at the channels of another configuration from now on."""
        self._snapshot = snapshot
        wanted = {
            name: channel.spec.probe
            for name, channel in snapshot.table.channels.items()
            if channel.spec.probe is not None and not channel.sandbox
        }
        for name in list(self._tasks):
            if wanted.get(name) != self._specs[name]:
                self._tasks.pop(name).cancel()
        for name, spec in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._look_on(name, spec))
        self._specs = wanted

    async def close(self) -> None:
        """Look no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _look_on(self, name: str, spec: ProbeSpec) -> None:
        # Those that begin together shall not go on together.
        await asyncio.sleep(spec.every * self._chance())
        while True:
            async with self._places:
                channel = self._snapshot.table.channels.get(name)
                if channel is not None:
                    try:
                        await self._look(channel, spec)
                    except Exception as error:
                        log.exception("a probe could not be made", exc_info=error)
            spread = 1 + SPREAD * (2 * self._chance() - 1)
            await asyncio.sleep(spec.every * spread)

    async def _look(self, channel: Channel, spec: ProbeSpec) -> None:
        """Look once, unless a call is about to find out or there is no room."""
        limit = channel.spec.limits.concurrency
        if limit is not None and channel.load.in_flight >= limit:
            return
        credential = self._credential(channel)
        entry = self._health.find(channel.name)
        if credential is None or (entry is not None and entry.trial):
            return
        began = self._clock()
        asks_chat = spec.model is not None
        trial = self._health.begin(channel.name, credential if asks_chat else -1, began)
        verdict, failed, rest = Verdict.NEUTRAL, None, None
        try:
            if spec.model is not None:
                await self._chat(channel, credential, spec.model)
                verdict = Verdict.SUCCESS
            else:
                await self._list(channel, credential)
        except AttemptFailed as error:
            failed, verdict, rest = error, verdict_of(error), error.rest
        finally:
            now = self._clock()
            self._health.end(
                channel.name, credential, verdict, now, trial=trial, rest=rest
            )
        if failed is None and not asks_chat:
            self._health.let_try(channel.name, now)
        self._tell(channel, credential, failed, verdict)
        code = "" if failed is None else failed.error.code
        self._note(channel.name, LastProbe(code, now - began, now))

    def _credential(self, channel: Channel) -> int | None:
        """The next credential that does not rest; None: all do."""
        count = len(channel.credentials)
        entry = self._health.find(channel.name)
        resting = {} if entry is None else entry.resting
        now = self._clock()
        turn = self._turns.get(channel.name, 0)
        for index in range(turn, turn + count):
            rest = resting.get(index % count)
            if rest is None or now >= rest.until:
                self._turns[channel.name] = index + 1
                return index % count
        return None

    def _tell(
        self,
        channel: Channel,
        credential: int,
        failed: AttemptFailed | None,
        verdict: Verdict,
    ) -> None:
        if verdict is Verdict.SUCCESS:
            self._told.accepted(channel, credential)
        elif verdict is Verdict.REFUSED and failed is not None:
            self._told.refused(channel, credential, failed.status)

    def _note(self, name: str, probe: LastProbe) -> None:
        """Remember the outcome, and say in the log when it is another one."""
        before = self._health.probed(name, probe)
        if probe.code and (before is None or before.code != probe.code):
            log.warning("a probe failed", channel=name, reason=probe.code)
        elif before is not None and before.code and not probe.code:
            log.info("a probe succeeds again", channel=name)

    # --- what is sent -------------------------------------------------------------

    async def _list(self, channel: Channel, credential: int) -> None:
        """Ask for the list of models; raises AttemptFailed."""
        path, timeouts = channel.provider.models_path, _timeouts(channel)
        request = channel_request(channel, credential, "GET", path, timeouts=timeouts)
        response = await self._send(channel, credential, request)
        if response.status == 200:
            # How many they are is of no interest.
            response.release()
            return
        operation = min(channel.provider.operations)
        prepared = self._snapshot.prepared(Member(channel, credential, ""), operation)
        raise await _refusal(prepared, response)

    async def _chat(self, channel: Channel, credential: int, model: str) -> None:
        """Ask for one token of a chat; raises AttemptFailed."""
        member = Member(channel, credential, offered_as(channel, model) or model)
        prepared = self._snapshot.prepared(member, Operation.CHAT, PROBED_IN)
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
        }
        parsed = find_dialect(PROBED_IN).parse_request(json.encode(body))
        request = structs.replace(
            prepared.whole,
            body=prepared.dialect.render_request(parsed, prepared.edits),
            timeouts=_timeouts(channel),
        )
        response = await self._send(channel, credential, request)
        if response.status != 200:
            raise await _refusal(prepared, response)
        try:
            reply = await response.read_all(REPLY_LIMIT)
            prepared.dialect.parse_reply(parsed, reply, None)
        except ExchangeFailure as failure:
            response.abort()
            raise exchange_failed(failure, channel.name, status=200) from None
        except PosthouseError as error:
            raise status_failed(error, 200, response.headers) from None

    async def _send(
        self, channel: Channel, credential: int, request: UpstreamRequest
    ) -> UpstreamResponse:
        authorizer = find_authorizer(channel, credential)
        try:
            if authorizer is not None:
                return await authorizer.send(self._sender, request)
            return await self._sender.send(request)
        except ExchangeFailure as failure:
            raise exchange_failed(failure, channel.name) from None


async def _refusal(prepared: Prepared, response: UpstreamResponse) -> AttemptFailed:
    """Read and judge a reply whose status is not 200."""
    try:
        body = await response.read_all(REPLY_LIMIT)
    except ExchangeFailure:
        body = b""
        response.abort()
    error = prepared.dialect.parse_error(response.status, body)
    return status_failed(error, response.status, response.headers)


def _timeouts(channel: Channel) -> Timeouts:
    own = channel.timeouts
    return structs.replace(
        own, first_byte=min(own.first_byte, FIRST_BYTE), total=min(own.total, TOTAL)
    )
