"""What is billed apiece: the provider's count where it may be true, else our own."""

from tests.support.cases import each

from posthouse.billing.usage import ABSURD_COUNTS, NormalisedUsage, with_counted
from posthouse.model.usage import NO_USAGE, Usage, UsageSource

NOTHING = NormalisedUsage(NO_USAGE)


@each(
    ("told", "asked", "expected", "source"),
    [
        ({}, {"image": 2}, {"image": 2}, UsageSource.MEASURED),
        ({"image": 1}, {"image": 2}, {"image": 1}, UsageSource.PROVIDER),
        ({"image": 0}, {"image": 2}, {}, UsageSource.PROVIDER),
        ({"second": 7}, {}, {"second": 7}, UsageSource.PROVIDER),
        ({"second": 7}, {"image": 1}, {"image": 1, "second": 7}, UsageSource.PROVIDER),
    ],
)
def test_counts(
    told: dict[str, int],
    asked: dict[str, int],
    expected: dict[str, int],
    source: UsageSource,
) -> None:
    found = with_counted(NOTHING, told, asked)
    assert found.usage == Usage(expected, source)
    assert not found.suspicious


@each("count", [-1, 3 * ABSURD_COUNTS + 1, 2**63])
def test_a_count_that_cannot_be_is_not_charged(count: int) -> None:
    found = with_counted(NOTHING, {"image": count}, {"image": 3})
    assert found.usage.quantities == {"image": 3}
    assert found.suspicious == ("image_impossible",)


def test_tokens_stay_beside() -> None:
    tokens = NormalisedUsage(Usage({"input": 5}, UsageSource.PROVIDER), ("odd",))
    found = with_counted(tokens, {}, {"image": 1})
    assert found.usage == Usage({"input": 5, "image": 1}, UsageSource.PROVIDER)
    assert found.suspicious == ("odd",)
