"""Which channels keep things for callers, by API family."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from posthouse.routing.table import Channel, RoutingTable

Key = tuple[str, bool]


class ResourceChannels:
    """Finds the channels of a family; looks a configuration through only once."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: WeakKeyDictionary[RoutingTable, dict[Key, tuple[Channel, ...]]] = (
            WeakKeyDictionary()
        )

    def of_family(
        self, table: RoutingTable, family: str, *, sandbox: bool
    ) -> tuple[Channel, ...]:
        """Give those that can be asked, in the order in which they are.

        The sandbox stands beside no real channel; a sandbox key reaches nothing else.
        """
        known = self._known.setdefault(table, {})
        found = known.get((family, sandbox))
        if found is None:
            every = [
                channel
                for channel in table.channels.values()
                if family in channel.provider.resources
                and channel.spec.resources != "off"
            ]
            found = known[family, sandbox] = _of_one_kind(every, sandbox=sandbox)
        return found


def _of_one_kind(channels: Sequence[Channel], *, sandbox: bool) -> tuple[Channel, ...]:
    only = sandbox or all(channel.sandbox for channel in channels)
    kept = [channel for channel in channels if channel.sandbox == only]
    return tuple(sorted(kept, key=lambda one: (-one.spec.priority, one.name)))
