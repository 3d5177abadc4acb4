"""What a call is charged for searches: those that were told, else those allowed."""

from types import SimpleNamespace
from typing import Any

from tests.support.cases import each

from posthouse.billing.usage import NormalisedUsage
from posthouse.catalog.price import make_price
from posthouse.model.usage import ReportedUsage, Usage, UsageSource
from posthouse.relay.charging import charge_usage
from posthouse.relay.served import Completion, Served

PRICE = make_price({"input": 0, "output": 0, "search": 10**7 * 10**6})
"""A hundredth of a dollar apiece, and nothing else."""


def charged(told: ReportedUsage | None, quantities: dict[str, int]) -> int:
    target: Any = object()
    offer = SimpleNamespace(price=PRICE, listed=PRICE)
    call: Any = SimpleNamespace(
        incoming=SimpleNamespace(
            request=SimpleNamespace(searches=3, plain=False), off_peak=False
        ),
        other_prices=(),
    )
    way: Any = SimpleNamespace(offer=offer, prepared=SimpleNamespace(cost=PRICE))
    served = Served(target, Completion.WHOLE, told, None, str, 0)
    found = NormalisedUsage(Usage(quantities, UsageSource.PROVIDER))
    return charge_usage(call, served, found, way).price


@each(
    ("told", "quantities", "searches"),
    [
        (None, {}, 3),
        (ReportedUsage(input=1, output=1), {}, 3),
        (ReportedUsage(input=1, output=1, searches=0), {}, 0),
        (ReportedUsage(input=1, output=1, searches=2), {"search": 2}, 2),
        (ReportedUsage(input=1, output=1, searches=5), {"search": 5}, 5),
    ],
)
def test_searches_that_were_counted_count(
    told: ReportedUsage | None, quantities: dict[str, int], searches: int
) -> None:
    """A provider who tells that there were none is believed."""
    assert charged(told, quantities) == searches * 10**7
