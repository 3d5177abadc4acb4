"""Settings of the process, from POSTHOUSE_* variables: the only reader of them.

What the command line gives wins over the environment, which wins over the
file's [server]. Durations are seconds and sizes bytes, as each name says.

Every field but `chosen` is a setting; its annotation carries a Rule, which the
reader obeys and the reference page shows.
"""

import difflib
import os
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from msgspec import Struct, structs

from posthouse.settings import addresses, telemetry
from posthouse.settings.coordination import check_coordination
from posthouse.settings.database import check_database
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ServerSpec, TelemetrySpec
from posthouse.settings.keeping import (
    KEEPING_SECRETS,
    STANDARD_FILES_ENDPOINT,
    KeepingSettings,
)
from posthouse.settings.rule import Rule, count, seconds

PREFIX: Final = "POSTHOUSE_"
MIN_SECRET_LENGTH: Final = 32
LEAST_DIFFERENT: Final = 8
"""Characters of a secret: blanks and rows of one letter are nobody's secret."""
_NANO_PER_USD: Final = 1_000_000_000
_FILE: Final = "file:"

Choice = Literal["process", "power"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]
Switch = Literal["off", "on"]


class Settings(KeepingSettings, frozen=True, kw_only=True):
    """Everything that shapes the process; `load_settings` makes it."""

    __secret__ = frozenset({"secret", "database", "coordination", *KEEPING_SECRETS})

    chosen: frozenset[str] = frozenset()
    """The settings that somebody has set; the others have their defaults."""

    data: Annotated[Path, Rule("Folder of everything kept on disk.")] = Path("data")
    database: Annotated[
        str | None,
        Rule(
            "PostgreSQL, `postgresql://user:password@host/name`; without it SQLite "
            "in DATA/posthouse.db.",
            item=check_database,
        ),
    ] = None
    coordination: Annotated[
        str | None,
        Rule(
            "Valkey or Redis through which all nodes share limits, "
            "`valkey://user:password@host:6379/0`, over TLS `valkeys://`; without it "
            "the workers of a machine share them in DATA/coordination.db.",
            item=check_coordination,
        ),
    ] = None
    coordination_seconds: Annotated[
        float,
        Rule(
            "For the Valkey to answer; one that is slower counts as gone.",
            above=0,
            most=10,
        ),
    ] = 0.1
    config: Annotated[Path | None, Rule("The configuration file.")] = None
    host: Annotated[str, Rule("Address to listen at.")] = "127.0.0.1"
    port: Annotated[int, Rule("Port; 0 takes a free one.", least=0, most=65_535)] = 3000
    workers: Annotated[
        int, Rule("Processes that serve behind one address.", least=1, most=256)
    ] = 1
    node: Annotated[
        str,
        Rule(
            "Name of this machine, which replies carry with the worker's number; "
            "default is made of the host's name.",
            item=addresses.check_node,
        ),
    ] = ""
    secret: Annotated[
        str | None,
        Rule(
            "Secret that keys and credentials are guarded with, at least 32 "
            "characters and 8 different ones; default is the content of "
            "DATA/secret.key, made when absent. Like both URLs above it may stand "
            "in a file: `file:PATH`.",
            shortest=MIN_SECRET_LENGTH,
        ),
    ] = None
    log_level: Annotated[Level, Rule("The least important messages to log.")] = "info"
    log_format: Annotated[
        Format, Rule("Text on a terminal and JSON elsewhere, or always one.")
    ] = "auto"
    call_log: Annotated[
        Switch, Rule("Whether each call that has ended gets a line in the log.")
    ] = "off"

    telemetry_endpoint: Annotated[
        str | None,
        Rule(
            "Base URL of an OpenTelemetry collector, to which telemetry goes; without "
            f"it `{telemetry.STANDARD_ENDPOINT}` counts, and without both all is off.",
            item=telemetry.check_endpoint,
        ),
    ] = None
    telemetry_signals: Annotated[
        tuple[str, ...],
        Rule(
            "What is sent: traces, metrics, logs, by commas.",
            item=telemetry.check_signal,
        ),
    ] = telemetry.SIGNALS
    telemetry_sample: Annotated[
        float,
        Rule(
            "Share of the calls that are traced where callers do not say.",
            least=0,
            most=1,
        ),
    ] = 1
    telemetry_propagate: Annotated[
        Switch, Rule("Whether providers are sent `traceparent` and `tracestate`.")
    ] = "off"
    telemetry_queue: Annotated[
        int, Rule("Most calls that wait to be sent; more are dropped.", least=1)
    ] = 4096

    cors_origins: Annotated[
        tuple[str, ...],
        Rule(
            "Origins whose pages may call, by commas; * is any.",
            item=addresses.check_origin,
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Rule(
            "Networks whose X-Forwarded-For is believed, by commas.",
            item=addresses.check_network,
        ),
    ] = ()
    egress_allow: Annotated[
        tuple[str, ...],
        Rule(
            "Networks and hosts, private ones too, to which URLs that callers give "
            "may lead, by commas.",
            item=addresses.check_place,
        ),
    ] = ()
    egress_deny: Annotated[
        tuple[str, ...],
        Rule(
            "Networks and hosts to which URLs that callers give never lead, by commas.",
            item=addresses.check_place,
        ),
    ] = ()
    egress_ports: Annotated[
        tuple[str, ...],
        Rule(
            "Ports to which URLs that callers give may lead, by commas.",
            item=addresses.check_port,
        ),
    ] = ("80", "443")
    durability: Annotated[
        Choice, Rule("What a settlement survives: kill -9, or power loss.")
    ] = "process"

    journal_segment_bytes: Annotated[
        int, Rule("Size of one file of the journal.", least=64 * 1024, most=2**28)
    ] = 8 * 1024 * 1024

    max_body_bytes: Annotated[
        int, count("Largest request body, after decompression.")
    ] = 32 * 1024 * 1024
    max_buffered_bytes: Annotated[
        int, count("All request bodies in memory together.")
    ] = 256 * 1024 * 1024
    max_header_bytes: Annotated[
        int, count("Largest head of a request, all its lines.")
    ] = 64 * 1024
    max_headers: Annotated[int, count("Most header lines of a request.")] = 128
    max_connections: Annotated[
        int, count("Most client connections of one process.")
    ] = 20_000

    header_seconds: Annotated[float, seconds("For a request's head to arrive.")] = 10
    body_seconds: Annotated[
        float, seconds("In which a body must grow by POSTHOUSE_BODY_MIN_BYTES.")
    ] = 10
    body_min_bytes: Annotated[
        int, count("Least growth of a body in POSTHOUSE_BODY_SECONDS.")
    ] = 1024
    keep_alive_seconds: Annotated[
        float, seconds("For which an idle client connection is kept.")
    ] = 75
    stalled_client_seconds: Annotated[
        float, seconds("After which a client that does not read is cut off.")
    ] = 60
    commit_seconds: Annotated[
        float, seconds("After which a silent stream sends its head and comments.")
    ] = 10
    heartbeat_seconds: Annotated[
        float, seconds("Between two comments in a silent stream.")
    ] = 15
    stream_seconds: Annotated[float, seconds("Longest stream.")] = 1800
    overload_seconds: Annotated[
        float, seconds("For which a request waits for its turn rather than get a 503.")
    ] = 1
    drain_seconds: Annotated[
        float, seconds("For running calls to end after SIGTERM.")
    ] = 120
    drain_grace_seconds: Annotated[
        float, Rule("For which calls are still taken after SIGTERM.", least=0, most=600)
    ] = 5
    connect_seconds: Annotated[float, seconds("For a provider to accept.")] = 5
    first_byte_seconds: Annotated[
        float, seconds("From a request's last byte to the reply's first.")
    ] = 120
    idle_seconds: Annotated[float, seconds("Between two reads of a reply.")] = 60
    reply_seconds: Annotated[
        float, seconds("In which a reply must grow by POSTHOUSE_REPLY_MIN_BYTES.")
    ] = 60
    reply_min_bytes: Annotated[
        int, count("Least growth of a reply in POSTHOUSE_REPLY_SECONDS.")
    ] = 1024
    total_seconds: Annotated[float, seconds("For one attempt as a whole.")] = 600

    hold_max_usd: Annotated[
        Decimal,
        Rule(
            "Most that one call holds before it is extended.",
            above=0,
            most=1_000_000,
            places=9,
        ),
    ] = Decimal(10)
    max_attempts: Annotated[
        int, Rule("Most attempts of one call.", least=1, most=10)
    ] = 3
    breaker_failures: Annotated[
        int, count("Consecutive failures that take a channel out.")
    ] = 5
    breaker_seconds: Annotated[
        float, seconds("For which a channel is out the first time.")
    ] = 30
    wait_seconds: Annotated[
        float,
        seconds("For which a caller may wait for room (`x-posthouse-wait`) at most."),
    ] = 60
    waiting_calls: Annotated[
        int, count("Most calls of one process that wait for room.")
    ] = 1000
    principal_cache: Annotated[int, count("Keys kept in memory.")] = 20_000
    failures_per_minute: Annotated[
        int, count("Bad keys per address and minute before it must wait.")
    ] = 20
    responses_days: Annotated[
        int, Rule("Days a response may be asked for; 0: never.", least=0, most=3650)
    ] = 30
    unpriced_routes: Annotated[
        Literal["refuse", "allow"],
        Rule(
            "What becomes of requests whose cost nobody can tell beforehand: "
            "fine-tuning, containers, assistants' runs and the like."
        ),
    ] = "refuse"
    changes_seconds: Annotated[
        float, seconds("Between two looks for changes by other processes.")
    ] = 0.25

    @property
    def database_url(self) -> str:
        """The database's URL: what was chosen, or the file in the data folder."""
        return self.database or f"sqlite+aiosqlite:///{self.data / 'posthouse.db'}"

    @property
    def hold_max(self) -> int:
        """`hold_max_usd` in nano-dollars."""
        return int(self.hold_max_usd * _NANO_PER_USD)

    def with_file(
        self, server: ServerSpec, telemetry: TelemetrySpec | None = None
    ) -> "Settings":
        """Take from the file's two tables of settings what nobody has set."""
        found = {name: getattr(server, name) for name in server.__struct_fields__}
        if telemetry is not None:
            for name in telemetry.__struct_fields__:
                found[f"telemetry_{name}"] = getattr(telemetry, name)
        for name in found.keys() & self.chosen:
            del found[name]
        return structs.replace(self, **found)


class Setting(Struct, frozen=True):
    """A field of Settings as a variable."""

    kind: Any
    """A plain type, a Literal, or a tuple of texts."""
    default: Any
    rule: Rule

    @property
    def takes(self) -> str:
        """What it may be, in words."""
        if get_origin(self.kind) is Literal:
            return " or ".join(f"`{value}`" for value in get_args(self.kind))
        if self.rule.shortest:
            return "secret"
        return f"{_KINDS[self.kind]} {self.rule}".strip()

    def read(self, value: Any) -> Any:
        """Read what was given, a text or the value itself; raises ValueError."""
        if self.kind is Path:
            return Path(value)
        if self.kind is str:
            return self._text(value)
        if get_origin(self.kind) is tuple:
            return self._items(value)
        if get_origin(self.kind) is Literal:
            if value not in get_args(self.kind):
                raise ValueError(f"is not {self.takes}")
            return value
        return self._number(value)

    def _number(self, value: Any) -> Any:
        try:
            number = self.kind(value)
            admitted = self.rule.admits(number)
        except (ValueError, ArithmeticError):
            admitted = False
        if not admitted:
            places = self.rule.places
            end = f", with up to {places} decimal places" if places else ""
            raise ValueError(f"is not a {self.takes}{end}")
        return number

    def _text(self, value: str) -> str:
        if not value:
            raise ValueError("is empty")
        if self.rule.shortest and len(value) < self.rule.shortest:
            raise ValueError(f"must have at least {self.rule.shortest} characters")
        different = min(LEAST_DIFFERENT, self.rule.shortest or 0)
        if self.rule.shortest and len(set(value)) < different:
            raise ValueError(f"must have {LEAST_DIFFERENT} different characters")
        if self.rule.item:
            self.rule.item(value)
        return value

    def _items(self, value: Any) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        found = tuple(item.strip() for item in items if item.strip())
        if self.rule.item:
            for item in found:
                self.rule.item(item)
        return found


_KINDS: Final[Mapping[Any, str]] = {
    Path: "path",
    str: "text",
    int: "whole number",
    float: "number",
    Decimal: "decimal number",
    tuple[str, ...]: "list, by commas",
}


_STANDARD: Final[Mapping[str, str]] = {
    "telemetry_endpoint": telemetry.STANDARD_ENDPOINT,
    "files_endpoint": STANDARD_FILES_ENDPOINT,
}
"""Variables that others have named, which count where ours is not set."""


@cache
def all_settings() -> Mapping[str, Setting]:
    """Give every setting by its name, in the order of the page."""
    found = {}
    # Those of a base stand first in a struct; on the page they come last.
    inherited = KeepingSettings.__struct_fields__
    for field in sorted(structs.fields(Settings), key=lambda f: f.name in inherited):
        if field.name == "chosen":
            continue
        annotation, rule = get_args(field.type)
        options = [kind for kind in get_args(annotation) if kind is not NoneType]
        is_optional = NoneType in get_args(annotation)
        kind = options[0] if is_optional else annotation
        found[field.name] = Setting(kind, field.default, rule)
    return found


def variable(name: str) -> str:
    """Name the variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def load_settings(**given: Any) -> Settings:
    """Read the environment; `given` (the command line's) wins where not None.

    Raises ConfigurationError that names the variable, never its value.
    """
    found = {}
    for name, setting in all_settings().items():
        value = given.pop(name, None)
        where = variable(name)
        if value is None:
            value = os.environ.get(where) or None
        if value is None and name in _STANDARD:
            where = _STANDARD[name]
            value = os.environ.get(where) or None
        if value is not None:
            found[name] = _read(name, setting, value, where)
    if given:
        raise TypeError(f"not settings: {', '.join(given)}")
    return Settings(chosen=frozenset(found), **found)


def _read(name: str, setting: Setting, value: Any, where: str) -> Any:
    try:
        if name in Settings.__secret__:
            value = _from_file(value)
        return setting.read(value)
    except ValueError as error:
        reason = str(error)
        if name == "port":
            # What Kubernetes sets in every pod beside a service of that name.
            reason += " (in Kubernetes: enableServiceLinks: false)"
        raise ConfigurationError(where, None, reason) from None


def _from_file(value: str) -> str:
    """Give what is secret, also when the value only names its file: `file:PATH`."""
    if not value.startswith(_FILE):
        return value
    try:
        return Path(value.removeprefix(_FILE)).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(
            f"names a file that cannot be read: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise ValueError("names a file that is no text") from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Name the POSTHOUSE_* variables that mean nothing, with a guess each."""
    known = {variable(name) for name in all_settings()}
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            found.append(f"{name}; did you mean {near[0]}?" if near else name)
    return found
