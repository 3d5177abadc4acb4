"""One request about kept things, sent as it stands, and its answer on the way back.

A short JSON answer is read whole, so that what it tells is known before the caller
has it; a stream of events is read along; everything else passes in pieces, no faster
than the caller takes it. The last piece waits until the call is settled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NoReturn, Protocol

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.dialects.base import Dialect
from posthouse.dialects.resources.answers import (
    Told,
    read_answer,
    read_location,
    with_names,
    with_own_addresses,
)
from posthouse.dialects.resources.paths import ResourcePath
from posthouse.errors import (
    PosthouseError,
    Retry,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
)
from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    Timeouts,
    UpstreamRequest,
)
from posthouse.relay.call import Call
from posthouse.relay.faults import AttemptFailed, exchange_failed, status_failed
from posthouse.relay.prepare import channel_headers
from posthouse.relay.resources.file_copies import CopyLost, CopyRefused
from posthouse.relay.secrecy import body_without_secrets
from posthouse.routing.plan import Target
from posthouse.routing.table import Channel
from posthouse.upstream.ports import Sender, UpstreamResponse
from posthouse.wire.sse import FrameTooLarge, SSEDecoder

Headers = tuple[tuple[bytes, bytes], ...]

WHOLE_LIMIT = 16 * 1024 * 1024
"""Bytes of a JSON answer that is read before it is passed on."""
ERROR_LIMIT = 1024 * 1024
LONG = 64 * 1024
"""Bytes of an answer that is read in a thread."""
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
_BATCHES = "/messages/batches"
_VERSION = b"/v1"
"""What paths begin with here, whatever they begin with there."""
PASSED = frozenset(
    {
        b"accept-ranges",
        b"cache-control",
        b"content-disposition",
        b"content-language",
        b"content-range",
        b"content-type",
        b"etag",
        b"last-modified",
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
    }
)
"""Headers of an answer that a caller sees."""
_NOT_RUN = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)
"""What keeps a browser from taking what somebody has stored for a page of ours."""
_RENAMED = {
    b"x-request-id": b"x-upstream-request-id",
    b"request-id": b"x-upstream-request-id",
}
"""Those it sees under another name, for the name is that of our own."""


class FilesThere(Protocol):
    """Files of ours that a request names, where it goes."""

    async def put(self, target: Target, timeouts: Timeouts) -> Mapping[str, str]:
        """Have them be at a target; give its names. Raises as `FileCopies.put`."""

    async def ours(self, target: Target, ids: Iterable[str]) -> Mapping[str, str]:
        """Give our names for what an answer calls otherwise."""


class Sent(Struct, frozen=True):
    """What is sent, wherever it goes."""

    method: str
    path: ResourcePath
    query: str
    family: str
    dialect: Dialect
    """Judges errors."""
    headers: Headers
    body: Callable[[Channel, Mapping[str, str]], bytes]
    """The body as a channel must have it, given its names for files of ours."""
    content_type: bytes | None
    files: FilesThere

    def base(self, channel: Channel) -> str:
        """What stands before the path at a channel."""
        return channel.base_path + channel.provider.resources[self.family]

    def timeouts(self, channel: Channel, seconds: float) -> Timeouts:
        """Give the limits at a channel, of so many seconds at most."""
        total = min(channel.stream_total, seconds)
        return structs.replace(channel.timeouts, total=total)

    def request(
        self, target: Target, names: Mapping[str, str], timeouts: Timeouts
    ) -> UpstreamRequest:
        """Write it for one target, which has its own names for files of ours."""
        channel, credential = target.member.channel, target.member.credential
        own = dict(channel_headers(channel, credential))
        own |= dict(self.headers)
        if self.content_type is not None:
            own[b"content-type"] = self.content_type
        path = self.base(channel) + self.path.raw
        return UpstreamRequest(
            method=self.method,
            origin=channel.origin,
            target=f"{path}?{self.query}" if self.query else path,
            headers=tuple(own.items()),
            body=self.body(channel, names),
            timeouts=timeouts,
            proxy=channel.spec.proxy,
        )


class Answer(Struct):
    """What a provider has answered, as far as it is known."""

    target: Target
    status: int
    headers: Headers
    body: bytes = b""
    """All of it, or its end if it was passed on as it came."""
    started: bool = False
    """Its head, and some of it, has been passed on."""
    ours: bool = False
    """It tells of our account's troubles, which are no caller's."""
    told: Told | None = None
    """What it tells; of several events, the one that tells of the most usage."""


class Unjudged(AttemptFailed):
    """An attempt that failed and says nothing of the channel.

    Routes that few ask for fail in ways of their own: nobody shall take a channel
    from all by asking for them. What may have been done is not asked for again.
    """

    def __init__(
        self,
        error: PosthouseError,
        *,
        status: int,
        delivered: bool = False,
        again: bool = False,
    ) -> None:
        """Keep what the loop decides by.

        Args:
            error: what the caller sees, if the provider has not said it.
            status: the provider's.
            delivered: some of the answer has been passed on.
            again: another credential may be let in.
        """
        super().__init__(error, status=status, delivered=delivered)
        self.unjudged = True
        self._again = again

    @property
    @override
    def retry(self) -> Retry:
        """Where another attempt may go."""
        return Retry.CREDENTIAL if self._again else Retry.NEVER


Heed = Callable[[Target, Told], Awaitable[None]]
"""Takes note of what an answer tells, before the caller has it."""


class ResourceExchange:
    """Makes one call's attempts."""

    def __init__(self, call: Call, sender: Sender, sent: Sent, heed: Heed) -> None:
        """Send `sent` by way of `sender`, for a call."""
        self._call = call
        self._sender = sender
        self._sent = sent
        self._heed = heed
        self.answer: Answer | None = None
        """The last one that came."""

    async def attempt(self, target: Target, seconds: float) -> Answer:
        """Make one attempt within so many seconds; raises AttemptFailed, ClientGone."""
        channel = target.member.channel
        timeouts = self._sent.timeouts(channel, seconds)
        response = None
        self.answer = None
        try:
            response = await self._send(target, timeouts)
            base = self._sent.base(channel).encode()
            answer = Answer(target, response.status, _headers_of(response, base))
            self.answer = answer
            await self._take(answer, response)
        except ExchangeFailure as failure:
            if response is not None:
                response.abort()
            raise self._broken(channel, failure, response) from None
        except BaseException:
            if response is not None:
                response.abort()
            raise
        return answer

    async def _send(self, target: Target, timeouts: Timeouts) -> UpstreamResponse:
        """Send the request, once the files that it names are there."""
        with self._call.watch:
            try:
                names = await self._sent.files.put(target, timeouts)
            except CopyRefused as refused:
                return refused.response
            except CopyLost:
                raise Unjudged(UpstreamBadResponse(), status=200) from None
            return await self._sender.send(
                self._sent.request(target, names, timeouts),
                self._call.attempts.resending,
            )

    def _broken(
        self,
        channel: Channel,
        failure: ExchangeFailure,
        response: UpstreamResponse | None,
    ) -> AttemptFailed:
        begun = self.answer is not None and self.answer.started
        status = 0 if response is None else response.status
        failed = exchange_failed(failure, channel.name, status=status, delivered=begun)
        if not begun:
            self.answer = None
        if failure.certainty is Certainty.NOT_SENT:
            return failed
        return Unjudged(failed.error, status=status, delivered=begun)

    # --- refusals ---------------------------------------------------------------

    async def _refuse(self, answer: Answer, response: UpstreamResponse) -> NoReturn:
        """Read and judge an answer that is none of success; raises AttemptFailed."""
        channel = answer.target.member.channel
        try:
            with self._call.watch:
                body = await response.read_all(ERROR_LIMIT)
        except ExchangeFailure:
            response.abort()
            body = b""
        answer.body = body = body_without_secrets(body, channel)
        status = answer.status
        error = self._sent.dialect.parse_error(status, body)
        failed = status_failed(error, status, response.headers)
        if isinstance(error, UpstreamRejected | UpstreamRedirected):
            raise failed
        answer.ours = isinstance(error, UpstreamCredential)
        if answer.ours:
            # Nor is the credential of no use: it may serve models all the same.
            error = UpstreamRejected(error.message, status=status)
        again = answer.ours or isinstance(error, UpstreamRateLimited)
        raise Unjudged(error, status=status, again=again)

    # --- answers ----------------------------------------------------------------

    async def _take(self, answer: Answer, response: UpstreamResponse) -> None:
        """Take an answer, as its kind has it."""
        if answer.status >= 300:
            await self._refuse(answer, response)
        headers = dict(answer.headers)
        kind = headers.get(b"content-type", b"").lower()
        content = self._sent.path.is_content
        if b"location" in headers:
            told = read_location(headers[b"location"].decode("latin-1"))
            if told is not None:
                await self._heed(answer.target, told)
        if b"text/event-stream" in kind and not content:
            await self._events(answer, response)
        elif b"json" in kind and not content:
            await self._whole(answer, response)
        else:
            await self._pieces(answer, response, b"")
        response.release()

    async def _whole(self, answer: Answer, response: UpstreamResponse) -> None:
        """Read an answer; one that is too long to be read passes in pieces."""
        pieces: list[bytes] = []
        size = 0
        while size <= WHOLE_LIMIT:
            with self._call.watch:
                data = await response.read()
            if not data:
                answer.body = b"".join(pieces)
                told = await _read(answer.body)
                if told is not None:
                    answer.told = told
                    await self._heed(answer.target, told)
                    names = await self._sent.files.ours(answer.target, told.ids)
                    answer.body = with_names(answer.body, names)
                if self._sent.path.template.startswith(_BATCHES):
                    answer.body = with_own_addresses(answer.body)
                return
            pieces.append(data)
            size += len(data)
        await self._pieces(answer, response, b"".join(pieces))

    async def _events(self, answer: Answer, response: UpstreamResponse) -> None:
        """Pass events on as they come, after what they tell has been noted."""
        events = _Events()
        last: list[bytes] = []
        while True:
            with self._call.watch:
                data = await response.read()
            for payload in events.feed(data):
                told = read_answer(payload)
                if told is not None:
                    await self._heed(answer.target, told)
                    answer.told = _greater(answer.told, told)
                    await self._note_names(events, answer.target, told)
                if last or (told.ends if told is not None else payload == DONE):
                    last = last or [b""]
            ready = events.take()
            if not data:
                answer.body = b"".join([*last, ready])
                return
            if last:
                last.append(ready)
            elif ready:
                await self._pass(answer, ready)

    async def _note_names(self, events: "_Events", target: Target, told: Told) -> None:
        """Find out what things are called here that an event tells of."""
        new = told.ids.keys() - events.looked
        if new:
            events.looked |= new
            events.names |= await self._sent.files.ours(target, new)

    async def _pieces(
        self, answer: Answer, response: UpstreamResponse, data: bytes
    ) -> None:
        """Pass an answer on as it comes."""
        while True:
            if data:
                await self._pass(answer, data)
            with self._call.watch:
                data = await response.read()
            if not data:
                return

    async def _pass(self, answer: Answer, data: bytes) -> None:
        client = self._call.watch.client
        if client.gone:
            return
        if not answer.started:
            answer.started = True
            headers = answer.headers + self._call.headers(answer.target)
            await client.start(answer.status, headers)
        await client.write(data)


class _Events:
    """A stream of events, read along and passed on as far as whole ones have come."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        """What is called otherwise here."""
        self.looked: set[str] = set()
        """Of what names have been asked for."""
        self._decoder = SSEDecoder()
        self._held = bytearray()
        self._whole = 0
        """Of what is held, the bytes of whole events."""
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, none at the end; give what whole events say."""
        self._held += data
        try:
            frames = self._decoder.feed(data) if data else self._decoder.close()
        except FrameTooLarge:
            # Too long to be read: it passes as it is.
            self._decoder, frames = SSEDecoder(), []
            self._whole = len(self._held)
            return []
        self._whole += sum(len(raw) for raw, _ in frames)
        if frames and not self._begun:
            self._begun = True
            # No part of any frame.
            self._whole += len(BOM) if self._held.startswith(BOM) else 0
        if not data:
            self._whole = len(self._held)
        return [payload for _, payload in frames]

    def take(self) -> bytes:
        """Give what can be passed on."""
        ready = bytes(self._held[: self._whole])
        del self._held[: self._whole]
        self._whole = 0
        return with_names(ready, self.names) if self.names else ready


def _headers_of(response: UpstreamResponse, base: bytes) -> Headers:
    """Pick the headers of an answer that came from below `base`."""
    found: dict[bytes, bytes] = {}
    for name, value in response.headers:
        if name in PASSED:
            found[name] = value
        elif name in _RENAMED:
            found[_RENAMED[name]] = value
        elif name == b"location":
            # Only the path: the host is the provider's.
            path = value
            if not value.startswith(b"/"):
                path = value.partition(b"://")[2].partition(b"/")[2]
            path = b"/" + path.lstrip(b"/\\")
            if base and path.startswith(base + b"/"):
                path = _VERSION + path.removeprefix(base)
            found[name] = path
    return (*found.items(), *_NOT_RUN)


async def _read(body: bytes) -> Told | None:
    """Read an answer; a long one aside, so that nobody waits for it."""
    if len(body) < LONG:
        return read_answer(body)
    return await asyncio.to_thread(read_answer, body)


def _greater(known: Told | None, told: Told) -> Told | None:
    """Of two tellings of usage, the one that tells of more."""
    if told.usage is None:
        return known
    if known is None or _size(told) >= _size(known):
        return told
    return known


def _size(told: Told) -> int:
    counts = (told.usage or {}).values()
    return sum(count for count in counts if type(count) is int and count > 0)
