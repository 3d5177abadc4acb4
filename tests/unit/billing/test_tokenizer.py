"""Counts are exact for short texts, near for long, and bounded in time for all."""

import random
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.billing import tokenizer
from posthouse.billing.tokenizer import (
    LONGEST_SLICE,
    SAMPLED_CHARACTERS,
    count_tokens,
    framing_tokens,
)

ENGLISH = "The keeper lit the lamp above the gate and waited for the rider. "
CHINESE = "黄昏时分、驿站的灯火亮了起来。"


def exact(text, name="o200k_base"):
    """Count a text in one go."""
    return len(tokenizer._encoding(name).encode_ordinary(text))


@each(
    ("text", "model", "expected"),
    [
        ("", "gpt-4o", 0),
        ("hello world", "gpt-4o", 2),
        ("tiktoken is great!", "gpt-4o", 6),
        ("tiktoken is great!", "gpt-4-turbo", 6),
        ("お誕生日おめでとう", "gpt-4", 9),
        ("お誕生日おめでとう", "gpt-4o", 8),
        ("2 + 2 = 4", "gpt-3.5-turbo", 7),
    ],
)
def test_known_counts(text, model, expected):
    """Counts that OpenAI publishes for its encodings, and two obvious ones."""
    assert count_tokens(text, model) == expected


def test_an_unknown_model_is_counted_by_the_newest_encoding():
    """Any model's text can be counted."""
    assert count_tokens("hello world", "someone/model-7b") == 2


def test_special_tokens_in_a_text_are_text():
    """A customer who writes an end-of-text mark pays for its characters."""
    assert count_tokens("<|endoftext|>") > 1


def test_text_that_is_not_unicode_is_counted():
    """A lone surrogate, which JSON can carry, breaks nothing."""
    assert count_tokens("a\ud800b") > 0


@settings(deadline=None)
@given(st.text(max_size=LONGEST_SLICE))
def test_short_texts_are_exact(text):
    """Up to one slice, a count is the encoding's own."""
    assert count_tokens(text) == exact(text)


@pytest.mark.parametrize("text", [ENGLISH * 500, CHINESE * 1_000])
def test_sliced_texts_are_near(text):
    """Cutting a text changes its count by less than one in a hundred."""
    assert abs(count_tokens(text) - exact(text)) <= exact(text) / 100


@pytest.mark.parametrize("text", [ENGLISH * 10_000, CHINESE * 20_000])
def test_sampled_texts_are_near(text):
    """A sample's count is within two in a hundred."""
    assert len(text) > SAMPLED_CHARACTERS
    assert abs(count_tokens(text) - exact(text)) <= exact(text) / 50


def test_a_sample_covers_the_whole_text():
    """A text that changes in the middle is not judged by its beginning."""
    text = ENGLISH * 3_000 + CHINESE * 13_000
    assert abs(count_tokens(text) - exact(text)) <= exact(text) / 20


def noise(first, last, length):
    """Make a text of random characters."""
    dice = random.Random(7)
    return "".join(chr(dice.randrange(first, last)) for _ in range(length))


# Texts that are slow to tokenize in one go, or overflow the tokenizer's stack.
BOMBS = {
    "letters": lambda: "a" * 10**6,
    "carets": lambda: "^" * 10**6,
    "spaces": lambda: " " * 10**6,
    "newlines": lambda: "\n" * 10**6,
    "whitespace": lambda: " \n\t" * 333_333,
    "zero bytes": lambda: "\0" * 10**6,
    "marks": lambda: "e" + "\u0301" * 10**6,
    "digits": lambda: "7" * 10**6,
    "rare characters": lambda: noise(0x20000, 0x2A6DF, 10**5),
    "noise": lambda: noise(33, 127, 10**5),
    "ten million letters": lambda: "a" * 10**7,
}


@each("name", BOMBS)
def test_no_text_takes_long(name):
    """Every bomb is counted in a quarter of a second of processor time."""
    text = BOMBS[name]()
    count_tokens("warm")
    begun = time.thread_time()
    counted = count_tokens(text)
    assert time.thread_time() - begun < 0.25
    assert 0 < counted <= 4 * len(text)


def test_a_chat_has_a_frame():
    """Three tokens and a role for each message, three before the answer."""
    assert framing_tokens(0) == 0
    assert framing_tokens(1) == 3 + 3 + 1
    assert framing_tokens(20) == 3 + 20 * (3 + 1)


def test_threads_load_an_encoding_once(monkeypatch):
    """Threads that ask at once share one encoding."""
    monkeypatch.setattr(tokenizer, "_encodings", {})
    loads = []
    load = tokenizer._load
    monkeypatch.setattr(
        tokenizer, "_load", lambda name: loads.append(name) or load(name)
    )
    threads = [threading.Thread(target=count_tokens, args=("hi",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["o200k_base"]


def test_nothing_is_loaded_before_the_first_count():
    """Importing the module costs neither memory nor time."""
    code = (
        "import sys, posthouse.billing.tokenizer; "
        "assert 'tiktoken' not in sys.modules and 'regex' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
