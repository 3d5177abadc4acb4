"""Write docs/reference/providers.md from the catalogue.

Run: python tools/provider_reference.py [--check]. With --check it writes
nothing and exits 1 when the page is not what the catalogue says.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from posthouse.catalog.load import load_catalog
from posthouse.catalog.price import FALLBACKS, TOKEN_UNITS
from posthouse.model.catalog import (
    FAILED,
    ErrorCodes,
    ModelRow,
    OperationRow,
    Price,
    ProviderRow,
)
from posthouse.model.money import PER_MILLION, format_usd
from posthouse.model.usage import Unit

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "providers.md"

INTRODUCTION = """\
# Providers

Generated from `src/posthouse/catalog/*.toml` by `tools/provider_reference.py`;
edit those files, not this page.

Prices are list prices in US dollars: per million tokens, or per unit where a
unit is named. A price quoted in another currency is converted at the dated rate
that stands with its provider. `[[prices]]` in the configuration file overrides
them. A unit that a price does not name costs what the unit does that it is a
kind of: cached and written input, audio and images what input does; reasoning,
audio and images what output does. A model without a price is refused until the
configuration gives it one. *Unverified* facts were not found on a page of the
provider's own.
"""

NO_MODELS = "No models of its own: the channel names them."
MENDED = {
    "fill": "`id`, `object`, `created` and `model` are given where they lack",
    "tool_calls_object": "a single tool call is put into a list",
    "whole_last_chunk": "the last chunk's repetition of the message is left out",
    "reasoning_beside": "`completion_tokens` is given the reasoning that it lacks",
    "formats": "forms of transcripts that it lacks are written of those it has",
}
"""What replies are mended of, by the name in `Replies`."""
FREE_SOFTWARE = "Software that the operator runs: every model costs nothing."
BATCHES = "../guide/batches.md#at-providers-that-have-batches"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def count(number: int) -> str:
    """Write a number of tokens; nothing for what is not known."""
    return f"{number:,}" if number else ""


def rates_text(rates: Mapping[str, int]) -> str:
    """Write rates, leaving out those that follow from others."""
    derived = dict(FALLBACKS)
    parts = []
    for unit in Unit:
        if unit not in rates:
            continue
        if unit in derived and rates[unit] == rates.get(derived[unit]):
            continue
        per = 1 if unit in TOKEN_UNITS else PER_MILLION
        parts.append(f"{unit} {format_usd(rates[unit] // per)}")
    return ", ".join(parts)


def price_text(price: Price | None) -> str:
    """Write a price with its long-context steps and service tiers."""
    if price is None:
        return "none"
    if price.free:
        return "free"
    lines = [rates_text(price.rates)]
    lines += [
        f"above {above:,} tokens: {rates_text(rates)}"
        for above, rates in price.long_context
    ]
    lines += [
        f"{name}: {rates_text(tier.rates)}"
        for name, tier in price.service_tiers.items()
    ]
    return "<br>".join(lines)


def source_text(model: ModelRow) -> str:
    """Write where and when a price was read."""
    if model.price is None:
        return ""
    if model.source == "unverified":
        return f"*unverified*, {model.date}"
    return f"[{model.date}]({model.source})"


def verified_text(verified: str) -> str:
    """Write how an operation was verified."""
    if not verified.startswith("docs:"):
        return "*unverified*" if verified == "unverified" else verified
    url, date = verified.removeprefix("docs:").split()
    return f"[docs, {date}]({url})"


def address_text(row: OperationRow) -> str:
    """Write what follows the base URL."""
    query = "&".join(f"{name}={value}" for name, value in row.query.items())
    return f"{row.path}?{query}" if query else row.path


def quirks_text(row: OperationRow) -> str:
    """Write the edits that a request undergoes."""
    quirks = row.quirks
    parts = [f"`{old}` is sent as `{new}`" for old, new in quirks.rename.items()]
    parts += [f"`{name}` is dropped" for name in quirks.drop]
    parts += [
        f"`{name}` is {bytes(value).decode()} by default"
        for name, value in quirks.default.items()
    ]
    parts += [
        f"`{name}` is kept within {low:g} and {high:g}"
        for name, (low, high) in quirks.clamp.items()
    ]
    if quirks.stream_usage != "request":
        parts.append(f"usage in streams: {quirks.stream_usage}")
    return "; ".join(parts)


def replies_text(row: OperationRow) -> str:
    """Write what is mended in replies."""
    replies = row.replies
    if replies is None:
        return ""
    parts = [
        f"`finish_reason` {theirs} "
        + ("is a failure" if ours == FAILED else f"is told as {ours}")
        for theirs, ours in replies.finish_reasons.items()
    ]
    parts += [words for name, words in MENDED.items() if getattr(replies, name)]
    return "; ".join(parts)


def errors_line(codes: ErrorCodes) -> str:
    """Write how a provider tells of errors."""
    place = f"`{codes.code}`, also with status 200" if codes.code else "the error's"
    kinds: dict[str, list[str]] = {}
    for code, kind in codes.kinds.items():
        kinds.setdefault(kind.value, []).append(f"`{code}`")
    told = "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items())
    return f"- Error codes ({place}): {told}"


def models_lines(row: ProviderRow) -> Iterator[str]:
    """Give the table of a provider's models, aliases beside their model."""
    aliases: dict[str, list[str]] = {}
    for model in row.models.values():
        if model.alias_of:
            aliases.setdefault(model.alias_of, []).append(model.id)
    yield from table(
        ("Model", "Operations", "Context", "Usual / maximum output", "Price", "Read"),
        (
            (
                ", ".join(f"`{name}`" for name in (m.id, *aliases.get(m.id, ()))),
                ", ".join(m.operations),
                count(m.context),
                f"{count(m.usual_output)} / {count(m.max_output)}"
                if m.max_output
                else "",
                price_text(m.price),
                source_text(m),
            )
            for m in row.models.values()
            if not m.alias_of
        ),
    )


def credential_text(row: ProviderRow) -> str:
    """Say how the credential is carried."""
    if row.signing is None:
        return str(row.auth)
    return f"[signed](../guide/signed-providers.md), `{row.signing.scheme}`"


APIS = {"openai": "OpenAI's API", "anthropic": "Anthropic's API"}


def provider_lines(row: ProviderRow) -> Iterator[str]:
    """Give a provider's section."""
    yield from (f"## {row.title}", "")
    yield f'- `provider = "{row.name}"`'
    yield f"- Address: {f'`{row.base_url}`' if row.base_url else 'of the channel'}"
    yield f"- Credential: {credential_text(row)}"
    if row.documentation:
        yield f"- Documentation: <{row.documentation}>"
    if row.currency is not None:
        money = row.currency
        yield (
            f"- Prices in {money.code}, at {money.rate} for one US dollar "
            f"([{money.date}]({money.source}))"
        )
    if row.errors is not None and row.errors.kinds:
        yield errors_line(row.errors)
    if row.resources:
        families = " and ".join(APIS[family] for family in row.resources)
        yield f"- [What it keeps](../guide/resources.md) is reached by {families}"
    if row.batches is not None:
        asked = ", ".join(f"`{path}`" for path in row.batches.endpoints)
        verified = verified_text(row.batches.verified)
        yield f"- [Batches of its own]({BATCHES}) of {asked}: {verified}"
    yield ""
    yield from table(
        ("Operation", "Path", "Dialect", "Verified", "Changed on the way"),
        (
            (
                name,
                f"`{address_text(operation)}`",
                operation.dialect,
                verified_text(operation.verified),
                "; ".join(
                    filter(None, (quirks_text(operation), replies_text(operation)))
                ),
            )
            for name, operation in row.operations.items()
        ),
    )
    if row.models:
        yield from models_lines(row)
    else:
        yield from (FREE_SOFTWARE if row.free else NO_MODELS, "")


def page() -> str:
    """Write the whole page."""
    lines = [INTRODUCTION]
    for row in load_catalog().values():
        lines += provider_lines(row)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; give the exit code."""
    text = page()
    if arguments == ["--check"]:
        same = PAGE.exists() and PAGE.read_text() == text
        if not same:
            print(f"{PAGE} is not what the catalogue says; run {__file__}")
        return 0 if same else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
