"""The plan of one call: which target comes next.

Within a tier the ring's order decides, starting at the call's affinity point:
targets that are excluded, blocked or loaded beyond their share are passed
over; a target beyond its share is still taken before the next tier. Models
that stand in for the first come after its last tier. Routes that have a choice
of their own leave less to the ring: what a policy holds for equally good.
"""

from math import ceil
from typing import Any

from msgspec import Struct

from posthouse.routing.health import Blocked, HealthTable
from posthouse.routing.ring import hash_point
from posthouse.routing.table import Asked, Choice, Member, ModelRoutes, Tier

LOAD_FACTOR = 1.25
"""A target takes at most this multiple of its share of a tier's load."""

_NONE: frozenset[Any] = frozenset()


class Target(Struct, frozen=True, gc=False):
    """Where one attempt goes."""

    routes: ModelRoutes
    tier: Tier
    index: int
    member: Member

    def begin(self) -> None:
        """Count the attempt in its tier's load."""
        self.tier.in_flight[self.index] += 1
        self.tier.total += 1
        self.member.channel.load.in_flight += 1

    def end(self) -> None:
        """The attempt is over."""
        self.tier.in_flight[self.index] -= 1
        self.tier.total -= 1
        self.member.channel.load.in_flight -= 1


class Plan:
    """Hands out the targets of one call, best first."""

    __slots__ = (
        "_affinity",
        "_channels",
        "_excluding",
        "_health",
        "_members",
        "_point",
        "_routes",
        "_tokens",
        "blocked",
        "group",
        "stream",
    )

    def __init__(
        self,
        routes: tuple[ModelRoutes, ...],
        affinity: tuple[bytes | tuple[str, ...], bytes],
        health: HealthTable,
        *,
        stream: bool = False,
        tokens: tuple[int, int] = (0, 0),
    ) -> None:
        """Plan a call.

        Args:
            routes: of the model asked for, then of those that stand in for it.
            affinity: what the call has in common with others of its
                conversation, and a salt that keeps tenants apart.
            health: what can be used now.
            stream: whether the answer is to be streamed, which may take longer.
            tokens: how many the prompt and the answer are likely to have, for
                routes with a choice.
        """
        self.stream = stream
        self._tokens = tokens
        self._routes = routes
        self.group = routes[0].pattern
        """Calls that share routes, for the budget of retries."""
        self._affinity = affinity
        self._point: int | None = None
        self._health = health
        self._excluding = False
        self._channels: frozenset[str] = _NONE
        self._members: frozenset[tuple[str, int]] = _NONE
        self.blocked: list[Blocked] = []
        """Why targets were passed over at the last call of next()."""

    def seconds(self, target: Target) -> float:
        """How long all attempts may take together that begin with `target`."""
        channel = target.member.channel
        return channel.stream_total if self.stream else channel.timeouts.total

    def in_flight(self) -> int:
        """How many attempts, of any call, are on the tiers of this plan."""
        return sum(tier.total for routes in self._routes for tier in routes.tiers)

    def exclude_channel(self, name: str) -> None:
        """Try a channel no more in this call."""
        self._channels |= {name}
        self._excluding = True

    def exclude_credential(self, channel: str, credential: int) -> None:
        """Try one credential of a channel no more in this call."""
        self._members |= {(channel, credential)}
        self._excluding = True

    def next(self, now: float) -> Target | None:
        """The best target that is left at `now`; None if there is none."""
        if self.blocked:
            self.blocked = []
        for routes in self._routes:
            for tier in routes.tiers:
                if routes.choice is None:
                    target = self._choose(routes, tier, now)
                else:
                    target = self._choose_by(routes.choice, routes, tier, now)
                if target is not None:
                    return target
        return None

    def _choose(self, routes: ModelRoutes, tier: Tier, now: float) -> Target | None:
        if len(tier.members) == 1:
            # There is nothing to choose, and no share to exceed.
            member = tier.members[0]
            if not self._is_usable(member, now):
                return None
            if not member.upstream_model:
                member = routes.member(tier, 0)
            return Target(routes, tier, 0, member)
        if self._point is None:
            self._point = self._find_point()
        overloaded: int | None = None
        for index in tier.ring.walk(self._point):
            if not self._is_usable(tier.members[index], now):
                continue
            bound = ceil(LOAD_FACTOR * (tier.total + 1) * tier.shares[index])
            if tier.in_flight[index] < bound:
                return Target(routes, tier, index, routes.member(tier, index))
            if overloaded is None:
                overloaded = index
        if overloaded is None:
            return None
        return Target(routes, tier, overloaded, routes.member(tier, overloaded))

    def _choose_by(
        self, choice: Choice, routes: ModelRoutes, tier: Tier, now: float
    ) -> Target | None:
        """Choose by a policy, among the channels that may serve."""
        if self._point is None:
            self._point = self._find_point()
        members = tier.members
        usable = [
            index
            for index in tier.ring.walk(self._point)
            if choice.allows(members[index]) and self._is_usable(members[index], now)
        ]
        if not usable:
            return None
        if choice.policy is not None and len(usable) > 1:
            asked = Asked(routes.model, self.stream, *self._tokens, now)
            usable = choice.policy.best(tier, usable, asked)
        index = _within_share(tier, usable)
        return Target(routes, tier, index, routes.member(tier, index))

    def _find_point(self) -> int:
        """Hash what the call has in common; only where there is a choice."""
        common, salt = self._affinity
        if isinstance(common, tuple):
            common = "\n".join(common).encode(errors="replace")
        return hash_point(common, salt)

    def _is_usable(self, member: Member, now: float) -> bool:
        """Whether a member can be tried; notes why where its health forbids it."""
        name = member.channel.name
        if self._excluding and (
            name in self._channels or (name, member.credential) in self._members
        ):
            return False
        blocked = self._health.blocked(name, member.credential, now)
        if blocked is None:
            return True
        self.blocked.append(blocked)
        return False


def _within_share(tier: Tier, members: list[int]) -> int:
    """The first of some members whose load is within its share of theirs."""
    load = tier.in_flight
    factor = (
        LOAD_FACTOR
        * (sum(load[index] for index in members) + 1)
        / sum(tier.shares[index] for index in members)
    )
    for index in members:
        if load[index] < ceil(factor * tier.shares[index]):
            return index
    return members[0]
