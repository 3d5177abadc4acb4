"""The least rate of a reply: what is too slow, and what only seems so."""

from tests.support.cases import each

from posthouse.model.exchange import Timeouts
from posthouse.upstream.pace import Pace
from posthouse.upstream.response import Response

PACE = Pace(seconds=60, bytes=1024)


def reply(idle: float = 60.0) -> Response:
    return Response(None, Timeouts(idle=idle), 0.0)  # type: ignore[arg-type]


def judge(response: Response, grown: int, latest: bytes, *, unread: int = 0) -> bool:
    """Whether a window that began at 100 s ends badly after so many bytes."""
    assert PACE.ends(response, 100.0) > 100.0
    response.received += grown
    response.taken = response.received - unread
    response.latest = latest
    end = 100.0 + max(PACE.seconds, response.timeouts.idle)
    assert PACE.ends(response, end - 0.1) == end
    return PACE.ends(response, end) == end


@each(
    ("grown", "latest", "slow"),
    [
        (60, b"x", True),
        (1023, b'data: {"cho', True),
        (1024, b"x", False),
        (300, b"\n", False),
        (300, b": keep-alive\n\n", False),
        (300, b"\r\n: waiting\r\n\r\n", False),
        (60, b":", True),
        (60, b" ", True),
        (300, b'data: {"a":1}\n\n', True),
    ],
)
def test_a_window_must_bring_something(grown: int, latest: bytes, slow: bool) -> None:
    """Bytes enough, or a sign that the call waits for its turn."""
    assert judge(reply(), grown, latest) == slow


def test_what_nobody_has_read_yet_is_no_slowness() -> None:
    """The provider may be waiting for us."""
    assert not judge(reply(), 10, b"x", unread=10)


def test_who_is_made_to_wait_is_not_slow() -> None:
    """Even though all that it has sent has been read."""
    response = reply()
    response.paused = True
    assert not judge(response, 10, b"x")


def test_a_window_is_never_shorter_than_silence_may_be() -> None:
    """A model that may think for ten minutes is not too slow after one."""
    response = reply(idle=600.0)
    assert PACE.ends(response, 100.0) == 700.0
    assert judge(response, 60, b"x")


def test_a_window_that_ended_well_is_followed_by_another() -> None:
    """What came in the one does not count in the next."""
    response = reply()
    assert not judge(response, 5_000, b"x")
    response.received += 10
    response.taken = response.received
    assert PACE.ends(response, 219.0) == 220.0
    assert PACE.ends(response, 220.0) == 220.0
