"""Seals, reports of usage, losses, and members of objects."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.members import Members, invalid, unlike
from posthouse.dialects.neutral.seal import seal, unseal
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.chat import Signature
from posthouse.model.usage import ReportedUsage
from posthouse.wire.json import decode_mended, mended

# --- seals --------------------------------------------------------------------------

NAMES = st.sampled_from(["openai_chat", "anthropic_messages", "gemini_generate"])
VALUES = st.text(min_size=1).filter(lambda text: not text.startswith("posthouse."))


@given(NAMES, NAMES, VALUES)
def test_a_seal_can_be_opened(by: str, own: str, value: str) -> None:
    """Whoever has signed, and wherever it was carried."""
    signature = Signature(by, value)
    assert unseal(seal(signature, own), own) == signature


def test_a_dialects_own_signature_stands_as_it_is() -> None:
    """Its clients may know what to do with it."""
    assert seal(Signature("d", "abc=="), "d") == "abc=="
    assert seal(Signature("e", "a.b.c"), "d") == "posthouse.e.a.b.c"


def test_a_sealed_nothing_is_no_signature() -> None:
    """Though the place is not empty."""
    assert seal(None, "d")
    assert unseal(seal(None, "d"), "d") is None


@each("text", [None, "", "posthouse.", "posthouse.x", "posthouse.x."])
def test_what_was_cut_is_no_signature(text: str | None) -> None:
    """Nor is nothing at all."""
    assert unseal(text, "d") is None


# --- usage --------------------------------------------------------------------------

REPORTS = st.none() | st.builds(
    ReportedUsage,
    input=st.none() | st.integers(0, 3),
    output=st.none() | st.integers(0, 3),
    reasoning=st.none() | st.integers(0, 3),
)


def test_a_later_report_wins_where_it_says_something() -> None:
    """Zero and absence say nothing."""
    old = ReportedUsage(input=5, output=1, cached_input=2)
    new = ReportedUsage(input=0, output=4)
    assert merged_usage(old, new) == ReportedUsage(input=5, output=4, cached_input=2)


def test_a_zero_is_more_than_nothing() -> None:
    """Where nothing was known before."""
    zero = ReportedUsage(input=0)
    assert merged_usage(ReportedUsage(output=1), zero) == ReportedUsage(0, 1)


@given(REPORTS, REPORTS)
def test_a_report_is_never_lost(
    old: ReportedUsage | None, new: ReportedUsage | None
) -> None:
    """No count that either has is absent from both joined."""
    joined = merged_usage(old, new)
    for report in (old, new):
        for name in ReportedUsage.__struct_fields__:
            if getattr(report, name, None) is not None:
                assert getattr(joined, name) is not None


# --- losses -------------------------------------------------------------------------


def test_losses_are_told_once_and_in_order() -> None:
    """With what became of each."""
    losses = Losses()
    losses.drop("b")
    losses.change("a")
    losses.drop("b")
    assert losses.told == ("-b", "~a")
    assert Losses().told == ()


def test_what_cannot_be_left_out_is_refused() -> None:
    """As the caller's mistake, which names the member."""
    with pytest.raises(InvalidRequest) as caught:
        Losses().refuse("n", "No.")
    assert caught.value.param == "n"
    assert caught.value.message == "No."


# --- members ------------------------------------------------------------------------


def test_what_nobody_took_is_left() -> None:
    """Null counts as absent."""
    members = Members({"a": "x", "b": 1, "c": None, "d": [2]}, "", invalid)
    assert members.text("a") == "x"
    assert members.whole("nothing") is None
    assert members.extras() == {"b": 1, "d": [2]}


@each(
    ("take", "good", "bad"),
    [
        (Members.text, "x", 1),
        (Members.flag, True, 1),
        (Members.number, 1.5, "1"),
        (Members.number, 1, True),
        (Members.whole, 7, 7.5),
        (Members.whole, 7, True),
        (Members.array, [1], {}),
        (Members.object, {"a": 1}, []),
        (Members.inner, {}, []),
        (Members.each, [{}], [1]),
        (Members.each, [], "x"),
        (Members.texts, ["a"], [1]),
        (Members.needed_text, "", None),
    ],
)
def test_types_are_held(take: Any, good: Any, bad: Any) -> None:
    """And what is wrong is named by its place."""
    take(Members({"m": good}, "", invalid), "m")
    with pytest.raises(InvalidRequest) as caught:
        take(Members({"m": bad}, "outer", invalid), "m")
    assert caught.value.param is not None
    assert caught.value.param.startswith("outer.m")


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON has one kind of number only."""
    assert Members({"n": 3.0}, "", invalid).whole("n") == 3


def test_a_provider_is_told_nothing() -> None:
    """Its reply is bad, wherever."""
    with pytest.raises(UpstreamBadResponse):
        Members([], "x", unlike)


def test_an_object_is_not_changed_by_being_read() -> None:
    """The reader has a copy."""
    value = {"a": "x"}
    Members(value, "", invalid).text("a")
    assert value == {"a": "x"}


# --- halves of characters -------------------------------------------------------------


def test_halves_of_characters_are_joined_or_marked() -> None:
    """No encoder takes them as they are."""
    assert mended("a\ud83d\ude00b\ud83d") == "a\U0001f600b\ufffd"
    assert decode_mended(b'{"\\ud83d":["\\ude00x",1]}') == {"\ufffd": ["\ufffdx", 1]}


@given(st.text())
def test_a_whole_text_stays(text: str) -> None:
    """Whatever it holds."""
    assert mended(text) == text


@each(
    ("name", "told"),
    [
        ("logit_bias", "-logit_bias"),
        ("a\r\nset-cookie: x", "-a??set-cookie:?x"),
        ("é\u2028 b\0", "-???b?"),
        ("z" * 5_000, "-" + "z" * 64),
        ("é" * 5_000, "-" + "?" * 64),
    ],
)
def test_a_loss_is_told_as_a_header_may_hold_it(name: str, told: str) -> None:
    """A caller may call a member anything: it ends in a header and in a record."""
    losses = Losses()
    losses.drop(name)
    losses.change(name)
    assert losses.told == (told, "~" + told[1:])
