"""Files of ours at providers, for what only they can do with one.

A vector store, a container or a fine-tuning knows only files of its provider's. So a
file of the caller's that a relayed request names is put there, once for each channel,
credential and purpose, and stays until ours is gone. To the caller it has one name:
ours goes up as the provider's, and the provider's comes back as ours.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Protocol
from weakref import WeakValueDictionary

from msgspec import Struct, structs

from posthouse.dialects.resources.files import made_file, purpose_at
from posthouse.errors import NotFound
from posthouse.files.records import StoredFile
from posthouse.files.references import media_type_of
from posthouse.files.service import Files
from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.relay.prepare import channel_request
from posthouse.relay.resources.objects import ObjectStore, Owned
from posthouse.routing.plan import Target
from posthouse.routing.table import Channel
from posthouse.upstream.ports import Content, Uploader, UpstreamResponse
from posthouse.wire.multipart import PartFrame, frame_form

OURS = re.compile("file-[0-9a-f]{24}")
"""What ids of our files look like: others are not even looked for."""
ANSWER_LIMIT = 64 * 1024
BETA = (b"anthropic-beta", b"files-api-2025-04-14")


class Copy(Struct, frozen=True):
    """One file at one provider."""

    id: str
    """The provider's."""
    channel: str
    file_id: str
    """Ours."""
    account_id: str
    family: str
    credential: bytes
    """A digest of the one that reaches it."""
    purpose: str
    created_ms: int
    tries: int = 0
    """Of deleting it there, once ours was gone."""
    due_ms: int = 0
    """When the next may be."""


class CopyRows(Protocol):
    """Remembers copies; raises StorageUnavailable where that cannot be done."""

    async def add(self, copy: Copy) -> None:
        """Remember one."""

    async def of_files(self, file_ids: Iterable[str]) -> list[Copy]:
        """Give the copies of files of ours, oldest first."""

    async def named(self, ids: Iterable[str]) -> list[Copy]:
        """Give those that providers know by these ids."""

    async def orphans(self, now_ms: int, limit: int) -> list[Copy]:
        """Give some whose file is gone, and that are due."""

    async def put_off(self, copy: Copy, due_ms: int) -> None:
        """Try later to delete one."""

    async def gone(self, copy: Copy) -> None:
        """Forget one that is not there any more."""


class CopyRefused(Exception):
    """The provider does not take the file: here is its answer, unread."""

    def __init__(self, response: UpstreamResponse) -> None:
        """Keep the answer."""
        self.response = response
        super().__init__(response.status)


class CopyLost(Exception):
    """The provider has answered that it took the file, and not as what."""


class FileCopies:
    """Puts files at providers."""

    def __init__(
        self,
        rows: CopyRows,
        objects: ObjectStore,
        files: Files,
        uploader: Uploader,
        *,
        digest: Callable[[str], bytes],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Work for one process.

        Args:
            rows: remember copies.
            objects: remember whose things are.
            files: ours.
            uploader: sends them.
            digest: names a credential without telling it.
            wall_clock: Unix seconds.
        """
        self.rows = rows
        self.objects = objects
        self.digest = digest
        self._files = files
        self._uploader = uploader
        self._clock = wall_clock
        self._turns: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def own(self, names: Iterable[str], account_id: str) -> dict[str, StoredFile]:
        """Give the files of an account's that are among some names."""
        found = {}
        for name in sorted(names):
            if OURS.fullmatch(name):
                try:
                    found[name] = await self._files.find(name, account_id)
                except NotFound:
                    continue
        return found

    async def ours(
        self, channel: str, account_id: str, ids: Iterable[str]
    ) -> dict[str, str]:
        """Give our names for what a provider calls otherwise, of an account's."""
        return {
            copy.id: copy.file_id
            for copy in await self.rows.named(ids)
            if copy.channel == channel and copy.account_id == account_id
        }

    async def put(
        self,
        target: Target,
        family: str,
        files: Mapping[str, StoredFile],
        *,
        first: str,
        timeouts: Timeouts,
    ) -> dict[str, str]:
        """Have files be at a target; give its names for them.

        Args:
            target: where.
            family: the API that they are put there by.
            files: by our names.
            first: with what the path begins that will name them.
            timeouts: of one upload.

        Raises:
            CopyRefused: for an answer that is none of success.
            CopyLost: for one that cannot be read.
            ExchangeFailure: where there is no answer.
            NotFound, StorageUnavailable: where the content is not to be had.
        """
        channel = target.member.channel
        digest = self.digest(channel.credentials[target.member.credential])
        names = {}
        for name, file in files.items():
            purpose = purpose_at(first, file.purpose, media_type_of(file))
            copy = Copy(
                "", channel.name, name, file.account_id, family, digest, purpose, 0
            )
            turn = self._turn((name, channel.name, digest.hex(), purpose))
            async with turn:
                known = await self._known(copy)
                if known is None:
                    known = await self._upload(target, file, copy, timeouts)
            names[name] = known
        return names

    def _turn(self, key: tuple[str, ...]) -> asyncio.Lock:
        """Give what lets one at a time put the same file at the same place."""
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        return turn

    async def _known(self, wanted: Copy) -> str | None:
        for copy in await self.rows.of_files((wanted.file_id,)):
            place = (copy.channel, copy.credential, copy.purpose)
            if place == (wanted.channel, wanted.credential, wanted.purpose):
                return copy.id
        return None

    async def _upload(
        self, target: Target, file: StoredFile, copy: Copy, timeouts: Timeouts
    ) -> str:
        """Put a file at a target, and write that down."""
        frame = _frame(file, copy)
        request = structs.replace(
            address(target.member.channel, target.member.credential, copy.family),
            method="POST",
            timeouts=timeouts,
        )
        headers = (*request.headers, (b"content-type", frame.content_type))
        size = len(frame.before) + file.size + len(frame.after)
        pieces = _framed(frame, self._files.pieces(file.blob))
        async with aclosing(pieces):
            response = await self._uploader.upload(
                structs.replace(request, headers=headers), Content(size, pieces)
            )
        if response.status >= 300:
            raise CopyRefused(response)
        made = made_file(await response.read_all(ANSWER_LIMIT))
        response.release()
        if made is None:
            raise CopyLost
        now = int(self._clock() * 1000)
        copy = structs.replace(copy, id=made, created_ms=now)
        await self.rows.add(copy)
        await self.objects.learn([owned(copy)])
        return made


def owned(copy: Copy) -> Owned:
    """Give a copy as what a provider keeps for its owner; no list shows it."""
    return Owned(
        copy.id,
        copy.channel,
        copy.account_id,
        copy.family,
        "",
        copy.credential,
        copy.created_ms,
    )


def address(
    channel: Channel, credential: int, family: str, name: str = ""
) -> UpstreamRequest:
    """Write a request about a provider's files, or about one of them."""
    path = f"{channel.provider.resources[family]}/files"
    return channel_request(
        channel,
        credential,
        "GET",
        f"{path}/{name}" if name else path,
        headers=(BETA,) if family == "anthropic" else (),
    )


def _frame(file: StoredFile, copy: Copy) -> PartFrame:
    """What stands around a file in a form."""
    texts = {} if copy.family == "anthropic" else {"purpose": copy.purpose}
    mark = b"posthouse-" + secrets.token_hex(16).encode()
    return frame_form(texts, "file", (file.filename, media_type_of(file)), mark)


async def _framed(
    frame: PartFrame, pieces: AsyncGenerator[bytes]
) -> AsyncGenerator[bytes]:
    yield frame.before
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece
    yield frame.after
