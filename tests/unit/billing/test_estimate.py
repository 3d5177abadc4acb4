"""Holds err upwards, are bounded, and follow the client's and model's limits."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.billing.estimate import (
    MAX_OUTPUT,
    TOKENS_PER_AUDIO,
    TOKENS_PER_FILE,
    TOKENS_PER_IMAGE,
    USUAL_OUTPUT,
    estimate_prompt,
    extension_amount,
    held_output,
    hold_amount,
    plain_hold,
    plain_rates,
)
from posthouse.billing.prices import charge, price_of_spec
from posthouse.billing.tokenizer import count_tokens
from posthouse.catalog.price import FREE, make_price
from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.model.call import Operation
from posthouse.model.catalog import ModelRow, TierRates
from posthouse.model.money import MAX_AMOUNT
from posthouse.model.usage import Usage, UsageSource
from posthouse.settings.file import PriceSpec

MILLION = 1_000_000
MODEL = ModelRow("m", ("chat",), 100_000, 400, 2_000, None)
PLAIN = make_price({"input": 2 * MILLION, "output": 8 * MILLION})

ENGLISH = """The posthouse keeper lit the lamp above the gate and waited. A rider was
due before midnight, carrying letters from the capital, and the fresh horse had
been standing saddled for an hour. Rain drummed on the shingles; somewhere a dog
barked twice and fell silent. When the hoofbeats came at last they came fast."""
CHINESE = """黄昏时分、驿站的灯火亮了起来。一个年轻的信使牵着疲惫的马走进院子。
他把缰绳交给了老驿丞:“明天一早还要赶路。请给我换一匹快马。”老人点点头。
他从马厩里挑出一匹枣红色的骏马、又端来一碗热汤。
人工智能模型的调用需要按照输入和输出的词元数量计费。"""
JSON = ",".join(
    f'{{"id":{i},"name":"user{i}","tags":["a","b"],"score":{i * 1.37:.2f},"on":true}}'
    for i in range(100)
)


def ask(**fields):
    """Make a request for a chat."""
    defaults = {
        "operation": Operation.CHAT,
        "envelope": {},
        "model": "m",
        "stream": False,
        "prompt": PromptSize(),
        "affinity": b"",
    }
    return ParsedRequest(**(defaults | fields))


def hold(price=PLAIN, *, prompt_tokens=1_000, model=MODEL, hold_max=10**12, **fields):
    """Size a hold for a request of these fields."""
    return hold_amount(
        price,
        ask(**fields),
        prompt_tokens=prompt_tokens,
        model=model,
        hold_max=hold_max,
    )


# --- the prompt -----------------------------------------------------------------


@each("model", ["gpt-4o", "gpt-4-turbo"])
@each(
    "text",
    [ENGLISH, CHINESE, JSON, Path(__file__).read_text(encoding="utf-8")],
    ids=["English", "Chinese", "JSON", "code"],
)
def test_ordinary_text_is_not_underestimated(text, model):
    """English, Chinese, JSON and code: at least 95 %, at most 2.5 times as much."""
    estimate = estimate_prompt(ask(prompt=PromptSize(len(text.encode()))), None)
    assert 0.95 <= estimate / count_tokens(text, model) <= 2.5


def test_media_count_a_maximum_per_part():
    """Each part adds its kind's maximum."""
    plain = estimate_prompt(ask(), None)
    parts = PromptSize(images=2, audio_parts=1, files=1)
    added = 2 * TOKENS_PER_IMAGE + TOKENS_PER_AUDIO + TOKENS_PER_FILE
    assert estimate_prompt(ask(prompt=parts), None) == plain + added


def test_no_chat_exceeds_its_models_window():
    """What does not fit is refused by the provider, so it is not held for."""
    huge = ask(prompt=PromptSize(10**9))
    assert estimate_prompt(huge, MODEL) == MODEL.context


def test_a_list_to_embed_may_exceed_the_window():
    """An embedding's window is that of one entry, not of the list."""
    huge = ask(prompt=PromptSize(10**9), operation=Operation.EMBEDDING)
    assert estimate_prompt(huge, MODEL) > MODEL.context


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_more_text_is_never_fewer_tokens(text_bytes, more):
    """The estimate grows with the prompt."""
    small, large = PromptSize(text_bytes), PromptSize(text_bytes + more)
    assert estimate_prompt(ask(prompt=small), None) <= estimate_prompt(
        ask(prompt=large), None
    )


# --- the answer -----------------------------------------------------------------


@each(
    ("fields", "expected"),
    [
        ({}, 2_000),
        ({"stream": True}, 400),
        ({"output_limit": 50}, 50),
        ({"output_limit": 50, "stream": True}, 50),
        ({"output_limit": 10**9}, 2_000),
        ({"output_limit": 50, "choices": 3}, 150),
        ({"choices": 128}, 256_000),
        ({"operation": Operation.EMBEDDING}, 0),
        ({"operation": Operation.MODERATION}, 0),
        ({"operation": Operation.COMPLETION, "output_limit": 16}, 16),
    ],
)
def test_the_output_held_for(fields, expected):
    """The client's limit up to the model's, times n; else maximum or usual."""
    assert held_output(ask(**fields), MODEL) == expected


def test_an_unknown_model_has_stated_limits():
    """Where the catalogue knows nothing, fixed figures stand in."""
    assert held_output(ask(), None) == MAX_OUTPUT
    assert held_output(ask(stream=True), None) == USUAL_OUTPUT
    assert held_output(ask(output_limit=9), None) == 9


# --- the hold -------------------------------------------------------------------


def test_a_hold_covers_a_prompt_for_every_answer():
    """Who gives one at a time is asked for each, and reads the prompt each time."""
    price = make_price(
        {"input": 2 * MILLION, "output": 8 * MILLION, "request": MILLION}
    )
    each = 1_000 * 2 + 50 * 8 + 1
    assert hold(price, output_limit=50, choices=3) == 3 * each
    fields = {"output_limit": 50, "choices": 3}
    found = plain_hold(
        plain_rates(price),
        ask(**fields),
        prompt_tokens=1_000,
        model=MODEL,
        hold_max=10**12,
    )
    assert found == (3 * each, 1_000 * 2 + 1)
    legacy = {**fields, "operation": Operation.COMPLETION}
    assert hold(price, **legacy) == 1_000 * 2 + 3 * 50 * 8 + 1


def test_a_plain_hold():
    """1,000 tokens in at 2 and 2,000 out at 8 nano-dollars each."""
    assert hold() == 1_000 * 2 + 2_000 * 8


def test_no_cached_price_is_assumed():
    """A cheap cache is no reason to hold less; a dear write is one to hold more."""
    price = make_price(
        {
            "input": 2 * MILLION,
            "cached_input": 1,
            "cache_write_5m": 3 * MILLION,
            "output": 8 * MILLION,
        }
    )
    assert hold(price) == 1_000 * 3 + 2_000 * 8


def test_dearer_reasoning_is_assumed():
    """An answer may turn out to be all reasoning."""
    price = make_price({"input": MILLION, "output": MILLION, "reasoning": 4 * MILLION})
    assert hold(price) == 1_000 + 2_000 * 4


def test_audio_is_held_for_only_where_it_is_sent():
    """A text prompt does not pay audio's price."""
    price = make_price(
        {"input": MILLION, "audio_input": 20 * MILLION, "output": MILLION}
    )
    assert hold(price) == 1_000 + 2_000
    assert hold(price, prompt=PromptSize(audio_parts=1)) == 20_000 + 2_000


def test_long_context_is_held_for():
    """An estimate above the step holds at the step's rates."""
    price = make_price(
        {"input": MILLION, "output": MILLION},
        long_context=[(1_000, {"input": 2 * MILLION, "output": 3 * MILLION})],
    )
    assert hold(price) == 3_000
    assert hold(price, prompt_tokens=1_001) == 2_002 + 6_000


TIERED = make_price(
    {"input": 2 * MILLION, "output": 2 * MILLION},
    service_tiers={
        "flex": TierRates({"input": MILLION, "output": MILLION}),
        "priority": TierRates({"input": 5 * MILLION, "output": 5 * MILLION}),
    },
)


@each(
    ("tier", "rate"),
    [
        (None, 2),
        ("auto", 2),
        ("default", 2),
        ("flex", 2),
        ("priority", 5),
        ("fast", 5),
        ("whatever", 5),
    ],
)
def test_the_requested_tier_is_held_for_if_dearer(tier, rate):
    """A cheaper tier may turn out as the default; an unknown name as any."""
    assert hold(TIERED, service_tier=tier) == 3_000 * rate


def test_searches_and_requests_are_held_for():
    """What is priced apiece is held for apiece."""
    price = price_of_spec(PriceSpec(model="m", search="0.01", request="0.04"))
    assert hold(price, searches=3) == 30_000_000 + 40_000_000


def test_a_hold_is_capped():
    """No call holds more than hold_max."""
    assert hold(hold_max=7) == 7
    assert hold(output_limit=10**30, model=None, choices=10**9, hold_max=99) == 99


def test_free_holds_nothing():
    """A free call needs no balance."""
    assert hold(FREE) == 0
    assert extension_amount(FREE, ask(), prompt_tokens=1, tokens=10**9) == 0


def test_an_extension_has_the_holds_rates():
    """More output is held at the dearest rate, like the first hold's."""
    amount = extension_amount(
        TIERED, ask(service_tier="priority"), prompt_tokens=1, tokens=100
    )
    assert amount == 500


@given(
    limit=st.none() | st.integers(1, 2**70),
    choices=st.integers(1, 2**40),
    tokens=st.integers(0, 2**70),
    stream=st.booleans(),
)
def test_no_number_breaks_a_hold(limit, choices, tokens, stream):
    """Whatever is asked for, a hold is from 0 to 2⁶³-1."""
    amount = hold(
        output_limit=limit,
        choices=choices,
        stream=stream,
        prompt_tokens=tokens,
        hold_max=MAX_AMOUNT,
        model=None,
    )
    assert 0 <= amount <= MAX_AMOUNT


@given(
    prompt=st.integers(0, 10**6),
    output=st.integers(0, 2_000),
    cached=st.integers(0, 10**6),
    tier=st.sampled_from([None, "flex", "priority"]),
)
def test_a_hold_covers_what_it_foresaw(prompt, output, cached, tier):
    """A call within its estimate and limits is never charged above its hold."""
    held = hold(TIERED, prompt_tokens=prompt, output_limit=2_000, service_tier=tier)
    cached = min(cached, prompt)
    usage = Usage(
        {"input": prompt - cached, "cached_input": cached, "output": output},
        UsageSource.PROVIDER,
    )
    assert charge(TIERED, usage, tier) <= held
