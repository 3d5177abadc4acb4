"""The fault matrix: every cell of the table, judged to the byte and the entry."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from tests.fakes.faults import FAULTS
from tests.fakes.faults import ROWS as FAKED_ROWS
from tests.faults.matrix import report, run_cells
from tests.faults.station import play
from tests.faults.table import CELLS, ROWS, Cell, absent
from tests.faults.variation import FORMS, OPERATIONS

SHARE = 80
"""Cells that one test runs, in one Posthouse."""
CELLS_DECLARED = 1560
"""A cell that goes missing is noticed here; new ones raise the number."""


def _shares() -> list[tuple[Cell, ...]]:
    """Cut the table, row by row."""
    found = []
    for row in ROWS:
        cells = [cell for cell in CELLS if cell.variation.row == row]
        found += [
            tuple(cells[start : start + SHARE]) for start in range(0, len(cells), SHARE)
        ]
    return found


SHARES = _shares()


def test_no_row_and_no_cell_is_missing() -> None:
    """Every row, operation, form and neighbour is in the table, or cannot be."""
    assert tuple(f"U{number}" for number in range(1, 24)) == ROWS
    assert sum(map(len, SHARES)) == len(CELLS) == CELLS_DECLARED
    assert len({cell.id for cell in CELLS}) == len(CELLS)
    for row in ROWS:
        cells = [cell for cell in CELLS if cell.variation.row == row]
        for operation, form in product(OPERATIONS, FORMS):
            found = {
                c.backed for c in cells if (c.operation, c.form) == (operation, form)
            }
            why = absent(row, operation, form)
            assert found == (set() if why else {False, True}), (row, operation, form)


def test_the_fake_provider_plays_no_row_that_is_not_here() -> None:
    """What other suites call a fault is one of this table's rows."""
    assert {fault.row for fault in FAULTS} == set(FAKED_ROWS) < set(ROWS)


@pytest.mark.parametrize(
    "cells",
    SHARES,
    ids=[f"{cells[0].variation.row}-{n}" for n, cells in enumerate(SHARES)],
)
def test_every_cell(
    cells: tuple[Cell, ...],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Each cell's bytes, ledger, attempts, health and descriptors are as promised."""
    results = play(lambda: run_cells(cells, tmp_path))
    passed = [result.cell.id for result in results if not result.failure]
    record_property("fault_cells", len(passed))
    assert passed == [cell.id for cell in cells], report(results)
