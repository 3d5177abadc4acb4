"""What holds of Gemini whatever is said: round trips, order, and no other errors."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each
from tests.support.vendor_types import check_reply, check_request, check_stream
from tests.unit.dialects.gemini_values import replies, requests

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_generate import CODEC
from posthouse.dialects.gemini_generate.request import parse_request_for
from posthouse.dialects.google.framing import JSONArrayFraming
from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.chat import ChatReply, ChatRequest, Message, Role, Text
from posthouse.model.chat_events import ChatEvent
from posthouse.model.traits import Traits
from posthouse.wire import json
from posthouse.wire.sse import SSEDecoder

IDENTITY = Identity("abc", 1_770_000_000)
ASKED = ChatRequest(
    dialect="gemini_generate",
    model="m",
    messages=(Message(Role.USER, (Text("hi"),)),),
)
GOLDEN = Path(__file__).parents[2] / "golden" / "chat" / "gemini_generate"


def written(chat: ChatRequest) -> bytes:
    return json.encode(CODEC.write_request(chat, Traits(), Losses()))


def parsed(body: bytes, *, stream: bool = False) -> ParsedRequest:
    return parse_request_for(body, "gemini-x", stream)


def decoded(wire: bytes) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    frames = SSEDecoder().feed(wire)
    events = [event for frame in frames for event in decoder.feed(*frame)]
    return events + decoder.close()


def streamed(reply: ChatReply) -> bytes:
    encoder = CODEC.encoder(ASKED, IDENTITY)
    return b"".join(map(encoder.feed, events_of(reply))) + encoder.close()


@given(requests())
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read_again(chat: ChatRequest) -> None:
    """For all that the dialect can express."""
    assert CODEC.read_request(parsed(written(chat), stream=chat.stream)) == chat


@given(requests())
@settings(max_examples=60, deadline=None)
def test_nothing_of_our_own_is_lost_on_the_way(chat: ChatRequest) -> None:
    """A request of this dialect loses nothing to itself, and SDKs know its types."""
    losses = Losses()
    body = CODEC.write_request(chat, Traits(), losses)
    assert losses.told == ()
    check_request("gemini_generate", msgspec.json.decode(json.encode(body)))


@given(replies())
@settings(max_examples=60, deadline=None)
def test_a_reply_that_is_written_is_read_again(reply: ChatReply) -> None:
    """At once, and piece by piece."""
    body = CODEC.write_reply(reply, ASKED, IDENTITY)
    assert CODEC.read_reply(body) == reply
    check_reply("gemini_generate", body)


@given(replies())
@settings(max_examples=60, deadline=None)
def test_a_stream_amounts_to_the_whole_reply(reply: ChatReply) -> None:
    """What is told piece by piece is what is told at once."""
    wire = streamed(reply)
    assert collect(decoded(wire)) == reply
    check_stream("gemini_generate", wire)


@given(replies(), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_an_array_holds_what_the_events_hold(reply: ChatReply, size: int) -> None:
    """However the events are cut."""
    wire = streamed(reply)
    framing = JSONArrayFraming()
    pieces = [framing.feed(wire[i : i + size]) for i in range(0, len(wire), size)]
    array = msgspec.json.decode(b"".join(pieces) + framing.close())
    frames = [msgspec.json.decode(data) for _, data in SSEDecoder().feed(wire)]
    assert array == frames


# --- what nobody would send -----------------------------------------------------------

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["user", "model", "STOP", "AUTO", "OBJECT", "AAAA"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["text", "parts", "role", "functionCall", "inline_data", "name", "id"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every member and entry of a value: what holds it, and where."""
    found = []
    left = [value]
    while left:
        part = left.pop()
        entries = (
            list(part.items())
            if isinstance(part, dict)
            else list(enumerate(part))
            if isinstance(part, list)
            else []
        )
        for where, inner in entries:
            found.append((part, where))
            left.append(inner)
    return found


def recorded(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob(f"*/{name}"))]


REQUESTS = [data for data in recorded("request.json") if len(data) < 5000]
REPLIES = [data for data in recorded("reply.json") if len(data) < 5000]


@st.composite
def spoilt(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """A recorded body in which one place holds something else."""
    value = msgspec.json.decode(draw(st.sampled_from(bodies)))
    holder, where = draw(st.sampled_from(places(value)))
    holder[where] = draw(junk)
    return msgspec.json.encode(value)


@given(spoilt(REQUESTS))
@settings(max_examples=150, deadline=None)
def test_any_request_is_read_or_refused(body: bytes) -> None:
    """By InvalidRequest, and by nothing else; what is read can be written."""
    with suppress(InvalidRequest):
        chat = CODEC.read_request(parsed(body))
        json.encode(CODEC.write_request(chat, Traits(), Losses()))


@given(spoilt(REPLIES))
@settings(max_examples=150, deadline=None)
def test_any_reply_is_read_or_judged(body: bytes) -> None:
    """By UpstreamFault, and by nothing else; what is read can be written."""
    with suppress(UpstreamFault):
        reply = CODEC.read_reply(body)
        CODEC.write_reply(reply, ASKED, IDENTITY)
        streamed(reply)


@given(spoilt(REPLIES), spoilt(REPLIES))
@settings(max_examples=60, deadline=None)
def test_any_frames_are_read_or_judged(first: bytes, second: bytes) -> None:
    """One after the other, too."""
    decoder = CODEC.decoder()
    with suppress(UpstreamFault):
        events = [e for data in (first, second) for e in decoder.feed(data, data)]
        collect([*events, *decoder.close()])


@each("body", REQUESTS, ids=range(len(REQUESTS)))
def test_a_written_request_is_read_as_the_same(body: bytes) -> None:
    """Once in the normal form, a recorded request stays as it is."""
    first = written(CODEC.read_request(parsed(body)))
    assert written(CODEC.read_request(parsed(first))) == first
