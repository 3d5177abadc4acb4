"""Sends requests that a scheme must sign, and keeps the tokens that it fetches.

What is to be signed, and how, says the scheme (`providers.auth`); the waiting is
here. A token is fetched once however many calls wait for it, and by none of them:
a caller who leaves takes nothing from the others. It is renewed when little of its
life is left, while the old one still serves. One that a provider no longer takes
is given up, and the request made once more with another.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module

from msgspec import Struct
from msgspec.structs import replace
from typing_extensions import override

from posthouse.errors import UpstreamCredential, UpstreamFault
from posthouse.model.catalog import Signing
from posthouse.model.exchange import ExchangeFailure, Timeouts, UpstreamRequest
from posthouse.observe.logs import logger
from posthouse.providers.auth.base import (
    BadCredential,
    Make,
    Signer,
    Steps,
    Token,
    TokenWanted,
)
from posthouse.relay.faults import AttemptFailed, exchange_failed
from posthouse.routing.table import Channel
from posthouse.upstream.ports import Resending, Sender, UpstreamResponse

KEPT = 1024
"""Credentials whose tokens are kept."""
RENEWED_AT = 0.8
"""Of a token's life."""
SPARE = 60.0
"""Seconds before its end in which a token is not shown any more."""
RENEWAL_PAUSE = 30.0
"""Seconds between two tries to renew a token that still serves."""
REPLY_LIMIT = 64 * 1024
TOTAL = 20.0
"""Seconds that a token may take."""
UNAUTHORIZED = 401

log = logger("posthouse")


class _Held(Struct):
    """A token that is kept."""

    token: Token
    renew_at: float
    """Seconds since 1970."""
    until: float


class Authorizer:
    """Signs the requests of one credential of one channel."""

    def __init__(
        self,
        signer: Signer,
        channel: str,
        *,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Begin without a token.

        Args:
            signer: of the credential.
            channel: its name, for the log.
            clock: seconds since 1970.
            nonce: gives letters and digits that it has never given before.
        """
        self._signer = signer
        self._channel = channel
        self._clock = clock
        self._nonce = nonce
        self._held: _Held | None = None
        self._fetching: asyncio.Task[Token] | None = None

    async def send(
        self,
        sender: Sender,
        request: UpstreamRequest,
        resending: Resending | None = None,
    ) -> UpstreamResponse:
        """Sign and send; raises AttemptFailed and ExchangeFailure."""
        signed, shown = await self._sign(sender, request)
        response = await sender.send(signed, resending)
        if response.status != UNAUTHORIZED or shown is None:
            return response
        response.release()
        if self._held is shown:
            # Of calls that were under way together, the first has seen to it.
            self.forget()
        signed, _ = await self._sign(sender, request)
        if resending is not None:
            resending()
        return await sender.send(signed, resending)

    def forget(self) -> None:
        """Give the token up: the provider does not take it any more."""
        self._held = None

    async def _sign(
        self, sender: Sender, request: UpstreamRequest
    ) -> tuple[UpstreamRequest, _Held | None]:
        """Sign, and give the token that was shown, if it had been kept."""
        shown = None
        try:
            steps = self._signer.sign(request, self._clock(), self._nonce())
            wanted = _next(steps, None)
            while isinstance(wanted, TokenWanted):
                shown = self._held if self._serves else None
                token = await self._token(sender, wanted, request)
                wanted = _next(steps, token)
        except BadCredential as error:
            log.warning(
                "a credential cannot be used", channel=self._channel, reason=str(error)
            )
            raise AttemptFailed(UpstreamCredential(), sent=False) from None
        return wanted, shown

    @property
    def _serves(self) -> bool:
        """Whether there is a token that can be shown."""
        return self._held is not None and self._clock() < self._held.until

    async def _token(
        self, sender: Sender, wanted: TokenWanted, request: UpstreamRequest
    ) -> Token:
        """Give a token, if possible without waiting."""
        held = self._held
        now = self._clock()
        if held is None or now >= held.until:
            return await asyncio.shield(self._fetch(sender, wanted, request))
        if now >= held.renew_at:
            held.renew_at = now + RENEWAL_PAUSE
            self._fetch(sender, wanted, request)
        return held.token

    def _fetch(
        self, sender: Sender, wanted: TokenWanted, request: UpstreamRequest
    ) -> "asyncio.Task[Token]":
        """Join in fetching a token, or begin."""
        if self._fetching is None:
            limits = request.timeouts
            asked = replace(
                wanted.request,
                proxy=request.proxy,
                timeouts=Timeouts(
                    limits.connect,
                    min(limits.first_byte, TOTAL),
                    limits.idle,
                    min(limits.total, TOTAL),
                ),
            )
            task = asyncio.create_task(self._ask(sender, asked, wanted))
            task.add_done_callback(self._fetched)
            self._fetching = task
        return self._fetching

    def _fetched(self, task: "asyncio.Task[Token]") -> None:
        self._fetching = None
        # Those who waited may all have left.
        if not task.cancelled() and task.exception() is not None:
            log.warning("a token could not be fetched", channel=self._channel)

    async def _ask(
        self, sender: Sender, request: UpstreamRequest, wanted: TokenWanted
    ) -> Token:
        asked_at = self._clock()
        try:
            response = await sender.send(request)
            body = await response.read_all(REPLY_LIMIT)
        except ExchangeFailure as failure:
            failed = exchange_failed(failure, self._channel)
            # The call itself has not been sent.
            raise AttemptFailed(failed.error, sent=False) from None
        try:
            token = wanted.read(response.status, body)
        except UpstreamFault as fault:
            raise AttemptFailed(fault, status=response.status, sent=False) from None
        life = max(token.lifetime, 0.0)
        self._held = _Held(
            token,
            renew_at=asked_at + RENEWED_AT * life,
            until=asked_at + life - min(SPARE, life / 10),
        )
        return token


def _next(steps: Steps, token: Token | None) -> TokenWanted | UpstreamRequest:
    """Take a scheme's next step: what it wants, or the signed request."""
    try:
        return next(steps) if token is None else steps.send(token)
    except StopIteration as done:
        signed: UpstreamRequest = done.value
        return signed


class _Unusable(Signer):
    """Stands for a credential that its scheme could not read."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        raise BadCredential(self._reason)


@cache
def find_scheme(name: str) -> Make:
    """The scheme of a name; raises LookupError if there is none."""
    try:
        found: Make = import_module(f"posthouse.providers.auth.{name}").make
    except (ModuleNotFoundError, AttributeError):
        raise LookupError(f"there is no scheme {name!r} for signing") from None
    return found


def find_authorizer(channel: Channel, credential: int) -> Authorizer | None:
    """Who signs for a channel's credential; None: nothing is to be signed.

    Another configuration of the same channel finds the same one, with its token.
    """
    signing = channel.provider.signing
    text = channel.credentials[credential]
    if signing is None or not text:
        return None
    return _authorizer(channel.name, channel.origin, signing, text)


@lru_cache(KEPT)
def _authorizer(
    channel: str, origin: str, signing: Signing, credential: str
) -> Authorizer:
    del origin  # another origin may give other tokens
    try:
        signer = make_signer(signing, credential)
    except BadCredential as error:
        signer = _Unusable(str(error))
    return Authorizer(signer, channel)


def make_signer(signing: Signing, credential: str) -> Signer:
    """Read a credential; raises BadCredential."""
    return find_scheme(signing.scheme)(credential, dict(signing.options))


def unusable_credentials(channel: Channel) -> list[str]:
    """Why credentials of a channel cannot sign, without what they are."""
    signing = channel.provider.signing
    found = []
    for credential in filter(None, channel.credentials):
        try:
            if signing is not None:
                make_signer(signing, credential)
        except BadCredential as error:
            found.append(str(error))
    return found
