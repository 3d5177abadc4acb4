"""Rules of routing: the first one that holds says where a call goes. Pure.

Texts are matched whole, `*` standing for any run of characters. A condition
that asks for what a call does not have (a group, a name in its metadata) does
not hold.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from posthouse.model.patterns import matches
from posthouse.routing.policies import PolicyBook
from posthouse.routing.table import ModelRoutes
from posthouse.settings.file import RuleSpec, RuleWhen, TokenRange, Words


class Facts(Struct, frozen=True):
    """What rules may ask of a call."""

    key: str
    """The key's name."""
    group: str | None
    model: str
    """As it was asked for."""
    metadata: Mapping[str, str]
    prompt_tokens: int
    """As many as are likely."""


class RuleBook:
    """The rules in their order."""

    def __init__(self, specs: Iterable[RuleSpec], policies: PolicyBook) -> None:
        """Take the rules as configured, and the policies that they may name."""
        self._specs = tuple(specs)
        self._policies = policies
        self.reads_metadata = any(spec.when.metadata for spec in self._specs)
        """Whether any rule asks for metadata; else nobody needs to read it."""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._specs)

    def find(self, facts: Facts) -> RuleSpec | None:
        """The first rule that holds; None: the call goes where it would anyway."""
        for spec in self._specs:
            if holds(spec.when, facts):
                return spec
        return None

    def apply(self, spec: RuleSpec, routes: ModelRoutes) -> ModelRoutes | None:
        """Change a model's routes as a rule says; None: nothing is left of them."""
        only = None if spec.use.channels is None else frozenset(spec.use.channels)
        choice = self._policies.restricted(routes.choice, spec.use.policy, only)
        if only is not None and not any(
            member.channel.name in only
            for tier in routes.tiers
            for member in tier.members
        ):
            return None
        return structs.replace(routes, choice=choice)


def holds(when: RuleWhen, facts: Facts) -> bool:
    """Whether all that a rule asks for is so."""
    return (
        _is_one(when.key, facts.key)
        and _is_one(when.model, facts.model)
        and _is_one(when.group, facts.group)
        and (when.prompt_tokens is None or _is_in(when.prompt_tokens, facts))
        and all(
            _is_one(words, facts.metadata.get(name))
            for name, words in when.metadata.items()
        )
    )


def _is_one(words: Words | None, text: str | None) -> bool:
    if words is None:
        return True
    if text is None:
        return False
    if isinstance(words, str):
        return matches(words, text)
    return any(matches(word, text) for word in words)


def _is_in(bounds: TokenRange, facts: Facts) -> bool:
    tokens = facts.prompt_tokens
    return (bounds.above is None or tokens > bounds.above) and (
        bounds.below is None or tokens < bounds.below
    )
