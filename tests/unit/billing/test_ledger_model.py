"""Random lives of holds against a model of the money, with crashes in between.

The model is a few dictionaries: what each account was given, what each call
must cost. After each step the auditor looks (I1 to I10), and the books must
agree with the model: what has ended is charged exactly so or is still on its
way, what is open is held, and nobody has more or less than that.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.support import store
from tests.unit.billing.simulation import Simulation

ACCOUNTS = {"rich": (10**6, 0), "poor": (500, 0), "line": (0, 300), "free": (0, None)}


class LedgerModel(RuleBasedStateMachine):
    """Opens, extends, ends, crashes, drains and returns in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="posthouse-model-"))
        self.simulation = Simulation(self.folder, ACCOUNTS)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.finish()
            shutil.rmtree(self.folder)

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        amount=st.sampled_from([0, 1, 10, 100, 300]),
        prompt=st.sampled_from([0, 1, 10]),
        by_result=st.booleans(),
    )
    def open(self, account: str, amount: int, prompt: int, by_result: bool) -> None:
        self.simulation.open(account, amount, min(prompt, amount), by_result)

    @precondition(lambda self: self.simulation.holds)
    @rule(which=st.randoms(use_true_random=False))
    def answer(self, which) -> None:
        self.simulation.answer(which.choice(sorted(self.simulation.holds)))

    @precondition(lambda self: self.simulation.holds)
    @rule(which=st.randoms(use_true_random=False), charge=st.integers(0, 400))
    def progress(self, which, charge: int) -> None:
        self.simulation.progress(which.choice(sorted(self.simulation.holds)), charge)

    @precondition(lambda self: self.simulation.holds)
    @rule(
        which=st.randoms(use_true_random=False),
        price=st.sampled_from([0, 1, 9, 50, 100, 299, 1000]),
    )
    def settle(self, which, price: int) -> None:
        self.simulation.settle(which.choice(sorted(self.simulation.holds)), price)

    @precondition(lambda self: self.simulation.holds)
    @rule(which=st.randoms(use_true_random=False))
    def void(self, which) -> None:
        self.simulation.void(which.choice(sorted(self.simulation.holds)))

    @rule()
    def drain(self) -> None:
        self.simulation.drain()

    @rule()
    def return_idle(self) -> None:
        self.simulation.return_idle()

    @rule()
    def crash(self) -> None:
        self.simulation.crash()

    @rule()
    def restart(self) -> None:
        self.simulation.restart()

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.check()


LedgerModel.TestCase.settings = settings(
    max_examples=5,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLedgerModel = LedgerModel.TestCase


class LedgerModelOnPostgres(LedgerModel):
    """The same, on a database that a crash leaves as it is."""


LedgerModelOnPostgres.TestCase.settings = settings(
    LedgerModel.TestCase.settings, max_examples=1
)
TestLedgerModelOnPostgres = pytest.mark.usefixtures("postgres_for_books")(
    LedgerModelOnPostgres.TestCase
)


@pytest.fixture
def postgres_for_books(postgres, monkeypatch):
    """Books are on PostgreSQL."""
    monkeypatch.setattr(store, "server", postgres)
    yield
    postgres.clear()
