"""Read a configuration file whole, or refuse it with its line and reason.

What is refused changes nothing: whoever reloads keeps what it had.
"""

import difflib
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import tomli
from msgspec import Struct

from posthouse.settings import checks, locator, routing_checks
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ConfigurationFile, Guarded

MAX_BYTES = 64 * 1024 * 1024

_TOML_PLACE = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")
_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`", re.DOTALL)
_MISTYPED = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")


class LoadedFile(Guarded, frozen=True):
    """A file that passed every check which needs nothing but the file."""

    __secret__ = frozenset({"text"})

    path: Path
    configuration: ConfigurationFile
    text: str

    def refuse(self, where: locator.Path, reason: str) -> ConfigurationError:
        """Make the error for a place such as ("keys", 0, "name")."""
        return _error(self.path, self.text, where, reason)


def load_file(path: Path) -> LoadedFile:
    """Read, convert and check a file; raises ConfigurationError.

    References to credentials are checked for their form; they are resolved
    when the file is applied. Blocks on the disk: call it off the event loop.
    """
    text = _read(path)
    try:
        tree = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise _syntax_error(path, text, str(error)) from None
    except RecursionError:
        raise ConfigurationError(str(path), None, "is nested too deeply") from None
    try:
        configuration = msgspec.convert(tree, ConfigurationFile)
    except msgspec.ValidationError as error:
        where, reason = _explain(str(error), tree)
        raise _error(path, text, where, reason) from None
    for where, reason in chain(
        checks.check_file(configuration), routing_checks.check_routing(configuration)
    ):
        raise _error(path, text, where, reason)
    return LoadedFile(path, configuration, text)


def _read(path: Path) -> str:
    """Give the file's text with one kind of line end."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise ConfigurationError(str(path), None, reason) from None
    if len(data) > MAX_BYTES:
        raise ConfigurationError(str(path), None, "is too large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(str(path), line, "is not UTF-8") from None
    return text.replace("\r\n", "\n")


def _syntax_error(path: Path, text: str, message: str) -> ConfigurationError:
    """Name the line that the TOML reader complains about."""
    place = _TOML_PLACE.search(message)
    reason = _TOML_PLACE.sub("", message).strip()
    if place is None:
        return ConfigurationError(str(path), None, reason)
    line = int(place[1]) if place[1] else text.rstrip("\n").count("\n") + 1
    return ConfigurationError(str(path), line, f"not valid TOML: {reason}")


def _error(
    path: Path, text: str, where: locator.Path, reason: str
) -> ConfigurationError:
    try:
        line = locator.line_of(locator.locate(text), where)
    except RecursionError:
        line = None
    return ConfigurationError(str(path), line, reason)


def _explain(message: str, tree: dict[str, Any]) -> tuple[locator.Path, str]:
    """Turn the converter's message into a place and a sentence."""
    found = _PLACE.search(message)
    where: locator.Path = ()
    if found:
        where = tuple(
            name or int(index)
            for name, index in _STEP.findall(found["path"].partition("[...]")[0])
        )
    unknown = _UNKNOWN.match(message)
    if unknown:
        return (*where, unknown["name"]), _did_you_mean(unknown["name"], where)
    missing = _MISSING.match(message)
    if missing:
        return where, f"{missing['name']} is missing"
    mistyped = _MISTYPED.match(message)
    if mistyped:
        return _mistyped(where, mistyped, tree)
    reason = _PLACE.sub("", message)
    field = where[-1] if where else ""
    return where, f"{field}: {reason}"


def _mistyped(
    where: locator.Path, found: re.Match[str], tree: dict[str, Any]
) -> tuple[locator.Path, str]:
    """Say what a value should have been; `[...]` in a place means a member."""
    value: Any = tree
    for step in where:
        value = value[step]
    if isinstance(value, dict) and "object" not in found["expected"]:
        for name, member in value.items():
            if not isinstance(member, str):
                where = (*where, name)
                break
    expected = found["expected"].replace(" | null", "").replace("object", "table")
    reason = f"expected {expected}, not {found['got'].replace('object', 'table')}"
    field = next((step for step in reversed(where) if isinstance(step, str)), "")
    if expected == "str" and found["got"] in {"int", "float"}:
        reason += "; write it in quotes"
    return where, f"{field}: {reason}"


def _did_you_mean(name: str, where: locator.Path) -> str:
    """Say that a key is unknown, and which known one is like it."""
    fields = sorted(_fields_at(where))
    near = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if not near and fields:
        hint = f"; known here: {', '.join(fields)}"
    return f"unknown key {name!r}{hint}"


def _fields_at(where: locator.Path) -> set[str]:
    """Give the keys that the table at this place may have."""
    kinds: list[type[Struct]] = [ConfigurationFile]
    for step in where:
        if isinstance(step, str):
            hints = [get_type_hints(kind).get(step) for kind in kinds]
            kinds = [kind for hint in hints for kind in _structs_in(hint)]
    return {field for kind in kinds for field in kind.__struct_fields__}


def _structs_in(hint: Any) -> Iterator[type[Struct]]:
    """Give the structs that an annotation mentions."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for argument in get_args(hint):
        yield from _structs_in(argument)
