"""Files of ours that a call names, brought into it before anybody routes it.

So they work with every provider. A name that is not ours may be a provider's own:
then the call goes to the channel that has it, if it is the caller's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import structs

from posthouse.access.principal import Principal
from posthouse.dialects.base import ParsedRequest
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.records import StoredFile
from posthouse.files.references import (
    DIALECTS,
    Content,
    media_type_of,
    names_in,
    with_contents,
)
from posthouse.files.service import Files
from posthouse.relay.call import Incoming
from posthouse.server.request import Request

MOST_FILES = 32
"""That one call may name."""
PARAM = "file_id"
_BASE64 = 4 / 3
_COPIES = 3
"""Of a file that are in memory at one time: as it is, in base64, in the body."""

FindElsewhere = Callable[[Principal, str], Awaitable[str | None]]
"""Gives the channel that keeps something for a caller, "" for any channel, or None
where there is no such thing for that caller."""
ParseAgain = Callable[[bytes], Awaitable[ParsedRequest]]


class FileInputs:
    """Brings files into calls."""

    def __init__(
        self, files: Files, elsewhere: FindElsewhere, *, most_bytes: int
    ) -> None:
        """Bring what `files` keep.

        Args:
            files: of all accounts.
            elsewhere: knows what providers keep.
            most_bytes: of all files that one call names.
        """
        self._files = files
        self._elsewhere = elsewhere
        self._most_bytes = most_bytes

    async def fill(
        self, request: Request, incoming: Incoming, body: bytes, parse: ParseAgain
    ) -> Incoming:
        """Give the call with what its files hold; raises PosthouseError.

        Args:
            request: counts the memory.
            incoming: the call as it was judged.
            body: its body, in which there may be ids of files.
            parse: judges another body.
        """
        dialect = incoming.dialect.name
        if dialect not in DIALECTS or incoming.request.form is not None:
            return incoming
        names = names_in(dialect, body)
        if len(names) > MOST_FILES:
            raise InvalidRequest(
                f"A request may name at most {MOST_FILES} files", param=PARAM
            )
        own: dict[str, StoredFile] = {}
        for name in sorted(names):
            try:
                own[name] = await self._files.find(name, incoming.principal.account_id)
            except NotFound:
                incoming = await self._kept_elsewhere(incoming, name)
        if not own:
            return incoming
        found = await self._read(request, own)
        filled = await asyncio.to_thread(partial(with_contents, dialect, body, found))
        return structs.replace(incoming, request=await parse(filled))

    async def _kept_elsewhere(self, incoming: Incoming, name: str) -> Incoming:
        """Send a call to where something is kept; raises InvalidRequest."""
        channel = await self._elsewhere(incoming.principal, name)
        if channel is None:
            raise InvalidRequest(
                f"There is no file with the id '{name[:64]}'",
                param=PARAM,
                code="file_not_found",
            )
        return structs.replace(incoming, channel=channel) if channel else incoming

    async def _read(
        self, request: Request, own: dict[str, StoredFile]
    ) -> dict[str, Content]:
        """Read files into memory, which is counted; raises InvalidRequest."""
        size = sum(file.size for file in own.values())
        if size > self._most_bytes:
            raise InvalidRequest(
                f"The files that the request names have more than {self._most_bytes} "
                "bytes together",
                param=PARAM,
                code="files_too_large",
            )
        request.hold(int(size * _BASE64 * _COPIES))
        return {
            name: Content(
                file.filename, media_type_of(file), await self._files.whole(file)
            )
            for name, file in own.items()
        }
