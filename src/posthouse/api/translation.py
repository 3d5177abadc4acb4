"""Translations in DeepL's form, Baidu's and our own; what DeepL's clients ask besides.

DeepL's requests name no model; those that do are served by it, all others by the
model that is called `translation`, or the first that translates.

Baidu's requests carry an application's number and a signature. The number may be a
key of ours in full, for clients that can send nothing else; the signature is not
looked at, for nobody here knows what it was made with. Such a body is read before its
key is known, as far as Baidu's own go.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from posthouse.api.calls import Calls
from posthouse.api.defaults import completing, default_model
from posthouse.dialects.baidu_translate.request import FORM, read_members
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.deepl_translate.request import parse_form_request
from posthouse.dialects.neutral.languages import SOURCES, TARGETS
from posthouse.errors import InvalidRequest, PriceMissing
from posthouse.model.call import Operation
from posthouse.model.money import PER_MILLION
from posthouse.model.usage import Unit
from posthouse.relay.prepare import find_dialect
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json

USUAL_MODEL = "translation"
UNLIMITED = 1_000_000_000_000
"""Characters; what DeepL says of accounts that have no limit."""
UNKNOWN_KEY_LIMIT = 32 * 1024
"""Bytes of a body that is read before its key is known."""

_JSON = (b"content-type", b"application/json")

Remaining = Callable[[str], Awaitable[int | None]]
"""What an account can still spend, in nano-dollars; None has no limit."""


class TranslationRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, remaining: Remaining) -> None:
        """Serve calls, and tell what is left of an account."""
        self._calls = calls
        self._remaining = remaining
        self._deepls = find_dialect("deepl_translate")
        self._baidus = find_dialect("baidu_translate")
        self._ours = find_dialect("plain_translate")
        self._complete = completing(calls.relay, Operation.TRANSLATION, USUAL_MODEL)

    def routes(self) -> list[Route]:
        """All of them."""
        deepls, baidus = self._deepls.manners, self._baidus.manners
        asks = ("GET", "POST")
        return [
            Route(("POST",), "/v1/translations", self.ours),
            Route(("POST",), "/v2/translate", self.deepls, manners=deepls),
            Route(asks, "/v2/usage", self.usage, manners=deepls),
            Route(asks, "/v2/languages", self.languages, manners=deepls),
            Route(asks, "/api/trans/vip/translate", self.baidus, manners=baidus),
        ]

    async def ours(self, request: Request) -> None:
        """POST /v1/translations."""
        dialect = self._ours
        await self._calls.serve(
            request, dialect, dialect.parse_request, complete=self._complete
        )

    async def deepls(self, request: Request) -> None:
        """POST /v2/translate."""
        dialect = self._deepls
        parse = parse_form_request if _is_form(request) else dialect.parse_request
        await self._calls.serve(request, dialect, parse, complete=self._complete)

    async def usage(self, request: Request) -> None:
        """GET /v2/usage: how many characters the account's balance still pays for.

        The count is of what was used of that: none.
        """
        principal = await self._calls.principal(request)
        left = await self._remaining(principal.account_id)
        limit = UNLIMITED
        if left is not None and not principal.sandbox:
            rate = self._rate(default_model(self._calls.relay, principal, *_ASKED))
            if rate:
                limit = min(max(left, 0) * PER_MILLION // rate, UNLIMITED)
        body = json.encode({"character_count": 0, "character_limit": limit})
        await request.client.respond(200, [_JSON], body)

    def _rate(self, model: str) -> int:
        """Nano-dollars per million characters, as near as can be said."""
        snapshot = self._calls.relay.snapshot
        menu = snapshot.menu(model, Operation.TRANSLATION, sandbox=False)
        if menu is None:
            raise PriceMissing
        rates = menu.first.price.rates
        character = rates.get(Unit.CHARACTER.value)
        if character is not None:
            return character
        # A token is taken for two characters, and read and written once each.
        return (rates.get("input", 0) + rates.get("output", 0)) // 2

    async def languages(self, request: Request) -> None:
        """GET /v2/languages: what can be translated from, or into."""
        await self._calls.principal(request)
        asked = dict(parse_qsl(request.query.decode("latin-1")))
        if _is_form(request):
            body = await request.body(UNKNOWN_KEY_LIMIT)
            asked |= read_members(body)
        wanted = asked.get("type", "source")
        if wanted not in ("source", "target"):
            raise InvalidRequest.not_one_of("type", ("source", "target"))
        listed: list[dict[str, Any]] = TARGETS if wanted == "target" else SOURCES
        await request.client.respond(200, [_JSON], json.encode(listed))

    async def baidus(self, request: Request) -> None:
        """GET or POST /api/trans/vip/translate."""
        dialect = self._baidus
        given: bytes | None = None
        if request.method != "POST":
            given = request.query
        elif not request.carries_key:
            given = await request.body(UNKNOWN_KEY_LIMIT)
        if given is not None and not request.carries_key:
            request.named_key = read_members(given).get("appid")

        def parse(body: bytes) -> ParsedRequest:
            return dialect.parse_request(body if given is None else given)

        await self._calls.serve(request, dialect, parse, complete=self._complete)


_ASKED = (Operation.TRANSLATION, USUAL_MODEL)


def _is_form(request: Request) -> bool:
    kind = request.header(b"content-type") or b""
    return kind.lower().startswith(FORM)
