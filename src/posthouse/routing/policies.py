"""How channels of equal priority are chosen among, beside by weight.

A policy sees only members that can be used, in the ring's order, and gives
those that are equally good; among them the ring and the shares decide. It is
pure but for what it was told of earlier attempts.
"""

from collections.abc import Callable, Iterable
from math import inf

from posthouse.model.patterns import matches, specificity
from posthouse.routing.table import Asked, Choice, Member, Policy, Tier
from posthouse.settings.file import PolicyName, RoutingSpec

Cost = Callable[[str, str, str, Asked], float | None]
"""What a call would cost us: channel, provider, upstream model; None: not known."""


class LowestCost:
    """The member whose supplier asks least; those of unknown price last."""

    def __init__(self, cost: Cost) -> None:
        """Ask `cost` what a call would cost."""
        self._cost = cost

    def best(self, tier: Tier, usable: list[int], asked: Asked) -> list[int]:
        """See Policy."""
        costs = [self._cost_of(tier.members[index], asked) for index in usable]
        least = min(costs)
        return [
            index for index, cost in zip(usable, costs, strict=True) if cost == least
        ]

    def observe(
        self, member: Member, seconds: float, now: float, *, stream: bool, failed: bool
    ) -> None:
        """See Policy; what attempts take is of no interest."""

    def _cost_of(self, member: Member, asked: Asked) -> float:
        channel = member.channel
        model = member.upstream_model or asked.model
        cost = self._cost(channel.name, channel.provider.name, model, asked)
        return inf if cost is None else cost


class LeastBusy:
    """The channel with the fewest attempts under way for its weight.

    Of a channel's credentials, the one with the fewest comes first.
    """

    def best(self, tier: Tier, usable: list[int], asked: Asked) -> list[int]:
        """See Policy."""
        del asked
        loads = [_load(tier, index) for index in usable]
        least = min(loads)
        return [
            index for index, load in zip(usable, loads, strict=True) if load == least
        ]

    def observe(
        self, member: Member, seconds: float, now: float, *, stream: bool, failed: bool
    ) -> None:
        """See Policy; the load is counted where attempts begin and end."""


def _load(tier: Tier, index: int) -> tuple[float, int]:
    channel = tier.members[index].channel
    return channel.load.in_flight / channel.spec.weight, tier.in_flight[index]


class PolicyBook:
    """The policy of every model, as the configuration says."""

    def __init__(
        self,
        specs: Iterable[RoutingSpec],
        policies: dict[PolicyName, Policy],
    ) -> None:
        """Sort the entries by their patterns.

        Args:
            specs: as configured.
            policies: all but `weighted`, which is no policy at all.
        """
        self._policies = policies
        self._choices = [
            (spec.model, self._choice(spec))
            for spec in sorted(
                specs, key=lambda spec: specificity(spec.model), reverse=True
            )
        ]

    def _choice(self, spec: RoutingSpec) -> Choice | None:
        policy = self._policies.get(spec.policy)
        after = None if spec.hedge is None else spec.hedge.after
        if policy is None and after is None:
            return None
        return Choice(policy, None, after)

    def choice(self, model: str) -> Choice | None:
        """How a model's channels are chosen among; the most specific entry wins."""
        for pattern, choice in self._choices:
            if matches(pattern, model):
                return choice
        return None

    def restricted(
        self,
        present: Choice | None,
        policy: PolicyName | None,
        only: frozenset[str] | None,
    ) -> Choice | None:
        """Change a choice as a rule says; None leaves its part as it is."""
        before = present or Choice(None)
        chosen = before.policy if policy is None else self._policies.get(policy)
        if chosen is None and only is None and before.hedge is None:
            return None
        return Choice(chosen, only, before.hedge)
