"""The keys of a configuration file, written to the database.

A key without a text of its own gets one, written once to DATA/keys/NAME. The
text is on disk before its digest is committed, and a file that is there is
taken as it is; so a crash in between loses nothing. `balance_usd` is posted
once, whatever becomes of it in the file.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from msgspec import Struct, structs
from sqlalchemy import select

from posthouse.access.keys import digest, hint, new_key
from posthouse.model.money import format_usd, parse_usd
from posthouse.settings import checks, credentials
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import KeySpec
from posthouse.settings.loader import LoadedFile
from posthouse.settings.secret import write_private
from posthouse.storage import changes
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.keys import (
    DEFAULT_ACCOUNT,
    KeyRow,
    account_of,
    encode_rights,
    ensure_default_account,
    from_row,
    in_parts,
    insert_keys,
    update_keys,
)
from posthouse.storage.ledger.accounts import Opening, open_accounts
from posthouse.storage.ownership import Owner, new_id
from posthouse.storage.report import ReportDraft
from posthouse.storage.schema import keys

FOLDER = "keys"

_parse_usd = lru_cache(maxsize=1024)(parse_usd)


class _Change(Struct, frozen=True):
    """A key that becomes another, or a new one."""

    index: int
    """Where the file has it."""
    before: KeyRow | None
    after: KeyRow


class FileKeys(Struct, frozen=True):
    """What applying keys needs."""

    file: LoadedFile
    pepper: bytes
    data: Path
    """The data folder."""
    environment: Mapping[str, str]
    created_ms: int

    async def apply(self, connection: AsyncConnection, draft: ReportDraft) -> None:
        """Write all keys; raises ConfigurationError.

        What stays as it is is compared part by part and forgotten: a large file
        that changes little takes little memory.
        """
        specs = self.file.configuration.keys
        texts = [self._text(index, spec, draft) for index, spec in enumerate(specs)]
        if any(spec.balance_usd is None for spec in specs):
            await ensure_default_account(connection, self.created_ms)
        places: dict[bytes, int] = {}
        openings: list[Opening] = []
        changed: list[_Change] = []
        for part in in_parts(enumerate(specs)):
            existing = await self._existing(connection, [spec.name for _, spec in part])
            for index, spec in part:
                before = existing.get(spec.name)
                after = self._row(index, before, texts[index], draft)
                self._claim(places, after.digest, index)
                if spec.balance_usd is not None and after.opening is None:
                    opening = Opening(
                        after.account_id, spec.name, _parse_usd(spec.balance_usd)
                    )
                    openings.append(opening)
                    after = structs.replace(after, opening=opening.amount)
                if before != after:
                    changed.append(_Change(index, before, after))
        await self._refuse_shared(connection, changed)
        await open_accounts(connection, openings)
        draft.unchanged += len(specs) - len(changed)
        gone = await self._gone(connection, places, draft)
        await self._write(connection, changed, gone, draft)

    async def _existing(
        self, connection: AsyncConnection, names: list[str]
    ) -> dict[str, KeyRow]:
        """Give whatever has one of the names."""
        rows = await connection.execute(select(keys).where(keys.c.name.in_(names)))
        return {row.name: from_row(row) for row in rows}

    async def _gone(
        self,
        connection: AsyncConnection,
        taken: Mapping[bytes, int],
        draft: ReportDraft,
    ) -> list[KeyRow]:
        """Disable what the file no longer names; give the rows to write."""
        names = {spec.name for spec in self.file.configuration.keys}
        owned = await connection.execute(
            select(keys.c.name).where(keys.c.owner == Owner.FILE)
        )
        rows: list[KeyRow] = []
        for part in in_parts(name for name in owned.scalars() if name not in names):
            for row in (await self._existing(connection, part)).values():
                if row.enabled:
                    draft.disabled.append(f"key {row.name}")
                if row.digest in taken:
                    # Its text goes on under another name.
                    rows.append(self._without_digest(row))
                elif row.enabled:
                    rows.append(structs.replace(row, enabled=False))
        return rows

    def _row(
        self, index: int, row: KeyRow | None, text: str | None, draft: ReportDraft
    ) -> KeyRow:
        """Give the row that a specification asks for, but for a new opening."""
        spec = self.file.configuration.keys[index]
        if row is not None and row.owner != Owner.FILE:
            raise self.file.refuse(
                ("keys", index, "name"),
                f"the database has a key {spec.name!r} of its own",
            )
        made = text is None
        if row is not None and row.made and made:
            digest_, hint_ = row.digest, row.hint
        else:
            text = text or self._made(index, spec, draft)
            digest_, hint_ = digest(self.pepper, text), hint(text)
        if row is not None:
            _warn_of_balance(spec, row, draft)
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

    def _text(self, index: int, spec: KeySpec, draft: ReportDraft) -> str | None:
        """Give the key's text as the file has it; None if one is to be made."""
        if spec.key is None:
            return None
        if spec.key == checks.PLACEHOLDER_KEY:
            draft.warnings.append(
                f"key {spec.name}: {spec.key!r} is the example's; a key is made instead"
            )
            return None
        if not credentials.is_reference(spec.key):
            return spec.key
        try:
            text = credentials.resolve(
                spec.key, self.file.path.parent, self.environment
            )
            checks.check_key_strength(text)
        except ValueError as error:
            raise self.file.refuse(("keys", index, "key"), str(error)) from None
        return text

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

    def _claim(self, places: dict[bytes, int], digest_: bytes, index: int) -> None:
        """Note whose a text is; raise ConfigurationError when it is two keys'."""
        first = places.setdefault(digest_, index)
        if first != index:
            raise self._shared(index, self.file.configuration.keys[first].name)

    async def _refuse_shared(
        self, connection: AsyncConnection, changed: Iterable[_Change]
    ) -> None:
        """Raise ConfigurationError when a text is also one of the database's keys."""
        texts = {
            change.after.digest: change.index
            for change in changed
            if change.before is None or change.before.digest != change.after.digest
        }
        for part in in_parts(texts):
            rows = await connection.execute(
                select(keys.c.name, keys.c.digest).where(
                    keys.c.digest.in_(part), keys.c.owner != Owner.FILE
                )
            )
            for found in rows:
                raise self._shared(texts[found.digest], found.name)

    def _shared(self, index: int, other: str) -> ConfigurationError:
        return self.file.refuse(("keys", index, "key"), f"is also the key of {other!r}")

    async def _write(
        self,
        connection: AsyncConnection,
        changed: list[_Change],
        gone: list[KeyRow],
        draft: ReportDraft,
    ) -> None:
        """Insert, update and disable; note each for the report and the feed."""
        new: list[KeyRow] = []
        replaced = gone
        vacated: list[KeyRow] = []
        for change in changed:
            before, row = change.before, change.after
            if before is None:
                new.append(row)
                draft.created.append(f"key {row.name}")
            else:
                replaced.append(row)
                draft.updated.append(f"key {row.name}")
                if before.digest != row.digest:
                    vacated.append(self._without_digest(before))
        # Those that give up a text go before those that take it.
        replaced.sort(key=lambda row: row.enabled)
        await update_keys(connection, [*vacated, *replaced])
        await insert_keys(connection, new)
        draft.subjects += [changes.key_subject(row.id) for row in (*new, *replaced)]

    def _without_digest(self, row: KeyRow) -> KeyRow:
        """Take a key's text away: no text has this digest."""
        nobody = digest(self.pepper, f"no key of {row.id}\n")
        return structs.replace(row, digest=nobody, made=False, enabled=False)


def _warn_of_balance(spec: KeySpec, row: KeyRow, draft: ReportDraft) -> None:
    """Warn when a balance says something that is not posted any more."""
    if row.opening is None:
        return
    if spec.balance_usd is None:
        draft.warnings.append(
            f"key {row.name}: balance_usd is gone, so the key draws on the "
            "default account now"
        )
    elif row.opening != _parse_usd(spec.balance_usd):
        draft.warnings.append(
            f"key {row.name}: balance_usd was posted as "
            f"{format_usd(row.opening)} once and is not posted again; use "
            f"`posthouse key credit {row.name} USD`"
        )
