"""Files of ours that one request names, and what they are called where it goes.

What the body names is put there; what the path or the query names must be there
already, for it was told to the caller of something there.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from msgspec import structs

from posthouse.dialects.resources.paths import read_path
from posthouse.files.records import StoredFile
from posthouse.model.exchange import Timeouts
from posthouse.relay.resources.file_copies import Copy, FileCopies, owned
from posthouse.relay.resources.lookup import Caller, Lookup, Place, not_there
from posthouse.relay.resources.ports import Asked
from posthouse.routing.plan import Target


class NamedFiles:
    """The files that one request names."""

    def __init__(
        self,
        copies: FileCopies,
        caller: Caller,
        first: str,
        files: Mapping[str, StoredFile],
    ) -> None:
        """Name `files`, by our names, in a request below `/first`."""
        self._copies = copies
        self._family = caller.family
        self._account_id = caller.principal.account_id
        self._first = first
        self._files = files

    async def put(self, target: Target, timeouts: Timeouts) -> dict[str, str]:
        """Have them be at a target; see `FileCopies.put`."""
        if not self._files:
            return {}
        return await self._copies.put(
            target, self._family, self._files, first=self._first, timeouts=timeouts
        )

    async def ours(self, target: Target, ids: Iterable[str]) -> dict[str, str]:
        """Give our names for what an answer calls otherwise."""
        channel = target.member.channel.name
        return await self._copies.ours(channel, self._account_id, ids)

    async def deleted(self, channel: str, name: str) -> None:
        """The provider has deleted something: it may have been a copy."""
        for copy in await self._copies.rows.named((name,)):
            if copy.channel == channel:
                await self._copies.rows.gone(copy)


async def find_files(
    copies: FileCopies, asked: Asked
) -> tuple[Asked, dict[str, StoredFile]]:
    """Tell files of the caller's apart from what else a request names."""
    account_id = asked.caller.principal.account_id
    files = await copies.own(asked.named.ids, account_id)
    asked.named.ids -= files.keys()
    asked.named.texts -= files.keys()
    return asked, files


async def at_place(
    copies: FileCopies,
    lookup: Lookup,
    *,
    asked: Asked,
    place: Place,
    files: Mapping[str, StoredFile],
) -> tuple[Asked, Place]:
    """Have a request go where its files are, by the names that they have there.

    Raises NotFound for one that its path or its query names and that is not there.
    """
    there = await _copies_at(copies, lookup, asked=asked, place=place, files=files)
    addressed = sorted(files.keys() & asked.named.address)
    names: dict[str, Copy] = {}
    for name in addressed:
        found = [copy for copy in there if copy.file_id == name]
        if not found:
            raise not_there(name)
        names[name] = found[0]
        # Whatever else is named is looked for at the same place.
        there = [copy for copy in there if _place(copy) == _place(found[0])]
    if there:
        channel = next(c for c in place.channels if c.name == there[0].channel)
        rows = (*place.owned, *map(owned, names.values()))
        index = lookup.credential(channel, (owned(there[0]),))
        place = Place((channel,), index, rows)
    if names:
        asked = _readdressed(asked, {name: copy.id for name, copy in names.items()})
    return asked, place


async def _copies_at(
    copies: FileCopies,
    lookup: Lookup,
    *,
    asked: Asked,
    place: Place,
    files: Mapping[str, StoredFile],
) -> list[Copy]:
    """The copies that a request can be sent to; those of the best channel first."""
    ranks = {channel.name: rank for rank, channel in enumerate(place.channels)}
    found = []
    for copy in await copies.rows.of_files(files):
        rank = ranks.get(copy.channel)
        if rank is None or copy.family != asked.caller.family:
            continue
        if rank and not asked.named.address:
            # Nobody else shall be asked only because he has the file already.
            continue
        channel = place.channels[rank]
        index = lookup.credential(channel, (owned(copy),))
        if index is not None and place.credential in (None, index):
            found.append(copy)
    return sorted(found, key=lambda copy: ranks[copy.channel])


def _place(copy: Copy) -> tuple[str, bytes]:
    return copy.channel, copy.credential


def _readdressed(asked: Asked, names: Mapping[str, str]) -> Asked:
    """Write a path and a query with other names."""
    quoted = {name: quote(other, safe="") for name, other in names.items()}
    segments = [
        quoted.get(unquote(segment), segment) for segment in asked.path.raw.split("/")
    ]
    query = asked.query
    for name, other in quoted.items():
        query = query.replace(name, other)
    return structs.replace(asked, path=read_path("/".join(segments)), query=query)
