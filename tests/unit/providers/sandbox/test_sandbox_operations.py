"""Completions, embeddings and moderations, in the types of the official SDK."""

import base64
import math
import struct
from typing import Any

from openai.types import (
    Completion,
    CreateEmbeddingResponse,
    ModerationCreateResponse,
)
from tests.support.cases import each
from tests.support.sandbox import Played, ask, unknown_fields

from posthouse.providers.sandbox import tokens


def complete(prompt: Any = "Once", **body: Any) -> Completion:
    """Ask for a completion; the SDK's types must take it strictly."""
    played = ask("/completions", model="sandbox", prompt=prompt, **body)
    assert played.status == 200, played.body
    whole = Completion.model_validate_json(played.body, strict=True)
    assert unknown_fields(whole) == []
    return whole


def embed(text: Any, **body: Any) -> list[Any]:
    """Ask for embeddings as they stand in the reply."""
    played = ask("/embeddings", model="sandbox-embedding", input=text, **body)
    assert played.status == 200, played.body
    whole = CreateEmbeddingResponse.model_construct(**played.document)
    assert whole.object == "list"
    return [item["embedding"] for item in played.document["data"]]


def test_a_completion_has_sixteen_tokens_unless_told_otherwise() -> None:
    whole = complete("a" * 80)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 16
    assert whole.choices[0].finish_reason == "length"
    assert complete("a" * 80, max_tokens=99).choices[0].finish_reason == "stop"


def test_every_prompt_gets_its_choices_in_order() -> None:
    whole = complete(["one", "two"], n=2, max_tokens=99)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert ["one" in choice.text for choice in whole.choices] == [
        True,
        True,
        False,
        False,
    ]


def test_token_ids_are_a_prompt() -> None:
    assert complete([1, 2, 3]).usage == complete([[1, 2, 3]]).usage
    usage = complete([[1, 2], [3]]).usage
    assert usage is not None
    assert usage.prompt_tokens == 3


def test_echo_repeats_the_prompt_and_does_not_charge_for_it() -> None:
    plain, echoed = complete("Once"), complete("Once", echo=True)
    assert echoed.choices[0].text == "Once" + plain.choices[0].text
    assert echoed.usage == plain.usage


def test_suffix_and_stop() -> None:
    assert ", before: the end" in (
        complete(suffix="the end", max_tokens=99).choices[0].text
    )
    assert complete(stop="sandbox", max_tokens=99).choices[0].text == " This is the "


def test_discarded_candidates_are_charged() -> None:
    one, best = complete(n=1).usage, complete(n=1, best_of=4).usage
    assert one is not None
    assert best is not None
    assert best.completion_tokens == 4 * one.completion_tokens


def test_the_older_log_probabilities() -> None:
    (choice,) = complete(logprobs=2).choices
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    pieces = len(choice.logprobs.tokens or [])
    assert choice.logprobs.text_offset == [4 * place for place in range(pieces)]
    assert all(len(top) == 2 for top in choice.logprobs.top_logprobs or [])


@each("more", [{}, {"n": 2, "logprobs": 1}, {"echo": True}])
def test_a_stream_says_what_the_whole_completion_says(more: dict[str, Any]) -> None:
    whole = complete(**more)
    played = ask(
        "/completions",
        model="sandbox",
        prompt="Once",
        stream=True,
        stream_options={"include_usage": True},
        **more,
    )
    texts: dict[int, str] = {}
    for event in played.events:
        assert event["object"] == "text_completion"
        for choice in event["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert played.done
    assert [texts[choice.index] for choice in whole.choices] == [
        choice.text for choice in whole.choices
    ]
    assert whole.usage is not None
    assert played.events[-1]["usage"] == whole.usage.model_dump(exclude_none=True)


@each(
    ("body", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": "a", "best_of": 1, "n": 2}, "best_of"),
        ({"prompt": "a", "logprobs": 6}, "logprobs"),
        ({"prompt": ["a"] * 100, "n": 2}, "prompt"),
    ],
)
def test_a_wrong_completion_is_refused(body: dict[str, Any], param: str) -> None:
    played = ask("/completions", model="sandbox", **body)
    assert played.status == 400
    assert played.document["error"]["param"] == param


def test_a_vector_has_length_one_and_is_always_the_same() -> None:
    (one,) = embed("The river runs to the sea")
    assert len(one) == 256
    assert math.isclose(sum(value * value for value in one), 1, abs_tol=1e-6)
    assert embed("The river runs to the sea") == [one]


def test_texts_that_share_words_lie_closer_together() -> None:
    river, stream, tax = embed(["a long river", "the long river", "tax law"])

    def nearness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert nearness(river, stream) > 0.5 > nearness(river, tax)


def test_base64_holds_the_same_floats() -> None:
    (floats,) = embed("Hello", dimensions=8)
    (packed,) = embed("Hello", dimensions=8, encoding_format="base64")
    assert list(struct.unpack("<8f", base64.b64decode(packed))) == floats


def test_a_vector_is_never_zero() -> None:
    for number in range(200):
        (vector,) = embed(f"word{number}", dimensions=1)
        assert abs(vector[0]) == 1


def test_inputs_of_token_ids() -> None:
    played = ask("/embeddings", model="m", input=[[1, 2], [3]])
    assert [item["index"] for item in played.document["data"]] == [0, 1]
    assert played.document["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert len(embed([5, 6])) == 1


@each(
    "body",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": [-1]},
        {"input": {"a": 1}},
        {"input": "a" * 40_000},
        {"input": "a", "dimensions": 0},
        {"input": "a", "encoding_format": "hex"},
    ],
)
def test_a_wrong_embedding_request_is_refused(body: dict[str, Any]) -> None:
    assert ask("/embeddings", model="m", **body).status == 400


def moderated(value: Any) -> tuple[Played, ModerationCreateResponse]:
    """Ask for a moderation; the SDK's types must take it strictly."""
    played = ask("/moderations", input=value)
    assert played.status == 200, played.body
    whole = ModerationCreateResponse.model_validate_json(played.body, strict=True)
    assert unknown_fields(whole) == []
    return played, whole


def test_words_flag_their_category_only() -> None:
    _, whole = moderated(["I will kill you", "I like flowers"])
    bad, good = whole.results
    assert bad.flagged
    assert bad.categories.violence
    assert not bad.categories.sexual
    assert bad.category_scores.violence > 0.5 > bad.category_scores.sexual
    assert not good.flagged
    assert not any(good.categories.model_dump().values())


def test_parts_are_one_input() -> None:
    played, whole = moderated(
        [
            {"type": "text", "text": "a bomb"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]
    )
    assert len(whole.results) == 1
    applied = played.document["results"][0]["category_applied_input_types"]
    assert applied["violence"] == ["text", "image"]
    assert applied["hate"] == ["text"]


def test_tokens_join_to_the_text() -> None:
    text = "naïve 🦉 — 驿站 relay"
    assert "".join(tokens.split(text)) == text
    assert len(tokens.split(text)) == tokens.count(text)
