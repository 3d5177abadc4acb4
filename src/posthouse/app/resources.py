"""What relays requests about the things that providers keep, wired."""

from posthouse.access.ports import Limiter
from posthouse.api.calls import Calls
from posthouse.api.resources import ResourceRoutes
from posthouse.billing.holds import HoldManager
from posthouse.files.service import Files
from posthouse.relay.resources.channels import ResourceChannels
from posthouse.relay.resources.copy_sweep import CopySweeper
from posthouse.relay.resources.file_copies import FileCopies
from posthouse.relay.resources.guard import Guard
from posthouse.relay.resources.lookup import Lookup
from posthouse.relay.resources.ports import ResourcePorts
from posthouse.relay.resources.service import ResourceRelay
from posthouse.settings.environment import Settings
from posthouse.storage.database import Database
from posthouse.storage.file_copies import StoredCopies
from posthouse.storage.objects import StoredObjects
from posthouse.storage.refusals import fingerprint
from posthouse.upstream.ports import Uploader


class Resources:
    """Knows whose things are, for one process."""

    def __init__(self, settings: Settings, database: Database, pepper: bytes) -> None:
        """Remember in `database`; `pepper` is part of what credentials are named by."""

        def digest(credential: str) -> bytes:
            return bytes.fromhex(fingerprint(credential, pepper))

        self._settings = settings
        self._copies = StoredCopies(database)
        self._sweeper: CopySweeper | None = None
        self.lookup = Lookup(StoredObjects(database), ResourceChannels(), digest)

    async def close(self) -> None:
        """Stop sweeping."""
        if self._sweeper is not None:
            await self._sweeper.close()

    def handlers(
        self,
        calls: Calls,
        limits: Limiter,
        holds: HoldManager,
        *,
        files: Files,
        uploader: Uploader,
    ) -> ResourceRoutes:
        """Make what answers, of what calls work with; in the running loop.

        Args:
            calls: know the relay.
            limits: of keys.
            holds: take money.
            files: ours, which providers are given where they must have them.
            uploader: gives them.
        """
        copies = FileCopies(
            self._copies,
            self.lookup.store,
            files,
            uploader,
            digest=self.lookup.digest,
        )
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
                copies=copies,
                call_ended=ports.call_ended,
                hold_max=self._settings.hold_max,
                unpriced=self._settings.unpriced_routes == "allow",
            )
        )
        sender = calls.relay.ports.sender
        self._sweeper = CopySweeper(copies, sender, lambda: calls.relay.snapshot.table)
        self._sweeper.start()
        files.on_removed = self._sweeper.nudge
        return ResourceRoutes(calls, relay)
