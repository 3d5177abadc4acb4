"""Tokens are fetched once, kept, renewed in time and given up when refused."""

import asyncio
from collections.abc import Generator

import pytest
from tests.support.cases import each
from typing_extensions import override

from posthouse.catalog.load import load_catalog
from posthouse.errors import UpstreamBadResponse, UpstreamCredential
from posthouse.model.catalog import Signing
from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.providers.auth.base import (
    BadCredential,
    Signer,
    Token,
    TokenWanted,
    with_headers,
)
from posthouse.relay.authorize import (
    Authorizer,
    find_scheme,
    make_signer,
    unusable_credentials,
)
from posthouse.relay.faults import AttemptFailed
from posthouse.routing.table import ChannelDefaults, make_channel
from posthouse.settings.file import ChannelSpec
from posthouse.upstream.ports import Resending, Sender, UpstreamResponse

Steps = Generator[TokenWanted, Token, UpstreamRequest]
REQUEST = UpstreamRequest("POST", "https://a.example", "/chat", (), b"", Timeouts())
ASK = UpstreamRequest("POST", "https://t.example", "/token", (), b"", Timeouts())


class Response(UpstreamResponse):
    def __init__(self, status: int, body: bytes = b"") -> None:
        self.status = status
        self._body = body

    @property
    @override
    def headers(self) -> list[tuple[bytes, bytes]]:
        return []

    @override
    async def read(self) -> bytes:
        return b""

    @override
    async def read_all(self, limit: int) -> bytes:
        return self._body

    @override
    def release(self) -> None:
        pass

    @override
    def abort(self) -> None:
        pass


class Provider(Sender):
    """Gives tokens that live for 100 seconds, and takes the last one."""

    def __init__(self) -> None:
        self.asked = 0
        self.shown: list[bytes] = []
        self.withdrawn = False
        self.old_only = False
        """The first token alone is withdrawn."""
        self.failing: Exception | None = None
        self.gate: asyncio.Event | None = None

    @override
    async def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        if request.origin == ASK.origin:
            self.asked += 1
            if self.gate is not None:
                await self.gate.wait()
            if self.failing is not None:
                raise self.failing
            self.withdrawn = False
            return Response(200, b"token-%d" % self.asked)
        shown = dict(request.headers)[b"authorization"]
        self.shown.append(shown)
        await asyncio.sleep(0)
        refused = self.withdrawn or (self.old_only and shown == b"token-1")
        return Response(401 if refused else 200)

    @override
    async def close(self) -> None:
        pass


class Scheme(Signer):
    @override
    def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
        token = yield TokenWanted(ASK, read)
        return with_headers(request, ((b"authorization", token.value.encode()),))


def read(status: int, body: bytes) -> Token:
    if body == b"refused":
        raise UpstreamCredential
    return Token(body.decode(), 100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def authorizer(clock: Clock) -> Authorizer:
    return Authorizer(Scheme(), "channel", clock=clock)


async def test_one_token_serves_many_calls(
    authorizer: Authorizer, provider: Provider
) -> None:
    """Also those that came while it was fetched."""
    provider.gate = asyncio.Event()
    calls = [asyncio.create_task(authorizer.send(provider, REQUEST)) for _ in range(5)]
    await asyncio.sleep(0)
    provider.gate.set()
    await asyncio.gather(*calls)
    await authorizer.send(provider, REQUEST)
    assert provider.asked == 1
    assert provider.shown == [b"token-1"] * 6


async def test_who_leaves_takes_nothing_from_the_others(
    authorizer: Authorizer, provider: Provider
) -> None:
    provider.gate = asyncio.Event()
    first = asyncio.create_task(authorizer.send(provider, REQUEST))
    second = asyncio.create_task(authorizer.send(provider, REQUEST))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    provider.gate.set()
    assert (await second).status == 200
    assert provider.asked == 1


async def test_a_token_is_renewed_while_the_old_one_serves(
    authorizer: Authorizer, provider: Provider, clock: Clock
) -> None:
    """Nobody waits for it, and it is not tried again at once."""
    await authorizer.send(provider, REQUEST)
    clock.now += 81
    provider.gate = asyncio.Event()
    for _ in range(3):
        await authorizer.send(provider, REQUEST)
        await asyncio.sleep(0)
    assert provider.shown[1:] == [b"token-1"] * 3
    assert provider.asked == 2
    provider.gate.set()
    await asyncio.sleep(0.01)
    await authorizer.send(provider, REQUEST)
    assert provider.shown[-1] == b"token-2"


async def test_a_renewal_that_fails_leaves_the_old_token(
    authorizer: Authorizer, provider: Provider, clock: Clock
) -> None:
    await authorizer.send(provider, REQUEST)
    clock.now += 81
    provider.failing = failure()
    await authorizer.send(provider, REQUEST)
    await asyncio.sleep(0.01)
    assert (await authorizer.send(provider, REQUEST)).status == 200
    assert provider.asked == 2


async def test_a_token_is_not_shown_in_its_last_moments(
    authorizer: Authorizer, provider: Provider, clock: Clock
) -> None:
    await authorizer.send(provider, REQUEST)
    clock.now += 91
    await authorizer.send(provider, REQUEST)
    assert provider.shown == [b"token-1", b"token-2"]


async def test_a_withdrawn_token_costs_one_more_request(
    authorizer: Authorizer, provider: Provider
) -> None:
    """The books are told that it was made."""
    await authorizer.send(provider, REQUEST)
    provider.withdrawn = True
    told: list[None] = []
    response = await authorizer.send(provider, REQUEST, lambda: told.append(None))
    assert response.status == 200
    assert provider.shown == [b"token-1", b"token-1", b"token-2"]
    assert len(told) == 1


async def test_calls_that_meet_a_withdrawn_token_together_fetch_one(
    authorizer: Authorizer, provider: Provider
) -> None:
    await authorizer.send(provider, REQUEST)
    provider.old_only = True
    answers = await asyncio.gather(
        *(authorizer.send(provider, REQUEST) for _ in range(5))
    )
    assert [answer.status for answer in answers] == [200] * 5
    assert provider.asked == 2


async def test_a_fresh_token_that_is_refused_is_not_fetched_again(
    authorizer: Authorizer, provider: Provider
) -> None:
    """The account may not do this: another token would not help."""

    async def refuse(
        request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        return Response(200, b"t") if request.origin == ASK.origin else Response(401)

    provider.send = refuse  # type: ignore[method-assign]  # for this test alone
    assert (await authorizer.send(provider, REQUEST)).status == 401


async def test_what_is_forgotten_is_fetched_anew(
    authorizer: Authorizer, provider: Provider
) -> None:
    await authorizer.send(provider, REQUEST)
    authorizer.forget()
    await authorizer.send(provider, REQUEST)
    assert provider.asked == 2


def failure() -> ExchangeFailure:
    return ExchangeFailure(FailureKind.CONNECT, Certainty.NOT_SENT, "refused")


@pytest.mark.parametrize(
    ("broken", "status"),
    [(UpstreamCredential(), 200), (UpstreamBadResponse(), 200)],
)
async def test_a_refused_credential_fails_the_attempt_unsent(
    provider: Provider, clock: Clock, broken: Exception, status: int
) -> None:
    """The provider has not been asked what the caller asks: it may go elsewhere."""

    class Refusing(Signer):
        @override
        def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
            def fail(status: int, body: bytes) -> Token:
                raise broken

            yield TokenWanted(ASK, fail)
            return request

    authorizer = Authorizer(Refusing(), "channel", clock=clock)
    with pytest.raises(AttemptFailed) as failed:
        await authorizer.send(provider, REQUEST)
    assert failed.value.error is broken
    assert failed.value.status == status
    assert failed.value.free
    assert provider.shown == []


async def test_a_token_that_cannot_be_reached_fails_the_attempt_unsent(
    authorizer: Authorizer, provider: Provider
) -> None:
    provider.failing = failure()
    with pytest.raises(AttemptFailed) as failed:
        await authorizer.send(provider, REQUEST)
    assert failed.value.free
    provider.failing = None
    assert (await authorizer.send(provider, REQUEST)).status == 200


async def test_a_credential_of_no_form_is_a_refused_one(provider: Provider) -> None:
    class Bad(Signer):
        @override
        def sign(self, request: UpstreamRequest, now: float, nonce: str) -> Steps:
            raise BadCredential("it is not of the form X")

    with pytest.raises(AttemptFailed) as failed:
        await Authorizer(Bad(), "channel").send(provider, REQUEST)
    assert isinstance(failed.value.error, UpstreamCredential)
    assert failed.value.free


def test_credentials_that_cannot_sign_are_named_by_their_form() -> None:
    """For `doctor`; those of a provider that wants no signature are not looked at."""
    catalog = load_catalog()
    for provider, found in (("zhipu-jwt", 1), ("openai", 0)):
        spec = ChannelSpec(name="c", provider=provider)
        channel = make_channel(
            spec, catalog[provider], ("id.secret", "bad"), ChannelDefaults()
        )
        reasons = unusable_credentials(channel)
        assert len(reasons) == found
        assert all("ID.SECRET" in reason for reason in reasons)


def test_every_row_names_a_scheme_that_there_is() -> None:
    for row in load_catalog().values():
        if row.signing is not None:
            assert find_scheme(row.signing.scheme) is not None


def test_schemes_are_found_by_name() -> None:
    assert find_scheme("tc3") is not None
    for name in ("nothing", "base"):
        with pytest.raises(LookupError):
            find_scheme(name)


@each(
    ("scheme", "text"),
    [
        ("sigv4", "AKID"),
        ("service_account", '{"client_email": "a", "private_key": "no key"}'),
        ("service_account", "plain"),
        ("tc3", "only-an-id"),
        ("baidu_token", "only-a-key"),
        ("zhipu_jwt", "only-an-id"),
    ],
)
def test_no_reason_repeats_a_credential(scheme: str, text: str) -> None:
    options = tuple((name, "x") for name in ("service", "scope", "action", "version"))
    with pytest.raises(BadCredential) as refused:
        make_signer(Signing(scheme, options), text)
    assert text not in str(refused.value)
