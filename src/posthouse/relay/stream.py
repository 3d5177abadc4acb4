"""Calls answered as a stream: whole frames pass, the last one waits for money.

What the client sees, in order: the head with the provider's first frame (or
after a silence); frames, once the first of them carries content, for until
then another channel may still take over; comments while the provider is
silent; then the terminal frame, which the service sends after the settlement
is in the journal. A stream that broke off gets an error frame and no
terminator. Content is never sent twice and never from two channels.
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import structs

from posthouse.dialects.base import Dialect, Frames, Headers, StreamTap
from posthouse.dialects.neutral.images import SeveralImages
from posthouse.errors import (
    InsufficientQuota,
    PosthouseError,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamTimeout,
)
from posthouse.model.exchange import ExchangeFailure, FailureKind
from posthouse.relay.call import Call
from posthouse.relay.faults import AttemptFailed, exchange_failed, told_failed
from posthouse.relay.prepare import Prepared
from posthouse.relay.sending import REPLY_LIMIT, forget_refused, send
from posthouse.relay.served import Completion, Served, served_stream
from posthouse.relay.several import begin_streams, whole_replies
from posthouse.relay.stream_writer import StreamWriter
from posthouse.relay.unary import whole_reply
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target
from posthouse.upstream.ports import Sender, UpstreamResponse
from posthouse.wire.sse import Frame, FrameTooLarge, SSEDecoder

USAGE_AFTER_LEAVING = 5.0
"""Seconds that usage is waited for when a client left after the last word."""
PROGRESS_BYTES = 1024
"""Content between two looks at what remains of the hold."""
MUCH_BYTES = 64 * 1024
"""Written at once, behind which less is kept of the text, too."""
STREAM_LIMIT = 64 * 1024 * 1024
"""Bytes of content that one stream may have."""


STREAM_TOO_LONG = "The answer was longer than a stream may be."

Progress = Callable[[Target, int], Awaitable[bool]]
"""Told the bytes delivered so far; false when the money ends here."""


Answering = Callable[[Call, Target], None]
"""Told before the first content is written."""


class StreamExchange:
    """Makes one call's attempts at a stream, one after the other."""

    def __init__(
        self,
        call: Call,
        writer: StreamWriter,
        sender: Sender,
        *,
        progress: Progress,
        answering: Answering,
    ) -> None:
        """Serve `call` over `sender`, writing what comes to `writer`.

        `answering` is told before the first content is written, `progress`
        as more of it has been.
        """
        self._call = call
        self.writer = writer
        self._sender = sender
        self._progress = progress
        self._answering = answering
        self.winner: StreamExchange | None = None
        """The rival that has the client, if there were any."""
        self._checked = 0
        self._held_back: list[bytes] = []
        self._decoder: Frames = SSEDecoder()
        self.content_ms = 0
        """When the first content was written; 0 while none was."""
        self.partial: Served | None = None
        """What was delivered by a stream that did not come to its end."""
        self.terminal = b""
        """The frame that ends the stream, for after the settlement."""
        self._whole_reply: tuple[Target, Served] | None = None
        """What ends the stream, where it has come in one piece."""
        self._untold = False
        """It was cut off where nothing can be said inside: its breaking off says it."""
        self.tap = self._new_tap(call.incoming.dialect, None)

    def rival(
        self, call: Call, claim: Callable[[], None]
    ) -> Callable[[Target, float], Awaitable[Served]]:
        """Make an attempt that may overlap with others.

        It calls `claim` before anything of its answer is written, and has the
        client from then on.
        """

        def win() -> None:
            claim()
            self.winner = other

        def answering(part: Call, target: Target) -> None:
            win()
            self._answering(part, target)

        other = StreamExchange(
            call,
            self.writer,
            self._sender,
            progress=self._progress,
            answering=answering,
        )

        async def attempt(target: Target, seconds: float) -> Served:
            served = await other.attempt(target, seconds)
            # It may have been an empty answer.
            win()
            return served

        return attempt

    # --- attempts ---------------------------------------------------------------

    async def attempt(self, target: Target, seconds: float) -> Served:
        """Make one attempt; raises AttemptFailed or ClientGone."""
        call = self._call
        prepared = call.prepared(target)
        call.watch.drain = prepared.drains
        response: UpstreamResponse
        in_one_piece = False
        if isinstance(prepared.several, SeveralImages):
            return await self._given(
                target,
                await whole_replies(
                    call, self._sender, target, prepared, seconds=seconds
                ),
            )
        if prepared.several is not None:
            response, self._decoder, tap = await begin_streams(
                call, self._sender, target, prepared, seconds=seconds
            )
        else:
            response = await send(call, self._sender, target, prepared, seconds=seconds)
            begun = self._begin(prepared, response, call.public_model(target))
            in_one_piece = begun is None
            tap = begun or self.tap
        self.tap = tap
        self._held_back.clear()
        try:
            if in_one_piece:
                return await self._whole(target, response)
            completion = await self._relay(target, response, tap)
        except ClientGone as gone:
            gone.status = 200
            if not tap.finished or not await self._late_usage(response, tap):
                response.abort()
            self.partial = served_stream(target, Completion.ABANDONED, tap)
            raise
        except asyncio.CancelledError:
            response.abort()
            raise
        except ExchangeFailure as failure:
            response.abort()
            if self._delivered and failure.kind is FailureKind.TOTAL_TIMEOUT:
                await self._cut_off(tap, UpstreamTimeout(STREAM_TOO_LONG))
                return served_stream(target, Completion.CUT_OFF, tap)
            name = target.member.channel.name
            failed = exchange_failed(
                failure, name, status=200, delivered=self._delivered
            )
            raise self._failed(target, failed) from None
        except UpstreamFault as fault:
            response.abort()
            forget_refused(prepared, fault)
            failed = told_failed(fault, response.headers, delivered=self._delivered)
            raise self._failed(target, failed) from None
        return served_stream(target, completion, tap)

    def _begin(
        self, prepared: Prepared, response: UpstreamResponse, public_model: str | None
    ) -> StreamTap | None:
        """Make ready for a reply; None if it comes in one piece."""
        media = prepared.media
        if media is None:
            self._decoder = prepared.dialect.frames()
            return self._new_tap(prepared.dialect, public_model)
        request = self._call.incoming.request
        self._decoder = media.frames_of(request)
        return media.tap_answer(request, response.headers, public_model)

    async def _whole(self, target: Target, response: UpstreamResponse) -> Served:
        """Take a whole reply for a client who has asked for a stream."""
        call = self._call
        with call.watch:
            body = await response.read_all(REPLY_LIMIT)
        way = call.way(target)
        served = whole_reply(call, target, way, response=response, body=body)
        return await self._given(target, served)

    async def _given(self, target: Target, served: Served) -> Served:
        """Have a whole reply end the stream."""
        call = self._call
        await self.writer.start(call.headers(target), _own_headers(served))
        self._answering(call, target)
        self.content_ms = max(1, call.elapsed_ms())
        self.terminal = served.body
        self._whole_reply = target, served
        return structs.replace(served, body=b"")

    @property
    def _delivered(self) -> bool:
        return self.content_ms > 0

    def _new_tap(self, dialect: Dialect, public_model: str | None) -> StreamTap:
        tap = dialect.tap_stream(self._call.incoming.request, public_model)
        if tap is None:
            raise ValueError(f"{dialect.name} has no streams")
        return tap

    def _failed(self, target: Target, failed: AttemptFailed) -> AttemptFailed:
        """Keep what had been delivered, for it is charged."""
        if failed.delivered:
            self.partial = served_stream(target, Completion.INTERRUPTED, self.tap)
        return failed

    # --- frames -----------------------------------------------------------------

    async def _relay(
        self, target: Target, response: UpstreamResponse, tap: StreamTap
    ) -> Completion:
        """Pass frames until the stream's end."""
        decoder = self._decoder
        watch = self._call.watch
        while True:
            with watch:
                data = await response.read()
            over = not data
            try:
                frames = decoder.close() if over else decoder.feed(data)
            except FrameTooLarge:
                raise UpstreamBadResponse from None
            data = b""
            try:
                ended = await self._pass(target, frames, tap) or (
                    over and self._ends(tap)
                )
            except UpstreamBadResponse:
                if not over or not self._delivered:
                    raise
                # The last frame is cut in half: it broke off, it is not odd.
                raise UpstreamInterrupted from None
            if ended:
                response.release()
                return Completion.ABANDONED if watch.gone else Completion.WHOLE
            if over:
                raise UpstreamInterrupted if self._delivered else UpstreamBadResponse
            if tap.output_bytes - self._checked >= PROGRESS_BYTES:
                self._checked = tap.output_bytes
                error = await self._look_ahead(target, tap)
                if error is not None:
                    response.abort()
                    await self._cut_off(tap, error)
                    return Completion.CUT_OFF

    async def _look_ahead(
        self, target: Target, tap: StreamTap
    ) -> PosthouseError | None:
        """Why the stream must end here; None if it may go on."""
        tap.compact()
        if tap.output_bytes > STREAM_LIMIT:
            return UpstreamBadResponse(STREAM_TOO_LONG)
        if await self._progress(target, tap.output_bytes):
            return None
        return InsufficientQuota("The balance ended while the answer was given.")

    async def _pass(self, target: Target, frames: list[Frame], tap: StreamTap) -> bool:
        """Tap and write some frames; tell whether the last one was among them."""
        out = self._held_back
        fault: UpstreamFault | None = None
        content = terminal = begun = False
        try:
            for raw, data in frames:
                tapped = tap.feed(raw, data)
                if tapped.terminal:
                    self.terminal = tapped.raw
                    terminal = True
                    break
                begun = begun or bool(data)
                if tapped.raw:
                    out.append(tapped.raw)
                    content = content or tapped.content
        except UpstreamFault as error:
            fault = error
        if begun and not self.writer.started and (fault is None or content):
            await self.writer.start(self._call.headers(target), tap.stream_headers)
        if out and (content or terminal or self._delivered):
            # A client may take its time: nothing is kept of it twice meanwhile.
            frames.clear()
            raw = data = b""
            written = self._ready(target, tap)
            await self.writer.write(written)
        if fault is not None:
            raise fault
        if terminal:
            await self._begin_at_end(target, tap)
        return terminal

    def _ready(self, target: Target, tap: StreamTap) -> bytes:
        """Give what is to be written now."""
        out = self._held_back
        if not self._delivered:
            self._answering(self._call, target)
            self.content_ms = max(1, self._call.elapsed_ms())
        written = b"".join(out)
        out.clear()
        if len(written) > MUCH_BYTES:
            tap.compact()
        return written

    async def _begin_at_end(self, target: Target, tap: StreamTap) -> None:
        """Begin the reply if nothing has: its first frame may be its last."""
        self._check_begun(tap)
        if not self.writer.started:
            await self.writer.start(self._call.headers(target), tap.stream_headers)
            self.content_ms = max(1, self._call.elapsed_ms())

    def _ends(self, tap: StreamTap) -> bool:
        """Whether a stream is whole whose connection was closed."""
        last = tap.close()
        if last is None:
            return False
        self.terminal = last.raw
        self._check_begun(tap)
        return True

    def _check_begun(self, tap: StreamTap) -> None:
        """Refuse an end without a beginning; with usage it is an empty answer."""
        if not self._delivered and tap.usage is None:
            raise UpstreamBadResponse

    async def _cut_off(self, tap: StreamTap, error: PosthouseError) -> None:
        """End the answer before its end, and say why."""
        last, self.terminal = tap.cut_off_frames(error)
        if last:
            await self.writer.write(last)
        self._untold = not last and not self.terminal

    async def _late_usage(self, response: UpstreamResponse, tap: StreamTap) -> bool:
        """Wait a little for usage that must be on its way; True if it came."""
        decoder = self._decoder
        try:
            async with asyncio.timeout(USAGE_AFTER_LEAVING):
                while tap.usage is None and (data := await response.read()):
                    for raw, payload in decoder.feed(data):
                        tap.feed(raw, payload)
        except (TimeoutError, ExchangeFailure, UpstreamFault, FrameTooLarge):
            return False
        response.release()
        return tap.usage is not None

    # --- the end ----------------------------------------------------------------

    async def finish(self) -> None:
        """Send the terminal frame and end the body."""
        deliver = self._call.incoming.deliver
        if deliver is not None and self._whole_reply is not None:
            self.terminal = (await deliver(*self._whole_reply)).body
        if self._untold:
            self.writer.break_off()
        else:
            await self.writer.finish(self.terminal)

    async def fail(self, error: PosthouseError) -> None:
        """Tell of an error inside the stream, and end it without a terminator."""
        await self.writer.fail(self.tap.error_frame(error))


def _own_headers(served: Served) -> Headers | None:
    """What a whole reply has in place of a stream's headers; None where it is one."""
    kind = served.content_type
    return ((b"content-type", kind),) if kind.startswith(b"audio/") else None
