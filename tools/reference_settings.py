"""The page of settings, from the fields of `Settings`."""

import markdown
from posthouse.settings.environment import Setting, all_settings, variable

INTRODUCTION = """\
# Settings

Generated from `src/posthouse/settings/environment.py` by `make docs`.

A setting is an environment variable. An option of the command line wins over it,
and it wins over `[server]` of the [configuration file](configuration-file.md).
Names that end in `_SECONDS` are durations in seconds, those that end in `_BYTES`
sizes in bytes. An empty variable counts as none; an unknown `POSTHOUSE_*` variable
is named by `posthouse doctor`.
"""


def default_of(setting: Setting) -> str:
    """Write a default."""
    value = setting.default
    if value is None or value == ():
        return ""
    return f"`{','.join(value) if isinstance(value, tuple) else value}`"


def page() -> str:
    """Write the page."""
    rows = [
        (
            f"`{variable(name)}`",
            setting.takes,
            default_of(setting),
            setting.rule.meaning,
        )
        for name, setting in all_settings().items()
    ]
    head = ("Variable", "Takes", "Default", "Meaning")
    return markdown.page(INTRODUCTION, markdown.table(head, rows))
