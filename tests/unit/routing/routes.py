"""Channels, tables and plans for the tests of this folder."""

from collections.abc import Iterable, Mapping
from typing import Any

from posthouse.model.catalog import AuthScheme, ModelRow, OperationRow, ProviderRow
from posthouse.routing.table import (
    Channel,
    ChannelDefaults,
    ModelRoutes,
    RoutingTable,
    make_channel,
)
from posthouse.settings.file import ChannelSpec, ModelEntry

CHAT = "chat"
EMBEDDING = "embedding"


def provider(
    name: str = "provider",
    *,
    operations: Iterable[str] = (CHAT,),
    models: Iterable[str] = (),
    base_url: str = "https://provider.example/v1",
) -> ProviderRow:
    return ProviderRow(
        name=name,
        title=name,
        base_url=base_url,
        auth=AuthScheme.BEARER,
        operations={
            operation: OperationRow(f"/{operation}", "openai_chat", "sdk")
            for operation in operations
        },
        models={
            model: ModelRow(
                id=model,
                operations=tuple(operations),
                context=0,
                usual_output=0,
                max_output=0,
                price=None,
            )
            for model in models
        },
    )


PROVIDER = provider()
SANDBOX = provider("sandbox", base_url="sandbox://local/v1", models=["sandbox"])


def channel(
    name: str,
    *models: str | ModelEntry,
    row: ProviderRow = PROVIDER,
    keys: int = 1,
    **settings: Any,
) -> Channel:
    spec = ChannelSpec(name=name, provider=row.name, models=models or None, **settings)
    secrets = tuple(f"secret-{name}-{index}" for index in range(keys))
    return make_channel(spec, row, secrets, ChannelDefaults())


def table(
    *channels: Channel, fallbacks: Mapping[str, tuple[str, ...]] | None = None
) -> RoutingTable:
    return RoutingTable(channels, fallbacks or {})


def routes_of(
    found: RoutingTable, model: str, operation: str = CHAT, *, sandbox: bool = False
) -> ModelRoutes:
    routes = found.resolve(model, operation, sandbox=sandbox)
    assert routes is not None, model
    return routes


def placed(routes: ModelRoutes | None) -> list[set[tuple[str, int, str]]]:
    """Each tier's members as (channel, credential, upstream model)."""
    if routes is None:
        return []
    return [
        {
            (member.channel.name, member.credential, member.upstream_model)
            for index in range(len(tier.members))
            for member in [routes.member(tier, index)]
        }
        for tier in routes.tiers
    ]
