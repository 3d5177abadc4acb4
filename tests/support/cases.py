"""One test of many cases, where pytest's `parametrize` makes a test of each.

A test costs pytest some milliseconds in each of the processes that run the suite,
and a case of something pure costs microseconds. Use `each` where a case needs no
fixture of its own; what needs a fresh folder or a patch stays parametrised.

Rules: every case is run, whatever became of those before it. Those that fail are
told together, each by its name, its arguments and its traceback. A case that is
skipped among others that are not has failed, for nobody would see it. No case at
all is an error too.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import pytest

Test = Callable[..., Any]
Decorator = Callable[[Test], Test]
Values = Iterable[Any] | Callable[[], Iterable[Any]]
"""The cases, or what finds them when the test is run: collecting stays cheap."""
Ids = Sequence[str | None] | Callable[[Any], Any] | None

SHOWN = 15
"""So many failed cases are named and told of, as many as Python shows of a group."""
NAME, ARGUMENT = 60, 300
"""The most characters of a value in a name, and of an argument."""
PLAIN = int | float | complex | None
FAILED = pytest.fail.Exception


class Case(NamedTuple):
    """What a test is called with, and what that is called."""

    name: str
    arguments: dict[str, Any]

    def told(self) -> str:
        values = (
            f"{name}={cut(repr(self.arguments[name]))}" for name in self.arguments
        )
        return f"case {self.name}: {', '.join(values)}"


class Axis(NamedTuple):
    """What one decorator says."""

    names: tuple[str, ...]
    values: Values
    ids: Ids

    def cases(self) -> list[Case]:
        """Name each case.

        Raises:
            ValueError: There is none, or one has not as many values as are named.
        """
        values = self.values if isinstance(self.values, Iterable) else self.values()
        cases = [self.case(index, value) for index, value in enumerate(values)]
        if not cases:
            raise ValueError(f"no cases of {', '.join(self.names)}")
        if isinstance(self.ids, Sequence) and len(self.ids) != len(cases):
            raise ValueError(f"{len(self.ids)} ids of {len(cases)} cases")
        return cases

    def case(self, index: int, value: Any) -> Case:
        name = None
        if isinstance(value, type(pytest.param())):
            if value.marks:
                raise ValueError("a case among others cannot have a mark of its own")
            name, value = value.id, value.values
        elif len(self.names) == 1:
            value = (value,)
        arguments = dict(zip(self.names, value, strict=True))
        return Case(str(name or self.name_of(index, arguments)), arguments)

    def name_of(self, index: int, arguments: dict[str, Any]) -> str:
        if isinstance(self.ids, Sequence):
            name = self.ids[index] if index < len(self.ids) else None
            if name is not None:
                return name
        words = []
        for argument, value in arguments.items():
            word = self.ids(value) if callable(self.ids) else None
            told = value if word is None else word
            words.append(word_of(told, f"{argument}{index}"))
        return "-".join(words)


def word_of(value: Any, otherwise: str) -> str:
    """A value as part of a name; what has no short name is called otherwise."""
    if isinstance(value, str):
        return value[:NAME].encode("unicode_escape").decode()
    if isinstance(value, bytes):
        return repr(value[:NAME])[2:-1]
    if isinstance(value, PLAIN):
        return str(value)
    return str(getattr(value, "__name__", otherwise))


def cut(text: str) -> str:
    return text if len(text) <= ARGUMENT else f"{text[:ARGUMENT]}…"


class Story:
    """What became of a test's cases."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.failures: list[tuple[Case, BaseException]] = []
        self.skips: list[tuple[Case, BaseException]] = []
        self.running: Case

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for case in self.cases:
            self.running = case
            yield case.arguments

    def __enter__(self) -> None:
        """A case begins."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """A case is over: if it failed or was skipped, the next one follows."""
        if error is None:
            return False
        if isinstance(error, pytest.skip.Exception):
            self.skips.append((self.running, error))
            return True
        # The limit is that of the whole test: no case has any time left.
        late = isinstance(error, FAILED) and "pytest-timeout" in str(error)
        if late or not isinstance(error, Exception | FAILED):
            error.add_note(self.running.told())
            return False
        # Without this module's own frame.
        error.__traceback__ = traceback and traceback.tb_next
        self.failures.append((self.running, error))
        return True

    def end(self) -> None:
        """Tell what failed."""
        if len(self.skips) == len(self.cases):
            raise self.skips[0][1]
        failures = self.failures + self.skips
        if not failures:
            return
        shown = failures[:SHOWN]
        for case, error in shown:
            error.add_note(case.told())
        more = f" and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
        raise BaseExceptionGroup(
            f"{len(failures)} of {len(self.cases)} cases failed: "
            f"{', '.join(case.name for case, _ in shown)}{more}",
            [error for _, error in shown],
        )


def each(names: str | Sequence[str], values: Values, ids: Ids = None) -> Decorator:
    """Run a test once for each case, and tell of all that failed.

    It is used as `pytest.mark.parametrize` is, and over or under others of its kind
    it runs their every combination.

    Args:
        names: The arguments that a case has, the commas between them if in a text.
        values: The cases: a value each, or as many as there are names.
        ids: What a case is called, each by each; or what names a value.

    Returns:
        What makes a test of one case a test of all, whose other arguments it keeps.
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    if isinstance(values, Iterable):
        values = list(values)
    axis = Axis(tuple(names), values, ids)
    if isinstance(values, list):
        axis.cases()

    def decorate(test: Test) -> Test:
        function, others = getattr(test, "of_each", (test, ()))
        return looping(test, function, (axis, *others))

    return decorate


def cases_of(axes: Iterable[Axis]) -> list[Case]:
    """Every combination of what some decorators say."""
    return [
        Case(
            "-".join(case.name for case in cases),
            {name: case.arguments[name] for case in cases for name in case.arguments},
        )
        for cases in itertools.product(*(axis.cases() for axis in axes))
    ]


def looping(test: Test, function: Test, axes: tuple[Axis, ...]) -> Test:
    """A test that calls a function with every case."""

    async def run_async(*arguments: Any, **fixtures: Any) -> None:
        story = Story(cases_of(axes))
        for case in story:
            with story:
                await function(*arguments, **fixtures, **case)
        story.end()

    def run(*arguments: Any, **fixtures: Any) -> None:
        story = Story(cases_of(axes))
        for case in story:
            with story:
                function(*arguments, **fixtures, **case)
        story.end()

    remaining = dict(inspect.signature(test).parameters)
    for name in axes[0].names:
        if remaining.pop(name, None) is None:
            raise TypeError(f"{function.__name__} takes no {name}")
    made: Test = run_async if inspect.iscoroutinefunction(function) else run
    functools.update_wrapper(made, test)
    vars(made)["__signature__"] = inspect.Signature(list(remaining.values()))
    vars(made)["of_each"] = (function, axes)
    return made
