"""Everything of the providers' APIs that is not treated here: relayed as it stands."""

from posthouse.api.calls import Calls
from posthouse.dialects.anthropic_messages import DIALECT as ANTHROPIC
from posthouse.errors import NotFound
from posthouse.relay.resource_channels import ResourceChannels
from posthouse.server.request import Request

CHANNEL = b"x-posthouse-channel"
"""Names the channel that is asked, where nothing that the request names decides."""
_VERSION = b"anthropic-version"


class ResourceRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Relay what `calls` let in."""
        self._calls = calls
        self._channels = ResourceChannels()

    async def handle(self, request: Request) -> None:
        """Relay a request as it stands; raises PosthouseError."""
        if family_of(request) == "anthropic":
            request.manners = ANTHROPIC.manners
        await self._calls.principal(request)
        raise NotFound

    def is_shared(self, request: Request) -> bool:
        """Whether a request that names nothing goes to a channel that all share."""
        table = self._calls.relay.snapshot.table
        found = self._channels.of_family(table, family_of(request), sandbox=False)
        named = request.header(CHANNEL)
        if named is not None:
            wanted = named.decode("latin-1")
            return any(c.name == wanted and c.spec.resources == "shared" for c in found)
        return bool(found) and found[0].spec.resources == "shared"


def family_of(request: Request) -> str:
    """The API that a request is in."""
    return "anthropic" if request.header(_VERSION) is not None else "openai"
