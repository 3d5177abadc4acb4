"""The stored configuration: a file applied to it, and the whole of it read.

Applying is one transaction: all of a file or nothing of it. What the file
names is written, what it no longer names is disabled (its ledger stays), and
what belongs to the database is left alone. Applying the same file again
changes nothing and tells nobody.
"""

import difflib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from msgspec import Struct, structs
from sqlalchemy import select

from posthouse.billing.killpoints import reach
from posthouse.billing.prices import price_of_spec
from posthouse.settings import credentials
from posthouse.settings.checks import check_credential
from posthouse.settings.file import (
    ChannelSpec,
    FallbackSpec,
    Guarded,
    PriceSpec,
    RoutingSpec,
    RuleSpec,
)
from posthouse.settings.loader import LoadedFile
from posthouse.storage import changes, channels, prices, routing
from posthouse.storage.channels import StoredChannel
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.file_keys import FileKeys
from posthouse.storage.ownership import Owner, new_id, now_ms
from posthouse.storage.report import ApplyReport, ReportDraft
from posthouse.storage.schema import channels as channel_table
from posthouse.storage.schema import fallbacks as fallback_table
from posthouse.storage.schema import prices as price_table
from posthouse.storage.secrets import SecretBox


class StoredConfiguration(Struct, frozen=True):
    """All channels, prices, fallbacks and rules of routing at one moment."""

    revision: int
    """The number of the last change that is in it."""
    channels: tuple[StoredChannel, ...]
    prices: tuple[PriceSpec, ...]
    fallbacks: tuple[FallbackSpec, ...]
    policies: tuple[RoutingSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()


class Workshop(Guarded, frozen=True):
    """What applying a file needs besides the file and the database."""

    __secret__ = frozenset({"pepper", "environment"})

    box: SecretBox
    pepper: bytes
    data: Path
    """The data folder; keys that are made are written below it."""
    providers: Collection[str]
    """The names in the catalogue."""
    environment: Mapping[str, str] = os.environ
    clock: Callable[[], int] = now_ms
    """Unix time in milliseconds."""


async def load_configuration(database: Database, box: SecretBox) -> StoredConfiguration:
    """Read the configuration as it is now; raises SealBroken."""
    async with database.read() as connection:
        return StoredConfiguration(
            revision=await changes.latest(connection),
            channels=tuple(await channels.list_channels(connection, box)),
            prices=tuple(await prices.list_prices(connection)),
            fallbacks=tuple(await prices.list_fallbacks(connection)),
            policies=tuple(await routing.list_policies(connection)),
            rules=tuple(await routing.list_rules(connection)),
        )


async def apply_file(
    database: Database, file: LoadedFile, workshop: Workshop
) -> ApplyReport:
    """Make the database say what the file says, wholly or not at all.

    Raises ConfigurationError with the file's line, and then nothing has
    changed; SealBroken when the installation's secret is another.
    """
    async with database.write() as connection:
        draft = ReportDraft()
        created_ms = workshop.clock()
        application = _Application(connection, file, workshop, created_ms, draft)
        await application.channels()
        await application.prices()
        await application.fallbacks()
        await application.policies()
        await application.rules()
        if draft.changed:
            draft.subjects.append(changes.CONFIGURATION)
        await FileKeys(
            file,
            workshop.pepper,
            workshop.data,
            workshop.environment,
            created_ms,
        ).apply(connection, draft)
        await changes.append(connection, draft.subjects, created_ms)
        reach("apply.before_commit")
    reach("apply.after_commit")
    return draft.finish()


class _Application(Struct):
    """One file on its way into the database: everything but its keys."""

    connection: AsyncConnection
    file: LoadedFile
    workshop: Workshop
    created_ms: int
    draft: ReportDraft

    async def channels(self) -> None:
        """Write the channels."""
        connection, box = self.connection, self.workshop.box
        new: list[StoredChannel] = []
        changed: list[StoredChannel] = []
        existing = {
            channel.spec.name: channel
            for channel in await channels.list_channels(connection, box)
        }
        for index, spec in enumerate(self.file.configuration.channels):
            before = existing.pop(spec.name, None)
            if before is not None and before.owner != Owner.FILE:
                raise self.file.refuse(
                    ("channels", index, "name"),
                    f"the database has a channel {spec.name!r} of its own",
                )
            self._check_provider(index, spec)
            resolved = self._resolve(index, spec)
            name = f"channel {spec.name}"
            if before is None:
                new.append(
                    StoredChannel(new_id(), Owner.FILE, self.created_ms, resolved)
                )
                self.draft.created.append(name)
            elif before.spec != resolved:
                changed.append(structs.replace(before, spec=resolved))
                self.draft.updated.append(name)
            else:
                self.draft.unchanged += 1
        for channel in existing.values():
            if channel.owner == Owner.FILE and channel.spec.enabled:
                changed.append(_disabled(channel))
                self.draft.disabled.append(f"channel {channel.spec.name}")
        await channels.update_channels(connection, box, changed)
        await channels.insert_channels(connection, box, new)

    def _check_provider(self, index: int, spec: ChannelSpec) -> None:
        """Raise ConfigurationError when the catalogue has no such provider."""
        providers = self.workshop.providers
        if spec.provider in providers:
            return
        near = difflib.get_close_matches(spec.provider, sorted(providers), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise self.file.refuse(
            ("channels", index, "provider"),
            f"there is no provider {spec.provider!r} in the catalogue{hint}",
        )

    def _resolve(self, index: int, spec: ChannelSpec) -> ChannelSpec:
        """Give the channel with the credentials that it refers to."""
        given = (spec.api_key,) if isinstance(spec.api_key, str) else spec.api_key
        found = []
        for number, reference in enumerate(given):
            try:
                credential = credentials.resolve(
                    reference, self.file.path.parent, self.workshop.environment
                )
                check_credential(credential)
            except ValueError as error:
                if not spec.enabled:
                    continue
                place = ("channels", index, "api_key", number)
                raise self.file.refuse(place, str(error)) from None
            found.append(credential)
        return structs.replace(spec, api_key=tuple(found))

    async def prices(self) -> None:
        """Write the prices."""
        specs = self.file.configuration.prices
        known = await self._channel_names()
        taken = await self._priced_by_database()
        for index, spec in enumerate(specs):
            if spec.channel is not None and spec.channel not in known:
                raise self.file.refuse(
                    ("prices", index, "channel"),
                    f"there is no channel {spec.channel!r}",
                )
            if (spec.model, spec.channel or "") in taken:
                raise self.file.refuse(
                    ("prices", index, "model"),
                    f"the database has a price of its own for {spec.model!r}",
                )
            try:
                price_of_spec(spec)
            except ValueError as error:
                raise self.file.refuse(("prices", index), str(error)) from None
        before = await prices.list_prices(self.connection, Owner.FILE)
        if self._note("price", _prices_by_name(before), _prices_by_name(specs)):
            await prices.replace_prices(self.connection, specs, self.created_ms)

    async def _channel_names(self) -> set[str]:
        rows = await self.connection.execute(select(channel_table.c.name))
        return {row.name for row in rows}

    async def _priced_by_database(self) -> set[tuple[str, str]]:
        rows = await self.connection.execute(
            select(price_table.c.model, price_table.c.channel).where(
                price_table.c.owner == Owner.DATABASE
            )
        )
        return {(row.model, row.channel) for row in rows}

    async def fallbacks(self) -> None:
        """Write the fallbacks."""
        specs = self.file.configuration.fallbacks
        rows = await self.connection.execute(
            select(fallback_table.c.model).where(
                fallback_table.c.owner == Owner.DATABASE
            )
        )
        taken = {row.model for row in rows}
        for index, spec in enumerate(specs):
            if spec.model in taken:
                raise self.file.refuse(
                    ("fallbacks", index, "model"),
                    f"the database has a fallback of its own for {spec.model!r}",
                )
        before = await prices.list_fallbacks(self.connection, Owner.FILE)
        old = {spec.model: spec for spec in before}
        new = {spec.model: spec for spec in specs}
        if self._note("fallback", old, new):
            await prices.replace_fallbacks(self.connection, specs)

    async def policies(self) -> None:
        """Write the policies of routing."""
        specs = {spec.model: spec for spec in self.file.configuration.routing}
        taken = await routing.names_of_database(self.connection, routing.Kind.POLICY)
        for index, model in enumerate(specs):
            if model in taken:
                raise self.file.refuse(
                    ("routing", index, "model"),
                    f"the database has a policy of its own for {model!r}",
                )
        before = await routing.list_policies(self.connection, Owner.FILE)
        if self._note("policy", {spec.model: spec for spec in before}, specs):
            await routing.replace_file(
                self.connection, routing.Kind.POLICY, specs.items()
            )

    async def rules(self) -> None:
        """Write the rules of routing; their order counts too."""
        specs = {spec.name: spec for spec in self.file.configuration.rules}
        taken = await routing.names_of_database(self.connection, routing.Kind.RULE)
        known = await self._channel_names()
        for index, spec in enumerate(specs.values()):
            if spec.name in taken:
                raise self.file.refuse(
                    ("rules", index, "name"),
                    f"the database has a rule {spec.name!r} of its own",
                )
            for number, channel in enumerate(spec.use.channels or ()):
                if channel not in known:
                    raise self.file.refuse(
                        ("rules", index, "use", "channels", number),
                        f"there is no channel {channel!r}",
                    )
        listed = await routing.list_rules(self.connection, Owner.FILE)
        before = {spec.name: spec for spec in listed}
        moved = [name for name in before if name in specs] != [
            name for name in specs if name in before
        ]
        if self._note("rule", before, specs) or moved:
            await routing.replace_file(
                self.connection, routing.Kind.RULE, specs.items()
            )
        if moved:
            self.draft.updated.append("the order of rules")

    def _note(
        self, kind: str, old: Mapping[str, Struct], new: Mapping[str, Struct]
    ) -> bool:
        """Note what becomes of small objects; whether any of them changes."""
        draft = self.draft
        created = [f"{kind} {name}" for name in new if name not in old]
        gone = [f"{kind} {name}" for name in old if name not in new]
        kept = [name for name in new if name in old]
        updated = [f"{kind} {name}" for name in kept if old[name] != new[name]]
        draft.created += created
        draft.disabled += gone
        draft.updated += updated
        draft.unchanged += len(kept) - len(updated)
        return bool(created or gone or updated)


def _disabled(channel: StoredChannel) -> StoredChannel:
    """Give a channel that is off."""
    return structs.replace(channel, spec=structs.replace(channel.spec, enabled=False))


def _prices_by_name(specs: Iterable[PriceSpec]) -> dict[str, PriceSpec]:
    """Name each price by its model, and its channel if it is a cost."""
    return {
        f"{spec.model} at {spec.channel}" if spec.channel else spec.model: spec
        for spec in specs
    }
