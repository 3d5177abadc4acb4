"""The page of the configuration file, from its types and the example's comments."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

import markdown
from posthouse.settings.checks import PRICED_APIECE, PRICED_UNITS
from posthouse.settings.file import ConfigurationFile

EXAMPLE = Path(__file__).parent.parent / "posthouse.example.toml"

INTRODUCTION = """\
# Configuration file

Generated from `src/posthouse/settings/file.py` and the comments of
`posthouse.example.toml` by `make docs`.

`posthouse serve --config FILE` applies a TOML file when it starts and again on
SIGHUP, wholly or not at all: a faulty file is refused with its line and reason, and
what served before goes on. Objects of the file belong to it: what is in it is made
or changed, what is no longer in it is disabled (its ledger stays), and commands do
not touch it. Objects made by commands are never touched by the file; one name in
both is refused. `[server]` takes effect at once; its `durability`, and `[telemetry]`,
wait for the next start.

Unknown keys are refused. Amounts are decimal strings, durations seconds.
"""

SECTIONS = {
    "channels": "Accounts at providers, `[[channels]]`.",
    "keys": "Keys of applications, `[[keys]]`.",
    "prices": "Prices that override the catalogue's, `[[prices]]`.",
    "fallbacks": "Models that stand in for others, `[[fallbacks]]`.",
    "routing": "How the channels of a model are chosen among, `[[routing]]`.",
    "rules": "Where calls of a certain kind go, `[[rules]]`.",
    "server": "The server, `[server]`.",
    "telemetry": "What is sent to an OpenTelemetry collector, `[telemetry]`.",
}
NOTES = {
    "channels.limits": "what it takes at most; past them, others are asked",
    "channels.on_disconnect": "when a client leaves: `cancel` the provider's work and "
    "charge what was delivered, or `drain` it and charge all",
    "channels.probe": "looks at it every so many seconds: asks for one token of a "
    "chat with `model`, or for the list of models without",
    "channels.resources": "whose the things are that its provider keeps: `owned` by "
    "whoever made them, `shared` by all, or `off`",
    "channels.batches": "where lines of batches run: `upstream`, as a batch of the "
    "provider's own at its price for those, where it has them, or `here`, one by one",
    "channels.enabled": "whether it is used",
    "keys.name": "unique",
    "keys.rpm": "requests per minute",
    "keys.tpm": "tokens per minute, in and out",
    "keys.concurrency": "calls at a time",
    "keys.ips": "networks from which it may be used",
    "keys.expires": "when it ends",
    "keys.sandbox": "reaches only the sandbox, and costs nothing",
    "keys.group": "what rules of routing may ask for",
    "prices.model": "a name or a wildcard; the most specific entry wins",
    "prices.channel": "makes the entry this channel's supplier cost",
    "prices.free": "the only way to zero",
    "fallbacks.model": "the model that was asked for",
    "fallbacks.to": "what is tried when all its channels have failed, in order",
    "routing.model": "a name or a wildcard; the most specific entry wins",
    "routing.policy": "which channel of equal priority comes first",
    "routing.hedge": "after so many seconds without content another channel is asked "
    "as well; the first content serves",
    "rules.name": "unique; rules are asked in the order of the file",
    "rules.use": "another model, the only channels that may serve, a policy",
    "rules.when": "what a call must have; one text or a list of them, `*` in any",
    "server.cors_origins": "origins whose pages may call; `*` is any",
    "server.trusted_proxies": "networks whose X-Forwarded-For is believed",
    "server.durability": "what a settlement survives: kill -9, or power loss",
    "telemetry.endpoint": "base URL of a collector; without one nothing is sent",
    "telemetry.signals": "what is sent",
    "telemetry.sample": "share of the calls that are traced where callers do not say",
    "telemetry.propagate": "whether providers are sent `traceparent` and `tracestate`",
}
"""What the example's comments leave to its reader."""
KINDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "datetime": "date and time with its zone",
    "dict": "table",
    "Any": "any",
}


def comments() -> dict[str, str]:
    """Give the comment behind each key of the example; the first one counts."""
    found: dict[str, str] = {}
    section = ""
    for line in EXAMPLE.read_text().splitlines():
        heading = re.match(r"\[+([a-z]+)\]+", line)
        if heading:
            section = heading[1]
        pair = re.match(r"([a-z_]+) = .*?\s+# (.*)", line)
        if pair and section:
            found.setdefault(f"{section}.{pair[1]}", pair[2])
    return found


def struct_of(hint: Any) -> type[Struct] | None:
    """Give the struct that an annotation is about, if it is about one."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return hint
    found = [struct_of(argument) for argument in get_args(hint)]
    return next((one for one in found if one is not None), None)


def kind_of(hint: Any) -> str:
    """Name what a key takes."""
    arguments = [arg for arg in get_args(hint) if arg is not type(None)]
    name = getattr(hint, "__name__", str(hint))
    if name == "Literal":
        return " or ".join(f'`"{value}"`' for value in arguments)
    if name == "tuple":
        return f"list of {kind_of(arguments[0])}"
    if name == "dict":
        return f"table of {kind_of(arguments[1])}"
    if arguments:
        return " or ".join(kind_of(argument) for argument in arguments)
    inner = struct_of(hint)
    if inner is not None:
        return "{ " + ", ".join(inner.__struct_fields__) + " }"
    return KINDS.get(name, name)


def default_of(field: FieldInfo) -> str:
    """Write a default; nothing where it says nothing."""
    value = field.default
    if value is msgspec.NODEFAULT:
        factory = field.default_factory
        return "" if factory is not msgspec.NODEFAULT else "*needed*"
    if value is None or value == () or isinstance(value, Struct):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f'`"{item}"`' for item in value)
    return f"`{value}`" if isinstance(value, int | float) else f'`"{value}"`'


def rows(section: str, kind: type[Struct]) -> Iterator[tuple[str, ...]]:
    """Give the table of a section."""
    notes = comments()
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        name = f"{section}.{field.name}"
        note = NOTES.get(name) or notes.get(name, "")
        if section == "prices" and field.name in PRICED_UNITS:
            apiece = field.name in PRICED_APIECE
            note = "USD for one" if apiece else "USD per 1,000,000 tokens"
        if not note:
            raise KeyError(f"{name} has no meaning: say it in the example or in NOTES")
        yield (f"`{field.name}`", kind_of(hints[field.name]), default_of(field), note)


def page() -> str:
    """Write the page."""
    text = EXAMPLE.read_text()
    tomllib.loads(text)
    hints = get_type_hints(ConfigurationFile)
    lines: list[str] = []
    for section, title in SECTIONS.items():
        kind = struct_of(hints[section])
        if kind is None:
            raise TypeError(f"{section} is no table")
        head = ("Key", "Takes", "Default", "Meaning")
        lines += [f"## {section}", "", title, ""]
        lines += markdown.table(head, rows(section, kind))
    return markdown.page(
        INTRODUCTION, lines, "## The example", f"```toml\n{text.rstrip()}\n```"
    )
