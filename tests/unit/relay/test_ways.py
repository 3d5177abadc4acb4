"""How a target serves is found once, and no more is remembered than we choose."""

import pytest

from posthouse.billing.prices import PriceBook
from posthouse.catalog.load import load_catalog
from posthouse.model.call import Operation
from posthouse.relay.snapshot import Menu, Snapshot, Way
from posthouse.routing.table import ChannelDefaults, RoutingTable, make_channel
from posthouse.settings.file import ChannelSpec, PriceSpec

CATALOG = load_catalog()
MOST = 8


def snapshot_of_anything() -> Snapshot:
    """Serve whatever name is asked for, by one channel, at one price."""
    spec = ChannelSpec(
        name="up",
        provider="openai-compatible",
        base_url="http://127.0.0.1:9/v1",
        models=("*",),
    )
    channel = make_channel(spec, CATALOG["openai-compatible"], (), ChannelDefaults())
    prices = PriceBook(CATALOG, [PriceSpec(model="*", input="1", output="1")])
    return Snapshot(RoutingTable([channel], {}), prices)


def found(
    snapshot: Snapshot, name: str, dialect: str = "openai_chat"
) -> tuple[Menu, Way]:
    """Find how a name is served."""
    menu = snapshot.menu(name, Operation.CHAT, sandbox=False)
    assert menu is not None
    routes = menu.routes[0]
    member = routes.member(routes.tiers[0], 0)
    place = name, "up", 0, member.upstream_model, dialect
    return menu, snapshot.way(menu, place, member, Operation.CHAT)


def test_a_way_is_remembered_on_its_menu() -> None:
    snapshot = snapshot_of_anything()
    menu, way = found(snapshot, "a")
    assert list(menu.ways.values()) == [way]
    assert way.offer is menu.first
    assert way.public_model is None


def test_strangers_names_cannot_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all menus together there are only so many ways."""
    monkeypatch.setattr("posthouse.relay.snapshot.REMEMBERED_NAMES", MOST)
    snapshot = snapshot_of_anything()
    menus = [
        found(snapshot, f"model-{number}", dialect)[0]
        for number in range(5 * MOST)
        for dialect in ("openai_chat", "anthropic_messages", "gemini_generate")
    ]
    kept = [menu for menu in snapshot._menus.values() if menu.ways]
    assert sum(len(menu.ways) for menu in kept) <= MOST
    assert menus[-1] in kept
