"""The ledger in PostgreSQL, where more goes wrong or on at once than in a file."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.support import store
from tests.support.postgres import Server, execute, transaction
from tests.unit.billing.books import PATIENT, Books, faults, opening, record

from posthouse.billing.ports import (
    DrawRequest,
    GiveBack,
    JournalMovedOn,
    LedgerUnavailable,
)
from posthouse.billing.records import Settlement
from posthouse.storage.ledger import index as ledger_index
from posthouse.storage.ledger.postgres import PostgresLedger
from posthouse.storage.ledger.session import Doubt, Session
from posthouse.storage.postgres import NUMBERS

JOURNAL = "journal"
SHARE = f"SELECT pg_advisory_xact_lock_shared({NUMBERS})"
TAKEN = "SELECT 1 FROM accounts WHERE id = 'a' FOR UPDATE"
INSERT = "INSERT INTO transfers (kind, account_id, created_ms) VALUES ('draw', 'x', 0)"


@pytest.fixture
def books(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Books]:
    monkeypatch.setattr(store, "server", postgres)
    yield Books(tmp_path)
    postgres.clear()


@pytest.fixture
def ledger(books: Books) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(books.postgres, seconds=PATIENT)
    ledger.register(JOURNAL)
    yield ledger
    ledger.close()


def draw(ledger: PostgresLedger, account: str, amount: int, journal: str = JOURNAL):
    """Draw all that is there, or just so much."""
    (found,) = ledger.exchange(journal, [], [DrawRequest(account, amount, 1, 0)])
    return found


def settlement(account: str, lease: str, price: int = 1) -> Settlement:
    call = opening(account, 100)
    end = record(call, price)
    return Settlement(call.call_id, account, lease, 100, price, "", end)


def held(books: Books, account: str = "lease:1:a") -> int:
    return books.available(account)


class TestBrokenCommits:
    """The connection breaks while COMMIT is under way, which was done or not."""

    @pytest.fixture(params=[True, False], ids=["done", "not-done"])
    def breaking(self, request: Any, ledger: PostgresLedger, monkeypatch: Any) -> Any:
        """Break the next COMMIT; `blind` lets nobody find out what came of it."""
        session = ledger._session

        class Breaking:
            def __init__(self, connection: Any) -> None:
                self._connection = connection

            def __getattr__(self, name: str) -> Any:
                return getattr(self._connection, name)

            async def execute(self, statement: str, *values: Any) -> Any:
                if statement != "COMMIT":
                    return await self._connection.execute(statement, *values)
                if request.param:
                    await self._connection.execute(statement)
                self._connection.terminate()
                raise ConnectionResetError("planted")

        def begin(*, blind: bool = False) -> bool:
            session._connection = Breaking(session._connection)
            if blind:

                async def nobody_knows(_number: str) -> None:
                    return None

                monkeypatch.setattr(session, "_outcome", nobody_knows)
            return bool(request.param)

        return begin

    async def test_a_post_happens_once(self, books, ledger, breaking, run) -> None:
        """Found out at once it is done or may be repeated."""
        books.fund("a", 1_000)
        lease = await run(lambda: draw(ledger, "a", 500).lease_id)
        batch = [settlement("a", lease) for _ in range(10)]
        if breaking():
            await run(lambda: ledger.post(JOURNAL, batch, 1))
        else:
            with pytest.raises(LedgerUnavailable):
                await run(lambda: ledger.post(JOURNAL, batch, 1))
            await run(lambda: ledger.post(JOURNAL, batch, 1))
        assert books.revenue() == 10
        assert faults(await books.audit()) == {}

    async def test_a_post_that_nobody_knows_of_is_repeated_without_harm(
        self, books, ledger, breaking, run
    ) -> None:
        """With more in the batch, as its journal has grown meanwhile."""
        books.fund("a", 1_000)
        lease = await run(lambda: draw(ledger, "a", 500).lease_id)
        batch = [settlement("a", lease) for _ in range(10)]
        breaking(blind=True)
        with pytest.raises(Doubt):
            await run(lambda: ledger.post(JOURNAL, batch, 1))
        batch += [settlement("a", lease)]
        await run(lambda: ledger.post(JOURNAL, batch, 2))
        assert books.revenue() == 11
        assert faults(await books.audit()) == {}

    async def test_a_finish_that_nobody_knows_of_ends_well(
        self, books, ledger, breaking, run
    ) -> None:
        """Asked again it is done, and a look at the position in between is none."""
        books.fund("a", 1_000)
        await run(lambda: draw(ledger, "a", 500))
        breaking(blind=True)
        with pytest.raises(Doubt):
            await run(lambda: ledger.finish(JOURNAL, [], "closed"))
        assert await run(lambda: ledger.register(JOURNAL)) == 0
        await run(lambda: ledger.finish(JOURNAL, [], "closed"))
        assert books.available("a") == 1_000
        assert faults(await books.audit()) == {}

    async def test_a_draw_is_what_was_told(self, books, ledger, breaking, run) -> None:
        """Who was told that it failed has nothing, whatever was committed."""
        books.fund("a", 1_000)
        if breaking():
            assert (await run(lambda: draw(ledger, "a", 100))).amount == 100
            assert held(books) == 100
        else:
            with pytest.raises(LedgerUnavailable):
                await run(lambda: draw(ledger, "a", 100))
            assert books.available("a") == 1_000
        assert faults(await books.audit()) == {}

    async def test_a_draw_that_nobody_knows_of_goes_back(
        self, books, ledger, breaking, run
    ) -> None:
        """The next exchange sets right what the last one left."""
        books.fund("a", 1_000)
        breaking(blind=True)
        with pytest.raises(Doubt):
            await run(lambda: draw(ledger, "a", 100))
        assert (await run(lambda: draw(ledger, "a", 30))).amount == 30
        assert (held(books), books.available("a")) == (30, 970)
        assert faults(await books.audit()) == {}

    async def test_a_return_that_nobody_knows_of_is_a_return(
        self, books, ledger, breaking, run
    ) -> None:
        """Nobody spends what may be another's by now; draws beside it get nothing."""
        books.fund("a", 1_000)
        lease = (await run(lambda: draw(ledger, "a", 100))).lease_id
        breaking(blind=True)
        wanted = [DrawRequest("a", 7, 1, 0)]
        back = [GiveBack(lease, "a", 60)]
        (told,) = await run(lambda: ledger.exchange(JOURNAL, back, wanted))
        assert (told.amount, told.elsewhere) == (0, True)
        assert await run(lambda: ledger.exchange(JOURNAL, [], [])) == []
        assert (held(books), books.available("a")) == (40, 960)
        assert faults(await books.audit()) == {}


@pytest.fixture
def run() -> Any:
    """Runs what waits for a loop of its own where the test's runs not."""
    return asyncio.to_thread


async def test_a_deadlock_is_tried_again(books, ledger, run) -> None:
    """Of two that wait for each other the server gives one up; it is not lost."""
    books.fund("a", 1_000)
    books.fund("b", 1_000)
    requests = [DrawRequest(name, 10, 1, 0) for name in ("a", "b")]
    lock = "SELECT 1 FROM accounts WHERE id = '{}' FOR UPDATE"
    attempts = []
    attempt = ledger._session._attempt

    async def counted(*values: Any, **named: Any) -> Any:
        attempts.append(values)
        return await attempt(*values, **named)

    ledger._session._attempt = counted
    # Ours waits first, so it is the one that looks for a circle first.
    with transaction(books.postgres, lock.format("b")) as other:
        drawing = asyncio.ensure_future(
            run(lambda: ledger.exchange(JOURNAL, [], requests))
        )
        await asyncio.sleep(0.5)
        await run(lambda: other(lock.format("a")))
    assert [item.amount for item in await drawing] == [10, 10]
    assert len(attempts) > 1
    assert faults(await books.audit()) == {}


async def test_connections_that_are_cut_off_lose_and_double_nothing(
    books, ledger, run
) -> None:
    """An administrator ends the session over and over while batches are posted."""
    books.fund("a", 10_000)
    lease = (await run(lambda: draw(ledger, "a", 5_000))).lease_id
    chance = random.Random(5)

    def cut(pause: float) -> None:
        time.sleep(pause)
        execute(
            books.postgres,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'posthouse ledger'"
            " AND datname = current_database()",
        )

    def post(position: int) -> int:
        batch = [settlement("a", lease) for _ in range(20)]
        failures = 0
        while True:
            try:
                ledger.post(JOURNAL, batch, position)
            except LedgerUnavailable:
                failures += 1
            except JournalMovedOn:
                return failures  # Nobody knew that it was done; it was.
            else:
                return failures

    failures = 0
    for position in range(1, 16):
        cutting = asyncio.ensure_future(run(cut, chance.random() / 50))
        failures += await run(post, position)
        await cutting
    assert failures > 0
    assert books.revenue() == 300
    assert faults(await books.audit()) == {}


async def test_a_run_waits_for_numbers_that_are_not_committed_yet(
    books, ledger, run, monkeypatch
) -> None:
    """Somebody has taken a low number and takes its time; no run leaves it out."""
    monkeypatch.setattr(ledger_index, "RUN", 8)
    books.fund("a", 1_000)

    def post(position: int) -> None:
        ledger.post(JOURNAL, [settlement("a", "") for _ in range(10)], position)

    with transaction(books.postgres, SHARE, INSERT):
        await run(lambda: post(1))
        assert books.execute("SELECT * FROM runs") == []
        execute(books.postgres, SHARE)
    await run(lambda: post(2))
    assert len(books.execute("SELECT * FROM runs")) == 1
    assert faults(await books.audit()) == {}


async def test_nodes_that_post_and_draw_at_once(books, run, monkeypatch) -> None:
    """Each with journals of its own, on the same accounts; all is exact in the end."""
    monkeypatch.setattr(ledger_index, "RUN", 64)
    monkeypatch.setattr(ledger_index, "LONGEST", 128)
    accounts = ["a", "b", "c"]
    for name in accounts:
        books.fund(name, 20_000)

    def node(number: int) -> int:
        ledger = PostgresLedger(books.postgres, home=str(number), seconds=PATIENT)
        journal = f"journal{number}"
        ledger.register(journal)
        charged = 0
        for position in range(1, 16):
            # Others ask for them in another order.
            wanted = [
                DrawRequest(accounts[(place + number) % 3], 40, 1, 0)
                for place in range(3)
            ]
            draws = ledger.exchange(journal, [], wanted)
            batch = [
                settlement(request.account_id, found.lease_id, 3)
                for request, found in zip(wanted, draws, strict=True)
                for _ in range(10)
            ]
            ledger.post(journal, batch, position)
            charged += 3 * len(batch)
            back = [
                GiveBack(found.lease_id, request.account_id, 4)
                for request, found in zip(wanted, draws, strict=True)
            ]
            ledger.exchange(journal, back[::-1], [])
        assert ledger.unfinished() == [journal]
        ledger.finish(journal, [], "closed")
        ledger.close()
        return charged

    charged = await asyncio.gather(*(run(lambda n=n: node(n)) for n in range(4)))
    assert books.revenue() == sum(charged)
    assert sum(books.available(name) for name in accounts) == 60_000 - sum(charged)
    newest = books.execute("SELECT max(id) FROM transfers")[0][0]
    up_to = books.execute("SELECT max(up_to) FROM runs")[0][0]
    assert newest - up_to < 3 * 128
    assert faults(await books.audit()) == {}


async def test_a_character_that_texts_cannot_hold_stops_no_journal(
    books, ledger, run
) -> None:
    """NUL in a record is replaced; the call is charged."""
    books.fund("a", 1_000)
    item = settlement("a", "", 5)
    strange = structs.replace(item.record, upstream_model="x\0y")
    item = structs.replace(item, record=strange)
    await run(lambda: ledger.post(JOURNAL, [item, settlement("a", "", 2)], 1))
    assert books.revenue() == 7
    rows = books.execute("SELECT upstream_model FROM calls ORDER BY seq")
    assert rows == [("x\N{REPLACEMENT CHARACTER}y",), ("gpt-4o",)]


def test_a_server_that_does_not_let_us_in_is_named_without_the_password() -> None:
    """What is raised tells the reason, and nothing of the URL's secret."""
    with pytest.raises(LedgerUnavailable) as caught:
        PostgresLedger("postgresql://me:not-for-eyes@127.0.0.1:1/p")
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "eyes" not in repr(shown)
        shown = shown.__cause__ or shown.__context__


def test_who_waits_for_a_lock_waits_for_half_of_the_time(books: Books) -> None:
    """Calls that came meanwhile wait for the next exchange, and so much longer."""
    books.fund("a", 1_000)
    ledger = PostgresLedger(books.postgres, seconds=6.0)
    with transaction(books.postgres, TAKEN):
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            draw(ledger, "a", 10)
        assert 2 < time.monotonic() - began < 4.5
    assert draw(ledger, "a", 10).amount == 10
    ledger.close()


def test_a_process_that_stands_still_does_not_hold_up_others_for_long(
    books: Books,
) -> None:
    """The server ends a transaction that nobody goes on with."""
    books.fund("a", 1_000)
    ledger = PostgresLedger(books.postgres, seconds=PATIENT)
    session = Session(books.postgres, seconds=PATIENT)
    begun = threading.Event()

    async def work(connection: Any) -> None:
        await connection.execute(TAKEN)
        begun.set()
        await asyncio.sleep(6)
        await connection.execute("SELECT 1")

    def stand_still() -> None:
        with pytest.raises(LedgerUnavailable):
            session.transact(work)

    still = threading.Thread(target=stand_still)
    still.start()
    assert begun.wait(PATIENT)
    began = time.monotonic()
    assert draw(ledger, "a", 10).amount == 10
    assert time.monotonic() - began < 4
    still.join()
    session.close()
    ledger.close()
