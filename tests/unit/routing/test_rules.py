"""Rules: which one holds, and what it makes of routes."""

from hypothesis import given
from hypothesis import strategies as some
from msgspec import structs
from tests.support.cases import each
from tests.unit.routing.routes import channel, routes_of, table

from posthouse.routing.policies import LeastBusy, PolicyBook
from posthouse.routing.rules import Facts, RuleBook, holds
from posthouse.routing.table import Choice
from posthouse.settings.file import RuleSpec, RuleUse, RuleWhen, TokenRange

FACTS = Facts(
    key="app",
    group="team-a",
    model="gpt-4o",
    metadata={"plan": "pro", "seats": "12"},
    prompt_tokens=1000,
)
POLICIES = PolicyBook([], {"least_busy": LeastBusy()})


@each(
    ("when", "expected"),
    [
        (RuleWhen(), True),
        (RuleWhen(key="app"), True),
        (RuleWhen(key="ap"), False),
        (RuleWhen(key=("other", "a*")), True),
        (RuleWhen(group="team-*"), True),
        (RuleWhen(group="team"), False),
        (RuleWhen(model="gpt-*"), True),
        (RuleWhen(model="claude-*"), False),
        (RuleWhen(metadata={"plan": ("pro", "team")}), True),
        (RuleWhen(metadata={"plan": "pro", "seats": "12"}), True),
        (RuleWhen(metadata={"plan": "free"}), False),
        (RuleWhen(metadata={"region": "*"}), False),
        (RuleWhen(prompt_tokens=TokenRange(above=999)), True),
        (RuleWhen(prompt_tokens=TokenRange(above=1000)), False),
        (RuleWhen(prompt_tokens=TokenRange(below=1001)), True),
        (RuleWhen(prompt_tokens=TokenRange(below=1000)), False),
        (RuleWhen(prompt_tokens=TokenRange(above=10, below=2000)), True),
        (RuleWhen(key="app", model="claude-*"), False),
    ],
)
def test_a_rule_holds_when_all_that_it_asks_for_is_so(
    when: RuleWhen, *, expected: bool
) -> None:
    """Texts are matched whole, with wildcards; bounds are outside the range."""
    assert holds(when, FACTS) is expected


def test_a_key_without_group_is_in_no_group() -> None:
    """Not even in `*`."""
    facts = Facts("app", None, "m", {}, 1)
    assert not holds(RuleWhen(group="*"), facts)


@given(some.lists(some.sampled_from(["app", "other", "*"]), max_size=8))
def test_the_first_rule_that_holds_decides(keys: list[str]) -> None:
    """In the order of the configuration."""
    specs = [
        RuleSpec(f"r{index}", RuleUse(model="x"), RuleWhen(key=key))
        for index, key in enumerate(keys)
    ]
    found = RuleBook(specs, POLICIES).find(FACTS)
    holding = [spec for spec in specs if spec.when.key in ("app", "*")]
    assert found == (holding[0] if holding else None)


def test_metadata_is_read_only_if_a_rule_asks_for_it() -> None:
    """Else nobody decodes it."""
    use = RuleUse(model="x")
    assert not RuleBook(
        [RuleSpec("r", use, RuleWhen(key="app"))], POLICIES
    ).reads_metadata
    asking = RuleSpec("r", use, RuleWhen(metadata={"plan": "pro"}))
    assert RuleBook([asking], POLICIES).reads_metadata
    assert not RuleBook([], POLICIES)


def test_a_rule_leaves_only_its_channels_and_changes_the_policy() -> None:
    """What it does not name stays as it was."""
    found = table(channel("a", "m"), channel("b", "m"), channel("c", "n"))
    routes = routes_of(found, "m")
    book = RuleBook([], POLICIES)

    def applied(use: RuleUse) -> Choice | None:
        changed = book.apply(RuleSpec("r", use), routes)
        assert changed is not None
        assert changed.tiers is routes.tiers
        return changed.choice

    assert applied(RuleUse(model="x")) is None
    only = applied(RuleUse(channels=("a", "c")))
    assert only == Choice(None, frozenset({"a", "c"}))
    busy = applied(RuleUse(policy="least_busy"))
    assert busy is not None
    assert isinstance(busy.policy, LeastBusy)
    both = applied(RuleUse(channels=("b",), policy="least_busy"))
    assert both is not None
    assert (both.policy, both.only) == (busy.policy, frozenset({"b"}))
    assert book.apply(RuleSpec("r", RuleUse(channels=("c",))), routes) is None


def test_a_rule_leaves_a_models_hedge_as_it_is() -> None:
    """Whatever else it changes."""
    routes = structs.replace(
        routes_of(table(channel("a", "m")), "m"), choice=Choice(None, None, 2.0)
    )
    for use in (RuleUse(channels=("a",)), RuleUse(policy="weighted")):
        changed = RuleBook([], POLICIES).apply(RuleSpec("r", use), routes)
        assert changed is not None
        assert changed.choice is not None
        assert changed.choice.hedge == 2.0


def test_weighted_in_a_rule_takes_a_models_policy_away() -> None:
    """So an exception can be made of a model's policy."""
    found = table(channel("a", "m"))
    book = RuleBook([], POLICIES)
    busy = book.apply(
        RuleSpec("r", RuleUse(policy="least_busy")), routes_of(found, "m")
    )
    assert busy is not None
    again = book.apply(RuleSpec("r", RuleUse(policy="weighted")), busy)
    assert again is not None
    assert again.choice is None
