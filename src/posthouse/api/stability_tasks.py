"""Stability's tasks: what is asked for at its own routes, and made later.

What begins one is a call like any other; the result is asked for by the task's id, as
often as is liked, by whose it is, and is given as Stability gives it.
"""

from msgspec import structs

from posthouse.api.calls import Calls
from posthouse.dialects.stability_images import DIALECT, RESULTS, begins_task
from posthouse.dialects.stability_images.reply import TASK_ID, read_task
from posthouse.errors import NotFound
from posthouse.relay.call import Incoming
from posthouse.relay.vendor_tasks import VendorTasks
from posthouse.server.request import Request
from posthouse.server.routes import Route

FAMILY = DIALECT.name
"""What these tasks are remembered by."""
_BELOW = "/stability/"
_SHOWN = frozenset({b"content-type", b"finish-reason", b"seed"})
"""Headers of a result that its owner sees."""
_ACCEPTED = (b"application/json", b"image/*", b"*/*")
_NOT_RUN = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)


class StabilityTasks:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, tasks: VendorTasks) -> None:
        """Know callers by `calls`, and whose their tasks are by `tasks`."""
        self._calls = calls
        self._tasks = tasks

    def routes(self) -> list[Route]:
        """All of them."""
        manners = DIALECT.manners
        return [
            Route(("GET",), RESULTS, self.result, prefix=True, manners=manners),
            Route(("GET",), _BELOW, self.below, prefix=True, manners=manners),
        ]

    def kept(self, incoming: Incoming) -> Incoming:
        """Have the task remembered that a call begins, if it begins one."""
        if incoming.dialect is not DIALECT or not begins_task(incoming.request):
            return incoming
        keeper = self._tasks.keeper(incoming, FAMILY, read_task)
        return structs.replace(incoming, keep_first=keeper)

    async def below(self, request: Request) -> None:
        """GET /stability/v2beta/results/{id}."""
        path = f"/{request.tail}"
        if not path.startswith(RESULTS):
            raise NotFound
        await self._answer(request, path.removeprefix(RESULTS))

    async def result(self, request: Request) -> None:
        """GET /v2beta/results/{id}."""
        await self._answer(request, request.tail)

    async def _answer(self, request: Request, name: str) -> None:
        principal = await self._calls.principal(request)
        if TASK_ID.fullmatch(name) is None:
            raise NotFound
        wanted = (request.header(b"accept") or b"").lower()
        found = await self._tasks.result(
            self._calls.relay.snapshot,
            principal,
            (FAMILY, name),
            DIALECT,
            path=f"{RESULTS}{name}",
            accept=next((one for one in _ACCEPTED if one in wanted), _ACCEPTED[-1]),
        )
        shown = [(key, value) for key, value in found.headers if key in _SHOWN]
        await request.client.respond(found.status, [*shown, *_NOT_RUN], found.body)
