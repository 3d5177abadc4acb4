"""No request reaches a provider that its sender did not send.

`make fuzz` tries more streams than this.
"""

import random
import re
from collections import Counter

import pytest
from tests.security import smuggling
from tests.security.smuggling import Judge, Stream
from tests.security.strict_http import End, read_stream
from tests.support.cases import each
from tests.support.guard import Guarded

STREAMS = 600
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


def test_no_stream_is_read_otherwise_than_by_the_letter(guarded: Guarded) -> None:
    """Odd framing, requests in bodies, damage; the same streams each time."""
    ends: Counter[End] = Counter()
    seen = 0
    judge = Judge(guarded)
    for seed in range(STREAMS):
        end, served = judge.try_stream(Stream(seed, guarded.key))
        ends[end] += 1
        seen += served
    assert guarded.state().holds == 0
    # A good part of them is good, and of every kind are some.
    assert ends[End.CLOSED] > STREAMS // 4
    assert min(ends[End.PARTIAL], ends[End.BAD]) > STREAMS // 60
    assert seen > STREAMS // 3


def test_a_misreading_is_noticed(guarded: Guarded) -> None:
    """A provider that saw the second of two requests, of which one was sent."""
    judge = Judge(guarded)
    streams = [Stream(seed, guarded.key) for seed in range(200)]
    stream = next(one for one in streams if judge.try_stream(one) == (End.CLOSED, 2))
    letter, _ = read_stream(stream.data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            smuggling, "read_stream", lambda _: ([letter[-1]] * len(letter), End.CLOSED)
        )
        with pytest.raises(AssertionError, match="was not sent so"):
            judge.try_stream(stream)


@pytest.mark.parametrize("version", [b"2.0", b"1.0"])
def test_an_upgrade_offered_changes_no_version(
    guarded: Guarded, version: bytes
) -> None:
    """What is refused, or ended, without the offer is so with it."""
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    head = b"GET /health/live HTTP/%b\r\nHost: a\r\n%b\r\n"
    usual, offered = (
        smuggling.talk(guarded, head % (version, more) + LAST, half_close=False)
        for more in (b"", offer)
    )
    statuses = [re.findall(rb"HTTP/1\.1 (\d{3}) ", reply) for reply in (usual, offered)]
    assert statuses[0] == statuses[1]
    assert len(statuses[0]) == 1
    assert usual.split()[1] == offered.split()[1]


@each(
    ("data", "bodies", "end"),
    [
        (b"", [], End.WHOLE),
        (HEAD + b"\r\n", [b""], End.WHOLE),
        (b"\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab", [b"ab"], End.WHOLE),
        (HEAD + b"Content-Length: 1\r\n\r\nab", [b"a"], End.PARTIAL),
        (HEAD + b"Content-Length: 3\r\n\r\nab", [], End.PARTIAL),
        (HEAD + b"Connection: close\r\n\r\n" + HEAD + b"\r\n", [b""], End.CLOSED),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nX: y\r\n\r\n",
            [b"a"],
            End.WHOLE,
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", [], End.BAD),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n", [], End.BAD),
        (
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            [],
            End.BAD,
        ),
        (HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", [], End.BAD),
        (HEAD + b"Content-Length: +0\r\n\r\n", [], End.BAD),
        (HEAD + b"X : y\r\n\r\n", [], End.BAD),
        (HEAD + b"X: y\r\n z\r\n\r\n", [], End.BAD),
        (HEAD + b"X: a\nY: b\r\n\r\n", [], End.BAD),
        (HEAD + b"Host: b\r\n\r\n", [], End.BAD),
        (b"GET / HTTP/1.1\r\n\r\n", [], End.BAD),
    ],
)
def test_the_other_reader_reads_by_the_letter(
    data: bytes, bodies: list[bytes], end: End
) -> None:
    """What it refuses and what it takes."""
    found, how = read_stream(data)
    assert [one.body for one in found] == bodies
    assert how is end


def test_streams_are_what_their_seed_says() -> None:
    """So that a failure can be looked at again."""
    seed = random.Random(1).randrange(2**32)
    assert Stream(seed, "k").data == Stream(seed, "k").data
    assert Stream(seed, "k").data != Stream(seed + 1, "k").data
