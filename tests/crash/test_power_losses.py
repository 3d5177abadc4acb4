"""With `durability = "power"` nothing that a client was told of is ever lost."""

from pathlib import Path

import pytest
from tests.crash.power.losses import has_compiler, run

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C compiler")


def test_what_was_told_of_survives_power_losses(tmp_path: Path) -> None:
    """Each gateway finds only what the one before it had synced."""
    report = run(tmp_path, losses=2)
    assert report.told > 30
    assert report.lost == []


@pytest.mark.slow
def test_without_it_the_last_calls_are_lost(tmp_path: Path) -> None:
    """So the experiment shows what it is meant to show."""
    report = run(tmp_path, losses=1, durability="process")
    assert report.lost
