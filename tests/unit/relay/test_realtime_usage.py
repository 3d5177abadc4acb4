"""What transcripts of a session cost: in the units that their model is priced by."""

from typing import Any

from tests.support.cases import each

from posthouse.catalog.price import FREE, make_price, parse_rate
from posthouse.model.catalog import Price
from posthouse.model.usage import Usage, UsageSource
from posthouse.relay.realtime.usage import transcript_usage


def price(**rates: str) -> Price:
    return make_price({unit: parse_rate(text, unit) for unit, text in rates.items()})


def told(**quantities: int) -> Usage:
    return Usage(quantities, UsageSource.PROVIDER)


TOKENS = price(input="2", audio_input="6", output="8")
SECONDS = price(second="0.0001")
TOLD = {
    "type": "tokens",
    "input_tokens": 20,
    "input_token_details": {"audio_tokens": 20},
    "output_tokens": 4,
}


@each(
    ("usage", "paid", "heard", "expected"),
    [
        (TOLD, TOKENS, 2.0, told(audio_input=20, output=4)),
        ({"seconds": 1.2}, SECONDS, 9.0, told(second=2)),
        # In another unit than the price has: by the sound that was heard.
        (TOLD, SECONDS, 2.0, Usage({"second": 2}, UsageSource.MEASURED)),
        (
            {"seconds": 3},
            TOKENS,
            0.0,
            Usage({"audio_input": 30}, UsageSource.ESTIMATED),
        ),
        # Nothing told.
        ({}, SECONDS, 1.1, Usage({"second": 2}, UsageSource.MEASURED)),
        ({}, TOKENS, 2.0, Usage({"audio_input": 20}, UsageSource.ESTIMATED)),
        ({}, TOKENS, 0.0, Usage({}, UsageSource.NONE)),
        (TOLD, FREE, 2.0, told(audio_input=20, output=4)),
    ],
)
def test_a_transcript_is_charged(
    usage: dict[str, Any], paid: Price, heard: float, expected: Usage
) -> None:
    assert transcript_usage(usage, paid, heard) == expected
