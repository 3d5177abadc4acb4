"""Providers' own batches: created, found again, looked at, read; over HTTP.

What goes there goes as calls to the channel do: with its credential, by its way out,
and no redirect is followed. What comes from there is believed no further than it can
be read, and is read line by line, however long it is.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import TypeVar

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.dialects.batches.base import (
    Ask,
    BatchDialect,
    Remote,
    Unreadable,
    cancel,
    code_of,
    first_page,
    id_of,
    listed_of,
    look,
    remote_of,
)
from posthouse.model.catalog import BatchRow
from posthouse.model.exchange import Certainty, ExchangeFailure, UpstreamRequest
from posthouse.observe.logs import logger
from posthouse.relay.authorize import find_authorizer
from posthouse.relay.batches.lines import batches_of
from posthouse.relay.prepare import channel_request
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.table import Channel
from posthouse.tasks.ports import (
    PartGone,
    Progress,
    SupplierRefused,
    Suppliers,
    SupplierUncertain,
)
from posthouse.tasks.records import Bought, Part, Place
from posthouse.upstream.ports import Sender, UpstreamResponse

REPLY_LIMIT = 4 * 1024 * 1024
"""Bytes of what is told of batches."""
LONGEST_LINE = 32 * 1024 * 1024
"""Bytes of a result; longer ones are passed over."""
MOST_PAGES = 50
"""Of batches that are looked through for one."""
EARLIER, LATER = 300.0, 3600.0
"""Seconds by which a provider's clock and ours may differ, and sending may take."""
TOTAL = 300.0
"""Seconds that one request may take, where the channel allows a call no less."""
_UNKNOWN = frozenset({401, 403, 404, 410})
"""Refusals of who may be asked with another credential."""
_UNCERTAIN = frozenset({408, 409, 425})
"""Refusals that leave open whether something was done."""

T = TypeVar("T")
log = logger("posthouse.batches")


@cache
def find_batches(name: str) -> BatchDialect:
    """The way of speaking about batches of a name; raises LookupError."""
    try:
        found: BatchDialect = import_module(
            f"posthouse.dialects.batches.{name}"
        ).BATCHES
    except (ModuleNotFoundError, AttributeError):
        raise LookupError(f"nobody speaks {name!r} about batches") from None
    return found


class _Way(Struct, frozen=True):
    """How a part's provider is reached."""

    channel: Channel
    credential: int
    row: BatchRow
    dialect: BatchDialect

    def request(self, ask: Ask) -> UpstreamRequest:
        seconds = self._seconds(ask)
        return channel_request(
            self.channel,
            self.credential,
            ask.method,
            ask.path,
            headers=((b"content-type", ask.content_type),),
            body=ask.body,
            timeouts=structs.replace(self.channel.timeouts, total=seconds),
        )

    def _seconds(self, ask: Ask) -> float:
        if ask.method == "GET":
            # Of results there may be many.
            return self.channel.stream_total
        return max(TOTAL, self.channel.timeouts.total)


class HTTPSuppliers(Suppliers):
    """Asks channels' providers."""

    def __init__(self, snapshot: Callable[[], Snapshot], sender: Sender) -> None:
        """Ask by way of `sender`, those that the present `snapshot` has."""
        self._snapshot = snapshot
        self._sender = sender
        self._credentials: dict[str, int] = {}
        """Of parts that another credential reaches than the one they were made by."""

    @override
    def known(self) -> bool:
        channels = self._snapshot().table.channels.values()
        return any(batches_of(channel) is not None for channel in channels)

    @override
    async def create(self, part: Part, lines: Mapping[int, Place]) -> str:
        try:
            way = self._way(part)
        except PartGone:
            raise SupplierRefused("the channel takes no batches any more") from None
        requests = [
            way.dialect.line(f"{part.mark}-{number}", part.url, place.body)
            for number, place in lines.items()
        ]
        upload = way.dialect.upload(way.row, part.mark, requests)
        if upload is None:
            ask = way.dialect.create(way.row, part.mark, part.url, requests)
        else:
            file_id = await self._uploaded(way, upload)
            ask = way.dialect.create(way.row, part.mark, part.url, file_id)
        body = await self._created(way, ask)
        remote = _read(partial(remote_of, way.dialect, way.row, body))
        log.info(
            "a provider works on a batch",
            part=part.mark,
            channel=part.channel,
            upstream_batch=remote.id,
        )
        return remote.id

    async def _uploaded(self, way: _Way, upload: Ask) -> str:
        """Have the requests kept; whatever goes wrong, no batch comes of it."""
        try:
            status, body = await self._asked(way, upload)
            if status // 100 != 2:
                raise SupplierRefused(_refusal(status, body))
            return id_of(body)
        except (ExchangeFailure, Unreadable) as failure:
            raise SupplierRefused(f"the upload failed: {failure}") from None

    async def _created(self, way: _Way, ask: Ask) -> bytes:
        """Ask for a batch; raises SupplierRefused and SupplierUncertain."""
        try:
            status, body = await self._asked(way, ask)
        except ExchangeFailure as failure:
            if failure.certainty is Certainty.NOT_SENT:
                raise SupplierRefused(str(failure)) from None
            raise SupplierUncertain(str(failure)) from None
        if status // 100 == 2:
            return body
        reason = _refusal(status, body)
        if status >= 500 or status in _UNCERTAIN:
            raise SupplierUncertain(reason)
        raise SupplierRefused(reason)

    @override
    async def find(self, part: Part, others: frozenset[str]) -> str | None:
        way = self._way(part)
        path = first_page(way.row)
        for _ in range(MOST_PAGES):
            body = await self._told(way, Ask("GET", path))
            page = _read(partial(listed_of, way.dialect, way.row, body))
            for remote in page.batches:
                if remote.id in others or not _may_be(part, remote):
                    continue
                if await self._is_it(way, part, remote):
                    return remote.id
            oldest = min((one.created for one in page.batches), default=0.0)
            if not page.following or oldest < part.intended_ms / 1000 - EARLIER:
                return None
            path = page.following
        raise SupplierUncertain("there are too many batches to look through")

    async def _is_it(self, way: _Way, part: Part, remote: Remote) -> bool:
        """Whether a batch is a part; raises SupplierUncertain.

        Where batches bear no marks their results tell, once there are any.
        """
        if way.dialect.tells_marks:
            return remote.mark == part.mark
        if remote.lines != part.lines:
            return False
        if not remote.ended:
            raise SupplierUncertain("a batch may be ours, which its results will tell")
        async for line in self._lines(way, remote.results):
            result = _read(partial(way.dialect.result, line))
            return result.custom_id.startswith(f"{part.mark}-")
        return False

    @override
    async def look(self, part: Part) -> Progress:
        way = self._way(part)
        status, body = await self._certain(way, look(way.row, part.remote_id))
        if status in _UNKNOWN:
            status, body = await self._asked_of_others(part, way, status, body)
        if status in (404, 410):
            raise PartGone
        if status // 100 != 2:
            raise SupplierUncertain(_refusal(status, body))
        remote = _read(partial(remote_of, way.dialect, way.row, body))
        if remote.id != part.remote_id:
            raise SupplierUncertain("it tells of another batch")
        return Progress(remote.ended, remote.results, remote.reason)

    async def _asked_of_others(
        self, part: Part, way: _Way, status: int, body: bytes
    ) -> tuple[int, bytes]:
        """Look with the channel's other credentials: their order may have changed."""
        for credential in range(len(way.channel.credentials)):
            if credential == way.credential:
                continue
            other = structs.replace(way, credential=credential)
            found, told = await self._certain(other, look(way.row, part.remote_id))
            if found // 100 == 2:
                self._credentials[part.mark] = credential
                return found, told
        return status, body

    @override
    async def cancel(self, part: Part) -> None:
        try:
            way = self._way(part)
            await self._asked(way, cancel(way.row, part.remote_id))
        except (PartGone, ExchangeFailure) as error:
            log.warning(
                "a provider's batch could not be cancelled",
                part=part.mark,
                reason=str(error),
            )

    @override
    async def results(
        self, part: Part, progress: Progress
    ) -> AsyncIterator[tuple[int, Bought | None]]:
        way = self._way(part)
        named = f"{part.mark}-"
        async for line in self._lines(way, progress.results):
            try:
                result = way.dialect.result(line)
            except Unreadable as error:
                log.warning(
                    "a provider's result cannot be read",
                    part=part.mark,
                    reason=str(error),
                )
                continue
            number = result.custom_id.removeprefix(named)
            if number == result.custom_id or not _is_number(number):
                continue
            bought = Bought(
                part.channel, way.credential, part.model, result.status, result.body
            )
            yield int(number), bought if result.status else None

    # --- HTTP ---------------------------------------------------------------------

    def _way(self, part: Part) -> _Way:
        """How a part's provider is reached; raises PartGone if it is no more."""
        channel = self._snapshot().table.channels.get(part.channel)
        row = None if channel is None else channel.provider.batches
        if channel is None or row is None or find_authorizer(channel, 0) is not None:
            raise PartGone
        credential = self._credentials.get(part.mark, part.credential)
        credential %= len(channel.credentials)
        return _Way(channel, credential, row, find_batches(row.dialect))

    async def _asked(self, way: _Way, ask: Ask) -> tuple[int, bytes]:
        """Ask; give status and body; raises ExchangeFailure."""
        response = await self._sender.send(way.request(ask))
        try:
            return response.status, await response.read_all(REPLY_LIMIT)
        except BaseException:
            response.abort()
            raise

    async def _certain(self, way: _Way, ask: Ask) -> tuple[int, bytes]:
        """Ask for what changes nothing; raises SupplierUncertain."""
        try:
            return await self._asked(way, ask)
        except ExchangeFailure as failure:
            raise SupplierUncertain(str(failure)) from None

    async def _told(self, way: _Way, ask: Ask) -> bytes:
        """Give the body of a good answer; raises SupplierUncertain."""
        status, body = await self._certain(way, ask)
        if status // 100 != 2:
            raise SupplierUncertain(_refusal(status, body))
        return body

    async def _lines(self, way: _Way, paths: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Read lines, one after the other; raises SupplierUncertain."""
        for path in paths:
            try:
                response = await self._sender.send(way.request(Ask("GET", path)))
            except ExchangeFailure as failure:
                raise SupplierUncertain(str(failure)) from None
            try:
                if response.status // 100 != 2:
                    body = await response.read_all(REPLY_LIMIT)
                    raise SupplierUncertain(_refusal(response.status, body))
                async for line in _split(response):
                    yield line
            except ExchangeFailure as failure:
                raise SupplierUncertain(str(failure)) from None
            finally:
                response.abort()


async def _split(response: UpstreamResponse) -> AsyncIterator[bytes]:
    """Cut a reply into lines; raises ExchangeFailure. Those too long are left out."""
    rest = bytearray()
    too_long = False
    while piece := await response.read():
        *whole, last = piece.split(b"\n")
        for end in whole:
            rest += end
            if rest.strip() and not too_long:
                yield bytes(rest)
            rest.clear()
            too_long = False
        rest += last
        if len(rest) > LONGEST_LINE:
            rest.clear()
            if not too_long:
                log.warning("a provider's result is too long to be read")
            too_long = True
    if rest.strip() and not too_long:
        yield bytes(rest)


def _may_be(part: Part, remote: Remote) -> bool:
    """Whether a batch was created when a part was."""
    seconds = remote.created - part.intended_ms / 1000
    return -EARLIER <= seconds <= LATER


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


def _refusal(status: int, body: bytes) -> str:
    """What a refusal says, for operators: its code, for its words may be anybody's."""
    code = code_of(body)
    return f"status {status}, {code}" if code else f"status {status}"


def _read(read: Callable[[], T]) -> T:
    """Read what a provider says; raises SupplierUncertain."""
    try:
        return read()
    except Unreadable as error:
        raise SupplierUncertain(str(error)) from None
