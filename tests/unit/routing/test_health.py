"""Breakers and rests: a table of stories, and a machine against a simple model."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)
from tests.support.cases import each

from posthouse.routing.health import (
    ERROR_RATE,
    LONGEST_EJECTION,
    OVERLOAD_RETRY_AFTER,
    RATE_LIMIT_REST,
    RATE_SAMPLE,
    RATE_WINDOW,
    REFUSED_REST,
    BreakerState,
    ChannelHealth,
    HealthTable,
    Verdict,
)

OK, FAIL, LIMIT, REFUSE, NEUTRAL = (
    Verdict.SUCCESS,
    Verdict.FAILURE,
    Verdict.RATE_LIMITED,
    Verdict.REFUSED,
    Verdict.NEUTRAL,
)


class Channel:
    """One channel of a table under a clock of our own."""

    def __init__(self) -> None:
        self.table = HealthTable(failures=5, seconds=30.0)
        self.now = 0.0

    def call(
        self, verdict: Verdict, *, credential: int = 0, rest: float | None = None
    ) -> None:
        """Begin and end an attempt at once."""
        trial = self.table.begin("a")
        self.end(verdict, credential=credential, rest=rest, trial=trial)

    def end(
        self,
        verdict: Verdict,
        *,
        credential: int = 0,
        rest: float | None = None,
        trial: int = 0,
    ) -> None:
        self.table.end("a", credential, verdict, self.now, trial=trial, rest=rest)

    def wait(self, credential: int = 0) -> float:
        """Seconds for which the credential is blocked."""
        blocked = self.table.blocked("a", credential, self.now)
        return blocked.seconds if blocked else 0.0

    def open(self) -> None:
        for _ in range(5):
            self.call(FAIL)


# Each step: seconds that pass, what an attempt shows then, and for how long the
# channel's first credential is blocked after it.
STORIES: dict[str, list[tuple[float, Verdict, float]]] = {
    "five in a row open it": [(0, FAIL, 0)] * 4 + [(0, FAIL, 30)],
    "a success in between": [(0, FAIL, 0)] * 4 + [(0, OK, 0)] + [(0, FAIL, 0)] * 4,
    "what says nothing breaks no row": [
        *[(0, FAIL, 0)] * 2,
        (0, NEUTRAL, 0),
        *[(0, FAIL, 0)] * 2,
        (0, FAIL, 30),
    ],
    "a trial's success closes it": [
        *[(0, FAIL, 0)] * 4,
        (0, FAIL, 30),
        (30, OK, 0),
        *[(0, FAIL, 0)] * 4,
        (0, FAIL, 30),
    ],
    "a trial's failure opens it for longer": [
        *[(0, FAIL, 0)] * 4,
        (0, FAIL, 30),
        (30, FAIL, 60),
        (60, FAIL, 90),
        (90, OK, 0),
    ],
    "a trial that says nothing leaves room for another": [
        *[(0, FAIL, 0)] * 4,
        (0, FAIL, 30),
        (31, NEUTRAL, 0),
        (0, OK, 0),
    ],
    "half of many calls": [(0.1, OK, 0), (0.1, FAIL, 0)] * 9
    + [(0.1, OK, 0), (0.1, FAIL, 30)],
    "half of few calls": [(0.1, OK, 0), (0.1, FAIL, 0)] * 9,
    "half of many calls over a long time": [(4, OK, 0), (4, FAIL, 0)] * 30,
    "a rate limit without a time": [(0, LIMIT, RATE_LIMIT_REST)],
    "a refusal": [(0, REFUSE, REFUSED_REST)],
    "rate limits open nothing": [(6, LIMIT, RATE_LIMIT_REST)] * 20,
}


@each("story", STORIES)
def test_stories(story: str) -> None:
    """Every step blocks the channel for as long as the story says."""
    channel = Channel()
    for step, (seconds, verdict, blocked) in enumerate(STORIES[story]):
        channel.now += seconds
        channel.call(verdict)
        assert channel.wait() == pytest.approx(blocked), step


def test_ejections_grow_up_to_a_limit() -> None:
    """30 seconds times the number of ejections in a row, at most ten minutes."""
    channel = Channel()
    channel.open()
    waits = []
    for _ in range(25):
        waits.append(channel.wait())
        channel.now += channel.wait()
        channel.call(FAIL)
    assert waits == [min(30.0 * n, LONGEST_EJECTION) for n in range(1, 26)]


def test_half_open_lets_one_call_through() -> None:
    """All others wait for what it shows."""
    channel = Channel()
    channel.open()
    channel.now += 30
    assert channel.wait() == 0
    trial = channel.table.begin("a")
    assert trial
    assert channel.wait() == OVERLOAD_RETRY_AFTER
    channel.end(OK, trial=trial)
    assert channel.wait() == 0
    assert channel.table.begin("a") == 0


@pytest.mark.parametrize("late", [OK, FAIL])
def test_late_results_do_not_move_an_open_breaker(late: Verdict) -> None:
    """Calls that began before it opened say nothing of how things are now."""
    channel = Channel()
    old = [channel.table.begin("a") for _ in range(20)]
    channel.open()
    for trial in old[:10]:
        channel.end(late, trial=trial)
    assert channel.wait() == 30
    channel.now += 30
    trial = channel.table.begin("a")
    for early in old[10:]:
        channel.end(late, trial=early)
    assert channel.wait() == OVERLOAD_RETRY_AFTER
    channel.end(OK, trial=trial)
    assert channel.wait() == 0


def test_a_trials_first_content_closes_the_breaker() -> None:
    """A stream may last for minutes; the others need not wait for its end."""
    channel = Channel()
    old = channel.table.begin("a")
    channel.table.answering("a", old)
    channel.open()
    channel.table.answering("a", old)
    assert channel.wait() == 30
    channel.now += 30
    trial = channel.table.begin("a")
    # What began before the breaker opened tells nothing of how things are now.
    channel.table.answering("a", old)
    assert channel.wait() == OVERLOAD_RETRY_AFTER
    channel.table.answering("a", trial)
    assert channel.wait() == 0
    channel.open()
    channel.now += 30
    second = channel.table.begin("a")
    channel.end(OK, trial=trial)
    assert channel.wait() == OVERLOAD_RETRY_AFTER
    channel.end(FAIL, trial=second)
    assert channel.wait() == 60


def test_retry_after_rests_the_credential_for_as_long() -> None:
    """Also with a failure; the longest of several counts."""
    channel = Channel()
    channel.call(LIMIT, rest=17.0)
    assert channel.wait() == 17
    channel.call(LIMIT)
    assert channel.wait() == 17
    channel.call(FAIL, rest=40.0)
    assert channel.wait() == 40
    channel.call(LIMIT, rest=0.0)
    assert channel.wait() == 40
    blocked = channel.table.blocked("a", 0, channel.now)
    assert blocked is not None
    assert blocked.reason is FAIL


def test_a_refusal_rests_long_whatever_the_provider_says() -> None:
    """A wrong key does not become right in a second."""
    channel = Channel()
    channel.call(REFUSE, rest=1.0)
    assert channel.wait() == REFUSED_REST


def test_other_credentials_of_the_channel_go_on() -> None:
    """A rest is one credential's; a breaker is the channel's."""
    channel = Channel()
    channel.call(REFUSE, credential=1)
    channel.call(LIMIT, credential=2)
    assert [channel.wait(credential) > 0 for credential in range(4)] == [
        False,
        True,
        True,
        False,
    ]
    channel.open()
    assert all(channel.wait(credential) >= 30 for credential in range(4))


def test_an_older_calls_success_wakes_nobody() -> None:
    """Only a success after the rest is over shows that it is."""
    channel = Channel()
    channel.call(LIMIT, rest=10.0)
    channel.call(OK)
    assert channel.wait() == 10
    channel.now += 10
    channel.call(OK)
    assert channel.wait() == 0


def test_channels_that_are_gone_are_forgotten() -> None:
    """Even while one of their calls is still under way."""
    channel = Channel()
    channel.open()
    channel.now += 30
    trial = channel.table.begin("a")
    channel.table.keep_only({"b"})
    assert channel.wait() == 0
    channel.end(FAIL, trial=trial)
    assert channel.wait() == 0
    channel.table.keep_only(set())
    assert channel.table._channels == {}


def test_the_breakers_states() -> None:
    """Closed, open until its time, then half open."""
    entry = ChannelHealth()
    assert entry.state(0) is BreakerState.CLOSED
    entry.ejections, entry.open_until = 1, 30.0
    assert entry.state(29.9) is BreakerState.OPEN
    assert entry.state(30.0) is BreakerState.HALF_OPEN


@dataclass
class Attempt:
    """An attempt under way, as the simple model sees it."""

    credential: int
    number: int
    trial: int


@dataclass
class Simple:
    """A channel's health worked out anew from all that has happened."""

    told: list[tuple[float, bool]] = field(default_factory=list)
    """(when, failed) of every telling result since the breaker last moved."""
    ejections: int = 0
    opened: float = 0.0
    trial: Attempt | None = None
    rests: list[tuple[int, float]] = field(default_factory=list)
    """(credential, until) of every rest ever asked for."""

    def blocked(self, credential: int, now: float) -> float:
        if self.ejections:
            until = self.opened + min(30.0 * self.ejections, LONGEST_EJECTION)
            if now < until:
                return until - now
            if self.trial is not None:
                return OVERLOAD_RETRY_AFTER
        waits = [until - now for who, until in self.rests if who == credential]
        return max([0.0, *waits])

    def tell(self, now: float, *, failed: bool) -> None:
        trial = self.ejections > 0
        self.told.append((now, failed))
        if not failed:
            self.ejections = 0
            return
        row = 0
        for _, failure in reversed(self.told):
            if not failure:
                break
            row += 1
        if trial or row >= 5 or self.often():
            self.ejections += 1
            self.opened = now
            self.told.clear()

    def often(self) -> bool:
        start, window = -RATE_WINDOW * 2, []
        for when, failure in self.told:
            if when - start > RATE_WINDOW:
                start, window = when, []
            window.append(failure)
        return len(window) >= RATE_SAMPLE and sum(window) >= ERROR_RATE * len(window)


class Machine(RuleBasedStateMachine):
    """The table does what the simple model does, whatever happens in what order."""

    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.table = HealthTable(failures=5, seconds=30.0)
        self.simple = Simple()
        self.now = 0.0
        self.number = 0

    @rule(seconds=st.sampled_from([0.5, 4.0, 9.0, 29.0, 31.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=attempts, credential=st.integers(0, 2))
    def start(self, credential: int) -> Attempt:
        return self.begin(credential)

    def begin(self, credential: int) -> Attempt:
        if self.table.blocked("a", credential, self.now) is not None:
            return Attempt(credential, -1, 0)
        self.number += 1
        attempt = Attempt(credential, self.number, self.table.begin("a"))
        assert bool(attempt.trial) == bool(self.simple.ejections)
        if attempt.trial:
            assert self.simple.trial is None
            self.simple.trial = attempt
        return attempt

    @rule(
        attempt=consumes(attempts),
        verdict=st.sampled_from([OK, FAIL, FAIL, FAIL, LIMIT, REFUSE, NEUTRAL]),
        rest=st.sampled_from([None, None, 0.0, 3.0, 100.0]),
    )
    def finish(self, attempt: Attempt, verdict: Verdict, rest: float | None) -> None:
        self.end(attempt, verdict, rest)

    def end(self, attempt: Attempt, verdict: Verdict, rest: float | None) -> None:
        if attempt.number < 0:
            return
        simple, now = self.simple, self.now
        telling = attempt is simple.trial or not simple.ejections
        if attempt is simple.trial:
            simple.trial = None
        if telling and verdict in (OK, FAIL):
            simple.tell(now, failed=verdict is FAIL)
        pause = {
            LIMIT: RATE_LIMIT_REST if rest is None else rest,
            REFUSE: max(REFUSED_REST, rest or 0.0),
            FAIL: rest or 0.0,
        }.get(verdict, 0.0)
        simple.rests.append((attempt.credential, now + pause))
        self.table.end(
            "a", attempt.credential, verdict, now, trial=attempt.trial, rest=rest
        )

    @rule(failures=st.lists(st.booleans(), min_size=5, max_size=15))
    def burst(self, failures: list[bool]) -> None:
        for failed in failures:
            self.end(self.begin(0), FAIL if failed else OK, None)

    @rule(attempt=attempts)
    def answer(self, attempt: Attempt) -> None:
        if attempt.number < 0:
            return
        self.table.answering("a", attempt.trial)
        if self.simple.trial is attempt:
            self.simple.trial = None
            self.simple.ejections = 0
            self.simple.told.clear()

    @invariant()
    def ails_while_something_may_be_unusable(self) -> None:
        entry = self.table.find("a")
        ails = entry is not None and bool(entry.ejections or entry.resting)
        assert self.table.ailing == ({"a"} if ails else set())

    @invariant()
    def blocks_the_same(self) -> None:
        for credential in range(3):
            blocked = self.table.blocked("a", credential, self.now)
            seconds = blocked.seconds if blocked else 0.0
            assert seconds == pytest.approx(self.simple.blocked(credential, self.now))


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


# --- refused credentials --------------------------------------------------------------


def test_a_refused_credential_is_tried_by_one_call_every_ten_minutes() -> None:
    """Until one is accepted; calls that began before say nothing."""
    table = HealthTable()
    table.end("a", 0, REFUSE, 0.0)
    assert table.resting("a", 1.0) == 1
    table.end("a", 0, OK, 1.0)
    assert table.blocked("a", 0, 2.0) is not None
    for moment in (REFUSED_REST, 2 * REFUSED_REST):
        assert table.blocked("a", 0, moment - 1.0) is not None
        assert table.blocked("a", 0, moment) is None
        table.begin("a", 0, moment)
        assert table.blocked("a", 0, moment) is not None
        table.end("a", 0, REFUSE, moment)
    later = 3 * REFUSED_REST
    table.begin("a", 0, later)
    table.end("a", 0, OK, later)
    assert table.blocked("a", 0, later) is None
    assert table.resting("a", later) == 0


def test_what_others_know_of_refusals_is_taken_over() -> None:
    """Those that are news rest; those that are no longer known do not."""
    table = HealthTable()
    table.refused("a", (), 0.0)
    table.end("a", 0, REFUSE, 0.0)
    table.end("a", 2, LIMIT, 0.0, rest=100.0)
    table.refused("a", (0, 1), 10.0)
    waits = [table.blocked("a", index, 10.0) for index in range(3)]
    assert [wait and wait.seconds for wait in waits] == [590.0, 600.0, 90.0]
    table.refused("a", (), 20.0)
    assert table.blocked("a", 0, 20.0) is None
    assert table.blocked("a", 1, 20.0) is None
    assert table.blocked("a", 2, 20.0) is not None


def test_a_rate_limit_does_not_make_a_refusal_a_rest() -> None:
    """It is counted as refused until it is accepted."""
    table = HealthTable()
    table.end("a", 0, REFUSE, 0.0)
    table.end("a", 0, LIMIT, 0.0, rest=3600.0)
    assert table.resting("a", 5000.0) == 1
    blocked = table.blocked("a", 0, 10.0)
    assert blocked is not None
    assert blocked.reason is REFUSE
