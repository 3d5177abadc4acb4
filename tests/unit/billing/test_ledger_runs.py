"""Runs: a key's calls and an account's lines are found whole, wherever they stand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import event
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.ports import DrawRequest, LedgerUnavailable
from posthouse.billing.records import Settlement
from posthouse.storage.ledger import index as ledger_index
from posthouse.storage.ledger.queries import LedgerReader
from posthouse.storage.ledger.sqlite import SqliteLedger

JOURNAL = "journal"
KEYS = ("k0", "k1", "k2")
ACCOUNTS = ("a", "b")
PAGE = 3


@pytest.fixture(autouse=True)
def short_runs(monkeypatch) -> None:
    """Let few transfers be many."""
    monkeypatch.setattr(ledger_index, "RUN", 8)
    monkeypatch.setattr(ledger_index, "LONGEST", 16)


def settlement(account: str, key: str, price: int = 1) -> Settlement:
    """A call of a key that an account pays, nothing being drawn for it."""
    wanted = structs.replace(opening(account), key_id=key)
    reason = "" if price else "failed"
    end = record(wanted, price, "served" if price else "failed")
    return Settlement(wanted.call_id, account, "", 100, 0, reason, end)


def start(books: Books) -> SqliteLedger:
    for account in ACCOUNTS:
        books.fund(account, 10_000)
    ledger = books.connect()
    ledger.register(JOURNAL)
    return ledger


def runs(books: Books) -> list[int]:
    return [row[0] for row in books.execute("SELECT up_to FROM runs ORDER BY 1")]


Step = st.tuples(
    st.lists(
        st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(KEYS), st.integers(0, 1)),
        max_size=12,
    ),
    st.integers(0, 3),
)


async def _pages(ask, number) -> list:
    """All of a listing, page by page."""
    found: list = []
    before = None
    while page := await ask(before=before, limit=PAGE):
        found += page
        before = number(page[-1])
    return found


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@given(steps=st.lists(Step, max_size=6))
@settings(max_examples=15, deadline=None)
async def test_every_page_is_what_a_look_at_everything_finds(
    tmp_path_factory, store, steps
):
    """Of any batches and draws: by key and by account, and the audit agrees."""
    await check_pages(Books(tmp_path_factory.mktemp("books")), steps)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@given(steps=st.lists(Step, max_size=6))
@settings(max_examples=4, deadline=None)
async def test_every_page_of_postgresql_is_what_a_look_at_everything_finds(
    tmp_path_factory, store, steps
):
    """The same where a run is made after the batch."""
    await check_pages(Books(tmp_path_factory.mktemp("books")), steps)


async def check_pages(books: Books, steps) -> None:
    """Post batches and draw, so often each, and look."""
    ledger = start(books)
    for number, (batch, draws) in enumerate(steps, 1):
        for _ in range(draws):
            ledger.exchange(JOURNAL, [], [DrawRequest("a", 5, 1, 5)])
        ledger.post(JOURNAL, [settlement(*item) for item in batch], number)
    ledger.close()
    newest = books.execute("SELECT max(id) FROM transfers")[0][0]
    assert newest - max(runs(books), default=0) < 16
    async with books.database() as database:
        reader = LedgerReader(database, books.root)
        for key in (*KEYS, "nobody"):
            calls = await _pages(
                lambda key=key, **page: reader.calls(key_id=key, **page),
                lambda call: call.seq,
            )
            assert [(call.seq, call.record.id) for call in calls] == books.execute(
                "SELECT seq, id FROM calls WHERE key_id = ? ORDER BY seq DESC", key
            )
            failed = await reader.calls(key_id=key, only={"outcome": "failed"})
            assert [call.seq for call in failed] == [
                call.seq for call in calls if call.record.outcome == "failed"
            ]
        for account in (*ACCOUNTS, "nobody"):
            for internal in (False, True):
                lines = await _pages(
                    lambda account=account, internal=internal, **page: reader.lines(
                        account_id=account, internal=internal, **page
                    ),
                    lambda line: line.id,
                )
                assert [(line.id,) for line in lines] == books.execute(
                    "SELECT id FROM transfers WHERE account_id = ?"
                    " AND (? OR reference IS NOT NULL) ORDER BY id DESC",
                    account,
                    internal,
                )
    found = await books.audit()
    assert faults(found) == {}


async def test_one_call_of_an_account_is_found(tmp_path, store):
    """By its id; and not among another account's."""
    books = Books(tmp_path)
    ledger = start(books)
    batch = [settlement("a", "k0") for _ in range(20)]
    ledger.post(JOURNAL, batch, 1)
    ledger.close()
    name = batch[0].call_id
    async with books.database() as database:
        reader = LedgerReader(database, books.root)
        (line,) = await reader.lines(account_id="a", call_id=name)
        assert line.reference == name
        assert await reader.lines(account_id="b", call_id=name) == []


def test_a_long_backlog_becomes_runs_of_bounded_length(tmp_path, store):
    """Many accounts opened at once do not make one long transaction later."""
    books = Books(tmp_path)
    ledger = start(books)
    for number in range(40):
        books.fund(f"new {number}", 5)
    for number in range(1, 5):
        ledger.post(JOURNAL, [settlement("a", "k0")], number)
    ledger.close()
    assert runs(books) == [16, 32, 45]


def test_a_run_is_made_with_the_batch_or_not_at_all(tmp_path, on_sqlite, monkeypatch):
    """A transaction that fails at its end leaves neither."""
    books = Books(tmp_path)
    ledger = start(books)
    batch = [settlement("a", "k0") for _ in range(20)]
    kept = ledger_index._MAKE
    monkeypatch.setattr(ledger_index, "_MAKE", (*kept, "SELECT * FROM nowhere"))
    with pytest.raises(LedgerUnavailable):
        ledger.post(JOURNAL, batch, 1)
    assert runs(books) == []
    assert books.ends() == {}
    monkeypatch.setattr(ledger_index, "_MAKE", kept)
    ledger.post(JOURNAL, batch, 1)
    ledger.close()
    assert runs(books) == [16]
    assert len(books.ends()) == 20


async def test_a_page_is_found_without_a_look_at_everything(tmp_path, on_sqlite):
    """The database goes from run to run and sorts nothing, however many rows."""
    books = Books(tmp_path)
    ledger = start(books)
    ledger.post(JOURNAL, [settlement("a", "k0") for _ in range(20)], 1)
    ledger.close()
    asked: list[tuple[str, tuple]] = []
    async with books.database() as database:

        @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
        def note(_connection, _cursor, statement, parameters, *_rest) -> None:
            asked.append((statement, parameters))

        reader = LedgerReader(database, books.root)
        await reader.calls(key_id="k0", before=10)
        await reader.lines(account_id="a", before=10)
        steps = [
            step[-1]
            for statement, values in asked
            if statement.startswith("SELECT") and "run_" in statement
            for step in books.execute(f"EXPLAIN QUERY PLAN {statement}", *values)
        ]
    assert len(steps) == 6
    assert [step for step in steps if not step.startswith("SEARCH")] == [
        "SCAN runs",
        "SCAN runs",
    ]


SPOILS = [
    "DELETE FROM run_calls WHERE seq = 5",
    "DELETE FROM run_transfers WHERE transfer_id = 5",
    "DELETE FROM run_transfers WHERE run = 16",
    "UPDATE run_calls SET key_id = 'k9' WHERE seq = 5",
    "UPDATE run_transfers SET account_id = 'b' WHERE transfer_id = 5",
    "UPDATE run_calls SET run = 32 WHERE seq = 5",
    "UPDATE run_transfers SET run = 32 WHERE transfer_id = 5",
    "INSERT INTO run_calls VALUES (32, 'k0', 33)",
    "INSERT INTO run_calls VALUES (32, 'k0', 999)",
    "INSERT INTO run_transfers VALUES (16, 'b', 5)",
    "INSERT INTO runs VALUES (33)",
    "DELETE FROM runs WHERE up_to = 32",
]


@pytest.mark.parametrize("statement", SPOILS)
async def test_the_audit_finds_what_a_listing_would_lack_or_show_twice(
    tmp_path, store, statement
):
    """Each planted fault is named; sound books had none."""
    books = Books(tmp_path)
    ledger = start(books)
    for number in (1, 2):
        ledger.post(JOURNAL, [settlement("a", "k0") for _ in range(16)], number)
    ledger.close()
    assert runs(books) == [16, 32]
    assert faults(await books.audit()) == {}
    books.execute(statement)
    found = faults(await books.audit())
    assert set(found) == {"I8"}
