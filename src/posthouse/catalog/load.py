"""Reading `catalog/*.toml`: one file is one provider, its name the file's name.

Rules: files are found, never listed; an unknown key, a wrong type, a number
where a decimal string belongs or a value out of range refuses the file by name
and reason. Loading does no network and is done once at start.

A file holds a row, which is the provider's address and operations, and then
its models:

    title = "…"
    base_url = "https://…/v1"            # as the provider's own SDK takes it
    auth = "bearer"
    headers = { version = "1" }          # that every request has, beside the usual
    signing = { scheme = "sigv4", service = "x" }   # only where auth = "signed": a
                                         # module of providers/auth and its options
    models_path = "/v1/models"           # where it is not at /models
    resources = { openai = "" }          # APIs of what it keeps (files, batches …), and
                                         # what stands before their paths
    telemetry_name = "…"                 # where OpenTelemetry has a name for it
    batches = { … }                      # see `batches.py`
    price_source = "https://…"           # where the models' prices were read,
    price_date = "2026-01-31"            # and when; a model may have its own

    [currency]                           # only where prices are not in USD
    code = "CNY"
    rate = "6.80"                        # units for one US dollar
    source = "https://…"
    date = "2026-01-31"

    [errors]                             # only where its codes say more than status
    code = "base_resp.status_code"       # also looked for in replies of status 200,
    message = "base_resp.status_msg"     # with what it means;
    success = ["0"]                      # codes that are no errors;
    rate_limited = ["1002"]              # the other codes and types, by what they
    content_filter = ["Sensitive*"]      # mean: see `ErrorKind`

    [operations.chat]
    path = "/chat/completions"           # `{model}` in it is the model's name
    query = { "api-version" = "1" }      # only where the path has one
    dialect = "openai_chat"
    verified = "docs:https://… 2026-01-31"    # or "sdk", or "unverified"
    quirks = { rename = { old = "new" }, stream_usage = "automatic" }
    replies = { finish_reasons = { sensitive = "content_filter" } }   # see `Replies`
    stream_path = "/chat/stream"         # only where streams have one of their own
    stream_query = { alt = "sse" }
    stream_headers = { x-sse = "enable" }    # or headers
    traits = { thinking = "switch" }     # what translation must know: see `Traits`

    [operations.chat.also.anthropic_messages]   # spoken as well: for its own clients
    path = "/anthropic/v1/messages"
    verified = "docs:https://… 2026-01-31"

    [[models]]
    id = "m"
    aliases = ["m-2026-01-31"]           # other names at the same price
    operations = ["chat"]                # the default
    context = 128_000
    usual_output = 4_000
    max_output = 16_000
    traits = { thinking = "budget" }     # where it differs from the operation's
    dialect = "openai_responses"         # where it takes none of the others
    prices = { input = "2.50", output = "10.00" }
    long_context = [{ above = 32_000, input = "5.00", output = "20.00" }]
    service_tiers = { flex = { multiply = "0.5" } }

A long-context step may say `multiply_input` and `multiply_output` in place of
rates, and a service tier `multiply`, which then holds for every step as well.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

import msgspec
import tomli
from msgspec import Struct
from msgspec.structs import replace

from posthouse.catalog.batches import BatchTable, batch_row
from posthouse.catalog.checks import DATE, HEADER, check, require, traits_table
from posthouse.catalog.operation import OperationTable, operation_row
from posthouse.catalog.price import INPUT_UNITS, Rates, make_price, parse_rate
from posthouse.model.call import Operation
from posthouse.model.catalog import (
    FAMILIES,
    AuthScheme,
    Currency,
    ErrorCodes,
    ErrorKind,
    ModelRow,
    Price,
    ProviderRow,
    Signing,
    TierRates,
)
from posthouse.model.money import NANO_PER_USD
from posthouse.model.usage import Unit

LONGEST_CONTEXT = 20_000_000
DEAREST_TOKEN_RATE = 10_000 * NANO_PER_USD
"""10,000 USD per million tokens: what is above is a slip of the decimal point."""

_PROVIDER = re.compile(r"[a-z][a-z0-9-]{0,40}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_PATH = re.compile(r"[A-Za-z_]\w{0,40}(\.[A-Za-z_]\w{0,40}){0,3}")
_SCHEME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_CODE = re.compile(r"[\w.-]{1,100}\*?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]{1,40}){1,4}")
_URL = re.compile(r"(https?|sandbox)://[^\s/][^\s]*[^\s/]")

_TOKEN_OUTPUT = frozenset({Operation.CHAT, Operation.COMPLETION})
"""Operations that produce tokens: their models have a maximum and a price for it."""


_TOKEN_INPUT = _TOKEN_OUTPUT | {Operation.EMBEDDING}
_APIECE = frozenset({Unit.IMAGE, Unit.SECOND, Unit.CHARACTER, Unit.PAGE, Unit.SEARCH})
"""What other operations may be priced by."""


class CatalogError(ValueError):
    """A catalogue file is wrong; str() names the file and the reason."""


class _Errors(Struct, frozen=True, forbid_unknown_fields=True):
    code: str = ""
    message: str = ""
    success: tuple[str, ...] = ("0",)
    bad_request: tuple[str, ...] = ()
    content_filter: tuple[str, ...] = ()
    context_length: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()
    credential: tuple[str, ...] = ()
    balance: tuple[str, ...] = ()
    rate_limited: tuple[str, ...] = ()
    overloaded: tuple[str, ...] = ()
    timeout: tuple[str, ...] = ()


class _Model(Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    context: int = 0
    aliases: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = (Operation.CHAT,)
    usual_output: int = 0
    max_output: int = 0
    reasoning: bool = False
    free: bool = False
    prices: dict[Unit, str] = {}
    long_context: tuple[dict[str, int | str], ...] = ()
    service_tiers: dict[str, dict[str, str]] = {}
    source: str = ""
    date: str = ""
    traits: dict[str, Any] = {}
    dialect: str = ""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    base_url: str
    auth: AuthScheme
    operations: dict[Operation, OperationTable]
    documentation: str = ""
    telemetry_name: str = ""
    free: bool = False
    headers: dict[str, str] = {}
    signing: dict[str, str] = {}
    models_path: str = "/models"
    resources: dict[str, str] = {}
    batches: BatchTable | None = None
    price_source: str = ""
    price_date: str = ""
    currency: Currency | None = None
    errors: _Errors | None = None
    models: tuple[_Model, ...] = ()


def load_catalog(directory: Traversable | None = None) -> Mapping[str, ProviderRow]:
    """Read every provider's file, in order of name; raises CatalogError.

    Args:
        directory: where the files are; default is the package's own, which are
            read once in the life of the process.
    """
    return _own_catalog() if directory is None else _load_folder(directory)


@cache
def _own_catalog() -> Mapping[str, ProviderRow]:
    return MappingProxyType(_load_folder(resources.files(__package__)))


def _load_folder(folder: Traversable) -> dict[str, ProviderRow]:
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")),
        key=lambda entry: entry.name,
    )
    rows = (_load_file(entry.name, entry.read_bytes()) for entry in files)
    return {row.name: row for row in rows}


def _load_file(file_name: str, data: bytes) -> ProviderRow:
    try:
        content = msgspec.convert(tomli.loads(data.decode()), _File)
        return _provider(file_name.removesuffix(".toml"), content)
    except ValueError as error:  # tomli's, msgspec's and Unicode's errors are such
        raise CatalogError(f"{file_name}: {error}") from None


# --- the row ----------------------------------------------------------------------


def _provider(name: str, file: _File) -> ProviderRow:
    check(_PROVIDER, name, "the provider's name")
    require(bool(file.title.strip()), "the title is empty")
    require(bool(file.operations), "no operation is given")
    if file.base_url:
        check(_URL, file.base_url, "base_url")
    if file.documentation:
        check(_URL, file.documentation, "documentation")
    for header in file.headers.items():
        require(HEADER.fullmatch(": ".join(header)) is not None, "a header is wrong")
    divisor = Fraction(1) if file.currency is None else _divisor(file.currency)
    models: dict[str, ModelRow] = {}
    for model in file.models:
        for row in _model_rows(model, file, divisor):
            require(row.id not in models, f"the model {row.id!r} is given twice")
            models[row.id] = row
    return ProviderRow(
        name=name,
        title=file.title,
        base_url=file.base_url,
        auth=file.auth,
        operations={
            operation.value: operation_row(operation, row)
            for operation, row in file.operations.items()
        },
        models=models,
        documentation=file.documentation,
        free=file.free,
        currency=file.currency,
        errors=None if file.errors is None else _errors(file.errors),
        telemetry_name=file.telemetry_name,
        headers=file.headers,
        signing=_signing(file),
        models_path=file.models_path,
        resources=_resources(file.resources),
        batches=None if file.batches is None else batch_row(file.batches),
    )


def _resources(families: dict[str, str]) -> dict[str, str]:
    for family, prefix in families.items():
        require(family in FAMILIES, f"resources: {family!r} is no family of APIs")
        if prefix:
            check(_PREFIX, prefix, f"resources.{family}: the path")
    return families


def _signing(file: _File) -> Signing | None:
    signed = file.auth is AuthScheme.SIGNED
    require(signed == bool(file.signing), "`signing` goes with auth = 'signed'")
    if not signed:
        return None
    options = dict(file.signing)
    scheme = options.pop("scheme", "")
    check(_SCHEME, scheme, "signing: the scheme")
    return Signing(scheme, tuple(sorted(options.items())))


def _errors(row: _Errors) -> ErrorCodes:
    for path in filter(None, (row.code, row.message)):
        check(_PATH, path, "errors: the path")
    kinds: dict[str, ErrorKind] = {}
    for kind in ErrorKind:
        for code in getattr(row, kind.value):
            check(_CODE, code, "errors: the code")
            require(code.lower() not in kinds, f"errors: {code!r} stands there twice")
            require(code not in row.success, f"errors: {code!r} is a success")
            kinds[code.lower()] = kind
    return ErrorCodes(row.code, row.message, row.success, kinds)


def _divisor(currency: Currency) -> Fraction:
    check(re.compile("[A-Z]{3}"), currency.code, "the currency")
    check(re.compile(r"\d{1,6}(\.\d{1,6})?"), currency.rate, "the currency's rate")
    check(_URL, currency.source, "the currency's source")
    check(DATE, currency.date, "the currency's date")
    rate = Fraction(currency.rate)
    require(rate > 0, "the currency's rate is zero")
    return rate


# --- the models -------------------------------------------------------------------


def _model_rows(model: _Model, file: _File, divisor: Fraction) -> list[ModelRow]:
    """Give a model's row and those of its aliases, naming it in what is wrong."""
    try:
        row = _model_row(model, file, divisor)
    except ValueError as error:
        raise ValueError(f"the model {model.id!r}: {error}") from None
    return [row, *(replace(row, id=n, alias_of=row.id) for n in model.aliases)]


def _model_row(model: _Model, file: _File, divisor: Fraction) -> ModelRow:
    for name in (model.id, *model.aliases):
        check(_MODEL, name, "the name")
    for operation in model.operations:
        require(operation in file.operations, f"{operation} is no operation here")
        row = file.operations[operation]
        spoken = model.dialect in ("", row.dialect, *row.also)
        require(spoken, f"{operation} is not spoken in {model.dialect!r} here")
    _check_sizes(model)
    price = _price(model, divisor)
    source = model.source or file.price_source
    date = model.date or file.price_date
    if price is not None:
        _check_priced(model, price, source, date)
    return ModelRow(
        id=model.id,
        operations=tuple(operation.value for operation in model.operations),
        context=model.context,
        usual_output=model.usual_output,
        max_output=model.max_output,
        price=price,
        reasoning=model.reasoning,
        source=source,
        date=date,
        traits=traits_table(model.traits),
        dialect=model.dialect,
    )


def _check_sizes(model: _Model) -> None:
    require(0 <= model.context <= LONGEST_CONTEXT, "the context is out of range")
    low, high = model.usual_output, model.max_output
    require(0 <= low <= high, "usual_output is negative or above max_output")
    require(not model.context or high <= model.context, "max_output exceeds context")
    if _TOKEN_INPUT & set(model.operations):
        require(model.context > 0, "the context is needed")
    if _TOKEN_OUTPUT & set(model.operations):
        require(low > 0, "usual_output and max_output are needed")


def _check_priced(model: _Model, price: Price, source: str, date: str) -> None:
    if source != "unverified":
        check(_URL, source, "the price's source")
    check(DATE, date, "the price's date")
    if price.free:
        return
    whole = {Unit.REQUEST, Unit.TASK} & price.rates.keys()
    apiece = _APIECE & price.rates.keys()
    if not apiece or _TOKEN_INPUT & set(model.operations):
        require(bool(whole) or Unit.INPUT in price.rates, "there is no input price")
    if _TOKEN_OUTPUT & set(model.operations):
        require(bool(whole) or Unit.OUTPUT in price.rates, "there is no output price")


def _price(model: _Model, divisor: Fraction) -> Price | None:
    if not model.prices:
        require(
            not model.long_context and not model.service_tiers,
            "long_context and service_tiers need prices",
        )
        return make_price({}, free=True) if model.free else None
    rates = _rates(model.prices, divisor)
    steps = [_step(dict(step), rates, divisor) for step in model.long_context]
    tiers = {
        name: _tier(dict(tier), rates, steps, divisor)
        for name, tier in model.service_tiers.items()
    }
    return make_price(rates, free=model.free, long_context=steps, service_tiers=tiers)


def _rates(prices: Mapping[Any, Any], divisor: Fraction) -> Rates:
    rates: Rates = {}
    for name, text in prices.items():
        unit = Unit(name)
        require(isinstance(text, str), f"{name} = {text!r} is not a decimal string")
        rates[unit.value] = parse_rate(text, unit, divisor)
    tokens = (rate for unit, rate in rates.items() if unit in INPUT_UNITS | {"output"})
    require(max(tokens, default=0) <= DEAREST_TOKEN_RATE, "a token price is absurd")
    return rates


def _step(
    step: dict[str, int | str], rates: Rates, divisor: Fraction
) -> tuple[int, Rates]:
    above = step.pop("above", None)
    require(isinstance(above, int) and above > 0, "a long_context step lacks `above`")
    if "multiply_input" not in step:
        return int(above or 0), _rates(step, divisor)
    factors = {
        True: _factor(step.pop("multiply_input")),
        False: _factor(step.pop("multiply_output", "1")),
    }
    require(not step, "a long_context step has both rates and factors")
    return int(above or 0), {
        unit: _multiplied(rate, factors[unit in INPUT_UNITS])
        for unit, rate in rates.items()
    }


def _tier(
    tier: dict[str, str],
    rates: Rates,
    steps: list[tuple[int, Rates]],
    divisor: Fraction,
) -> TierRates:
    if "multiply" not in tier:
        require(not steps, "with long_context a service tier is a `multiply`")
        return TierRates(_rates(tier, divisor))
    factor = _factor(tier.pop("multiply"))
    require(not tier, "a service tier has both rates and a factor")
    return TierRates(
        _all_multiplied(rates, factor),
        tuple((above, _all_multiplied(table, factor)) for above, table in steps),
    )


def _factor(text: int | str) -> Fraction:
    require(isinstance(text, str), f"the factor {text!r} is not a decimal string")
    check(re.compile(r"\d{1,3}(\.\d{1,6})?"), str(text), "the factor")
    return Fraction(text)


def _all_multiplied(rates: Rates, factor: Fraction) -> Rates:
    return {unit: _multiplied(rate, factor) for unit, rate in rates.items()}


def _multiplied(rate: int, factor: Fraction) -> int:
    return -(-rate * factor.numerator // factor.denominator)
