"""What a well-formed configuration file must satisfy beyond its types.

Each check yields `(path, reason)` pairs, in the order of the file; the path is
one that `locator` can find. No check reads anything but its arguments, and no
reason repeats a value that may be a secret.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from posthouse.settings import addresses, telemetry
from posthouse.settings.credentials import check_reference, is_reference
from posthouse.settings.file import (
    ChannelSpec,
    ConfigurationFile,
    FallbackSpec,
    KeySpec,
    ModelEntry,
    PriceSpec,
    ServerSpec,
    TelemetrySpec,
)
from posthouse.settings.locator import Path

Problem = tuple[Path, str]

MAX_NAME = 64
MAX_MODEL_NAME = 256
MAX_COUNT = 2**53
MAX_SECONDS = 86_400
MIN_KEY_LENGTH = 20
MAX_KEY_LENGTH = 256
PLACEHOLDER_KEY = "sk-…"
"""The example's key; it counts as none, so that nobody runs with a public one."""

PRICED_UNITS = tuple(
    name
    for name in PriceSpec.__struct_fields__
    if name not in {"model", "channel", "free"}
)
PRICED_APIECE = frozenset(
    {"image", "second", "character", "page", "search", "task", "request"}
)
"""Units whose price is for one; the others' is for a million."""
# Money is kept to nine decimals of a dollar, prices as that per million units.
MONEY_PLACES = 9
APIECE_PLACES = 15
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.(?P<places>[0-9]{1,15}))?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_OWNED_HEADERS = frozenset(
    {
        "authorization",
        "host",
        "connection",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "accept-encoding",
    }
)
_OWNED_FIELDS = frozenset({"model", "stream"})
_PROVIDER = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")


def check_file(file: ConfigurationFile) -> Iterator[Problem]:
    """Yield what is wrong with the file, section by section."""
    for index, channel in enumerate(file.channels):
        yield from _below(("channels", index), check_channel(channel))
    yield from _repeated("channels", [spec.name for spec in file.channels])
    for index, key in enumerate(file.keys):
        yield from _below(("keys", index), check_key(key))
    yield from _repeated("keys", [spec.name for spec in file.keys])
    yield from _repeated_keys(file.keys)
    for index, price in enumerate(file.prices):
        yield from _below(("prices", index), check_price(price))
    yield from _repeated_prices(file.prices)
    for index, fallback in enumerate(file.fallbacks):
        yield from _below(("fallbacks", index), check_fallback(fallback))
    models = [spec.model for spec in file.fallbacks]
    yield from _repeated("fallbacks", models, field="model")
    yield from _below(("server",), check_server(file.server))
    yield from _below(("telemetry",), check_telemetry(file.telemetry))


def _below(parent: Path, problems: Iterable[Problem]) -> Iterator[Problem]:
    for path, reason in problems:
        yield (*parent, *path), reason


def _repeated(section: str, names: list[str], field: str = "name") -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield (section, index, field), f"{name!r} stands in the file twice"
        seen.add(name)


def _repeated_keys(keys: tuple[KeySpec, ...]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for index, spec in enumerate(keys):
        if spec.key is None or spec.key == PLACEHOLDER_KEY:
            continue
        if spec.key in seen:
            other = seen[spec.key]
            yield ("keys", index, "key"), f"is also the key of {other!r}"
        seen[spec.key] = spec.name


def _repeated_prices(prices: tuple[PriceSpec, ...]) -> Iterator[Problem]:
    seen: set[tuple[str, str | None]] = set()
    for index, spec in enumerate(prices):
        if (spec.model, spec.channel) in seen:
            path: Path = ("prices", index, "model")
            yield path, f"{spec.model!r} is priced twice"
        seen.add((spec.model, spec.channel))


def check_name(name: str) -> Iterator[Problem]:
    """Yield what keeps a name from being shown, typed and used for a file."""
    if not name or len(name) > MAX_NAME or len(name.encode()) > 3 * MAX_NAME:
        yield ("name",), f"a name has 1 to {MAX_NAME} characters"
    elif not name.isprintable() or name != name.strip():
        yield ("name",), "a name has only visible characters, and none around it"
    elif name.startswith(".") or "/" in name or "\\" in name:
        yield ("name",), "a name does not begin with a dot and holds no slash"


def check_pattern(pattern: str) -> str | None:
    """Say why this is no model name, `*` standing for any run of characters."""
    if not pattern or len(pattern) > MAX_MODEL_NAME:
        return f"a model name has 1 to {MAX_MODEL_NAME} characters"
    if not pattern.isprintable() or " " in pattern:
        return f"{pattern!r} holds a character that no model name has"
    if "**" in pattern:
        return f"{pattern!r}: one * stands for any run of characters"
    return None


def _patterns(field: str, patterns: Iterable[str]) -> Iterator[Problem]:
    for index, pattern in enumerate(patterns):
        reason = check_pattern(pattern)
        if reason:
            yield (field, index), reason


def _counts(values: Any, fields: Iterable[str]) -> Iterator[Problem]:
    """Yield the fields that are set and are not whole numbers from 1 up."""
    for field in fields:
        value = getattr(values, field)
        if value is not None and not 1 <= value <= MAX_COUNT:
            yield (field,), f"{field} must be a whole number from 1 to {MAX_COUNT}"


def _refusals(
    path: Path, check: Callable[[str], None], text: str, subject: str = ""
) -> Iterator[Problem]:
    try:
        check(text)
    except ValueError as error:
        yield path, f"{subject} {error}".strip()


def check_channel(spec: ChannelSpec) -> Iterator[Problem]:
    """Yield what is wrong with a channel, paths relative to its table."""
    yield from check_name(spec.name)
    if not _PROVIDER.fullmatch(spec.provider):
        yield ("provider",), f"{spec.provider!r} is not a provider's name"
    if spec.base_url is not None:
        yield from _refusals(
            ("base_url",), addresses.check_base_url, spec.base_url, "base_url"
        )
    yield from _credentials(spec.api_key)
    yield from _channel_models(spec.models)
    if not -MAX_COUNT <= spec.priority <= MAX_COUNT:
        yield ("priority",), "priority is out of range"
    yield from _counts(spec, ("weight",))
    yield from _below(("limits",), _counts(spec.limits, ("concurrency", "rpm")))
    yield from _below(("timeouts",), _timeouts(spec))
    if spec.proxy is not None:
        yield from _refusals(("proxy",), addresses.check_proxy, spec.proxy, "proxy")
    yield from _below(("headers",), _headers(spec.headers))
    yield from _below(("body",), _body_edits(spec))


def _credentials(value: str | tuple[str, ...]) -> Iterator[Problem]:
    if isinstance(value, str):
        yield from _refusals(("api_key",), check_credential, value)
        return
    for index, one in enumerate(value):
        yield from _refusals(("api_key", index), check_credential, one)


def check_credential(value: str) -> None:
    """Raise ValueError when a provider's key or a reference to it is unusable."""
    if is_reference(value):
        check_reference(value)
    elif not value:
        raise ValueError("a credential is not empty; leave it out if there is none")
    elif value.startswith("{") and value.endswith("}") and value.isascii():
        # A service account's key file: JSON, with spaces and lines of its own.
        return
    elif not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a credential has only visible ASCII characters, no space")


def _channel_models(models: tuple[str | ModelEntry, ...] | None) -> Iterator[Problem]:
    if models is not None and not models:
        yield ("models",), "models is empty; leave it out to offer all of the provider"
    for index, entry in enumerate(models or ()):
        if isinstance(entry, str):
            public, upstream = entry, None
        else:
            public, upstream = entry.public, entry.upstream
        for name in (public, upstream):
            reason = check_pattern(name) if name is not None else None
            if reason:
                yield ("models", index), reason
        if upstream is not None and "*" in upstream:
            yield ("models", index), "upstream is one model's name, without *"


def _timeouts(spec: ChannelSpec) -> Iterator[Problem]:
    for field in spec.timeouts.__struct_fields__:
        value = getattr(spec.timeouts, field)
        # Written so that NaN fails too.
        if value is not None and not 0 < value <= MAX_SECONDS:
            yield (field,), f"{field} is a number of seconds above 0, up to a day"


def _headers(headers: dict[str, str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            yield (name,), f"{name!r} is not a header's name"
        elif lower in _OWNED_HEADERS or lower.startswith("content-"):
            yield (name,), f"Posthouse sets the header {name} itself"
        elif lower in seen:
            yield (name,), f"the header {name} is set twice"
        elif not _HEADER_VALUE.fullmatch(value):
            yield (name,), f"the value of {name} is not one line of visible ASCII"
        seen.add(lower)


def _body_edits(spec: ChannelSpec) -> Iterator[Problem]:
    for field, value in spec.body.set.items():
        if field in _OWNED_FIELDS:
            yield ("set", field), f"Posthouse sets {field!r} itself"
        elif field in spec.body.drop:
            yield ("set", field), f"{field!r} is both set and dropped"
        elif not _is_json(value):
            yield ("set", field), f"the value of {field!r} cannot be written as JSON"
    for index, field in enumerate(spec.body.drop):
        if field in _OWNED_FIELDS:
            yield ("drop", index), f"Posthouse sets {field!r} itself"


def _is_json(value: Any) -> bool:
    """Whether a TOML value means the same in JSON: no dates, NaN, infinities."""
    if isinstance(value, dict):
        return all(_is_json(member) for member in value.values())
    if isinstance(value, list):
        return all(_is_json(member) for member in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        # Greater ones do not survive a JSON reader.
        return -(2**63) <= value < 2**63
    return isinstance(value, str)


def check_key(spec: KeySpec) -> Iterator[Problem]:
    """Yield what is wrong with a key, paths relative to its table."""
    yield from check_name(spec.name)
    if spec.key is not None and spec.key != PLACEHOLDER_KEY:
        yield from _refusals(("key",), check_key_or_reference, spec.key)
    if spec.balance_usd is not None:
        yield from _refusals(
            ("balance_usd",), check_decimal, spec.balance_usd, "balance_usd"
        )
    if spec.models is not None and not spec.models:
        yield ("models",), "models is empty; leave it out to allow all"
    yield from _patterns("models", spec.models or ())
    yield from _counts(spec, ("rpm", "tpm", "concurrency"))
    for index, network in enumerate(spec.ips):
        yield from _refusals(("ips", index), addresses.check_network, network)
    if spec.expires is not None and spec.expires.tzinfo is None:
        yield ("expires",), "expires needs a time zone, such as 2027-01-01T00:00:00Z"
    if spec.group is not None:
        for _, reason in check_name(spec.group):
            yield ("group",), reason


def check_key_or_reference(value: str) -> None:
    """Raise ValueError when a key or a reference to one cannot be used."""
    if is_reference(value):
        check_reference(value)
    else:
        check_key_strength(value)


def check_key_strength(value: str) -> None:
    """Raise ValueError when a caller's key is easy to guess or cannot be sent."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a key has only visible ASCII characters, no space")
    if not MIN_KEY_LENGTH <= len(value) <= MAX_KEY_LENGTH:
        raise ValueError(f"a key has {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} characters")


def check_decimal(text: str, places: int = MONEY_PLACES) -> None:
    """Raise ValueError unless this is digits, with at most so many after a point."""
    found = _DECIMAL.fullmatch(text)
    if not found or len(found["places"] or "") > places:
        raise ValueError(
            f"{text!r} is not a decimal such as 2.50, up to {places} places, "
            "not negative"
        )


def _check_apiece(text: str) -> None:
    check_decimal(text, APIECE_PLACES)


def check_price(spec: PriceSpec) -> Iterator[Problem]:
    """Yield what is wrong with a price, paths relative to its table."""
    reason = check_pattern(spec.model)
    if reason:
        yield ("model",), reason
    given = {
        unit: amount
        for unit in PRICED_UNITS
        if (amount := getattr(spec, unit)) is not None
    }
    for unit, amount in given.items():
        check = _check_apiece if unit in PRICED_APIECE else check_decimal
        yield from _refusals((unit,), check, amount, unit)
    if spec.free and given:
        yield ("free",), "an entry is either free or has prices"
    elif not spec.free and not given:
        yield ("model",), f"{spec.model!r} has no price; `free = true` makes it free"
    elif given and not any(set(amount) & set("123456789") for amount in given.values()):
        yield ("model",), "only `free = true` makes a model free"


def check_fallback(spec: FallbackSpec) -> Iterator[Problem]:
    """Yield what is wrong with a fallback, paths relative to its table."""
    if not spec.to:
        yield ("to",), "to names at least one other model"
    for path, name in [(("model",), spec.model)] + [
        (("to", index), name) for index, name in enumerate(spec.to)
    ]:
        reason = check_pattern(name)
        if reason is None and "*" in name:
            reason = "a fallback is from one model to others, without *"
        if reason:
            yield path, reason
    for index, name in enumerate(spec.to):
        if name == spec.model or name in spec.to[:index]:
            yield ("to", index), f"{name!r} has been tried already at this place"


def check_server(spec: ServerSpec) -> Iterator[Problem]:
    """Yield what is wrong with the server's settings."""
    for index, origin in enumerate(spec.cors_origins):
        yield from _refusals(("cors_origins", index), addresses.check_origin, origin)
    for index, network in enumerate(spec.trusted_proxies):
        yield from _refusals(
            ("trusted_proxies", index), addresses.check_network, network
        )


def check_telemetry(spec: TelemetrySpec) -> Iterator[Problem]:
    """Yield what is wrong with the telemetry's settings."""
    if spec.endpoint is not None:
        yield from _refusals(
            ("endpoint",), telemetry.check_endpoint, spec.endpoint, "endpoint"
        )
    for index, signal in enumerate(spec.signals):
        yield from _refusals(("signals", index), telemetry.check_signal, signal)
    if not 0 <= spec.sample <= 1:
        yield ("sample",), "is not a number from 0 to 1"
