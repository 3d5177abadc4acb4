"""A process that uses shared limits, whose exchanges a test makes step by step."""

from concurrent.futures import Future
from typing import NamedTuple

from tests.unit.access.counting import Counters

from posthouse.access.counters import Answer
from posthouse.access.ports import Permit
from posthouse.access.shares import Shares, Waiter
from posthouse.access.windows import Rates, Refusal


class Made(NamedTuple):
    """An admitted call."""

    at: float
    worker: "Worker"
    permit: Permit
    tokens: int


class Worker:
    """One process, whose exchanges the test makes step by step."""

    def __init__(self, name: str, counters: Counters, among: int) -> None:
        self.name = name
        self.counters = counters
        self.woken = False
        self.asks = 0
        self.shares = Shares(among, self._wake, counters.clock)
        self.waiting: list[tuple[Waiter, int]] = []
        self.made: list[Made] = []
        self.refused: list[Refusal] = []
        self._answers: list[Answer] | None = None
        self._asked_at = 0.0

    def _wake(self) -> None:
        self.woken = True

    def call(
        self, rates: Rates, tokens: int = 0, output: int = 0, *, patient: bool = True
    ) -> None:
        """A call comes; it is admitted at once or waits."""
        permit = self.shares.take("s", rates, tokens, output)
        if permit is not None:
            counted = tokens + output if rates.tokens is not None else 0
            self.made.append(Made(self.counters.clock(), self, permit, counted))
            return
        refusal = self.shares.refusal("s", rates)
        if refusal is not None:
            self.refused.append(refusal)
            return
        waiter = Waiter(rates, tokens, output, Future(), patient=patient)
        self.waiting.append((waiter, tokens + output))
        self.shares.wait("s", waiter)

    def ask(self) -> None:
        """The store hears what there is to say; its answer is under way."""
        if self._answers is None:
            self._asked_at = self.counters.clock()
            self.woken = False
            asks = self.shares.collect()
            self.asks += len(asks)
            self._answers = self.counters.answer(asks, self.name)

    def hear(self) -> None:
        """The answer arrives."""
        if self._answers is None:
            return
        answers, self._answers = self._answers, None
        self.shares.apply(answers)
        still = []
        for waiter, tokens in self.waiting:
            if not waiter.outcome.done():
                still.append((waiter, tokens))
                continue
            result = waiter.outcome.result()
            if isinstance(result, Refusal):
                self.refused.append(result)
            else:
                # What was drawn counts from the draw, what was ahead from now;
                # the earlier of both is the stricter to check.
                self.made.append(Made(self._asked_at, self, result, tokens))
        self.waiting = still

    def exchange(self) -> None:
        self.ask()
        self.hear()

    def lose(self, *, untold: bool) -> None:
        """The store does not answer, whether it has heard or not."""
        if self._answers is not None:
            return
        asks = self.shares.collect()
        if not untold:
            self.counters.answer(asks, self.name)
        failed = {id(waiter) for _, waiter in self.shares.fail(untold=untold)}
        self.waiting = [item for item in self.waiting if id(item[0]) not in failed]

    @property
    def has_more(self) -> bool:
        """Whether there is something to tell, now or later."""
        return self.woken or self.shares.due() is not None
