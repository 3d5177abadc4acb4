"""One open realtime session: events pass both ways, read along for money.

A session ends when either side closes, when its key is no longer good, after an
hour, after half an hour in which the client says nothing, when the account is
empty, and when the server stops. Whoever ends it, answers under way are called
off and awaited for a moment, for the provider then says what they took; then
both sockets are closed, each told what the other side has said. Nothing here is
logged or kept of what passes.
"""

import asyncio
import secrets
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct

from posthouse.access.models import allows
from posthouse.dialects.openai.errors import error_code
from posthouse.dialects.openai_realtime.client_events import (
    SESSION_MODELS,
    ClientEvent,
    models_of,
    read_client,
    with_model,
)
from posthouse.dialects.openai_realtime.server_events import (
    COMMITTED,
    CREATED,
    DONE,
    SESSIONS,
    TRANSCRIBED,
    TRANSCRIPTION_FAILED,
    TRANSCRIPTS,
    ServerEvent,
    error_event,
    read_server,
    with_public_names,
)
from posthouse.dialects.resources.treated import read_session
from posthouse.errors import (
    AuthenticationFailed,
    InsufficientQuota,
    InternalFault,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    PosthouseError,
    RateLimited,
    UpstreamInterrupted,
)
from posthouse.model.call import Operation
from posthouse.observe.logs import logger
from posthouse.relay.call import Call
from posthouse.relay.realtime.books import Books
from posthouse.relay.realtime.ports import Door
from posthouse.relay.served import Completion
from posthouse.routing.plan import Target
from posthouse.routing.table import offered_as
from posthouse.upstream.ports import MessageSocket
from posthouse.wire import json
from posthouse.wire.websocket import TEXT
from posthouse.wire.websocket_end import LOST, Closing

LOOK_SECONDS: Final = 20.0
"""Between two looks at the key and the provider's socket."""
LONGEST: Final = 3600.0
"""Seconds that a session may last."""
IDLE: Final = 1800.0
"""Seconds for which a client may say nothing."""
ANSWERS_SECONDS: Final = 5.0
"""For which answers under way are awaited once the session is over."""
CUT_SECONDS: Final = 1.0
"""The same when the server stops."""
DRAIN_SECONDS: Final = 60.0
"""The same for a channel whose answers are awaited when their client has left."""
SPENT: Final = "The balance ended while the answer was given."
WISH: Final = "response.create"
_CANCEL: Final = b'{"type":"response.cancel"}'
_RESTART = Closing(1001, "the service is restarting")

log = logger("posthouse")


class Sides(Struct, frozen=True):
    """The two sockets."""

    client: MessageSocket
    upstream: MessageSocket


class _Ended(Exception):
    """The session is over, for a reason of ours."""

    def __init__(self, closing: Closing, error: PosthouseError | None = None) -> None:
        """Keep how it is closed and what the client is told before."""
        self.closing = closing
        self.error = error
        super().__init__(closing.reason)


class Session:
    """One session, open at both sides."""

    def __init__(
        self, call: Call, target: Target, sides: Sides, *, books: Books, door: Door
    ) -> None:
        """Begin to pass what comes; `books` know the target."""
        self._call = call
        self._target = target
        self._client = sides.client
        self._upstream = sides.upstream
        self._books = books
        self._door = door
        self._public = call.incoming.request.model
        self._heard = call.clock()
        loop = asyncio.get_running_loop()
        self._cut: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._quiet = asyncio.Event()
        """Set whenever an answer is over."""
        self._heard_as: str | None = None
        """The client's name for who writes down what is said, if it is another."""
        self._ending = False

    async def run(self) -> bool:
        """Pass events until the end; whether the provider kept its side of it."""
        self._door.on_cut(partial(_set, self._cut))
        self._door.on_gone(partial(_set, self._gone))
        up = asyncio.create_task(self._pass_up())
        down = asyncio.create_task(self._pass_down())
        down.add_done_callback(lambda _: self._quiet.set())
        ended = _Ended(Closing(1011))
        kept = True
        try:
            ended = await self._watch(up, down)
        finally:
            try:
                kept = await self._finish(ended, up, down)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        return kept

    # --- until the end --------------------------------------------------------------

    async def _watch(
        self, up: "asyncio.Task[None]", down: "asyncio.Task[None]"
    ) -> _Ended:
        """Wait for the end, and look now and then whether it should come."""
        begun = self._call.clock()
        while True:
            await asyncio.wait(
                (up, down, self._cut, self._gone),
                timeout=LOOK_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._cut.done():
                return _Ended(_RESTART)
            for task in (up, down):
                if task.done():
                    return self._ended_by(task)
            if self._gone.done():
                # What it has said last may still wait for the provider, who may
                # never take it.
                await asyncio.wait((up,), timeout=ANSWERS_SECONDS)
                return _Ended(Closing(1000))
            now = self._call.clock()
            self._upstream.look()
            if now - begun > LONGEST:
                return _over("The session has lasted as long as it may.")
            if now - self._heard > IDLE:
                return _over("Nothing has been said for too long.")
            gone = await self._refused_key()
            if gone is not None:
                return gone

    def _ended_by(self, task: "asyncio.Task[None]") -> _Ended:
        """Why one of the two directions has ended."""
        error = task.exception()
        if isinstance(error, _Ended):
            return error
        if isinstance(error, PosthouseError):
            return _Ended(Closing(1011, error.code), error)
        if error is not None:
            log.error(
                "a realtime session failed unexpectedly",
                call=self._call.incoming.id,
                exc_info=error,
            )
            fault = InternalFault()
            return _Ended(Closing(1011, fault.code), fault)
        if self._client.closing is not None:
            return _Ended(self._client.closing.passable)
        closing = self._upstream.closing or Closing(LOST)
        if closing.code == LOST:
            broken = UpstreamInterrupted()
            return _Ended(Closing(1011, broken.code), broken)
        return _Ended(closing.passable)

    async def _refused_key(self) -> _Ended | None:
        """Ask whether the key is still good for the session."""
        error: PosthouseError
        try:
            principal = await self._door.authorize()
        except (AuthenticationFailed, PermissionDenied) as refused:
            error = refused
        except PosthouseError:
            # Nobody can tell now; it is asked again soon.
            return None
        else:
            if principal.models is None or allows(principal, self._public):
                return None
            error = _not_found(self._public)
        return _Ended(Closing(1008, error.code), error)

    # --- the end --------------------------------------------------------------------

    async def _finish(
        self, ended: _Ended, up: "asyncio.Task[None]", down: "asyncio.Task[None]"
    ) -> bool:
        """Close the books, then both sockets; whether the provider kept its side."""
        self._ending = True
        up.cancel()
        if self._upstream.closing is None:
            await self._await_answers(down)
        down.cancel()
        told = self._upstream.closing
        completion = Completion.CUT_OFF
        if told is not None:
            completion = Completion.INTERRUPTED
        elif self._client.closing is not None:
            completion = Completion.ABANDONED
        try:
            await self._books.close(completion)
        finally:
            if ended.error is not None:
                with suppress(Exception):
                    async with asyncio.timeout(CUT_SECONDS):
                        await self._tell(ended.error)
            # A provider is told its client's own words, and nothing of ours.
            left = self._client.closing
            if left is None or left.code == LOST:
                left = Closing(1000)
            self._upstream.close(left.passable)
            self._client.close(ended.closing)
            await asyncio.gather(self._client.farewell(), self._upstream.farewell())
        return told is None or told.code != LOST

    async def _await_answers(self, down: "asyncio.Task[None]") -> None:
        """Let the provider tell what the answers under way have taken."""
        if not self._books.awaited:
            return
        drain = self._target.member.channel.spec.on_disconnect == "drain"
        seconds = DRAIN_SECONDS if drain else ANSWERS_SECONDS
        if self._cut.done():
            seconds, drain = CUT_SECONDS, False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if not drain and self._books.under_way:
                    await self._upstream.send(TEXT, _CANCEL)
                if down.done():
                    # It has ended for a reason of ours; the last words are read here.
                    await self._pass_down()
                    return
                while self._books.awaited and self._upstream.closing is None:
                    self._quiet.clear()
                    await self._quiet.wait()

    async def _tell(self, error: PosthouseError, caused_by: str | None = None) -> None:
        """Tell the client of an error."""
        told = {
            "type": error.type,
            "code": error_code(error),
            "message": error.message,
            "param": error.param,
        }
        name = f"event_{secrets.token_hex(10)}"
        await self._client.send(TEXT, error_event(told, name, caused_by))

    # --- from the client ------------------------------------------------------------

    async def _pass_up(self) -> None:
        """Pass the client's events until it closes; raises _Ended."""
        if self._door.opening is not None:
            await self._pass_event(TEXT, self._door.opening)
        while (message := await self._client.receive()) is not None:
            self._heard = self._call.clock()
            await self._pass_event(*message)

    async def _pass_event(self, kind: int, payload: bytes) -> None:
        """Judge one event and pass it, or tell what is wrong; raises _Ended."""
        event = None
        try:
            if kind != TEXT:
                raise InvalidRequest(
                    "Events are text messages.", code="invalid_message_type"
                )
            event = read_client(payload)
            event = self._judge(event)
            if event.type == WISH and self._books.transcripts.alone:
                raise InvalidRequest("There are no answers in this session.")
            named = read_session(event.members)
            if named is not None:
                await self._door.require_own(self._target, named)
        except PosthouseError as error:
            await self._tell(error, event.event_id if event else None)
            return
        if event.type == WISH and not await self._ask(event):
            return
        self._books.meter.sent(event)
        try:
            await self._books.transcripts.sent()
        except InsufficientQuota as error:
            raise _Ended(Closing(1008, error.code), error) from None
        await self._upstream.send(TEXT, event.raw)

    async def _ask(self, event: ClientEvent) -> bool:
        """Admit an answer that the client wants; false refuses. Raises _Ended."""
        response = event.members.get("response")
        try:
            await self._books.ask(
                None if response is None else json.decode(response, object),
                event.event_id,
            )
        except InsufficientQuota as error:
            raise _Ended(Closing(1008, error.code), error) from None
        except RateLimited as error:
            await self._tell(error, event.event_id)
            return False
        return True

    def _judge(self, event: ClientEvent) -> ClientEvent:
        """Judge the models that an event names; raises PosthouseError."""
        for path, name in models_of(event):
            if path in SESSION_MODELS:
                if name != self._public:
                    raise InvalidRequest(
                        "A session's model cannot be changed.",
                        param=".".join(path),
                        code="invalid_value",
                    )
                upstream = self._target.member.upstream_model
            else:
                upstream = self._transcription(name)
            if upstream != name:
                event = with_model(event, path, upstream)
        return event

    def _transcription(self, name: str) -> str:
        """Admit a model for transcripts; give its name at the provider."""
        incoming = self._call.incoming
        principal = incoming.principal
        menu = None
        if principal.models is None or allows(principal, name):
            menu = self._call.snapshot.menu(
                name, Operation.TRANSCRIPTION, sandbox=principal.sandbox
            )
        upstream = offered_as(self._target.member.channel, name)
        if menu is None or upstream is None:
            raise _not_found(name)
        self._books.transcripts.model = name, menu.first
        self._heard_as = name if upstream != name else None
        return upstream

    # --- from the provider ----------------------------------------------------------

    async def _pass_down(self) -> None:
        """Pass the provider's events until it closes; raises _Ended."""
        books = self._books
        renamed = self._target.member.upstream_model != self._public
        own = self._public if renamed else None
        while (message := await self._upstream.receive()) is not None:
            kind, payload = message
            event = read_server(payload) if kind == TEXT else None
            if event is not None:
                if event.type in SESSIONS and (own or self._heard_as):
                    payload = with_public_names(payload, own, self._heard_as)
                await self._account(event)
            await self._client.send(kind, payload)
            message, payload = None, b""
            if self._ending and not books.awaited:
                return
            spent = books.exhausted or books.transcripts.exhausted
            if spent and not (books.under_way or self._ending):
                error = InsufficientQuota()
                raise _Ended(Closing(1008, error.code), error)

    async def _account(self, event: ServerEvent) -> None:
        """Do what an event means for money, before it is passed."""
        books = self._books
        books.meter.seen(event)
        if event.type == CREATED:
            response = event.table("response")
            try:
                await books.begun(str(response.get("id")))
            except InsufficientQuota as error:
                await self._upstream.send(TEXT, _CANCEL)
                raise _Ended(Closing(1008, error.code), error) from None
            except RateLimited as error:
                # Nobody has asked for it: it is called off.
                await self._upstream.send(TEXT, _CANCEL)
                await self._tell(error)
        elif event.type == DONE:
            response = event.table("response")
            await books.done(str(response.get("id")), response)
            self._quiet.set()
        elif event.type in TRANSCRIPTS:
            await self._transcript(event)
        elif event.type == "error":
            await books.refused(event.table("error").get("event_id"))
        else:
            text, sound = event.produced
            more = not (text or sound) or await books.brought(
                event.response_id, text, sound
            )
            if not more and not self._ending:
                spent = InsufficientQuota(SPENT)
                raise _Ended(Closing(1008, spent.code), spent)

    async def _transcript(self, event: ServerEvent) -> None:
        """Do what an event about what the user has said means for money."""
        transcripts, item = self._books.transcripts, event.text("item_id")
        if event.type == TRANSCRIBED:
            await transcripts.transcribed(event.table("usage"), item)
        elif event.type == TRANSCRIPTION_FAILED:
            await transcripts.failed(item)
        elif event.type == COMMITTED:
            transcripts.committed(item)
        else:
            transcripts.brought(item)
        self._quiet.set()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _over(message: str) -> _Ended:
    """The end of a session that has had its time."""
    error = InvalidRequest(message, code="session_expired")
    return _Ended(Closing(1001, "session_expired"), error)


def _not_found(model: str) -> ModelNotFound:
    return ModelNotFound(
        f"The model '{model}' does not exist or you do not have access to it.",
        param="model",
    )
