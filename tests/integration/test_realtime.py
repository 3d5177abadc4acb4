"""Realtime sessions over a provider: what passes, and where it goes."""

import json
from collections.abc import Iterator

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.realtime import ThreadedRealtime, Visit
from tests.integration.realtime_support import (
    KEYS,
    UPSTREAM_KEY,
    configuration,
    request_id,
    say,
    session,
    until,
)
from tests.support.posthouse import Posthouse
from tests.support.raw import send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[ThreadedRealtime, ThreadedRealtime]]:
    """Two providers."""
    with ThreadedRealtime() as first, ThreadedRealtime() as second:
        yield first, second


@pytest.fixture(scope="module")
def posthouse(
    start_posthouse: StartPosthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> Posthouse:
    """A Posthouse over both."""
    first, second = providers
    # One failure opens no breaker here: the tests are not about that.
    return start_posthouse(
        configuration(first.origin, second.origin),
        {"POSTHOUSE_BREAKER_FAILURES": "50"},
    )


@pytest.fixture
def provider(
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
) -> ThreadedRealtime:
    """The first of them, as good as new."""
    for one in providers:
        one.reset()
    return providers[0]


# --- what passes ------------------------------------------------------------------


async def test_messages_pass_byte_for_byte(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Spaces, numbers, escapes and unknown events stay as they were, both ways."""
    sent = [
        '{ "type" : "some.new.event", "number": 1.10, "huge": 1e400 }',
        '{"type":"conversation.item.create","item":{"x":"\\u00e9 \\ud83d\\ude00 é"}}',
        '{"type":"session.update", "session": {"instructions": "be  brief"}}',
    ]
    answers = ['{ "type":"odd" , "n":2.50 }', "no JSON at all", '{"no":"type"}']

    async def behave(visit: Visit) -> None:
        for _ in sent:
            await visit.hear()
        for message in answers:
            await visit.connection.send(message)
        await visit.connection.send(b"\x00binary")
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        for message in sent:
            await connection.send(message)
        got = [await connection.recv() for _ in range(4)]
    assert got == [*answers, b"\x00binary"]
    assert provider.last().received == sent


async def test_a_name_that_stands_twice_is_sent_once(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """What was judged is what the provider reads."""

    async def behave(visit: Visit) -> None:
        await visit.hear()

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.send(
            '{"type":"a", "type":"session.update", "session":{"voice":"x","voice":"y"}}'
        )
        await connection.wait_closed()
    assert provider.last().received == [
        '{"type":"session.update","session":{"voice":"y"}}'
    ]


async def test_large_and_fragmented_messages_pass(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A message of megabytes, and one in pieces, arrive whole."""

    async def behave(visit: Visit) -> None:
        for _ in range(2):
            await visit.hear()
        await visit.connection.send("x" * 5_000_000)
        await visit.hear()

    provider.behave = behave
    big = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 6_000_000})
    async with session(posthouse) as connection:
        await connection.send(big)
        await connection.send(['{"type":', '"in pieces"', "}"])
        assert len(await connection.recv()) == 5_000_000
    assert provider.last().received == [big, '{"type":"in pieces"}']


async def test_what_the_provider_is_told(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Its model's name, its own key, the beta's header, and nothing of the caller's."""
    headers = {
        "Authorization": f"Bearer {KEYS['app']}",
        "Cookie": "a=b",
        "X-Secret": "mine",
        "OpenAI-Beta": "realtime=v1",
    }
    async with session(posthouse, headers=headers) as connection:
        await until(connection, "session.created")
    visit = provider.last()
    assert visit.path == "/v1/realtime?model=m-upstream"
    assert visit.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert visit.headers["openai-beta"] == "realtime=v1"
    told = str(visit.headers).lower()
    for secret in (KEYS["app"], "cookie", "x-secret", "content-type", "protocol"):
        assert secret not in told


async def test_a_key_among_the_subprotocols(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """As browsers send it: accepted, not echoed, not passed, not logged."""
    key = KEYS["app"]
    offered = ["realtime", f"openai-insecure-api-key.{key}", "openai-beta.realtime-v1"]
    async with session(
        posthouse, headers={}, subprotocols=offered, origin="https://a.example"
    ) as connection:
        await until(connection, "session.created")
        assert connection.subprotocol == "realtime"
        assert connection.response is not None
        assert key not in str(connection.response.headers)
    visit = provider.last()
    assert visit.headers["openai-beta"] == "realtime=v1"
    assert key not in str(visit.headers)
    assert key not in posthouse.output()


async def test_models_are_called_by_their_public_names(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """Both ways, and no other model can be slipped in."""
    async with session(posthouse) as connection:
        created = (await until(connection, "session.created"))[-1]
        assert created["session"]["model"] == "voice"
        await say(connection, "session.update", session={"model": "voice", "a": 1.5})
        await say(connection, "session.update", session={"model": "m-upstream"})
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["param"] == "session.model"
        whisper = {"audio": {"input": {"transcription": {"model": "no-such"}}}}
        await say(connection, "session.update", event_id="e7", session=whisper)
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["code"] == "model_not_found"
        assert refused["event_id"] == "e7"
        await say(connection, "session.update", session={"odd": {"model": "voice"}})
        refused = (await until(connection, "error"))[-1]["error"]
        assert refused["param"] == "session.odd.model"
        await connection.send("{")
        assert (await until(connection, "error"))[-1]["error"]["code"] == "invalid_json"
        await connection.send(b'{"type":"response.create"}')
        await until(connection, "error")
    assert provider.last().received == [
        '{"type":"session.update","session":{"model":"m-upstream","a":1.5}}'
    ]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4001, "bye"), (1001, "x")])
async def test_a_providers_close_is_passed(
    posthouse: Posthouse, provider: ThreadedRealtime, code: int, reason: str
) -> None:
    """The client is told its code and its reason."""

    async def behave(visit: Visit) -> None:
        await visit.connection.close(code, reason)

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (code, reason)


async def test_a_clients_close_is_passed(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """The provider is told its code and its reason."""
    async with session(posthouse) as connection:
        await until(connection, "session.created")
        await connection.close(3007, "enough")
    visit = provider.last()
    assert (visit.close_code, visit.close_reason) == (3007, "enough")


# --- where it goes ----------------------------------------------------------------


async def test_another_channel_before_the_handshake(
    posthouse: Posthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
    provider: ThreadedRealtime,
) -> None:
    """One that refuses is passed over, and its refusal is recorded."""
    provider.refusal = 503, '{"error":{"message":"busy"}}'
    async with session(posthouse) as connection:
        await until(connection, "session.created")
        name = request_id(connection)
    assert providers[1].last().path == "/v1/realtime?model=m-second"
    record = posthouse.call(name)
    assert [a["channel"] for a in record["attempts"]] == ["first", "second"]
    assert record["attempts"][0]["upstream_status"] == 503


async def test_a_refusal_of_the_providers(
    posthouse: Posthouse,
    providers: tuple[ThreadedRealtime, ThreadedRealtime],
    provider: ThreadedRealtime,
) -> None:
    """What is wrong with the request is told as the provider put it."""
    for one in providers:
        body = '{"error":{"message":"No such voice","code":"odd","type":"t"}}'
        one.refusal = 400, body
    with pytest.raises(InvalidStatus) as refused:
        await session(posthouse)
    assert refused.value.response.status_code == 400
    assert b"No such voice" in (refused.value.response.body or b"")


async def test_what_is_not_here(posthouse: Posthouse) -> None:
    """No WebSocket elsewhere, nothing but WebSocket here, and no keys for browsers."""
    url, key = posthouse.url, KEYS["app"]
    bearer = ("Authorization", f"Bearer {key}")
    plain = send(url, "/v1/realtime?model=voice", method="GET", headers=(bearer,))
    assert (plain.status, plain.header("upgrade")) == (426, "websocket")
    for path in ("sessions", "calls", "calls/x/hangup"):
        reply = send(url, f"/v1/realtime/{path}", b"{}", headers=(bearer,))
        assert reply.status == 404
        assert b"not offered here" in reply.body
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws") + "/v1/responses")
    assert refused.value.response.status_code == 426


async def test_an_unknown_answer_code_is_not_sent_on(
    posthouse: Posthouse, provider: ThreadedRealtime
) -> None:
    """A provider that drops the connection between answers: 1011."""

    async def behave(visit: Visit) -> None:
        visit.connection.transport.abort()

    provider.behave = behave
    async with session(posthouse) as connection:
        await connection.wait_closed()
    assert connection.close_code == 1011
