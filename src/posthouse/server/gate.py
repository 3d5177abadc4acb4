"""The gate: requests get their turn when the process can serve them, or a 503.

What a process of one event loop is behind with is the requests that have arrived
and whose handlers have not yet run; those that wait for a provider cost it nothing.
So that is what is counted here, and nothing else: ten thousand silent streams are
no load.

As long as fewer than `open_to` such requests are there, each begins at once, and the
gate costs an addition and a subtraction. Beyond that they stand in line. Each turn of
the loop lets in so many that it is short, so that nobody who has waited for a
provider's answer, or asks for health, is behind more than that. Tenants are served in
rotation, whatever each of them asks for.

Refused is who comes when the line is longer than what is served in `wait` seconds, by
the speed at which it moves; four times that while it has not stood for so long, for a
burst shall be served. A refusal comes at the door: at once, before anything has been
spent on the request. It is the newest of the tenant with the most in line that
goes: where all ask for more, each gets the same, and one alone gets all.

Work that is no request (the chunks of many streams) makes turns long, too. If every
look at the loop's clock was late by `lag` seconds, for `wait` seconds, all requests
stand in line until one no longer is.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from posthouse.observe.logs import logger
from posthouse.server.marks import ConstantReply, Marks

if TYPE_CHECKING:
    from posthouse.server.exchange import Exchange

_FIRST = 16
_LEAST, _MOST = 4, 1024
"""Requests that one turn lets in: before anything is known of them, and ever."""
_TURN = 0.004
"""Seconds of the processor that a turn shall take while there is a line."""
_TICK = 1e-6
_BURST = 2.0
"""What a line may be at first, as a multiple of what it may stay."""
_LEAST_LINE = 128
"""So many may always wait, however slowly the line has moved."""
_MOST_BLINDLY = 4096
"""So many may wait before anything is known."""
_SHARE = 2
"""One tenant may have so many times as many in line as another that is refused."""
_SMOOTHING = 0.05
_QUIET = 10.0
"""Seconds without a refusal after which an overload is told to be over."""

log = logger("posthouse.server")


class GateTimes(Struct, frozen=True):
    """What the gate goes by, in seconds."""

    wait: float = 1.0
    """Longest wait for a turn that anybody is let into the line for."""
    lag: float = 0.05
    """Lateness of the loop from which it is behind with other work."""


class Line:
    """Requests that wait, by tenant: served in rotation, dropped from the longest."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lines: OrderedDict[str, deque[Exchange]] = OrderedDict()
        """In the order of their turns; never an empty one."""
        self._by_length: list[dict[str, None]] = [{}]
        """Tenants by how many they have in line; the last is never empty but for 0."""
        self._count = 0

    def __len__(self) -> int:
        """Give the number of requests in line."""
        return self._count

    @property
    def longest(self) -> int:
        """Give the most that a tenant has in line."""
        return len(self._by_length) - 1

    def of(self, tenant: str) -> int:
        """Give how many a tenant has in line."""
        line = self._lines.get(tenant)
        return 0 if line is None else len(line)

    def add(self, tenant: str, exchange: "Exchange") -> None:
        """Let a request wait behind its tenant's others."""
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = deque()
        line.append(exchange)
        self._count += 1
        self._moved(tenant, len(line) - 1, len(line))

    def take(self) -> "Exchange":
        """Take the oldest of the tenant whose turn it is."""
        tenant, line = self._lines.popitem(last=False)
        exchange = line.popleft()
        if line:
            self._lines[tenant] = line
        self._count -= 1
        self._moved(tenant, len(line) + 1, len(line))
        return exchange

    def drop(self) -> "tuple[str, Exchange]":
        """Take the newest of the tenant with the most in line."""
        tenant = next(reversed(self._by_length[-1]))
        line = self._lines[tenant]
        exchange = line.pop()
        if not line:
            del self._lines[tenant]
        self._count -= 1
        self._moved(tenant, len(line) + 1, len(line))
        return tenant, exchange

    def _moved(self, tenant: str, before: int, after: int) -> None:
        by_length = self._by_length
        if before:
            del by_length[before][tenant]
        if after == len(by_length):
            by_length.append({})
        if after:
            by_length[after][tenant] = None
        while len(by_length) > 1 and not by_length[-1]:
            by_length.pop()


class Door(Protocol):
    """What the gate asks of whoever knows what requests are."""

    def is_urgent(self, exchange: "Exchange") -> bool:
        """Whether a request never waits and is never refused here."""

    def turn_away(self, exchange: "Exchange", tenant: str) -> None:
        """Answer that the service is overloaded."""

    def refusal(self, replies: "Sequence[ConstantReply]") -> bytes:
        """Render one of such answers, but for the status line and the date."""


def _same(_exchange: "Exchange") -> str:
    return ""


class Gate:
    """Lets requests in; one per process."""

    def __init__(
        self,
        times: GateTimes | None = None,
        *,
        tenant_of: Callable[["Exchange"], str] = _same,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """Begin open.

        Args:
            times: what it goes by.
            tenant_of: names whose request it is; called only while there is a line.
            clock: monotonic seconds.
            cpu: seconds that the loop's thread has had of the processor.
        """
        self.times = times or GateTimes()
        self.tenant_of = tenant_of
        self.door: Door
        self.young = 0
        """Requests that have begun and whose handlers have not run yet."""
        self.open_to = _FIRST
        """Up to how many such a further one begins at once; 0: there is a line."""
        self.refused = 0
        """How many have been, ever."""
        self.marks = Marks()
        """Of what was refused."""
        self.uncounted = 0
        """Those that `report` is still to be told of."""
        self.report: Callable[[int], None] = lambda _number: None
        """Called now and then with how many were refused that nobody has counted."""
        self._clock = clock
        self._cpu = cpu
        self._let_in = _FIRST
        self._arrived: list[Exchange] = []
        self._line = Line()
        self._served = 0.0
        """Requests that a turn has lately let in."""
        self._seconds = 0.0
        """What such a turn took; 0: nothing is known."""
        self._spent = 0.0
        """How much of that on the processor."""
        self._last_in = 0
        self._last_turn = 0.0
        self._last_spent = 0.0
        self._length = _MOST_BLINDLY
        """How many may be in line now."""
        self._turning = False
        self._since = 0.0
        """When the line began; 0: there is none."""
        self._late_since = 0.0
        self._behind = False
        self._refused_at = 0.0
        self._told = 0
        """How many had been refused when an overload was last told of."""
        self._telling = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._line) + len(self._arrived)

    @property
    def is_overloaded(self) -> bool:
        """Whether requests have been refused within the last seconds."""
        return self._telling

    def hold(self, exchange: "Exchange") -> None:
        """Take a request that must wait; its turn or its refusal follows."""
        self._arrived.append(exchange)
        if not self._turning:
            self._turning = True
            self.open_to = 0
            self._since = self._clock()
            self._last_turn = 0.0
            self._length = _MOST_BLINDLY
            asyncio.get_running_loop().call_soon(self._turn)

    def look(self, lateness: float) -> None:
        """Take how late the loop's clock came, every ten milliseconds or so."""
        now = self._clock()
        if lateness < self.times.lag:
            self._late_since = 0.0
            if self._behind:
                self._behind = False
                if not self._turning:
                    self.open_to = self._let_in
        elif not self._late_since:
            self._late_since = now - lateness
        elif now - self._late_since > self.times.wait and not self._behind:
            self._behind = True
            self.open_to = 0
            self._let_in = _LEAST
        if self.uncounted > 0:
            uncounted, self.uncounted = self.uncounted, 0
            self.report(uncounted)
        if self._telling and now - self._refused_at > _QUIET:
            self._telling = False
            log.info("no longer overloaded", refused=self.refused - self._told)

    def _turn(self) -> None:
        """One turn of the loop while there is a line."""
        now = self._clock()
        spent = self._cpu()
        if self._last_turn:
            self._adapt(now - self._last_turn, spent - self._last_spent)
        self._last_turn = now
        self._last_spent = spent
        self._sort(now)
        self._begin()
        if len(self._line):
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turning = False
            self._since = 0.0
            self._length = _MOST_BLINDLY
            self.open_to = 0 if self._behind else self._let_in

    def _adapt(self, seconds: float, spent: float) -> None:
        """Learn from the turn that has just ended: what it took, and of our CPU."""
        smoothing = _SMOOTHING if self._seconds else 1.0
        self._served += (self._last_in - self._served) * smoothing
        self._seconds += (seconds - self._seconds) * smoothing
        self._spent += (spent - self._spent) * smoothing
        fitting = int(self._served * _TURN / max(self._spent, _TICK)) + 1
        self._let_in = max(_LEAST, min(fitting, _MOST))

    def _sort(self, now: float) -> None:
        """Put who has arrived in line, as far as it can serve them in time."""
        arrived, self._arrived = self._arrived, []
        line = self._line
        most = self._length = self._most(now)
        for exchange in arrived:
            if self.door.is_urgent(exchange):
                exchange.begin()
                continue
            tenant = self.tenant_of(exchange)
            if len(line) >= most:
                if line.longest > _SHARE * (line.of(tenant) + 1):
                    self._refuse(*line.drop())
                else:
                    self._refuse(tenant, exchange)
                    continue
            line.add(tenant, exchange)

    def _most(self, now: float) -> int:
        """How many may be in line."""
        if not self._seconds:
            return _MOST_BLINDLY
        wait = self.times.wait
        seconds = self._seconds
        if now - self._since < wait:
            # Perhaps another program has had the processor for a moment: what
            # has gathered meanwhile is served as fast as ever.
            wait *= _BURST
            seconds = max(self._spent, _TICK)
        return max(int(self._served / seconds * wait), _LEAST_LINE)

    def refuses(self, tenant: str) -> bool:
        """Whether a tenant's next request is refused as it stands, and counted so.

        For who knows whose it is before it is one.
        """
        line = self._line
        if len(line) + len(self._arrived) < self._length:
            return False
        if line.longest > _SHARE * (line.of(tenant) + 1):
            return False
        self.refused += 1
        return True

    def _refuse(self, tenant: str, exchange: "Exchange") -> None:
        """Turn one away."""
        if exchange.gone:
            return
        if not self._telling:
            self._telling = True
            self._told = self.refused
            log.warning("overloaded: calls that cannot be served in time are refused")
        self._refused_at = self._last_turn
        self.refused += 1
        self.door.turn_away(exchange, tenant)

    def _begin(self) -> None:
        """Let as many in as one turn shall serve."""
        line = self._line
        begun = 0
        for _ in range(min(self._let_in - self.young, len(line))):
            exchange = line.take()
            if not exchange.gone:
                begun += 1
                exchange.begin()
        self._last_in = begun
