"""The routing table: who serves a name."""

import pytest
from tests.unit.routing.routes import (
    CHAT,
    EMBEDDING,
    SANDBOX,
    channel,
    placed,
    provider,
    routes_of,
    table,
)

from posthouse.model.exchange import Timeouts
from posthouse.routing.table import (
    REMEMBERED_NAMES,
    ChannelDefaults,
    make_channel,
    offered_models,
)
from posthouse.settings.file import ChannelSpec, ChannelTimeouts, ModelEntry


def test_a_name_given_outright_beats_every_wildcard() -> None:
    """A channel that only takes whatever is asked does not share its calls."""
    found = table(channel("any", "*"), channel("some", "gpt-*"), channel("it", "gpt-4"))
    assert placed(routes_of(found, "gpt-4")) == [{("it", 0, "gpt-4")}]
    assert placed(routes_of(found, "gpt-5")) == [{("some", 0, "gpt-5")}]
    assert placed(routes_of(found, "o3")) == [{("any", 0, "o3")}]
    assert routes_of(found, "gpt-5").pattern == "gpt-*"


def test_every_channel_of_the_deciding_name_takes_part() -> None:
    """Several channels with one wildcard share its calls, by priority."""
    found = table(
        channel("a", "gpt-*"),
        channel("b", "gpt-*", keys=2),
        channel("c", "gpt-*", priority=-1),
        channel("d", "gpt-*", priority=9),
    )
    assert placed(routes_of(found, "gpt-5")) == [
        {("d", 0, "gpt-5")},
        {("a", 0, "gpt-5"), ("b", 0, "gpt-5"), ("b", 1, "gpt-5")},
        {("c", 0, "gpt-5")},
    ]


def test_public_names_lead_to_the_names_upstream() -> None:
    """An alias is what the customer knows; also a wildcard may be one."""
    found = table(
        channel("a", ModelEntry("fast", "gpt-4o-mini"), ModelEntry("fast-*", "tiny")),
        channel("b", "gpt-*"),
    )
    assert placed(routes_of(found, "fast")) == [{("a", 0, "gpt-4o-mini")}]
    assert placed(routes_of(found, "fast-2")) == [{("a", 0, "tiny")}]
    assert routes_of(found, "fast-2").first.upstream_model == "tiny"
    assert placed(routes_of(found, "gpt-x")) == [{("b", 0, "gpt-x")}]
    assert found.resolve("gpt4o-mini", CHAT, sandbox=False) is None


def test_a_channel_without_a_list_serves_its_providers_models() -> None:
    """Or whatever is asked, where the catalogue knows none."""
    known = provider("known", models=["m1", "m2"])
    unknown = provider("unknown")
    assert offered_models(channel("a", row=known)) == [("m1", "m1"), ("m2", "m2")]
    assert offered_models(channel("b", row=unknown)) == [("*", "*")]
    found = table(channel("a", row=known), channel("b", row=unknown))
    assert placed(routes_of(found, "m2")) == [{("a", 0, "m2")}]
    assert placed(routes_of(found, "m3")) == [{("b", 0, "m3")}]


def test_only_channels_with_the_operation_count() -> None:
    """A channel that cannot embed decides nothing about embeddings."""
    both = provider("both", operations=(CHAT, EMBEDDING))
    found = table(channel("chats", "m"), channel("all", "m", "*", row=both))
    assert placed(routes_of(found, "m", CHAT)) == [{("chats", 0, "m"), ("all", 0, "m")}]
    assert placed(routes_of(found, "m", EMBEDDING)) == [{("all", 0, "m")}]
    alone = table(channel("chats", "m"), channel("any", "*", row=both))
    assert placed(routes_of(alone, "m", EMBEDDING)) == [{("any", 0, "m")}]
    assert found.resolve("m", "image", sandbox=False) is None


def test_the_sandbox_is_no_failover_for_a_real_channel() -> None:
    """Beside a real channel it is left out, whatever its priority."""
    sandbox = channel("sandbox", "m", "only", "*", row=SANDBOX, priority=99)
    found = table(sandbox, channel("real", "m", "*"))
    assert placed(routes_of(found, "m")) == [{("real", 0, "m")}]
    assert placed(routes_of(found, "other")) == [{("real", 0, "other")}]
    assert placed(routes_of(found, "only")) == [{("sandbox", 0, "only")}]


def test_a_sandbox_key_reaches_only_the_sandbox() -> None:
    """No real channel, by any of its names."""
    sandbox = channel("sandbox", row=SANDBOX)
    found = table(sandbox, channel("real", "m", "*", "sandbox"))
    assert placed(routes_of(found, "sandbox", sandbox=True)) == [
        {("sandbox", 0, "sandbox")}
    ]
    for name in ("m", "other"):
        assert found.resolve(name, CHAT, sandbox=True) is None
    assert placed(routes_of(found, "sandbox")) == [{("real", 0, "sandbox")}]


def test_the_list_names_what_resolves_and_its_first_provider() -> None:
    """Wildcards list nothing; a sandbox key sees the sandbox alone."""
    other = provider("other")
    found = table(
        channel("a", "m", "x*"),
        channel("b", "m", "n", row=other, priority=1),
        channel("sandbox", "s", row=SANDBOX, priority=5),
    )
    assert found.listed(sandbox=False) == [
        ("m", "other"),
        ("n", "other"),
        ("s", "sandbox"),
    ]
    assert found.listed(sandbox=True) == [("s", "sandbox")]
    assert found.owner("x1", sandbox=False) == "provider"
    assert found.owner("y", sandbox=False) is None
    assert found.owner("m", sandbox=True) is None
    for name, owner in found.listed(sandbox=False):
        assert routes_of(found, name).first.channel.provider.name == owner


def test_the_first_routes_are_those_of_some_operation() -> None:
    """What prices are looked up by at the start."""
    embeds = provider("embeds", operations=(EMBEDDING,))
    found = table(channel("a", "m", row=embeds))
    routes = found.first_routes("m")
    assert routes is not None
    assert placed(routes) == [{("a", 0, "m")}]
    assert found.first_routes("unknown") is None


def test_what_strangers_may_name_fills_no_memory() -> None:
    """Names that match a wildcard are forgotten again, and share its tiers."""
    found = table(channel("any", "*"), channel("it", "gpt-4"))
    named = routes_of(found, "gpt-4")
    first = routes_of(found, "name-0")
    for index in range(REMEMBERED_NAMES + 10):
        assert routes_of(found, f"name-{index}").tiers is first.tiers
        assert found.resolve(f"no-{index}", "image", sandbox=False) is None
    assert len(found._remembered) == REMEMBERED_NAMES
    assert len(found._routes) == 1
    assert routes_of(found, "gpt-4") is named
    assert routes_of(found, "name-0") is not first


def test_members_share_by_weight_and_credential() -> None:
    """A channel's weight is divided among its credentials."""
    found = table(channel("a", "m", weight=3, keys=2), channel("b", "m", weight=1))
    (tier,) = routes_of(found, "m").tiers
    shares = {
        (member.channel.name, member.credential): share
        for member, share in zip(tier.members, tier.shares, strict=True)
    }
    assert shares == {("a", 0): 0.375, ("a", 1): 0.375, ("b", 0): 0.25}


def test_a_channel_is_joined_from_its_spec_and_the_defaults() -> None:
    """Its own limits win; a stream's total is its own or the default's."""
    spec = ChannelSpec(
        name="a",
        provider="provider",
        base_url="http://10.0.0.1:8000/v1/",
        timeouts=ChannelTimeouts(idle=7.0),
    )
    defaults = ChannelDefaults(timeouts=Timeouts(total=11.0), stream_total=22.0)
    made = make_channel(spec, provider(), (), defaults)
    assert (made.origin, made.base_path) == ("http://10.0.0.1:8000", "/v1")
    assert made.credentials == ("",)
    assert (made.timeouts.idle, made.timeouts.total) == (7.0, 11.0)
    assert made.stream_total == 22.0
    assert not made.sandbox
    assert channel("s", row=SANDBOX).sandbox


def test_a_channel_without_an_address_is_refused() -> None:
    """Neither the file nor the catalogue says where it is."""
    with pytest.raises(ValueError, match="base_url"):
        channel("a", row=provider(base_url=""))


def test_no_credential_is_shown() -> None:
    """A channel in a log is its name."""
    made = channel("a", "m", keys=2)
    assert "secret" not in repr(made)
    assert "secret" not in repr(routes_of(table(made), "m"))
