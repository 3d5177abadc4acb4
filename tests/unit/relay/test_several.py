"""Several requests for one call: their replies read as one, their usage priced each."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.billing.usage import TokenEstimate
from posthouse.catalog.price import make_price
from posthouse.dialects.neutral.several import Lanes
from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind
from posthouse.model.usage import NO_USAGE, ReportedUsage, Usage, UsageSource
from posthouse.relay.charging_each import (
    charge_each,
    counted_for_each,
    summed,
    told_by_each,
)
from posthouse.relay.served import Completion, Served
from posthouse.relay.several import SeveralResponses
from posthouse.wire.sse import SSEDecoder

MILLION = 1_000_000


class Response:
    """A reply whose bytes a test puts in."""

    status = 200

    def __init__(self) -> None:
        self.headers = [(b"a", b"b")]
        self.bytes: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.ended: list[str] = []

    async def read(self) -> bytes:
        data = await self.bytes.get()
        if isinstance(data, Exception):
            raise data
        return data

    def release(self) -> None:
        self.ended.append("released")

    def abort(self) -> None:
        self.ended.append("aborted")


def several(count: int) -> tuple[SeveralResponses, Lanes, list[Any]]:
    responses: list[Any] = [Response() for _ in range(count)]
    lanes = Lanes(SSEDecoder, count)
    return SeveralResponses(responses, lanes), lanes, responses


async def test_whichever_has_something_is_read() -> None:
    """And none of them twice while another one waits."""
    whole, lanes, (one, two) = several(2)
    assert (whole.status, whole.headers) == (200, [(b"a", b"b")])
    two.bytes.put_nowait(b"data: 2\n\n")
    assert (await whole.read(), lanes.turn) == (b"data: 2\n\n", 1)
    for number in range(3):
        two.bytes.put_nowait(b"data: %d\n\n" % number)
    one.bytes.put_nowait(b"data: 1\n\n")
    read = []
    for _ in range(4):
        await asyncio.sleep(0)
        await whole.read()
        read.append(lanes.turn)
    assert sorted(read) == [0, 1, 1, 1]
    assert read.index(0) <= 1
    whole.abort()
    assert (one.ended, two.ended) == (["aborted"], ["aborted"])
    whole.abort()


async def test_what_has_ended_is_let_go_of() -> None:
    """By its last word, or because it was closed; the others go on."""
    whole, lanes, (one, two) = several(2)
    one.bytes.put_nowait(b"")
    data = await whole.read()
    assert data
    assert [frame[1] for frame in lanes.feed(data)] == [b""]
    lanes.over.add(0)
    two.bytes.put_nowait(b"data: 2\n\n")
    data = await whole.read()
    assert [frame[1] for frame in lanes.feed(data)] == [b"2"]
    lanes.over.add(1)
    assert await whole.read() == b""
    assert (one.ended, two.ended) == ([], ["released"])


async def test_what_is_still_read_is_closed_at_the_end() -> None:
    whole, _, (one, two) = several(2)
    one.bytes.put_nowait(b"x")
    await whole.read()
    whole.release()
    assert (one.ended, two.ended) == (["released"], ["aborted"])


async def test_a_failure_is_the_whole_replys() -> None:
    """A second one, which nobody waits for, is no matter."""
    whole, _, (one, two) = several(2)
    failure = ExchangeFailure(FailureKind.RESET, Certainty.RESPONSE_STARTED)
    one.bytes.put_nowait(failure)
    two.bytes.put_nowait(failure)
    with pytest.raises(ExchangeFailure):
        await whole.read()
    whole.abort()
    await asyncio.sleep(0)
    assert (one.ended, two.ended) == (["aborted"], ["aborted"])


# --- money --------------------------------------------------------------------------


def call() -> Any:
    offer = SimpleNamespace(model=SimpleNamespace(context=1000))
    return SimpleNamespace(offer=lambda _: offer, prompt_tokens=10)


def served(*each: ReportedUsage | None) -> Served:
    target: Any = object()
    return Served(target, Completion.WHOLE, None, None, str, each=each)


def test_told_usages_are_summed() -> None:
    found = told_by_each(
        call(), served(ReportedUsage(10, 5, cached_input=4), ReportedUsage(10, 7))
    )
    assert found is not None
    assert found.usage == Usage(
        {"input": 16, "cached_input": 4, "output": 12}, UsageSource.PROVIDER
    )
    assert [one.quantities["output"] for one in found.each] == [5, 7]


@each(
    "other", [None, ReportedUsage(10), ReportedUsage(output=5), ReportedUsage(10, -1)]
)
def test_what_one_lacks_is_counted(other: ReportedUsage | None) -> None:
    """The prompt for each, and of the answers what nobody has told."""
    given = served(ReportedUsage(10, 50), other, None)
    assert told_by_each(call(), given) is None
    found = counted_for_each(call(), given, TokenEstimate(12, 61))
    assert found.usage.source is UsageSource.ESTIMATED
    told = 0 if other is None else other.input or 0
    assert found.usage.quantities["input"] == 10 + (told or 12) + 12
    assert found.usage.quantities["output"] == 61


def test_nothing_is_known_of_what_was_abandoned() -> None:
    found = counted_for_each(call(), served(None, None, None), TokenEstimate(12, 0))
    assert found.usage == Usage({"input": 36}, UsageSource.ESTIMATED)


def test_each_has_a_price_of_its_own() -> None:
    """Two short prompts are no long one, and each pays for its request."""
    price = make_price(
        {"input": MILLION, "output": MILLION, "request": 5 * MILLION},
        long_context=[
            (15, {"input": 9 * MILLION, "output": MILLION, "request": 5 * MILLION})
        ],
    )
    each = [Usage({"input": 10, "output": 1}, UsageSource.PROVIDER)] * 2
    assert charge_each(each, price, NO_USAGE, None) == 2 * (11 + 5)
    assert summed(each).quantities == {"input": 20, "output": 2}
