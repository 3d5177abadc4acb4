"""Wildcards in names of models."""

import re
import time

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.model.patterns import is_pattern, matches, specificity

texts = st.text("ab.", max_size=6)


@given(st.text("ab.*", max_size=8) | st.text("a*", max_size=4), texts)
@example("a*a", "a")
@example("ab*ba", "aba")
@example("*a*a*", "a")
def test_a_star_is_any_run_of_characters(pattern: str, name: str) -> None:
    """The same as a regular expression in which all else is literal."""
    literal = "(?s:.*)".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, name) == (re.fullmatch(literal, name) is not None)


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, max_size=3))
def test_a_name_made_from_a_pattern_matches_it(
    parts: list[str], fillings: list[str]
) -> None:
    """Whatever stands for the stars."""
    filled = [*fillings, "", "", "", ""]
    name = "".join(a + b for a, b in zip(parts, filled, strict=False))
    pattern = "*".join(parts) + "*"
    assert matches(pattern, name)


def test_many_stars_take_no_time() -> None:
    """A hostile name against a pattern with many stars is no long search."""
    pattern, name = "*a" * 50 + "*b", "a" * 256
    start = time.process_time()
    for _ in range(100):
        assert not matches(pattern, name)
    assert time.process_time() - start < 1


@each(
    "ordered",
    [
        ["gpt-4o-mini", "gpt-4o-*", "gpt-4o*", "gpt-*", "*-mini", "*4*", "*"],
        ["a*c", "a*", "*aaaa"],
        ["a*cc", "a*c"],
    ],
)
def test_the_more_specific_comes_first(ordered: list[str]) -> None:
    """Exact, then by the text before the star, then by all text."""
    assert sorted(ordered, key=specificity, reverse=True) == ordered
    assert [is_pattern(name) for name in ordered] == ["*" in name for name in ordered]
