"""A form with one file: the fields in memory, the file into the store as it comes."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from posthouse.errors import InvalidRequest
from posthouse.files.records import FileDetails, StoredFile
from posthouse.files.service import Files, Incoming
from posthouse.server.request import Request
from posthouse.server.uploads import FIELD_LIMIT, read_events
from posthouse.wire.multipart import PartData, PartHead

FORM_BYTES = 256 * 1024
"""What a form may have beside its file."""


class ReceivedForm(Struct):
    """A form whose file has arrived; its blob is not whole before it is kept."""

    fields: dict[str, str]
    head: PartHead
    """The file's."""
    content: Incoming

    @property
    def content_type(self) -> str:
        """What the caller says that the file is."""
        return (self.head.content_type or b"").decode("latin-1")[:255]


async def receive_form(
    request: Request,
    name: str,
    begin: Callable[[], Awaitable[Incoming]],
    limit: int,
) -> ReceivedForm:
    """Read a form whose file is the part of this name; authenticate before.

    Args:
        request: whose body it is.
        name: the file's field.
        begin: opens the store, once the file begins.
        limit: bytes of the file.

    Raises InvalidRequest and what reading and storing do; then nothing is stored.
    """
    form = _Form(name, begin)
    try:
        async for event in read_events(request, limit + FORM_BYTES):
            if isinstance(event, PartHead):
                await form.open(event)
            elif isinstance(event, PartData):
                await form.take(event.data)
        return form.whole()
    except BaseException:
        if form.content is not None:
            await form.content.abort()
        raise


async def keep_file(
    request: Request,
    files: Files,
    account_id: str,
    details_of: Callable[[ReceivedForm], FileDetails],
) -> StoredFile:
    """Keep the file of a form; raises what `receive_form` and keeping do.

    Args:
        request: whose body it is; authenticated before.
        files: keep it.
        account_id: whose it will be.
        details_of: reads what is said of it; raises InvalidRequest.
    """
    declared = request.client.head.content_length
    limit = await files.check_room(account_id, max(0, (declared or 0) - FORM_BYTES))
    form = await receive_form(
        request, "file", lambda: files.receive(limit, account_id), limit.largest
    )
    try:
        return await files.add(account_id, details_of(form), form.content)
    except BaseException:
        await form.content.abort()
        raise


class _Form:
    """A form as it arrives."""

    def __init__(self, name: str, begin: Callable[[], Awaitable[Incoming]]) -> None:
        self._name = name
        self._begin = begin
        self._fields: dict[str, bytearray] = {}
        self._field: bytearray | None = None
        self._head: PartHead | None = None
        self.content: Incoming | None = None

    async def open(self, head: PartHead) -> None:
        """Begin a part."""
        self._field = None
        if head.name != self._name:
            self._field = self._fields.setdefault(head.name, bytearray())
        elif self._head is not None:
            raise InvalidRequest(
                f"{self._name}: there must be only one", param=self._name
            )
        else:
            self._head = head
            self.content = await self._begin()

    async def take(self, data: bytes) -> None:
        """Put some of a part where it belongs."""
        if self._field is not None:
            self._field += data
            if len(self._field) > FIELD_LIMIT:
                raise InvalidRequest("A field of the form is too long")
        elif self.content is not None:
            await self.content.write(data)

    def whole(self) -> ReceivedForm:
        """Give the form, which has ended."""
        if self._head is None or self.content is None:
            raise InvalidRequest(f"{self._name}: a file is required", param=self._name)
        fields = {
            name: value.decode(errors="replace") for name, value in self._fields.items()
        }
        return ReceivedForm(fields, self._head, self.content)
