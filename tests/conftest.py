"""What every suite may use: a way to start a real Posthouse."""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.guard import Guarded
    from tests.support.postgres import Server
    from tests.support.posthouse import Posthouse
    from tests.support.valkey import Valkey
    from tests.unit.access.counting import Counters

pytest_plugins = ["tests.faults.summary"]

# Without deadlines: what is slow now and then says something of the machine alone.
settings.register_profile("short", max_examples=25, deadline=None)
settings.register_profile("long", max_examples=400, deadline=None)
# `make slow` asks for the long one; a test's own settings stand over both.
settings.load_profile("short")

StartPosthouse = Callable[..., "Posthouse"]
MakeCounters = Callable[[Callable[[], float]], "Counters"]
AUTHORITY = Path(__file__).parent / "support" / "nobody.pem"
"""A certificate whose private key nobody has."""
PATIENCE = 30.0
"""Seconds for a database whose slowness a test is not about."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """What has to be done before tests are imported."""
    from tests.support.rewriting import share_rewriting

    share_rewriting(session.config)
    gc.disable()
    # Every client of an SDK reads all the authorities that are trusted: with those of
    # the machine, more work than most tests are. Tests call nobody beyond it.
    os.environ["SSL_CERT_FILE"] = str(AUTHORITY)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no search for garbage goes through it.

    Searches during the collection, and of all of that in each later one, would take
    a third of the time of the former, and a worker's share of the tests' besides.
    """
    gc.freeze()
    gc.enable()


@contextmanager
def starting(factory: pytest.TempPathFactory) -> Iterator[StartPosthouse]:
    """Give what starts servers, and stop them at the end.

    Stopping asserts that it ended well and that its books are in order.
    """
    from tests.support.posthouse import Posthouse

    with ExitStack() as running:

        def start(
            configuration: str, environment: Mapping[str, str] | None = None
        ) -> Posthouse:
            directory = factory.mktemp("posthouse")
            return running.enter_context(
                Posthouse(directory, configuration, environment)
            )

        yield start


@pytest.fixture(scope="module")
def start_posthouse(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartPosthouse]:
    """Start `posthouse serve` with a configuration, stopped after the module.

    What serves nobody still costs something: dozens of them would be a burden.
    """
    with starting(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def start_lasting_posthouse(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartPosthouse]:
    """The same for servers that several modules use."""
    with starting(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Server]":
    """A PostgreSQL 18 of this process's own; each test makes itself a database."""
    from tests.support.postgres import Server

    with Server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: its databases are SQLite's first, then PostgreSQL's.

    Those of a module's tests that are on the same one run together.
    """
    from tests.support import store

    if request.param == "postgresql":
        store.server = request.getfixturevalue("postgres")
    yield request.param
    if store.server is not None:
        store.server.clear()
        store.server = None


@pytest.fixture(scope="session")
def valkey() -> "Iterator[Valkey]":
    """A Valkey 9 of this process's own; each test has keys of its own in it."""
    from tests.support.valkey import Valkey

    with Valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module", params=["memory", "valkey"])
def make_counters(request: pytest.FixtureRequest) -> "Iterator[MakeCounters]":
    """Runs a test of limits twice: it counts in memory, then in a Valkey."""
    from tests.unit.access.counting import Counters

    if request.param == "memory":
        yield Counters
        return
    from tests.support.valkey import Desk
    from tests.support.valkey_counting import ValkeyTallies

    valkey = request.getfixturevalue("valkey")
    desk = Desk(valkey.port)
    yield lambda clock: ValkeyTallies(clock, valkey, desk)
    desk.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's database may be silent for longer than callers would wait."""
    from posthouse.storage import key_reader

    monkeypatch.setattr(key_reader, "SERVER_SECONDS", PATIENCE)


@pytest.fixture
def on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of SQLite alone among those that run twice."""
    from tests.support import store

    monkeypatch.setattr(store, "server", None)


@pytest.fixture(scope="session")
def guarded(start_lasting_posthouse: StartPosthouse) -> "Iterator[Guarded]":
    """A Posthouse for bad input, which at the end holds no more memory than before."""
    from tests.support.guard import guarding

    with guarding(start_lasting_posthouse) as guarded:
        yield guarded
