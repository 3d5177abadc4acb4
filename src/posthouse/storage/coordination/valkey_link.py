"""A connection to Valkey or Redis: commands out in one piece, their replies back.

Rules: one call at a time; a call that fails, is late or is cancelled ends its
connection, so that no reply can ever be taken for another's. An error that the
server tells is a reply like others. Nothing that is raised holds a password.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
from typing_extensions import override

from posthouse.access.ports import CountersUnavailable
from posthouse.settings.coordination import Coordination

LAG_SECONDS: Final = 0.01
"""After it is late, for what has arrived while the event loop was busy."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""That the replies of one call may have."""
MOST_REASON: Final = 200
"""Characters of a server's error that are told."""

ReplyError = hiredis.ReplyError
Command = tuple[str | bytes | int, ...]

_MORE: Final = object()
# The package's own types know of one part only.
_pack: Final = cast(Callable[[Command], bytes], hiredis.pack_command)
_CODE: Final = re.compile(r"[A-Z]{2,24}")


class Link(asyncio.Protocol):
    """One open connection; `connect` makes it."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport
        self._wanted = 0
        self._replies: list[Any] = []
        self._received = 0
        """Bytes since the call began."""
        self._done: asyncio.Future[list[Any]] | None = None
        self.is_open = False

    async def call(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Give the reply to each command, a ReplyError if it is one.

        Raises CountersUnavailable, also if not all is there after so many seconds;
        the connection is closed then.
        """
        if not self.is_open:
            raise CountersUnavailable("the connection was lost")
        loop = asyncio.get_running_loop()
        self._wanted, self._received, self._replies = len(commands), 0, []
        done: asyncio.Future[list[Any]] = loop.create_future()
        self._done = done
        timer = loop.call_later(
            seconds, loop.call_later, LAG_SECONDS, self._late, done, seconds
        )
        self._transport.write(b"".join([_pack(command) for command in commands]))
        try:
            return await done
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()
            self._done = None

    def close(self) -> None:
        """End the connection at once."""
        self.is_open = False
        self._transport.abort()

    # --- as asyncio tells -------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    @override
    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._done is None or self._received > MOST_BYTES:
            self._fail("it says what nobody has asked for")
            return
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _MORE:
                self._replies.append(reply)
        except hiredis.ProtocolError:
            self._fail("it does not speak the protocol of Valkey")
            return
        if len(self._replies) > self._wanted:
            self._fail("it says what nobody has asked for")
        elif len(self._replies) == self._wanted and not self._done.done():
            self._done.set_result(self._replies)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was lost")

    def _late(self, done: "asyncio.Future[list[Any]]", seconds: float) -> None:
        if done is self._done:
            self._fail(f"no answer within {seconds:g} seconds")

    def _fail(self, reason: str) -> None:
        self.is_open = False
        self._transport.abort()
        if self._done is not None and not self._done.done():
            self._done.set_exception(CountersUnavailable(reason, untold=False))


def make_context(place: Coordination) -> ssl.SSLContext | None:
    """Make what TLS needs; reads files. Raises OSError."""
    if not place.is_tls:
        return None
    context = ssl.create_default_context(cafile=place.authorities)
    if place.certificate is not None:
        context.load_cert_chain(place.certificate, place.certificate_key)
    return context


async def connect(
    place: Coordination,
    address: tuple[str, int],
    context: ssl.SSLContext | None,
    *,
    seconds: float,
) -> Link:
    """Open a connection and be let in; raises CountersUnavailable.

    Args:
        place: says how.
        address: host and port; a cluster's differ from those of the place.
        context: of `make_context`.
        seconds: until it must be there, TLS included; and as many to be let in.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            _, link = await loop.create_connection(Link, *address, ssl=context)
    except TimeoutError:
        reason = f"no connection within {seconds:g} seconds"
        raise CountersUnavailable(reason) from None
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not accepted: {error.verify_message}"
        raise CountersUnavailable(reason) from None
    except OSError as error:
        raise CountersUnavailable(f"no connection: {_told_by(error)}") from None
    try:
        await _enter(link, place, seconds)
    except BaseException:
        link.close()
        raise
    return link


async def _enter(link: Link, place: Coordination, seconds: float) -> None:
    """Tell who we are, and choose the database."""
    commands: list[Command] = []
    if place.password is not None:
        user = () if place.username is None else (place.username,)
        commands.append(("AUTH", *user, place.password))
    if place.database:
        commands.append(("SELECT", place.database))
    if not commands:
        return
    try:
        replies = await link.call(commands, seconds)
    except CountersUnavailable as error:
        raise CountersUnavailable(str(error)) from None
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ReplyError):
            # Not its words: some repeat what they were sent.
            found = _CODE.match(str(reply))
            code = found.group() if found else "ERR"
            raise CountersUnavailable(f"it refuses {command[0]!s} ({code})")


def _told_by(error: OSError) -> str:
    """Say it as the system does, wherever the error came from."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or type(error).__name__
    return os.strerror(error.errno)


def reason_of(error: ReplyError) -> str:
    """Give a server's error, at a bearable length."""
    return str(error)[:MOST_REASON]
