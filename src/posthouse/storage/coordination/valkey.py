"""What all nodes share of limits: counters in a Valkey or Redis, named by its URL.

Rules: a subject is one key, changed by one script that the server runs at once;
an exchange is one round trip, whatever it asks of how many. Times are the
server's own: a moment that is told in seconds from its now is taken from when we
asked, if it ends what we may do, and from when it answered, if it ends what
others may. All keys end by themselves. A process that has places tells the server
every RENEW_SECONDS that it has them, and loses them DEAD_SECONDS after the last
time; so what a flush has lost is soon there again. Where the server is a cluster's
node, subjects are followed to the nodes that have them.
"""

import asyncio
import re
import secrets
import ssl
import time
from binascii import crc_hqx
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha1
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from typing_extensions import override

from posthouse.access.counters import (
    AMPLE,
    LEISURE,
    ROOM_PER_PROCESS,
    Ahead,
    Answer,
    Ask,
)
from posthouse.access.ports import CounterStore, CountersUnavailable
from posthouse.access.windows import GRAIN, WINDOW, Rates, Refusal
from posthouse.settings.coordination import Coordination
from posthouse.storage.coordination.valkey_link import (
    Command,
    Link,
    ReplyError,
    connect,
    make_context,
    reason_of,
)

CALL_SECONDS: Final = 0.1
"""For all that is asked in one round trip to be answered."""
CONNECT_CALLS: Final = 5
"""For a connection there is so many times as long."""
RENEW_SECONDS: Final = 1.5
DEAD_SECONDS: Final = 5.0
MOST_ASKS: Final = 32
"""In one round trip; the time in which it must be answered is for so many."""
CLOSE_SECONDS: Final = 1.0
_SLOTS: Final = 16384
_STRANGE: Final = "it gives no answers of ours"
_TRIES: Final = 3
"""Of one command: as it is, after its script is there, after it has moved."""

_MOVED: Final = re.compile(r"MOVED (\d+) (.*):(\d+)")

Address = tuple[str, int]
_encode: Final = msgspec.msgpack.Encoder().encode


class Script:
    """A script as the server knows it."""

    def __init__(self, name: str, constants: Mapping[str, float]) -> None:
        """Read it; `constants` are set before its first line."""
        names, values = ", ".join(constants), ", ".join(map(str, constants.values()))
        text = Path(__file__).with_name(f"{name}.lua").read_text("utf-8")
        self.text = f"local {names} = {values}\n{text}"
        self.digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_TALLY: Final = Script(
    "valkey",
    {
        "WINDOW": WINDOW,
        "GRAIN": GRAIN,
        "LEISURE": LEISURE,
        "AMPLE": AMPLE,
        "ROOM_PER_PROCESS": ROOM_PER_PROCESS,
        "DEAD": DEAD_SECONDS,
    },
)
_PRESENCE: Final = Script("valkey_presence", {"DEAD": DEAD_SECONDS})


class _Told(Struct, array_like=True):
    """What the script answers; seconds are from the server's now."""

    verdicts: tuple[int | Refusal, ...]
    bucket: float
    ahead: Ahead
    lease: float
    requests_left: int
    tokens_left: int
    empty_in: float
    lent_for: float
    kept_for: float
    others: int

    def answer(self, asked: float, answered: float) -> Answer:
        """By our clock: when it was asked, when it was answered."""
        return Answer(
            self.verdicts,
            self.bucket,
            self.ahead,
            asked + self.lease,
            self.requests_left,
            self.tokens_left,
            _moment(answered, self.empty_in),
            _moment(answered, self.lent_for),
            _moment(answered, self.kept_for),
            self.others,
        )


_decode: Final = msgspec.msgpack.Decoder(_Told).decode


class _Held(Struct):
    """Places that the server knows to be ours."""

    rates: Rates
    among: int
    places: int
    told_at: float


class ValkeyCounters(CounterStore):
    """The counters of all processes that have the same Valkey and the same mark."""

    def __init__(
        self,
        place: Coordination,
        mark: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        moment: Callable[[], float] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            place: where and how.
            mark: sets an installation's keys apart from those of others.
            clock: monotonic seconds, the same as the keeper's.
            moment: the time by which to count, where it is not the server's.
            seconds: for a round trip; what is slower counts as gone.
        """
        self._place = place
        self._prefix = f"posthouse:{mark}:limits:"
        self._clock = clock
        self._moment = moment
        self._seconds = seconds
        self._owner = secrets.token_hex(8)
        self._context: ssl.SSLContext | None = None
        self._home: Address = (place.host, place.port)
        self._links: dict[Address, Link] = {}
        self._moved: dict[int, Address] = {}
        """Slots that a cluster has elsewhere."""
        self._turn = asyncio.Lock()
        self._held: dict[str, _Held] = {}
        """By subject, in the order of when they were told."""
        self._processes = 0
        self._present_at = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._is_closed = False

    @override
    def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    @property
    @override
    def processes(self) -> int:
        return self._processes

    @override
    async def exchange(self, asks: Sequence[Ask]) -> list[Answer]:
        """See CounterStore. What is slow is no longer waited for."""
        async with self._turn:
            if self._is_closed:
                raise CountersUnavailable("closed")
            return await self._exchange(asks, is_first=not asks)

    @override
    async def close(self) -> None:
        """Return all places, leave, disconnect."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        with suppress(CountersUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS), self._turn:
                if self._links:
                    held = self._held.items()
                    await self._exchange([_renewal(*one, 0) for one in held])
                    await self._send([self._presence("leave")])
        self._is_closed = True
        for link in self._links.values():
            link.close()

    # --- exchanges -------------------------------------------------------------------

    async def _exchange(
        self, asks: Sequence[Ask], *, is_first: bool = False
    ) -> list[Answer]:
        """Ask in portions; show that we live if it is time to, or alone if first."""
        answers: list[Answer] = []
        try:
            if is_first or self._clock() - self._present_at >= RENEW_SECONDS:
                await self._appear(asks[:MOST_ASKS], answers)
            while len(answers) < len(asks):
                portion = asks[len(answers) : len(answers) + MOST_ASKS]
                answers += self._heard(portion, *await self._sent(portion))
        except CountersUnavailable as error:
            if answers:
                error.untold = False
            raise
        return answers

    async def _appear(self, asks: Sequence[Ask], answers: list[Answer]) -> None:
        """Show that we live, in one round trip with the first asks."""
        asked, answered, replies = await self._sent(asks, self._presence(""))
        processes = replies.pop()
        if isinstance(processes, ReplyError):
            raise CountersUnavailable(reason_of(processes), untold=not asks)
        if not isinstance(processes, int):
            raise CountersUnavailable(_STRANGE, untold=not asks)
        self._processes = processes
        self._present_at = asked
        answers += self._heard(asks, asked, answered, replies)

    async def _sent(
        self, asks: Iterable[Ask], *more: Command
    ) -> tuple[float, float, list[Any]]:
        """Send asks and more; give when, when it was answered, and the replies."""
        moment = self._now()
        head = ("EVALSHA", _TALLY.digest, 1)
        commands: list[Command] = [
            (*head, self._key(ask.subject), self._owner, _encode(ask), moment)
            for ask in asks
        ]
        asked = self._clock()
        replies = await self._send([*commands, *more])
        return asked, self._clock(), replies

    def _heard(
        self, asks: Sequence[Ask], asked: float, answered: float, replies: Sequence[Any]
    ) -> list[Answer]:
        """Read the replies; raises CountersUnavailable if one of them is none."""
        refused = [reply for reply in replies if isinstance(reply, ReplyError)]
        if refused:
            untold = len(refused) == len(replies)
            raise CountersUnavailable(reason_of(refused[0]), untold=untold)
        try:
            told = [_decode(reply) for reply in replies]
        except (msgspec.MsgspecError, TypeError):
            raise CountersUnavailable(_STRANGE, untold=False) from None
        for ask, one in zip(asks, told, strict=True):
            self._note(ask, one, asked)
        return [one.answer(asked, answered) for one in told]

    def _note(self, ask: Ask, told: _Told, now: float) -> None:
        """Remember what the server knows us to hold."""
        self._held.pop(ask.subject, None)
        if ask.rates.concurrency is None:
            return
        admitted = sum([type(verdict) is int for verdict in told.verdicts])
        places = ask.held + admitted + told.ahead.places
        if places:
            self._held[ask.subject] = _Held(ask.rates, ask.among, places, now)

    async def _renew(self) -> None:
        """Tell what we hold before it counts as dead, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS / 2)
            with suppress(CountersUnavailable):
                async with self._turn:
                    await self._exchange(self._due())
                while due := self._due():
                    async with self._turn:
                        await self._exchange(due)

    def _due(self) -> list[Ask]:
        """Renew what was not told for a while, at most one portion."""
        oldest = islice(self._held.items(), MOST_ASKS)
        due = self._clock() - RENEW_SECONDS
        return [
            _renewal(subject, held, held.places)
            for subject, held in oldest
            if held.told_at <= due
        ]

    # --- commands --------------------------------------------------------------------

    def _now(self) -> str:
        return "" if self._moment is None else repr(self._moment())

    def _key(self, subject: str) -> str:
        return f"{self._prefix}{{{subject}}}"

    def _presence(self, how: str) -> Command:
        key = f"{self._prefix}{{}}"
        return ("EVALSHA", _PRESENCE.digest, 1, key, self._owner, self._now(), how)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Give the replies; each command's fourth part is its key.

        A script that the server does not know is told; a key that a cluster has
        elsewhere is looked for there. Errors beyond that are among the replies.
        """
        replies: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for _ in range(_TRIES):
            places: dict[Address, list[int]] = {}
            for index in waiting:
                places.setdefault(self._address(commands[index]), []).append(index)
            again: list[int] = []
            for address, indexes in places.items():
                got = await self._call(address, [commands[index] for index in indexes])
                for index, reply in zip(indexes, got, strict=True):
                    replies[index] = reply
                    if isinstance(reply, ReplyError) and self._learn(reply, address):
                        again.append(index)
                if any(map(_is_unknown_script, got)):
                    load = [("SCRIPT", "LOAD", one.text) for one in (_TALLY, _PRESENCE)]
                    await self._call(address, load)
            if not again:
                break
            waiting = again
        if any(isinstance(reply, ReplyError) for reply in replies):
            self._disconnect()
        return replies

    def _learn(self, error: ReplyError, address: Address) -> bool:
        """Whether a command is worth another try after this error."""
        found = _MOVED.match(str(error))
        if found is None:
            return _is_unknown_script(error)
        slot, host, port = found.groups()
        self._moved[int(slot)] = (host or address[0], int(port))
        return True

    def _address(self, command: Command) -> Address:
        if not self._moved:
            return self._home
        return self._moved.get(slot_of(str(command[3])), self._home)

    async def _call(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        link = self._links.get(address)
        if link is None or not link.is_open:
            link = await self._connect(address)
        try:
            return await link.call(commands, self._seconds)
        except BaseException:
            self._disconnect()
            raise

    async def _connect(self, address: Address) -> Link:
        try:
            if self._context is None:
                self._context = await asyncio.to_thread(make_context, self._place)
            seconds = CONNECT_CALLS * self._seconds
            link = await connect(self._place, address, self._context, seconds=seconds)
        except CountersUnavailable:
            self._disconnect()
            raise
        except OSError as error:
            reason = f"the files for TLS cannot be used: {error.strerror or error}"
            raise CountersUnavailable(reason) from None
        self._links[address] = link
        return link

    def _disconnect(self) -> None:
        """Begin anew: addresses may mean other servers by now."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._moved.clear()


def slot_of(key: str) -> int:
    """Where a cluster has a key: by what stands in its first braces, if anything."""
    _, opening, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    counted = tag if opening and closing and tag else key
    return crc_hqx(counted.encode(), 0) % _SLOTS


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")


def _moment(now: float, seconds: float) -> float:
    """A moment so many seconds from now; 0 if it is past."""
    return now + seconds if seconds > 0 else 0.0


def _renewal(subject: str, held: _Held, places: int) -> Ask:
    return Ask(subject, held.rates, held.among, places)
