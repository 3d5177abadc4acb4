"""The sandbox's realtime sessions, event by event."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.model.sockets import HandshakeRefused
from posthouse.providers.sandbox import talk
from posthouse.providers.sandbox.realtime import RealtimeSession
from posthouse.wire.websocket import BINARY, TEXT

SECOND = base64.b64encode(bytes(48_000)).decode()


def session(model: str = "sandbox-realtime") -> RealtimeSession:
    """Begin a session and forget its greeting."""
    target = f"/v1/realtime?model={model}"
    begun = talk(UpstreamRequest("GET", "sandbox://local", target, (), b"", Timeouts()))
    assert said(begun)[0]["type"] == "session.created"
    return begun


def said(talker: RealtimeSession) -> list[Any]:
    """Take all that it says now."""
    found = []
    while (saying := talker.next()) is not None:
        found.append(
            {"close": saying.close_code}
            if saying.close_code
            else json.loads(saying.payload)
        )
    return found  # fmt: skip


def tell(talker: RealtimeSession, kind: str, **members: Any) -> list[Any]:
    """Send an event; take what it says to it."""
    talker.take(TEXT, json.dumps({"type": kind, **members}).encode())
    return said(talker)


def error_of(events: list[Any]) -> str:
    """The code of the one error."""
    [event] = events
    code: str = event["error"]["code"]
    return code


def test_sessions_are_the_same_every_time() -> None:
    """To the byte."""
    first, second = (
        [
            tell(one, "response.create"),
            tell(one, "input_audio_buffer.append", audio=SECOND),
        ]
        for one in (session(), session())
    )
    assert first == second


def test_an_answer_counts_what_it_says() -> None:
    """Its text, its sound, what it has read and what of that it knew."""
    talker = session()
    tell(talker, "conversation.item.create", item={"role": "user", "content": "Hello"})
    told = []
    for _ in range(2):
        *_, done = tell(talker, "response.create")
        told.append(done["response"]["usage"])
    first, second = told
    assert first["total_tokens"] == first["input_tokens"] + first["output_tokens"]
    assert second["input_tokens"] == first["total_tokens"]
    assert second["input_token_details"]["cached_tokens"] == first["input_tokens"]


def test_settings_are_merged() -> None:
    """Objects deeply; the model stays."""
    talker = session()
    [updated] = tell(talker, "session.update", session={"audio": {"input": {"x": 1}}})
    sound = updated["session"]["audio"]["input"]
    assert sound["x"] == 1
    assert sound["turn_detection"]["type"] == "server_vad"
    assert error_of(tell(talker, "session.update", session={"model": "other"})) == (
        "invalid_value"
    )


@each(
    ("kind", "members", "code"),
    [
        ("no.such.event", {}, "invalid_value"),
        ("session.update", {}, "missing_required_parameter"),
        ("conversation.item.create", {}, "missing_required_parameter"),
        ("input_audio_buffer.append", {"audio": "%"}, "invalid_value"),
        ("input_audio_buffer.commit", {}, "input_audio_buffer_commit_empty"),
        ("response.cancel", {}, "response_cancel_not_active"),
    ],
)
def test_what_is_refused(kind: str, members: dict[str, Any], code: str) -> None:
    """By an error event that names the client's."""
    [event] = tell(session(), kind, event_id="mine", **members)
    assert (event["type"], event["error"]["code"]) == ("error", code)
    assert event["error"]["event_id"] == "mine"


def test_one_answer_at_a_time() -> None:
    """And one that is called off says what it took."""
    talker = session("sandbox-realtime:pace-1s")
    for _ in range(2):
        talker.take(TEXT, b'{"type":"response.create"}')
    refused = talker.next()
    assert refused is not None
    assert b"conversation_already_has_active_response" in refused.payload
    for _ in range(6):
        talker.next()
    [done] = tell(talker, "response.cancel")
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["usage"]["output_tokens"] > 0


@pytest.mark.parametrize(("name", "status"), [("error-503", 503), ("nonsense", 404)])
def test_handshakes_that_are_refused(name: str, status: int) -> None:
    """As the model's name asks."""
    with pytest.raises(HandshakeRefused) as refused:
        session(f"sandbox-realtime:{name}")
    assert refused.value.status == status


def test_a_session_that_breaks_off() -> None:
    """After its first words."""
    *before, last = tell(
        session("sandbox-realtime:reset-mid-stream"), "response.create"
    )
    assert last == {"close": 1011} or {"close": 1011} in before


@given(st.binary(max_size=100), st.sampled_from([TEXT, BINARY]))
def test_noise_is_answered_by_an_error(data: bytes, kind: int) -> None:
    """Nothing raises."""
    talker = session()
    talker.take(kind, data)
    assert all(event["type"] in ("error", "session.updated") for event in said(talker))
