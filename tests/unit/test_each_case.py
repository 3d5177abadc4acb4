"""A test of many cases is worth as much as a test of each."""

import asyncio
import inspect
import os
import subprocess
import sys
import traceback
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from tests.support.cases import SHOWN, each

ROOT = Path(__file__).parents[2]


class Colour(Enum):
    RED = 1
    BLUE = 2


def failures(test: Any, **fixtures: Any) -> BaseExceptionGroup:
    with pytest.raises(BaseExceptionGroup) as caught:
        test(**fixtures)
    return caught.value


def notes(group: BaseExceptionGroup) -> list[str]:
    return [note for error in group.exceptions for note in error.__notes__]


def test_every_case_is_run_and_what_failed_is_named() -> None:
    """Also those after the first that fails, and with what the assertion said."""
    seen = []

    @each("number", [1, 2, 3, 4])
    def test(number: int) -> None:
        seen.append(number)
        assert number % 2, f"{number} is even"

    group = failures(test)
    assert seen == [1, 2, 3, 4]
    assert group.message == "2 of 4 cases failed: 2, 4"
    assert [str(error).splitlines()[0] for error in group.exceptions] == [
        "2 is even",
        "4 is even",
    ]
    assert notes(group) == ["case 2: number=2", "case 4: number=4"]
    frames = traceback.extract_tb(group.exceptions[0].__traceback__)
    assert [frame.name for frame in frames] == ["test"]


def test_what_was_awaited_fails_as_well() -> None:
    """A test that is a coroutine is one still."""

    @each(("a", "b"), [(1, 2), (3, 3)], ids=["less", "same"])
    async def test(a: int, b: int) -> None:
        await asyncio.sleep(0)
        assert a < b

    assert inspect.iscoroutinefunction(test)
    with pytest.raises(ExceptionGroup, match="1 of 2 cases failed: same") as caught:
        asyncio.run(test())
    assert notes(caught.value) == ["case same: a=3, b=3"]


def test_other_arguments_stay() -> None:
    """Fixtures and parameters of pytest are found by the signature."""
    seen = []

    @pytest.mark.parametrize("other", "xy")
    @each("first", "ab")
    @each("second", [pytest.param(1, id="one"), 2])
    def test(fixture: str, first: str, second: int, other: str) -> None:
        seen.append((fixture, first, second, other))
        assert not (first == "b" and second == 1)

    assert list(inspect.signature(test).parameters) == ["fixture", "other"]
    assert [mark.args for mark in test.pytestmark] == [("other", "xy")]
    group = failures(test, fixture="f", other="x")
    assert group.message == "1 of 4 cases failed: b-one"
    assert seen == [("f", first, second, "x") for first in "ab" for second in (1, 2)]


def test_methods_have_cases_too() -> None:
    """Their own first argument is none of the cases'."""
    seen = []

    class Tests:
        @each("value", [1, 2])
        def test(self, value: int) -> None:
            seen.append((self, value))

    tests = Tests()
    tests.test()  # type: ignore[call-arg]
    assert seen == [(tests, 1), (tests, 2)]


def test_names() -> None:
    """Of short values their text, of others their place, or what was asked for."""

    @each("value", ["a\n", b"\xff", 1.5, None, Colour, {"a": 1}])
    def test(value: object) -> None:
        raise ValueError

    assert failures(test).message == (
        "6 of 6 cases failed: a\\n, \\xff, 1.5, None, Colour, value5"
    )

    @each("value, other", [(1, Colour.RED)], ids=lambda value: f"<{value}>")
    def named(value: object, other: object) -> None:
        raise ValueError

    assert failures(named).message == "1 of 1 cases failed: <1>-<Colour.RED>"


def test_a_flood_of_failures_is_cut() -> None:
    """The rest are counted."""

    @each("value", range(SHOWN + 5))
    def test(value: int) -> None:
        pytest.fail("no")

    group = failures(test)
    assert len(group.exceptions) == SHOWN
    assert group.message.startswith("20 of 20 cases failed: 0, 1")
    assert group.message.endswith("and 5 more")


def test_a_skip_among_others_is_a_failure() -> None:
    """And hides no failure; where all are skipped, so is the test."""

    @each("value", [1, 2, 3])
    def some(value: int) -> None:
        if value == 2:
            pytest.skip("not here")
        assert value != 3

    assert failures(some).message == "2 of 3 cases failed: 3, 2"

    @each("value", [1, 2, 3])
    def all_of_them(value: int) -> None:
        pytest.skip("not here")

    with pytest.raises(pytest.skip.Exception, match="not here"):
        all_of_them()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_ends_a_test_ends_it(kind: type[BaseException]) -> None:
    """It is no failure of a case's."""
    seen = []

    @each("value", [1, 2])
    def test(value: int) -> None:
        seen.append(value)
        raise kind

    with pytest.raises(kind):
        test()
    assert seen == [1]


def test_no_case_follows_the_end_of_a_tests_time() -> None:
    """The one that took too long is named."""
    seen = []

    @each("value", [1, 2])
    def test(value: int) -> None:
        seen.append(value)
        pytest.fail("Timeout (>120.0s) from pytest-timeout.")

    with pytest.raises(pytest.fail.Exception) as caught:
        test()
    assert caught.value.__notes__ == ["case 1: value=1"]
    assert seen == [1]


@pytest.mark.parametrize(
    ("names", "values", "ids", "reason"),
    [
        ("value", [], None, "no cases of value"),
        ("value", iter(()), None, "no cases of value"),
        ("value", [1, 2], ["one"], "1 ids of 2 cases"),
        ("value", [1], ["one", "two"], "2 ids of 1 cases"),
        ("value, other", [(1, 2), (1,)], None, "shorter"),
        ("value, other", [(1, 2, 3)], None, "longer"),
        ("value", [pytest.param(1, marks=pytest.mark.slow)], None, "mark"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    names: str, values: Any, ids: Any, reason: str
) -> None:
    """Before there is a test."""
    with pytest.raises(ValueError, match=reason):
        each(names, values, ids)


def test_a_name_that_the_test_does_not_take_is_refused() -> None:
    """As is one that another decorator gives already."""

    def test(value: int) -> None: ...

    with pytest.raises(TypeError, match="test takes no other"):
        each("other", [1])(test)
    with pytest.raises(TypeError, match="test takes no value"):
        each("value", [1])(each("value", [2])(test))


def test_cases_may_be_found_when_the_test_is_run() -> None:
    """Not when it is collected; then there has to be one as well."""
    found = []
    seen = []

    def cases() -> list[int]:
        return found

    @each("value", cases)
    def test(value: int) -> None:
        seen.append(value)

    with pytest.raises(ValueError, match="no cases of value"):
        test()
    found.append(1)
    test()
    assert seen == [1]

    @each("value", Colour)
    def members(value: Colour) -> None:
        seen.append(value.value)

    members()
    assert seen == [1, 1, 2]


MODULE = """
import pytest
from tests.support.cases import each


@pytest.fixture(scope="module")
def limit():
    return 2


@each("value", [1, 2, 3])
def test_sync(limit, value):
    assert value + 1 < limit + 1


@each("value", [1, 2, 3])
async def test_async(limit, value):
    assert {"async": value} != {"async": limit}


@each("value", [1, 2])
@pytest.mark.parametrize("other", [1, 2])
def test_good(value, other):
    assert value + other


@each("value", [1, 2])
def test_skipped(value):
    pytest.skip("none here")
"""


def test_pytest_reports_them(tmp_path: Path) -> None:
    """By name, with what the assertion saw; the outcome is what it has to be."""
    module = tmp_path / "test_planted.py"
    module.write_text(MODULE)
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    done = subprocess.run(
        [sys.executable, *command, "--rootdir", tmp_path, module],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = done.stdout
    assert "2 failed, 2 passed, 1 skipped" in told
    assert "test_sync - ExceptionGroup: 2 of 3 cases failed: 2, 3" in told
    assert "ExceptionGroup: 1 of 3 cases failed: 2" in told
    assert "assert (3 + 1) < (2 + 1)" in told
    assert "assert {'async': 2} != {'async': 2}" in told
    assert "case 2: value=2" in told
    assert f'File "{module}", line 13, in test_sync' in told
