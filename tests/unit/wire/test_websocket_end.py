"""The framing of an open WebSocket's end."""

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from websockets.protocol import Protocol, Side

from posthouse.wire.websocket import BINARY, TEXT
from posthouse.wire.websocket_end import LOST, NO_CODE, Closing, SocketEnd, cut_reason

MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=300).map(str.encode)),
        st.tuples(st.just(BINARY), st.binary(max_size=300)),
    ),
    max_size=8,
)


def client() -> SocketEnd:
    """A client's end."""
    return SocketEnd(Protocol(Side.CLIENT, max_size=None))


@given(MESSAGES, st.integers(0, 2**32))
def test_messages_survive_any_cutting(
    messages: list[tuple[int, bytes]], seed: int
) -> None:
    """However the bytes arrive, the messages are those that were sent."""
    sender, receiver = client(), SocketEnd.of_server()
    for kind, payload in messages:
        sender.send(kind, payload)
    data, over = sender.writes()
    assert not over
    chance = random.Random(seed)
    found = []
    while data:
        size = chance.randint(1, 40)
        found += receiver.feed(data[:size])
        data = data[size:]
    assert found == messages
    assert receiver.held == 0


@given(st.binary(max_size=400))
def test_noise_raises_nothing(data: bytes) -> None:
    """Whatever arrives, an end is open, or has failed and says why."""
    end = SocketEnd.of_server()
    end.feed(data)
    assert end.open or end.failure is not None or end.closing is not None
    end.feed(b"more")
    end.end()


def test_what_is_not_whole_is_counted() -> None:
    """Bytes of a message that has begun are kept, and told."""
    sender, receiver = client(), SocketEnd.of_server()
    sender.send(TEXT, b"x" * 1000)
    data, _ = sender.writes()
    assert receiver.feed(data[:600]) == []
    assert 500 < receiver.held < 700


def test_a_close_is_answered_once() -> None:
    """The other side's code and reason are told, and echoed."""
    sender, receiver = client(), SocketEnd.of_server()
    sender.close(Closing(3001, "so"))
    receiver.feed(sender.writes()[0])
    assert receiver.closing == Closing(3001, "so")
    data, over = receiver.writes()
    assert over
    sender.feed(data)
    assert sender.closing == Closing(3001, "so")
    receiver.send(TEXT, b"too late")
    receiver.close(Closing(1000))
    assert receiver.writes() == (b"", False)


@each(
    ("code", "passed"),
    [(1000, 1000), (1001, 1001), (1005, 1000), (1006, 1011), (1015, 1011),
     (2999, 1011), (3000, 3000), (4999, 4999), (999, 1011)],
)  # fmt: skip
def test_codes_that_may_be_passed(code: int, passed: int) -> None:
    """Those that only stand for something are never sent."""
    assert Closing(code).passable.code == passed
    assert NO_CODE < LOST


def test_a_reason_is_cut_at_a_character() -> None:
    """A close frame holds 123 bytes of it."""
    assert cut_reason("é" * 100) == "é" * 61
