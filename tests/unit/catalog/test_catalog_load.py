"""The loader reads what is right and refuses the rest by file and reason."""

import pytest
from tests.support.cases import each

from posthouse.catalog.load import CatalogError, load_catalog
from posthouse.model.catalog import (
    AuthScheme,
    ErrorCodes,
    ErrorKind,
    Replies,
    StreamUsage,
)

ROW = """
title = "Example"
base_url = "https://api.example.com/v1"
auth = "bearer"
price_source = "https://example.com/prices"
price_date = "2026-01-31"

[operations.chat]
path = "/chat/completions"
dialect = "openai_chat"
verified = "docs:https://example.com/docs 2026-01-31"

[operations.embedding]
path = "/embeddings"
dialect = "openai_embeddings"
verified = "unverified"
"""

MODEL = """
[[models]]
id = "m"
context = 1_000
usual_output = 100
max_output = 500
prices = { input = "2.50", output = "10.00" }
"""

CURRENCY = """
[currency]
code = "CNY"
rate = "6.80"
source = "https://example.com/rates"
date = "2026-01-31"
"""


@pytest.fixture
def load(tmp_path):
    """Load one file of the given text; give the provider's row."""

    def load_text(text, name="example"):
        (tmp_path / f"{name}.toml").write_text(text)
        return load_catalog(tmp_path)[name]

    return load_text


def test_a_path_may_name_the_model_and_have_a_query(load):
    """As servers want it that have one address for each model."""
    path = 'path = "/deployments/{model}/chat"\nquery = { "api-version" = "1" }'
    row = load(ROW.replace('path = "/chat/completions"', path))
    assert row.operations["chat"].path == "/deployments/{model}/chat"
    assert row.operations["chat"].query == {"api-version": "1"}
    assert row.operations["embedding"].query == {}


def test_a_row_is_read_whole(load):
    """Every part of a file arrives."""
    row = load(ROW + MODEL)
    assert row.name == "example"
    assert row.auth is AuthScheme.BEARER
    assert row.operations["chat"].dialect == "openai_chat"
    model = row.models["m"]
    assert model.operations == ("chat",)
    assert (model.context, model.usual_output, model.max_output) == (1000, 100, 500)
    assert model.price.rates["input"] == 2_500_000_000
    assert (model.source, model.date) == ("https://example.com/prices", "2026-01-31")


def test_quirks_are_read(load):
    """Quirks arrive as declared, defaults as JSON."""
    quirks = (
        'quirks = { rename = { a = "b" }, drop = ["c"], default = { d = { e = 1 } }, '
        'clamp = { f = [0, 1] }, stream_usage = "none" }\n'
    )
    row = load(ROW.replace("[operations.embedding]", quirks + "[operations.embedding]"))
    got = row.operations["chat"].quirks
    assert got.rename == {"a": "b"}
    assert got.drop == ("c",)
    assert bytes(got.default["d"]) == b'{"e":1}'
    assert got.clamp == {"f": (0.0, 1.0)}
    assert got.stream_usage is StreamUsage.NONE


def test_what_is_mended_in_replies_is_read(load):
    """As declared; a row without it has none, and its replies pass as they come."""
    replies = 'replies = { finish_reasons = { odd = "stop" }, fill = true }\n'
    row = load(
        ROW.replace("[operations.embedding]", replies + "[operations.embedding]")
    )
    wanted = Replies(finish_reasons={"odd": "stop"}, fill=True)
    assert row.operations["chat"].replies == wanted
    assert row.operations["embedding"].replies is None
    assert load(ROW).errors is None


def test_error_codes_are_read(load):
    """Each kind lists its codes; a code is found by itself, whatever its case."""
    errors = """
[errors]
code = "base.status"
message = "base.text"
success = ["0", "ok"]
balance = ["7", "Arrears.*"]
rate_limited = ["Slow"]
"""
    assert load(ROW + errors).errors == ErrorCodes(
        code="base.status",
        message="base.text",
        success=("0", "ok"),
        kinds={
            "7": ErrorKind.BALANCE,
            "arrears.*": ErrorKind.BALANCE,
            "slow": ErrorKind.RATE_LIMITED,
        },
    )


def test_aliases_are_models_of_their_own(load):
    """An alias is found like a model, at the same price."""
    row = load(ROW + MODEL.replace('id = "m"', 'id = "m"\naliases = ["m-1"]'))
    assert row.models["m-1"].alias_of == "m"
    assert row.models["m-1"].price is row.models["m"].price


def test_a_model_without_prices_is_unpriced(load):
    """No price is None, not zero."""
    lines = [line for line in MODEL.splitlines() if not line.startswith("prices")]
    assert load(ROW + "\n".join(lines)).models["m"].price is None


def test_a_price_in_another_currency_is_converted(load):
    """6.80 CNY at 6.80 are one US dollar, to the nano-dollar."""
    model = MODEL.replace("2.50", "6.80").replace("10.00", "10")
    rates = load(ROW + CURRENCY + model).models["m"].price.rates
    assert rates["input"] == 1_000_000_000
    assert rates["output"] == 1_470_588_236


def test_service_tiers_and_steps_multiply(load):
    """A tier's factor holds for the long-context step as well."""
    extra = (
        "long_context = "
        '[{ above = 100, multiply_input = "2", multiply_output = "1.5" }]\n'
        'service_tiers = { flex = { multiply = "0.5" } }\n'
    )
    price = load(ROW + MODEL + extra).models["m"].price
    ((above, step),) = price.long_context
    assert (above, step["input"], step["output"]) == (100, 5 * 10**9, 15 * 10**9)
    flex = price.service_tiers["flex"]
    assert flex.rates["input"] == 1_250_000_000
    assert flex.long_context[0][1]["output"] == 7_500_000_000


def test_steps_may_state_their_rates(load):
    """A step with rates has them as they stand."""
    extra = 'long_context = [{ above = 100, input = "3", output = "11" }]\n'
    price = load(ROW + MODEL + extra).models["m"].price
    assert price.long_context[0][1]["output"] == 11_000_000_000


def test_a_tier_may_state_its_rates(load):
    """A tier with rates has them as they stand."""
    extra = 'service_tiers = { priority = { input = "3", output = "11" } }\n'
    price = load(ROW + MODEL + extra).models["m"].price
    assert price.service_tiers["priority"].rates["input"] == 3_000_000_000


def test_a_model_may_be_free(load):
    """A model that says so costs nothing."""
    model = MODEL.replace(
        'prices = { input = "2.50", output = "10.00" }', "free = true"
    )
    assert load(ROW + model).models["m"].price.free


def changed(old, new):
    """Give the example with one thing changed."""
    text = ROW + CURRENCY + MODEL
    assert old in text
    return text.replace(old, new, 1)


REFUSED = {
    "unknown key of the row": (changed("auth =", "color = 1\nauth ="), "color"),
    "unknown key of a model": (changed("usual_output", "usual_input"), "usual_input"),
    "unknown unit": (changed("{ input", "{ tokens"), "tokens"),
    "unknown operation": (changed("[operations.chat]", "[operations.chatt]"), "chatt"),
    "price as a number": (changed('"2.50"', "2.50"), "str"),
    "negative price": (changed('"2.50"', '"-2.50"'), "not a decimal"),
    "all zero": (changed('"2.50", output = "10.00"', '"0", output = "0"'), "free"),
    "absurd price": (changed('"2.50"', '"250000"'), "absurd"),
    "no output price": (changed(', output = "10.00"', ""), "no output price"),
    "no input price": (changed('input = "2.50", ', ""), "no input price"),
    "no source": (changed('price_source = "https://example.com/prices"', ""), "source"),
    "bad date": (changed("2026-01-31", "2026-1-31"), "date"),
    "bad dialect": (changed('"openai_chat"', '"openai.chat"'), "dialect"),
    "dialect with a path": (changed('"openai_chat"', '"../x"'), "dialect"),
    "bad verification": (changed('verified = "docs:', 'verified = "'), "verified"),
    "bad address": (changed("https://api", "ftp://api"), "base_url"),
    "slash at the end": (changed(".com/v1", ".com/v1/"), "base_url"),
    "bad path": (changed('"/chat', '"chat'), "path"),
    "path with a query": (changed("/completions", "/completions?a=b"), "path"),
    "path with another place": (changed('"/chat', '"/{name}/chat'), "path"),
    "bad query": (
        changed('"/embeddings"', '"/embeddings"\nquery = { a = "b&c=d" }'),
        "query",
    ),
    "output above context": (
        changed("max_output = 500", "max_output = 5000"),
        "context",
    ),
    "usual above maximum": (
        changed("usual_output = 100", "usual_output = 501"),
        "usual",
    ),
    "no usual output": (changed("usual_output = 100", ""), "usual_output"),
    "negative context": (changed("context = 1_000", "context = -1"), "range"),
    "foreign operation": (
        changed('id = "m"', 'id = "m"\noperations = ["moderation"]'),
        "moderation",
    ),
    "twice the same model": (changed(MODEL, MODEL + MODEL), "twice"),
    "alias of the same name": (
        changed('id = "m"', 'id = "m"\naliases = ["m"]'),
        "twice",
    ),
    "rate of zero": (changed('"6.80"', '"0"'), "rate"),
    "tiers without prices": (
        changed("prices = {", 'service_tiers = { x = { multiply = "2" } }\n#'),
        "need prices",
    ),
    "free and priced": (changed('id = "m"', 'id = "m"\nfree = true'), "free"),
    "step without a length": (
        ROW + MODEL + 'long_context = [{ input = "1", output = "2" }]',
        "above",
    ),
    "tier of rates beside steps": (
        ROW
        + MODEL
        + 'long_context = [{ above = 9, multiply_input = "2" }]\n'
        + 'service_tiers = { x = { input = "1", output = "2" } }',
        "multiply",
    ),
    "not TOML": (ROW + "[[[", "line"),
    "clamp the wrong way": (
        changed(
            'dialect = "openai_chat"',
            'dialect = "openai_chat"\nquirks = { clamp = { t = [1, 0] } }',
        ),
        "wrong way",
    ),
    "finish reason that no SDK knows": (
        changed(
            'dialect = "openai_chat"',
            'dialect = "openai_chat"\nreplies = { finish_reasons = { a = "b" } }',
        ),
        "finish reason",
    ),
    "unknown kind of error": (ROW + '[errors]\nslow = ["1"]', "slow"),
    "error code of two kinds": (
        ROW + '[errors]\nbalance = ["A"]\ntimeout = ["a"]',
        "twice",
    ),
    "error code of success": (
        ROW + '[errors]\ncode = "c"\nsuccess = ["1"]\ntimeout = ["1"]',
        "success",
    ),
    "odd error code": (ROW + '[errors]\ntimeout = ["a b"]', "code"),
    "odd path to an error code": (ROW + '[errors]\ncode = "a..b"', "path"),
}


@each("case", REFUSED)
def test_what_is_wrong_is_refused_by_file_and_reason(load, case):
    """The error names the file and says what is wrong."""
    text, reason = REFUSED[case]
    with pytest.raises(CatalogError) as error:
        load(text)
    assert str(error.value).startswith("example.toml: ")
    assert reason in str(error.value)


def test_an_error_in_a_model_names_it(load):
    """Among a hundred models, the wrong one is named."""
    with pytest.raises(CatalogError, match="'m'"):
        load(changed('"2.50"', '"x"'))


@each("name", ["Example", "exa mple", "-x", "ä"])
def test_the_name_is_plain(load, name):
    """A provider's name can stand in a file name, a URL and a label."""
    with pytest.raises(CatalogError, match="name"):
        load(ROW, name)


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    """A file of another encoding is refused like any other mistake."""
    (tmp_path / "example.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(CatalogError, match=r"example\.toml"):
        load_catalog(tmp_path)


def test_other_files_are_left_alone(tmp_path):
    """Only TOML files are rows."""
    (tmp_path / "NOTES.md").write_text("no row")
    assert load_catalog(tmp_path) == {}
