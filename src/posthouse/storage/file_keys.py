"""The keys of a configuration file, written to the database.

A key without a text of its own gets one, written once to DATA/keys/NAME. The
text is on disk before its digest is committed, and a file that is there is
taken as it is; so a crash in between loses nothing. `balance_usd` is posted
once, whatever becomes of it in the file.
"""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, structs
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from posthouse.access.keys import digest, hint, new_key
from posthouse.model.money import format_usd, parse_usd
from posthouse.settings import checks, credentials
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import KeySpec
from posthouse.settings.loader import LoadedFile
from posthouse.settings.secret import write_private
from posthouse.storage import changes
from posthouse.storage.keys import (
    DEFAULT_ACCOUNT,
    KeyRow,
    OpenAccount,
    account_of,
    encode_rights,
    ensure_default_account,
    from_row,
    insert_keys,
    update_keys,
)
from posthouse.storage.ownership import Owner, new_id
from posthouse.storage.report import ReportDraft
from posthouse.storage.schema import keys

FOLDER = "keys"
NAMES_PER_QUERY = 500


class FileKeys(Struct, frozen=True):
    """What applying keys needs."""

    file: LoadedFile
    pepper: bytes
    data: Path
    """The data folder."""
    open_account: OpenAccount
    environment: Mapping[str, str]
    created_ms: int

    async def apply(self, connection: AsyncConnection, draft: ReportDraft) -> None:
        """Write all keys; raises ConfigurationError."""
        specs = self.file.configuration.keys
        texts = [self._text(index, spec, draft) for index, spec in enumerate(specs)]
        existing = await self._existing(connection, [spec.name for spec in specs])
        if any(spec.balance_usd is None for spec in specs):
            await ensure_default_account(connection, self.created_ms)
        wanted: list[KeyRow] = []
        for index, spec in enumerate(specs):
            row = existing.get(spec.name)
            if row is not None and row.owner != Owner.FILE:
                raise self.file.refuse(
                    ("keys", index, "name"),
                    f"the database has a key {spec.name!r} of its own",
                )
            wanted.append(self._row(index, row, texts[index], draft))
        await self._refuse_shared(connection, wanted)
        for index, row in enumerate(wanted):
            wanted[index] = await self._fund(connection, specs[index], row, draft)
        await self._write(connection, wanted, existing, draft)

    def _text(self, index: int, spec: KeySpec, draft: ReportDraft) -> str | None:
        """Give the key's text as the file has it; None if one is to be made."""
        if spec.key is None:
            return None
        if spec.key == checks.PLACEHOLDER_KEY:
            draft.warnings.append(
                f"key {spec.name}: {spec.key!r} is the example's; a key is made instead"
            )
            return None
        try:
            text = credentials.resolve(
                spec.key, self.file.path.parent, self.environment
            )
            checks.check_key_strength(text)
        except ValueError as error:
            raise self.file.refuse(("keys", index, "key"), str(error)) from None
        return text

    async def _existing(
        self, connection: AsyncConnection, names: list[str]
    ) -> dict[str, KeyRow]:
        """Give the file's keys, and whatever else has a name of the file's."""
        found: dict[str, KeyRow] = {}
        for start in range(0, max(len(names), 1), NAMES_PER_QUERY):
            part = names[start : start + NAMES_PER_QUERY]
            named = keys.c.name.in_(part)
            condition = or_(named, keys.c.owner == Owner.FILE) if start == 0 else named
            rows = await connection.execute(select(keys).where(condition))
            for row in rows.mappings():
                found[row["name"]] = from_row(row)
        return found

    def _row(
        self, index: int, row: KeyRow | None, text: str | None, draft: ReportDraft
    ) -> KeyRow:
        """Give the row that a specification asks for, its account aside."""
        spec = self.file.configuration.keys[index]
        made = text is None
        if row is not None and row.made and made:
            digest_, hint_ = row.digest, row.hint
        else:
            text = text or self._made(index, spec, draft)
            digest_, hint_ = digest(self.pepper, text), hint(text)
        key_id = row.id if row else new_id()
        return KeyRow(
            id=key_id,
            name=spec.name,
            digest=digest_,
            hint=hint_,
            account_id=(
                DEFAULT_ACCOUNT if spec.balance_usd is None else account_of(key_id)
            ),
            opening=row.opening if row else None,
            rights=encode_rights(spec),
            owner=Owner.FILE,
            made=made,
            enabled=True,
            revoked_ms=None,
            created_ms=row.created_ms if row else self.created_ms,
        )

    def _made(self, index: int, spec: KeySpec, draft: ReportDraft) -> str:
        """Give the key in DATA/keys/NAME, which is made if it is not there."""
        path = self.data / FOLDER / spec.name
        try:
            if write_private(path, lambda: new_key(sandbox=spec.sandbox) + "\n"):
                draft.key_files.append(path)
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"the key's file {path} cannot be used: {type(error).__name__}"
            raise self.file.refuse(("keys", index, "name"), reason) from None
        try:
            checks.check_key_strength(text)
        except ValueError as error:
            raise ConfigurationError(str(path), None, str(error)) from None
        return text

    async def _refuse_shared(
        self, connection: AsyncConnection, wanted: list[KeyRow]
    ) -> None:
        """Raise ConfigurationError when a text is two keys'."""
        places: dict[bytes, int] = {}
        for index, row in enumerate(wanted):
            first = places.setdefault(row.digest, index)
            if first != index:
                raise self._shared(index, wanted[first].name)
        for start in range(0, len(wanted), NAMES_PER_QUERY):
            part = [row.digest for row in wanted[start : start + NAMES_PER_QUERY]]
            rows = await connection.execute(
                select(keys.c.name, keys.c.digest).where(
                    keys.c.digest.in_(part), keys.c.owner != Owner.FILE
                )
            )
            for found in rows:
                raise self._shared(places[found.digest], found.name)

    def _shared(self, index: int, other: str) -> ConfigurationError:
        return self.file.refuse(("keys", index, "key"), f"is also the key of {other!r}")

    async def _fund(
        self,
        connection: AsyncConnection,
        spec: KeySpec,
        row: KeyRow,
        draft: ReportDraft,
    ) -> KeyRow:
        """Post the opening credit if it has not been; give the row with it."""
        if spec.balance_usd is None:
            if row.opening is not None:
                draft.warnings.append(
                    f"key {row.name}: balance_usd is gone, so the key draws on the "
                    "default account now"
                )
            return row
        amount = parse_usd(spec.balance_usd)
        if row.opening is None:
            await self.open_account(connection, row.account_id, row.name, amount)
            return structs.replace(row, opening=amount)
        if row.opening != amount:
            draft.warnings.append(
                f"key {row.name}: balance_usd was posted as "
                f"{format_usd(row.opening)} once and is not posted again; use "
                f"`posthouse key credit {row.name} USD`"
            )
        return row

    async def _write(
        self,
        connection: AsyncConnection,
        wanted: list[KeyRow],
        existing: dict[str, KeyRow],
        draft: ReportDraft,
    ) -> None:
        """Insert, update and disable; note each for the report and the feed."""
        new: list[KeyRow] = []
        replaced: list[KeyRow] = []
        vacated: list[KeyRow] = []
        taken = {row.digest for row in wanted}
        for row in wanted:
            before = existing.pop(row.name, None)
            if before is None:
                new.append(row)
                draft.created.append(f"key {row.name}")
            elif before != row:
                replaced.append(row)
                draft.updated.append(f"key {row.name}")
                if before.digest != row.digest:
                    vacated.append(self._without_digest(before))
            else:
                draft.unchanged += 1
        for row in existing.values():
            if row.enabled:
                draft.disabled.append(f"key {row.name}")
            if row.digest in taken:
                # Its text goes on under another name.
                replaced.append(self._without_digest(row))
            elif row.enabled:
                replaced.append(structs.replace(row, enabled=False))
        # Those that give up a text go before those that take it.
        replaced.sort(key=lambda row: row.enabled)
        await update_keys(connection, [*vacated, *replaced])
        await insert_keys(connection, new)
        draft.subjects += [changes.key_subject(row.id) for row in (*new, *replaced)]

    def _without_digest(self, row: KeyRow) -> KeyRow:
        """Take a key's text away: no text has this digest."""
        nobody = digest(self.pepper, f"no key of {row.id}\n")
        return structs.replace(row, digest=nobody, made=False, enabled=False)
