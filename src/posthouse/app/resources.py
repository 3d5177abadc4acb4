"""What relays requests about the things that providers keep, wired."""

from posthouse.access.ports import Limiter
from posthouse.api.calls import Calls
from posthouse.api.resources import ResourceRoutes
from posthouse.billing.holds import HoldManager
from posthouse.relay.resource_channels import ResourceChannels
from posthouse.relay.resource_guard import Guard
from posthouse.relay.resource_lookup import Lookup
from posthouse.relay.resource_ports import ResourcePorts
from posthouse.relay.resources import ResourceRelay
from posthouse.settings.environment import Settings
from posthouse.storage.database import Database
from posthouse.storage.objects import StoredObjects
from posthouse.storage.refusals import fingerprint


class Resources:
    """Knows whose things are, for one process."""

    def __init__(self, settings: Settings, database: Database, pepper: bytes) -> None:
        """Remember in `database`; `pepper` is part of what credentials are named by."""

        def digest(credential: str) -> bytes:
            return bytes.fromhex(fingerprint(credential, pepper))

        self._settings = settings
        self.lookup = Lookup(StoredObjects(database), ResourceChannels(), digest)

    def handlers(
        self, calls: Calls, limits: Limiter, holds: HoldManager
    ) -> ResourceRoutes:
        """Make what answers, of what calls work with."""
        calls.guard = Guard(self.lookup)
        ports = calls.relay.ports
        relay = ResourceRelay(
            ResourcePorts(
                limits=limits,
                holds=holds,
                attempts=ports.attempts,
                health=ports.health,
                sender=ports.sender,
                lookup=self.lookup,
                call_ended=ports.call_ended,
                hold_max=self._settings.hold_max,
                unpriced=self._settings.unpriced_routes == "allow",
            )
        )
        return ResourceRoutes(calls, relay)
