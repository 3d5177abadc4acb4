"""One process's services, wired: knows every other module.

The layers of a request, outermost first, and what each adds:

 0. `server.protocol`   bytes to an Exchange, under limits of size and time
 1. `server.dispatch`   the request id; the route; CORS; every error's rendering
 2. `api.calls`         the principal (`access`), then the body
 3. `dialects`          the parsed request: model, limits, size of the prompt
 4. `relay.admission`   routes and offers; the permit (`access.limits`); the hold
 5. `relay.attempt`     targets (`routing.plan`), retries, health, attempt records
 6. `relay.unary|stream`  one exchange over `upstream`, read along by the dialect
 7. `relay.charging`    usage and prices (`billing`), the call's record
 8. `billing.holds`     the settlement in the journal, before the last byte leaves
 9. `app.tally`         the counters of `observe.metrics`; `observe.telemetry`, where
                        it is asked for

An Application lives in one event loop. `reload` reads the configuration anew
and swaps the snapshot; calls under way keep the one they began with.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from posthouse.access.authenticator import Authenticator
from posthouse.access.limits import Limits
from posthouse.access.ports import Limiter
from posthouse.access.tickets import Tickets
from posthouse.access.windows import Refusal
from posthouse.api.calls import Calls
from posthouse.api.errands import Errands
from posthouse.api.links import Links
from posthouse.api.openai import render
from posthouse.app.board import Board, begin_anew, publish
from posthouse.app.gauges import Watched, export_gauges
from posthouse.app.keeping import Keeping
from posthouse.app.options import (
    build_snapshot,
    host_mark,
    key_bounds,
    make_egress,
    telemetry_options,
)
from posthouse.app.pictures import Pictures
from posthouse.app.realtime import Sessions
from posthouse.app.refusals import Refusals
from posthouse.app.resources import Resources
from posthouse.app.routes import data_plane
from posthouse.app.sharing import shared_limits, shared_places
from posthouse.app.tally import Tally
from posthouse.app.turns import make_gate
from posthouse.billing.holds import HoldManager
from posthouse.billing.token_process import TokenProcess
from posthouse.billing.tokenizer import counting_elsewhere
from posthouse.catalog.load import load_catalog
from posthouse.errors import PosthouseError, UpstreamCredential
from posthouse.model.call import AttemptRecord, CallRecord, Outcome
from posthouse.observe.logs import logger
from posthouse.observe.loop_lag import LoopLag
from posthouse.observe.metrics import Metrics
from posthouse.observe.telemetry import Telemetry
from posthouse.providers import registry
from posthouse.relay.admission import Admission
from posthouse.relay.attempt import AttemptLoop
from posthouse.relay.call import Call
from posthouse.relay.facts import Ended, facts_of
from posthouse.relay.keepalive import KeepAlive
from posthouse.relay.media import media_bringer
from posthouse.relay.passed_on import PassedOn
from posthouse.relay.probes import Prober, Told
from posthouse.relay.service import Ports, Relay
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.stream_writer import StreamTimes
from posthouse.relay.vendor_tasks import VendorTasks
from posthouse.relay.waiting import FairQueue
from posthouse.routing.health import HealthTable
from posthouse.routing.latency import LatencyTable
from posthouse.routing.plan import Target
from posthouse.routing.status import ChannelStatus, describe
from posthouse.routing.table import Load
from posthouse.server.address import TrustedProxies
from posthouse.server.context import Reply
from posthouse.server.cors import CORS
from posthouse.server.dispatch import Dispatcher
from posthouse.server.operations import operational_routes
from posthouse.server.request import Request
from posthouse.settings.environment import Settings
from posthouse.storage import changes
from posthouse.storage.configuration import load_configuration
from posthouse.storage.database import Database
from posthouse.storage.key_reader import StoredKeys
from posthouse.storage.ledger.choice import open_ledger
from posthouse.storage.ownership import now_ms
from posthouse.storage.postgres import DatabaseUnreachable
from posthouse.storage.prices import keep_versions
from posthouse.storage.remaining import StoredAccounts
from posthouse.storage.responses import StoredResponses
from posthouse.storage.secrets import SecretBox
from posthouse.upstream.pace import Pace
from posthouse.upstream.sender import Upstream

log = logger("posthouse")

RUN = "run"
"""The folder of what lasts only as long as the server runs."""
_REDIRECTS = 300
_ERRORS = 400
"""The first status of each kind."""


class Application:
    """One process's services, wired."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        box: SecretBox,
        pepper: bytes,
        worker: int = 0,
    ) -> None:
        """Wire what needs no waiting; call `start` next.

        Args:
            settings: of this process.
            database: with the schema in place.
            box: opens the credentials of channels.
            pepper: the secret part of every key's digest.
            worker: its place among the processes of this machine.
        """
        self.settings = settings
        self._worker = worker
        self.metrics = Metrics()
        self._tally = Tally(self.metrics)
        self._database = database
        self._box = box
        self._catalog = load_catalog()
        self._health = HealthTable(settings.breaker_failures, settings.breaker_seconds)
        self._latencies = LatencyTable()
        self._loads: dict[str, Load] = {}
        self._refusals = Refusals(database, self._health, pepper)
        self._limits = Limits()
        self._shared = shared_limits(settings, pepper)
        self._upstream = Upstream(
            play=registry.play,
            pace=Pace(settings.reply_seconds, settings.reply_min_bytes),
        )
        self.egress = make_egress(settings)
        """What URLs that callers give are fetched with."""
        self._keys = StoredKeys(database)
        bounds = key_bounds(settings)
        self._kept = StoredResponses(database, box)
        self._resources = Resources(settings, database, pepper)
        tasks = VendorTasks(self._resources.lookup, self._upstream)
        pictures = Pictures(settings, self.egress.fetch, tasks)
        self._keeping = Keeping(settings, database, pictures, box)
        self._authenticator = Authenticator(self._keys, pepper, bounds=bounds)
        self._sessions = Sessions(self._upstream, Tickets(self._keys, box, pepper))
        self._tokens = TokenProcess()
        self._counting = ExitStack()
        self._lag = LoopLag()
        self._gate = make_gate(settings, self._authenticator, self.metrics, self._lag)
        self._telemetry = Telemetry(telemetry_options(settings), facts_of, self.metrics)
        told = Told(self._refusals.refused, self._refusals.accepted)
        self._prober = Prober(self._health, self._upstream, told)
        self._board = Board(self._describe)
        self._revision = 0
        self._watcher: asyncio.Task[None] | None = None
        self._publisher: asyncio.Task[None] | None = None
        self.holds: HoldManager
        self.relay: Relay
        self._queue: FairQueue

    async def start(self) -> None:
        """Recover the journals, read the configuration, begin to watch it."""
        settings = self.settings
        self._telemetry.start()
        durable = settings.durability == "power"
        self.holds = await HoldManager.start(
            settings.data / "journal",
            lambda: open_ledger(settings.database_url, settings.data, durable=durable),
            durability=settings.durability,
            disowned=begin_anew,
            segment_size=settings.journal_segment_bytes,
        )
        if self._shared is not None:
            await self._shared.start()
        self._queue = FairQueue(settings.waiting_calls, settings.wait_seconds)
        admission = Admission(
            self._limiter, self.holds, hold_max=settings.hold_max, queue=self._queue
        )
        loop = AttemptLoop(
            self._health,
            self._admit_channel,
            admit_shared=shared_places(self._shared),
            most_attempts=settings.max_attempts,
        )
        ports = Ports(
            admission=admission,
            attempts=loop,
            health=self._health,
            sender=self._upstream,
            keep_alive=KeepAlive(),
            queue=self._queue,
            stream_times=StreamTimes(
                settings.commit_seconds, settings.heartbeat_seconds
            ),
            call_ended=self._call_ended,
        )
        self.relay = Relay(ports, await self._read_snapshot())
        self._prober.follow(self.relay.snapshot)
        self._counting.enter_context(counting_elsewhere(self._tokens.count))
        self._watcher = asyncio.create_task(self._watch())
        self._lag.start()
        self._keeping.start(self.metrics)
        self._board.start(settings.data / RUN, self._worker)
        watched = Watched(
            lag=self._lag,
            holds=self.holds,
            queue=self._queue,
            upstream=self._upstream,
            sessions=self._sessions,
            health=self._health,
            refusals=self._refusals,
            snapshot=lambda: self.relay.snapshot,
            shares_limits=lambda: self._shared is None or not self._shared.is_alone,
        )
        export_gauges(self.metrics, watched)
        if settings.workers > 1:
            siblings = self.metrics.share(settings.data / RUN, self._worker)
            self._publisher = asyncio.create_task(publish(siblings))

    async def close(self) -> None:
        """Drain the journal, return the leases, close connections."""
        self._lag.stop()
        await self._resources.close()
        await self._keeping.close()
        await self._queue.close()
        await self._board.close()
        await self._prober.close()
        for task in (self._watcher, self._publisher):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._refusals.close()
        await self._sessions.close()
        await self._upstream.close()
        await self.egress.close()
        await self.holds.close()
        if self._shared is not None:
            await self._shared.close()
        self._counting.close()
        await asyncio.to_thread(self._tokens.close)
        await asyncio.to_thread(self._telemetry.close)
        await self._kept.close()
        await self._keys.close()
        await self._database.close()

    @property
    def _limiter(self) -> Limiter:
        return self._limits if self._shared is None else self._shared

    @property
    def is_ready(self) -> bool:
        """Whether calls can be served."""
        return self.holds.available

    def warnings(self) -> list[str]:
        """What an operator should know before the first call."""
        table = self.relay.snapshot.table
        if not table.channels:
            return ["there are no channels: add one, or run `posthouse init`"]
        return [
            f"the model {name!r} has no price; calls to it are refused"
            for name in self.relay.snapshot.unpriced()
        ]

    # --- configuration ----------------------------------------------------------

    async def _read_snapshot(self) -> Snapshot:
        stored = await load_configuration(self._database, self._box)
        self._revision = stored.revision
        snapshot = build_snapshot(
            self._catalog,
            stored,
            self.settings,
            latencies=self._latencies,
            loads=self._loads,
        )
        async with self._database.write() as connection:
            await keep_versions(connection, snapshot.prices.versions(), now_ms())
        names = set(snapshot.table.channels)
        self._health.keep_only(names)
        self._latencies.keep_only(names)
        for name in self._loads.keys() - names:
            del self._loads[name]
        await self._refusals.load(snapshot.table.channels.values())
        return snapshot

    async def _watch(self) -> None:
        """Follow the feed of changes; a faulty database is asked again."""
        told = ""
        while True:
            await asyncio.sleep(self.settings.changes_seconds)
            try:
                await self._follow_changes()
            except DatabaseUnreachable as error:
                if told != str(error):
                    told = str(error)
                    log.warning("the database cannot be reached", reason=told)
            except Exception as error:
                log.exception("the configuration could not be read", exc_info=error)
            else:
                told = ""

    async def _follow_changes(self) -> None:
        async with self._database.read() as connection:
            found = await changes.since(connection, self._revision)
        if found.seq == self._revision:
            return
        if found.gap:
            self._authenticator.clear()
        elif found.keys:
            self._authenticator.forget(*found.keys)
        if found.configuration or found.gap:
            self.relay.snapshot = await self._read_snapshot()
            self._prober.follow(self.relay.snapshot)
        elif changes.CREDENTIALS in found.others:
            await self._refusals.load(self.relay.snapshot.table.channels.values())
        self._revision = max(self._revision, found.seq)

    # --- what the relay tells ------------------------------------------------------

    def _admit_channel(self, target: Target) -> Callable[[], None] | None:
        channel = target.member.channel
        permit = self._limits.admit_channel(channel.name, channel.spec.limits)
        return None if isinstance(permit, Refusal) else permit.release

    def _call_ended(
        self, call: Call, record: CallRecord, suspicious: tuple[str, ...]
    ) -> None:
        elapsed = call.elapsed()
        upstream = call.attempts.upstream_seconds()
        self._tally.add(record, elapsed, upstream)
        if self._telemetry.reporters:
            ended = Ended(
                record,
                call.incoming.trace,
                elapsed,
                upstream,
                call.snapshot.table.channels,
            )
            for reporter in self._telemetry.reporters:
                reporter.put(ended)
        known = self._refusals.known
        for attempt in record.attempts:
            if attempt.upstream_status >= _REDIRECTS or known:
                self._look_at(attempt, call.snapshot)
        if suspicious:
            log.warning(
                "a provider reported impossible usage",
                call=record.id,
                channel=record.channel,
                found=list(suspicious),
            )

    def _look_at(self, attempt: AttemptRecord, snapshot: Snapshot) -> None:
        """Learn what an attempt shows of a channel's credential."""
        status = attempt.upstream_status
        if _REDIRECTS <= status < _ERRORS:
            log.warning(
                "a provider redirected a channel",
                channel=attempt.channel,
                status=status,
            )
        elif status >= _ERRORS:
            if attempt.error_code == UpstreamCredential.code:
                self._refusals.refused(
                    snapshot.table.channels[attempt.channel],
                    attempt.credential,
                    status,
                )
        elif attempt.outcome == Outcome.SERVED:
            self._refusals.accepted(
                snapshot.table.channels[attempt.channel], attempt.credential
            )

    def _describe(self) -> dict[str, ChannelStatus]:
        channels = self.relay.snapshot.table.channels.values()
        return describe(channels, self._health, self._latencies, time.monotonic())

    # --- HTTP ---------------------------------------------------------------

    def _render_error(self, error: PosthouseError, request: Request | None) -> Reply:
        self.metrics.error_reply(type(error).code)
        return render(error, request)

    def dispatcher(self) -> Dispatcher:
        """The application behind every connection."""
        settings = self.settings
        bring = media_bringer(self.egress.fetch)
        calls = Calls(
            self._authenticator,
            self._limiter,
            self.relay,
            max_body_bytes=settings.max_body_bytes,
            tracing=self._telemetry.tracing,
            bring=bring,
        )
        calls.links = Links(bring)
        pictures = self._keeping.pictures
        calls.errands = Errands(
            bring=bring, pictures=pictures.delivery.chosen, store=pictures.store
        )
        calls.inputs = self._keeping.inputs(self._resources.lookup, self.relay)
        resources = self._resources.handlers(
            calls,
            self._limiter,
            self.holds,
            files=self._keeping.files,
            uploader=self._upstream,
        )
        plane = partial(
            data_plane,
            kept=self._kept,
            passed_on=PassedOn(self._upstream),
            resources=resources,
            responses_days=settings.responses_days,
            remaining=StoredAccounts(self._database).remaining,
        )
        return Dispatcher(
            resources.first(
                [
                    *self._sessions.routes(
                        calls,
                        self._authenticator,
                        self.holds,
                        limits=self._limiter,
                        hold_max=settings.hold_max,
                    ),
                    *plane(calls),
                    *self._keeping.routes(calls, plane, self.holds),
                    *operational_routes(lambda: self.is_ready, self.metrics.exposition),
                ]
            ),
            self._render_error,
            cors=CORS(settings.cors_origins),
            proxies=TrustedProxies(settings.trusted_proxies),
            node=f"{settings.node or host_mark()}-{self._worker}",
            gate=self._gate,
        )
