"""Settings of the process, from POSTHOUSE_* variables: the only reader of them.

What the command line gives wins over the environment, which wins over the
file's [server]. Durations are seconds and sizes bytes, as each name says.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from posthouse.settings import addresses
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ServerSpec

PREFIX = "POSTHOUSE_"
MIN_SECRET_LENGTH = 32
_NANO_PER_USD = 1_000_000_000

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**53)]
Usd = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=9)]
Texts = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Everything that shapes the process; `load_settings` makes it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
    )

    data: Path = Field(Path("data"), description="Folder of everything kept on disk.")
    config: Path | None = Field(None, description="The configuration file.")
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen at.")
    port: int = Field(3000, ge=0, le=65_535, description="Port; 0 takes a free one.")
    secret: SecretStr | None = Field(
        None,
        description="Secret that keys and credentials are guarded with, at least 32 "
        "characters; default is the content of DATA/secret.key, made when absent.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important messages to log."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Text on a terminal and JSON elsewhere, or always one."
    )

    cors_origins: Texts = Field(
        (), description="Origins whose pages may call, by commas; * is any."
    )
    trusted_proxies: Texts = Field(
        (), description="Networks whose X-Forwarded-For is believed, by commas."
    )
    durability: Literal["process", "power"] = Field(
        "process", description="What a settlement survives: kill -9, or power loss."
    )

    journal_segment_bytes: Annotated[int, Field(ge=64 * 1024, le=2**28)] = Field(
        8 * 1024 * 1024, description="Size of one file of the journal."
    )

    max_body_bytes: Count = Field(
        32 * 1024 * 1024, description="Largest request body, after decompression."
    )
    max_buffered_bytes: Count = Field(
        256 * 1024 * 1024, description="All request bodies in memory together."
    )
    max_header_bytes: Count = Field(
        64 * 1024, description="Largest head of a request, all its lines."
    )
    max_headers: Count = Field(128, description="Most header lines of a request.")
    max_connections: Count = Field(
        20_000, description="Most client connections of one process."
    )

    header_seconds: Seconds = Field(10, description="For a request's head to arrive.")
    body_seconds: Seconds = Field(
        10, description="In which a body must grow by POSTHOUSE_BODY_MIN_BYTES."
    )
    body_min_bytes: Count = Field(
        1024, description="Least growth of a body in POSTHOUSE_BODY_SECONDS."
    )
    keep_alive_seconds: Seconds = Field(
        75, description="For which an idle client connection is kept."
    )
    stalled_client_seconds: Seconds = Field(
        60, description="After which a client that does not read is cut off."
    )
    commit_seconds: Seconds = Field(
        10, description="After which a silent stream sends its head and comments."
    )
    heartbeat_seconds: Seconds = Field(
        15, description="Between two comments in a silent stream."
    )
    stream_seconds: Seconds = Field(1800, description="Longest stream.")
    drain_seconds: Seconds = Field(
        120, description="For running calls to end after SIGTERM."
    )
    drain_grace_seconds: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = (
        Field(5, description="For which calls are still taken after SIGTERM.")
    )
    connect_seconds: Seconds = Field(5, description="For a provider to accept.")
    first_byte_seconds: Seconds = Field(
        120, description="From a request's last byte to the reply's first."
    )
    idle_seconds: Seconds = Field(60, description="Between two reads of a reply.")
    total_seconds: Seconds = Field(600, description="For one attempt as a whole.")

    hold_max_usd: Usd = Field(
        Decimal(10), description="Most that one call holds before it is extended."
    )
    max_attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        3, description="Most attempts of one call."
    )
    breaker_failures: Count = Field(
        5, description="Consecutive failures that take a channel out."
    )
    breaker_seconds: Seconds = Field(
        30, description="For which a channel is out the first time."
    )
    principal_cache: Count = Field(20_000, description="Keys kept in memory.")
    failures_per_minute: Count = Field(
        20, description="Bad keys per address and minute before it must wait."
    )
    changes_seconds: Seconds = Field(
        0.25, description="Between two looks for changes by other processes."
    )

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Read a list with commas."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(addresses.check_origin, value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(addresses.check_network, value)

    @field_validator("secret")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters")
        return value

    @property
    def database(self) -> str:
        """The database's URL: the SQLite file in the data folder."""
        return f"sqlite+aiosqlite:///{self.data / 'posthouse.db'}"

    @property
    def hold_max(self) -> int:
        """`hold_max_usd` in nano-dollars."""
        return int(self.hold_max_usd * _NANO_PER_USD)

    def with_file(self, server: ServerSpec) -> "Settings":
        """Take from the file's [server] what nobody has set otherwise."""
        found = {
            name: getattr(server, name)
            for name in server.__struct_fields__
            if name not in self.model_fields_set
        }
        return self.model_copy(update=found)


def _each(check: Callable[[str], None], values: Iterable[str]) -> tuple[str, ...]:
    kept = tuple(values)
    for value in kept:
        check(value)
    return kept


def load_settings(**given: Any) -> Settings:
    """Read the environment; `given` (the command line's) wins where not None.

    Raises ConfigurationError that names the variable, never its value.
    """
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        if name == "port":
            # What Kubernetes sets in every pod beside a service of that name.
            reason += " (in Kubernetes: enableServiceLinks: false)"
        raise ConfigurationError(f"{PREFIX}{name.upper()}", None, reason) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Name the POSTHOUSE_* variables that mean nothing, with a guess each."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            found.append(f"{name}; did you mean {near[0]}?" if near else name)
    return found
