"""A provider is one file: what the catalogue promises to the rest."""

import ast
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.cases import each

import posthouse
from posthouse.billing.prices import PriceBook, charge
from posthouse.catalog.load import load_catalog
from posthouse.model.call import Operation
from posthouse.model.catalog import ModelRow
from posthouse.model.usage import Usage, UsageSource

SOURCE = Path(posthouse.__file__).parent
CATALOG = load_catalog()
MODELS = [
    pytest.param(row, model, id=f"{row.name}/{model.id}")
    for row in CATALOG.values()
    for model in row.models.values()
]

# Where one string is a provider's name and something else besides. Each entry
# says what it is there; a provider's name as such has no place outside
# catalog/ and providers/.
OTHER_MEANINGS = {
    "sandbox": "the test mode of a key, and the scheme of its in-process address",
    "openai": "the SDK's package, which the demo talks through",
    "anthropic": "the endpoint type that panels read in a list of models",
    "gemini": "the same",
    "google": "the member in which callers of OpenAI's dialect tell Google its own",
}

WITHOUT_WINDOW = {
    *("image", "image_edit", "image_variation"),
    *("speech", "transcription", "audio_translation", "rerank", "translation"),
}
"""Operations whose models tell no window of tokens, and may be paid apiece."""

ONE_FILE = """
title = "Newcomer"
base_url = "https://api.newcomer.example/v1"
auth = "bearer"

[operations.chat]
path = "/chat/completions"
dialect = "openai_chat"
verified = "unverified"

[[models]]
id = "newcomer-large"
context = 128_000
usual_output = 1_000
max_output = 8_000
prices = { input = "1", output = "2" }
source = "unverified"
date = "2026-01-31"
"""


def string_literals(path):
    """Give the strings that a file's code compares, lists or passes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_no_other_list_of_providers_exists():
    """No code outside catalog/ and providers/ names a provider."""
    names = CATALOG.keys() - OTHER_MEANINGS.keys()
    found = {
        str(path.relative_to(SOURCE)): sorted(names & string_literals(path))
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in {"catalog", "providers"}
    }
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_the_catalogs_code_names_no_provider():
    """The loader finds its files; it has no list of them either."""
    for path in (SOURCE / "catalog").glob("*.py"):
        assert not CATALOG.keys() & string_literals(path)


def test_the_scan_finds_what_it_looks_for(tmp_path):
    """A planted name is seen, also inside an expression."""
    planted = tmp_path / "planted.py"
    planted.write_text("if provider in ('x', 'deepseek'):\n    pass\n")
    assert "deepseek" in string_literals(planted)


def test_a_new_file_is_a_new_provider(tmp_path):
    """One file more, and its models can be priced and called."""
    for file in resources.files("posthouse.catalog").iterdir():
        if file.name.endswith(".toml"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "newcomer.toml").write_text(ONE_FILE)
    catalog = load_catalog(tmp_path)
    assert catalog.keys() == CATALOG.keys() | {"newcomer"}
    row = catalog["newcomer"]
    assert row.base_url + row.operations["chat"].path == (
        "https://api.newcomer.example/v1/chat/completions"
    )
    price = PriceBook(catalog).selling("large", "newcomer", "newcomer-large")
    assert price is not None
    usage = Usage({"input": 1_000_000, "output": 1_000_000}, UsageSource.PROVIDER)
    assert charge(price, usage) == 3_000_000_000


def test_the_providers_that_are_promised_are_there():
    """The shipped rows, by what this release promises."""
    promised = {
        "openai",
        "openai-compatible",
        "deepseek",
        "dashscope",
        "zhipu",
        "moonshot",
        "ollama",
        "llama-cpp",
        "sandbox",
        "azure-openai",
        "cerebras",
        "cohere",
        "fireworks",
        "gemini",
        "github-models",
        "groq",
        "lm-studio",
        "mistral",
        "nvidia-nim",
        "openrouter",
        "perplexity",
        "together",
        "vllm",
        "xai",
        "xinference",
        "ai360",
        "baichuan",
        "hunyuan",
        "lingyiwanwu",
        "minimax",
        "modelscope",
        "qianfan",
        "siliconflow",
        "spark",
        "stepfun",
        "volcengine-ark",
    }
    assert promised <= CATALOG.keys()


def test_every_dialect_exists():
    """A row cannot name a language that nobody speaks."""
    named = {o.dialect for row in CATALOG.values() for o in row.operations.values()}
    missing = {d for d in named if find_spec(f"posthouse.dialects.{d}") is None}
    assert missing == set()


def test_software_of_the_operators_own_is_free():
    """Local model servers cost nothing without a word of configuration."""
    prices = PriceBook(CATALOG)
    for row in CATALOG.values():
        assert row.free == (prices.list_price(row.name, "no such model") is not None)
    assert {row.name for row in CATALOG.values() if row.free} == {
        "llama-cpp",
        "lm-studio",
        "ollama",
        "vllm",
        "xinference",
    }


@each(("row", "model"), MODELS)
def test_a_listed_model_can_be_held_for_and_charged(row, model: ModelRow):
    """Facts are whole: window, answer's length, a rate for every token."""
    assert set(model.operations) <= row.operations.keys()
    done = set(model.operations)
    if Operation.TRANSCRIPTION.value in done:
        # In its sessions nothing is answered, so nothing is read anew.
        done -= {Operation.REALTIME.value}
    if not done <= WITHOUT_WINDOW:
        assert model.context > 0
    answers = {Operation.CHAT.value, Operation.COMPLETION.value} & set(model.operations)
    if answers:
        assert 0 < model.usual_output <= model.max_output <= model.context
    price = model.price
    if price is None or price.free:
        return
    for tier in price.service_tiers.values():
        assert tier.rates.keys() == price.rates.keys()
    if done <= WITHOUT_WINDOW and "input" not in price.rates:
        assert any(price.rates.values())
        return
    assert price.rates["input"] > 0
    assert "output" in price.rates or not answers
    assert price.rates["cached_input"] <= price.rates["input"]
    for _, rates in price.long_context:
        assert all(rates[unit] >= price.rates[unit] for unit in price.rates)


def test_loading_is_fast():
    """All files together are read in a tenth of a second of processor time."""
    begun = time.process_time()
    load_catalog()
    assert time.process_time() - begun < 0.1
