"""What holds of Responses whatever is said: round trips, order, and no other errors."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each
from tests.support.vendor_types import check_reply, check_stream
from tests.unit.dialects.responses_values import replies, requests

from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.chat import ChatReply, ChatRequest, Message, Role, Text
from posthouse.model.chat_events import ChatEvent
from posthouse.model.traits import Traits
from posthouse.wire.sse import SSEDecoder

IDENTITY = Identity("abc", 1_770_000_000)
ASKED = ChatRequest(
    dialect="openai_responses",
    model="m",
    messages=(Message(Role.USER, (Text("hi"),)),),
)
GOLDEN = Path(__file__).parents[2] / "golden" / "chat" / "openai_responses"


def written(chat: ChatRequest) -> bytes:
    return json.dumps(CODEC.write_request(chat, Traits(), Losses())).encode()


def read(body: bytes) -> ChatRequest:
    return CODEC.read_request(DIALECT.parse_request(body))


def decoded(wire: bytes) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    return [
        event
        for raw, data in SSEDecoder().feed(wire)
        for event in decoder.feed(raw, data)
    ]


def streamed(reply: ChatReply) -> bytes:
    encoder = CODEC.encoder(ASKED, IDENTITY)
    return b"".join(map(encoder.feed, events_of(reply))) + encoder.close()


@given(requests())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again(chat: ChatRequest) -> None:
    """For all that the dialect can express."""
    assert read(written(chat)) == chat


@given(requests())
@settings(max_examples=30, deadline=None)
def test_nothing_of_our_own_is_lost_on_the_way(chat: ChatRequest) -> None:
    """A request of this dialect loses nothing to itself."""
    losses = Losses()
    CODEC.write_request(chat, Traits(), losses)
    assert losses.told == ()


@given(replies())
@settings(max_examples=60, deadline=None)
def test_a_stream_amounts_to_the_whole_reply(reply: ChatReply) -> None:
    """What is told piece by piece is what is told at once."""
    body = CODEC.write_reply(reply, ASKED, IDENTITY)
    assert collect(decoded(streamed(reply))) == CODEC.read_reply(body)


@given(replies())
@settings(max_examples=25, deadline=None)
def test_the_sdk_takes_what_is_told(reply: ChatReply) -> None:
    """Events are of the SDK's types, numbered without a gap, and each is named."""
    check_reply("openai_responses", CODEC.write_reply(reply, ASKED, IDENTITY))
    wire = streamed(reply)
    check_stream("openai_responses", wire)
    events = [json.loads(data) for _, data in SSEDecoder().feed(wire)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@given(replies())
@settings(max_examples=30, deadline=None)
def test_items_come_one_after_the_other(reply: ChatReply) -> None:
    """An item is done before the next one is added; the response tells them all."""
    events = [json.loads(data) for _, data in SSEDecoder().feed(streamed(reply))]
    steps = [
        (event["type"].rpartition(".")[2], event["output_index"])
        for event in events
        if event["type"].startswith("response.output_item.")
    ]
    output = events[-1]["response"]["output"]
    assert steps == [
        (what, index) for index in range(len(output)) for what in ("added", "done")
    ]
    done = [
        event["item"]
        for event in events
        if event["type"] == "response.output_item.done"
    ]
    assert done == output


# --- what nobody would send -----------------------------------------------------------

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["message", "reasoning", "function_call", "input_text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "role", "content", "text", "name", "call_id"]
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
        keys = part.keys() if isinstance(part, dict) else range(len(part))
        for key in list(keys):
            found.append((part, key))
            if isinstance(part[key], dict | list):
                left.append(part[key])
    return found


def mutated(data: st.DataObject, value: Any) -> Any:
    for _ in range(data.draw(st.integers(1, 2))):
        found = places(value)
        if not found:
            break
        holder, key = data.draw(st.sampled_from(found))
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = data.draw(junk)
    return value


def recorded(name: str) -> list[Path]:
    return sorted(GOLDEN.glob(f"*/{name}"))


@given(st.data(), st.sampled_from(recorded("request.json")))
@settings(max_examples=150, deadline=None)
def test_a_request_is_read_or_refused(data: st.DataObject, path: Path) -> None:
    """Whatever is wrong with it, and what was read can be written."""
    body = json.dumps(mutated(data, json.loads(path.read_bytes()))).encode()
    with suppress(InvalidRequest):
        request = DIALECT.parse_request(body)
        DIALECT.prompt_text(request)
        chat = CODEC.read_request(request)
        CODEC.write_request(chat, Traits(), Losses())
        CODEC.encoder(chat, IDENTITY).close()


@given(st.data(), st.sampled_from(recorded("reply.json")))
@settings(max_examples=100, deadline=None)
def test_a_reply_is_read_or_a_fault(data: st.DataObject, path: Path) -> None:
    """Passing and translated."""
    body = json.dumps(mutated(data, json.loads(path.read_bytes()))).encode()
    request = DIALECT.parse_request(b'{"model":"m","input":"hi"}')
    with suppress(UpstreamFault):
        DIALECT.parse_reply(request, body, "other").output_text()
    with suppress(UpstreamFault):
        CODEC.write_reply(CODEC.read_reply(body), ASKED, IDENTITY)


@given(st.data(), st.sampled_from(recorded("stream.txt")))
@settings(max_examples=100, deadline=None)
def test_a_stream_is_read_or_a_fault(data: st.DataObject, path: Path) -> None:
    """One frame or several are not what they should be."""
    frames = SSEDecoder().feed(path.read_bytes())
    decoder, encoder = CODEC.decoder(), CODEC.encoder(ASKED, IDENTITY)
    changed = data.draw(st.integers(0, len(frames) - 1))
    with suppress(UpstreamFault):
        for index, (raw, content) in enumerate(frames):
            if index == changed and content.startswith(b"{"):
                content = json.dumps(mutated(data, json.loads(content))).encode()  # noqa: PLW2901 - one of them is another
            for event in decoder.feed(raw, content):
                encoder.feed(event)
        encoder.close()


@each("path", recorded("request.json"), ids=lambda p: p.parent.name)
def test_a_recorded_request_is_written_as_it_was(path: Path) -> None:
    """Up to the normal form, which writing and reading again does not change."""
    try:
        chat = read(path.read_bytes())
    except InvalidRequest:
        return
    assert read(written(chat)) == chat
