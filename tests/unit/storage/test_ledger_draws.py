"""What it costs to draw money from one account, beside those of others."""

import pytest
from sqlalchemy import create_engine

from posthouse.billing.ports import DrawRequest
from posthouse.storage.ledger.sqlite import SqliteLedger
from posthouse.storage.schema import metadata

JOURNAL = "f" * 32
OTHERS = 1000


def steps_of_a_draw(ledger: SqliteLedger, account: str) -> int:
    """How many instructions SQLite needs for it, to the nearest fifty."""
    connection = ledger._connection
    fifties = 0

    def count() -> int:
        nonlocal fifties
        fifties += 1
        return 0

    connection.set_progress_handler(count, 50)
    [draw] = ledger.exchange(JOURNAL, [], [DrawRequest(account, 10, 10, 100)])
    connection.set_progress_handler(None, 50)
    assert draw.amount > 0
    return 50 * fifties


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "posthouse.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    ledger = SqliteLedger(path)
    ledger.register(JOURNAL)
    for number in range(OTHERS + 1):
        ledger._connection.execute(
            "INSERT INTO accounts VALUES (?,'available',1000000,0,0,0)", (f"a{number}",)
        )
    yield ledger
    ledger.close()


def test_a_draw_costs_the_same_however_many_accounts_have_leases(ledger):
    """A process that serves a thousand keys looks at the one's leases alone."""
    others = [DrawRequest(f"a{number}", 10, 10, 100) for number in range(OTHERS)]
    ledger.exchange(JOURNAL, [], others)
    assert steps_of_a_draw(ledger, f"a{OTHERS}") < OTHERS
