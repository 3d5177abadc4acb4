"""A process that recovers books and may die while doing so; run by test_recovery."""

import sys
from pathlib import Path

from tests.unit.billing.books import Books

from posthouse.billing.recovery import recover

if __name__ == "__main__":
    books = Books(Path(sys.argv[1]))
    recover(books.root, books.open())
