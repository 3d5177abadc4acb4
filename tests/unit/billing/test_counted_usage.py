"""What is counted otherwise than by tokens: told, measured, estimated."""

import pytest
from tests.support.cases import each

from posthouse.billing.estimate import estimate_prompt
from posthouse.billing.usage import TokenEstimate, normalise, with_counted
from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.model.call import Operation
from posthouse.model.usage import ReportedUsage
from posthouse.relay.charging import tokens_of

NOTHING = normalise(None, estimate=TokenEstimate(0, 0), context=0)


@each(
    ("told", "charged", "suspicious"),
    [
        (600, 600, False),
        (605, 605, False),
        (535, 535, False),
        (665, 665, False),
        (534, 600, True),
        (666, 600, True),
        (0, 600, True),
        (-1, 600, True),
        (10**9, 600, True),
    ],
)
def test_a_duration_counts_if_it_is_near_what_was_measured(
    told: int, charged: int, *, suspicious: bool
) -> None:
    found = with_counted(NOTHING, {"second": told}, {"second": 600})
    assert found.usage.quantities == {"second": charged}
    assert bool(found.suspicious) is suspicious


@each("told", [1, 600, 59_999])
def test_a_duration_counts_where_nothing_could_be_measured(told: int) -> None:
    found = with_counted(NOTHING, {"second": told}, {"second": 600}, roughly=True)
    assert (found.usage.quantities, found.usage.source) == (
        {"second": told},
        "provider",
    )


def test_what_was_only_estimated_says_so() -> None:
    found = with_counted(NOTHING, {}, {"second": 600}, roughly=True)
    assert found.usage.source == "estimated"
    assert with_counted(NOTHING, {}, {"second": 6}).usage.source == "measured"


def test_tokens_that_were_worked_out_are_an_estimate() -> None:
    report = ReportedUsage(input=12, output=5, estimated=True)
    found = normalise(report, estimate=TokenEstimate(0, 0), context=0)
    assert found.usage.quantities == {"input": 12, "output": 5}
    assert found.usage.source == "estimated"


def test_limits_by_tokens_count_tokens_alone() -> None:
    assert tokens_of({"input": 3, "audio_output": 4, "second": 60, "search": 1}) == 7


@pytest.mark.parametrize(("seconds", "tokens"), [(0, 12_008), (90, 908)])
def test_sound_whose_length_is_known_is_estimated_by_it(
    seconds: int, tokens: int
) -> None:
    request = ParsedRequest(
        operation=Operation.TRANSCRIPTION,
        envelope={},
        model="m",
        stream=False,
        prompt=PromptSize(audio_parts=1, audio_seconds=seconds),
        affinity=b"",
    )
    assert estimate_prompt(request, None) == tokens
