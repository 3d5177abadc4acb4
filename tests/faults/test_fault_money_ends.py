"""D4: a stream whose money ends is cut as by its length, and says why."""

from pathlib import Path

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Send, Wait, chunk
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.station import KEY, Leaks, eventually, play, running
from tests.faults.wire import DONE

from posthouse.storage.ledger.queries import Balance

POOR = f"""
[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "0.034"

[[prices]]
model = "*"
input = "2"
cached_input = "0.5"
output = "8"
"""
"""The hold of a stream without a limit is 4,096 tokens at 8,000 nano-dollars,
which is 0.0328 USD: little is left to extend it by."""


def _long(request: Request) -> Behaviour:
    """Write far more than the money reaches."""
    parts = [Send(openai.stream_head())]
    first, then = ("delta", {"content": "word " * 200}), {"text": "word " * 200}
    chat = request.target.endswith("/chat/completions")
    for _ in range(200):
        choice = {"index": 0, **({first[0]: first[1]} if chat else then)}
        parts.append(Send(chunk(scripts.event({"choices": [choice]}))))
        parts.append(Wait(0.001))  # type: ignore[arg-type]
    return Behaviour("long", (*parts, Send(chunk(DONE)), scripts.END))


@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_a_stream_is_cut_when_the_money_ends(tmp_path: Path, operation: str) -> None:
    """Everything delivered is charged, never more than there was."""

    async def test() -> None:
        async with FakeUpstream(_long) as provider:
            text = POOR + channel("a", provider.origin)
            async with running(tmp_path, text) as station:
                leaks = Leaks()
                body = body_of(operation, "m", stream=True)
                del body["max_tokens"]
                seen = await station.ask(PATHS[operation], json.encode(body))
                assert (seen.status, seen.ended) == (200, True)
                *words, last, done = seen.frames
                assert done == DONE
                cut = json.decode(last[6:])
                assert cut["choices"][0]["finish_reason"] == "length"
                assert cut["posthouse"]["code"] == "insufficient_quota"
                assert 5 < len(words) < 100
                await eventually(lambda: not provider.open, "work goes on upstream")
                assert not provider.served[0].completed
                record, line = await station.books(seen.call_id)
                assert (record.outcome, record.status) == ("served", 200)
                assert record.usage["output"] == pytest.approx(
                    200 * len(words), rel=0.02
                )
                assert 0 < record.price == -line.amount <= 34_000_000
                (balance,) = [
                    found
                    for found in await station.installation.ledger.balances()
                    if isinstance(found, Balance)
                    and found.account_id.startswith("key:")
                ]
                assert balance.shown == 34_000_000 - record.price
                await station.settled()
                await leaks.assert_none()

    play(test)
