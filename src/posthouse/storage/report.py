"""What applying a file did, for the operator to read."""

from pathlib import Path

from msgspec import Struct


class ApplyReport(Struct, frozen=True):
    """What was done; each object as `channel openai-main` or `key app`."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    disabled: tuple[str, ...]
    unchanged: int
    """The number of objects that were as the file says."""
    key_files: tuple[Path, ...]
    """Where keys that were made now have been written."""
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything in the database is different now."""
        return bool(self.created or self.updated or self.disabled)


class ReportDraft:
    """A report in the making, and the changes to tell of."""

    def __init__(self) -> None:
        """Begin empty."""
        self.created: list[str] = []
        self.updated: list[str] = []
        self.disabled: list[str] = []
        self.unchanged = 0
        self.key_files: list[Path] = []
        self.warnings: list[str] = []
        self.subjects: list[str] = []
        """Subjects for the feed of changes."""

    @property
    def changed(self) -> bool:
        """Whether anything in the database is different by now."""
        return bool(self.created or self.updated or self.disabled)

    def finish(self) -> ApplyReport:
        """Make the report."""
        return ApplyReport(
            tuple(self.created),
            tuple(self.updated),
            tuple(self.disabled),
            self.unchanged,
            tuple(self.key_files),
            tuple(self.warnings),
        )
