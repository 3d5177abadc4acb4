"""The page of settings, from the fields of `Settings`."""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

import markdown
from posthouse.settings.environment import PREFIX, Settings

INTRODUCTION = """\
# Settings

Generated from `src/posthouse/settings/environment.py` by `make docs`.

A setting is an environment variable. An option of the command line wins over it,
and it wins over `[server]` of the [configuration file](configuration-file.md).
Names that end in `_SECONDS` are durations in seconds, those that end in `_BYTES`
sizes in bytes. An empty variable counts as none; an unknown `POSTHOUSE_*` variable
is named by `posthouse doctor`.
"""

KINDS = {
    Path: "path",
    str: "text",
    int: "whole number",
    float: "number",
    SecretStr: "secret",
}
LIMITS = {"ge": "from {}", "gt": "above {}", "le": "up to {}"}


def kind_of(annotation: Any) -> str:
    """Name what a setting takes."""
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return kind_of(inner[0])
    if origin is tuple:
        return "list, by commas"
    if origin is not None:
        return kind_of(get_args(annotation)[0])
    return KINDS.get(annotation, "decimal number")


def limits_of(field: FieldInfo) -> str:
    """Name a setting's bounds; nothing where 1 and up goes without saying."""
    found = []
    for rule in field.metadata:
        for name, words in LIMITS.items():
            value = getattr(rule, name, None)
            if isinstance(value, int | float) and value != 2**53:
                found.append(words.format(f"{value:,}"))
    return ", ".join(dict.fromkeys(found))


def default_of(field: FieldInfo) -> str:
    """Write a default."""
    value = field.default
    if value is None or value == ():
        return ""
    return f"`{value}`"


def page() -> str:
    """Write the page."""
    rows = []
    for name, field in Settings.model_fields.items():
        kind, limits = kind_of(field.annotation), limits_of(field)
        rows.append(
            (
                f"`{PREFIX}{name.upper()}`",
                f"{kind} {limits}".strip(),
                default_of(field),
                field.description or "",
            )
        )
    head = ("Variable", "Takes", "Default", "Meaning")
    return markdown.page(INTRODUCTION, markdown.table(head, rows))
