"""Realtime sessions, wired."""

from posthouse.access.authenticator import Authenticator
from posthouse.access.ports import Limiter
from posthouse.access.tickets import Tickets
from posthouse.api.calls import Calls
from posthouse.api.realtime import RealtimeRoutes
from posthouse.billing.holds import HoldManager
from posthouse.providers import registry
from posthouse.relay.admission import Admission
from posthouse.relay.realtime.service import Realtime, RealtimePorts, SessionLimits
from posthouse.relay.service import Relay
from posthouse.server.routes import Route
from posthouse.upstream.sender import Upstream
from posthouse.upstream.sockets import SocketOpener


class Sessions:
    """The realtime sessions of one process."""

    def __init__(self, upstream: Upstream, tickets: Tickets) -> None:
        """Reach providers as `upstream` does; `tickets` are for browsers."""
        self._tickets = tickets
        self._realtime: Realtime | None = None
        self._opener = SocketOpener(upstream.dialer, talk=registry.talk)

    def routes(
        self,
        calls: Calls,
        authenticator: Authenticator,
        holds: HoldManager,
        *,
        limits: Limiter,
        hold_max: int,
    ) -> list[Route]:
        """Give the routes.

        Args:
            calls: knows the relay.
            authenticator: knows keys.
            holds: takes money.
            limits: of keys.
            hold_max: what an answer may hold at most, nano-dollars.
        """
        relay: Relay = calls.relay
        ports = relay.ports
        realtime = self._realtime = Realtime(
            RealtimePorts(
                admission=Admission(
                    SessionLimits(limits), holds, hold_max=hold_max, queue=ports.queue
                ),
                attempts=ports.attempts,
                health=ports.health,
                holds=holds,
                limits=limits,
                opener=self._opener,
                call_ended=ports.call_ended,
                hold_max=hold_max,
            ),
            lambda: relay.snapshot,
        )
        return RealtimeRoutes(calls, authenticator, realtime, self._tickets).routes()

    @property
    def open(self) -> int:
        """How many sessions are open."""
        return 0 if self._realtime is None else self._realtime.sessions

    async def close(self) -> None:
        """Drop the sockets that are open."""
        await self._opener.close()
