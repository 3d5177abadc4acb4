"""Of a long answer a sample is kept, from which its tokens can be told."""

import random

import pytest

from posthouse.billing.tokenizer import count_tokens
from posthouse.dialects.neutral.sample import MOST_SLICES, SLICE, TextSample

WORDS = ("horse", " station", "\n\n", "驿站", " 1.234", " the", "def f(x):\n    ")


def pieces(size: int) -> list[str]:
    """Words that change in kind from the beginning to the end."""
    chance = random.Random(5)
    found = [chance.choice(WORDS[:3]) for _ in range(size)]
    return found + [chance.choice(WORDS[3:]) for _ in range(size)]


def sampled(texts: list[str], together: int) -> str:
    sample = TextSample()
    for start in range(0, len(texts), together):
        sample.add("".join(texts[start : start + together]))
    return sample.text()


def test_a_usual_answer_is_kept_whole() -> None:
    """To the letter, however it came."""
    texts = pieces(5_000)
    for together in (7, 1024, 10_000):
        assert sampled(texts, together) == "".join(texts)


@pytest.mark.parametrize("together", [3_000, 20_000])
def test_a_long_answer_is_counted_by_a_sample(together: int) -> None:
    """It has a bound, and its share tells the whole within three in a hundred."""
    texts = pieces(200_000)
    whole = "".join(texts)
    kept = sampled(texts, together)
    assert len(kept) <= (MOST_SLICES + 1) * SLICE < len(whole) / 5
    share = len(whole.encode()) / len(kept.encode())
    told = count_tokens(kept) * share
    assert told == pytest.approx(count_tokens(whole), rel=0.03)
