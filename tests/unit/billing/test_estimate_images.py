"""What is held for pictures: all that are asked for, at what each will cost."""

from tests.support.cases import each

from posthouse.billing.estimate import hold_amount
from posthouse.catalog.price import make_price, parse_rate
from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.model.call import Operation
from posthouse.model.catalog import TierRates


def image(usd: str) -> dict[str, int]:
    return {"image": parse_rate(usd, "image")}


APIECE = make_price(
    image("0.04"),
    service_tiers={
        "hd/1024x1792": TierRates(image("0.12")),
        "large": TierRates(image("0.80")),
    },
)
BY_TOKENS = make_price(
    {
        "input": parse_rate("5", "input"),
        "output": parse_rate("10", "output"),
        "image_output": parse_rate("30", "image_output"),
    }
)


def asked(tier: str | None, count: int, tokens: int = 0) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.IMAGE,
        envelope={},
        model="m",
        stream=False,
        prompt=PromptSize(text_bytes=10),
        affinity=b"",
        choices=count,
        output_limit=tokens,
        service_tier=tier,
        counted={"image": count},
    )


@each(
    ("tier", "count", "held"),
    [
        (None, 1, 40_000_000),
        ("standard/1024x1024", 3, 120_000_000),
        ("hd/1024x1792", 2, 240_000_000),
        # One that is not named is at the plain price, not at the dearest.
        ("hd/9x9", 1, 40_000_000),
        ("large", 1, 800_000_000),
    ],
)
def test_pictures_are_held_for_at_what_each_costs(
    tier: str | None, count: int, held: int
) -> None:
    request = asked(tier, count)
    amount = hold_amount(
        APIECE, request, prompt_tokens=100, model=None, hold_max=10**12
    )
    assert amount == held


def test_tokens_are_held_for_at_the_dearest_rate_of_each_picture() -> None:
    request = asked("high/1024x1024", 2, tokens=4160)
    amount = hold_amount(
        BY_TOKENS, request, prompt_tokens=100, model=None, hold_max=10**12
    )
    assert amount == 100 * 5_000 + 2 * 4160 * 30_000
