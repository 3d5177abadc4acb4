"""Whatever OpenAI's chat can say is read as it was written."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from tests.unit.dialects.chat_values import ABLE, NAME, replies, requests

from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.dialects.openai_chat import CODEC, DIALECT
from posthouse.model.chat import ChatReply, ChatRequest, Message, Role, Text
from posthouse.model.chat_events import ChatEvent, Finished, PartGrew, PartStarted
from posthouse.wire import json as wire_json
from posthouse.wire.sse import SSEDecoder

IDENTITY = Identity("x", 1)
some = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
ASKED = ChatRequest(
    dialect=NAME,
    model="m",
    messages=(Message(Role.USER, (Text("hi"),)),),
    include_usage=True,
)


def read(body: dict[str, Any]) -> ChatRequest:
    return CODEC.read_request(DIALECT.parse_request(wire_json.encode(body)))


def decoded(wire: bytes) -> list[ChatEvent]:
    decoder, frames = CODEC.decoder(), SSEDecoder()
    events: list[ChatEvent] = []
    for raw, data in frames.feed(wire) + frames.close():
        events += decoder.feed(raw, data)
    return events + decoder.close()


def encoded(reply: ChatReply) -> bytes:
    encoder = CODEC.encoder(ASKED, IDENTITY)
    return b"".join([*map(encoder.feed, events_of(reply)), encoder.close()])


@some
@given(requests())
def test_a_request_is_read_as_it_was_written(chat: ChatRequest) -> None:
    """Nothing is lost of what the dialect has words for."""
    losses = Losses()
    body = CODEC.write_request(chat, ABLE, losses)
    assert read(json.loads(wire_json.encode(body))) == chat
    assert losses.told == ()


@some
@given(requests())
def test_writing_twice_is_writing_once(chat: ChatRequest) -> None:
    """The normal form is its own."""
    body = CODEC.write_request(chat, ABLE, Losses())
    assert CODEC.write_request(read(body), ABLE, Losses()) == body


@some
@given(replies())
def test_a_reply_is_read_as_it_was_written(reply: ChatReply) -> None:
    """Whole."""
    body = CODEC.write_reply(reply, ASKED, IDENTITY)
    assert CODEC.read_reply(body) == reply


@some
@given(replies())
def test_a_stream_is_read_as_it_was_written(reply: ChatReply) -> None:
    """And amounts to the whole reply."""
    wire = encoded(reply)
    assert collect(decoded(wire)) == reply


@some
@given(replies())
def test_the_order_of_events_is_kept(reply: ChatReply) -> None:
    """No part grows before it began, and none after its choice has ended."""
    begun: set[tuple[int, int]] = set()
    finished: set[int] = set()
    for event in decoded(encoded(reply)):
        match event:
            case PartStarted():
                assert event.choice not in finished
                begun.add((event.choice, event.part))
            case PartGrew():
                assert (event.choice, event.part) in begun
            case Finished():
                assert event.choice not in finished
                finished.add(event.choice)
            case _:
                pass
    assert finished == {choice.index for choice in reply.choices}
