"""Three nodes over one PostgreSQL and one Valkey, and all that may befall them.

See `storm` for what is judged.
"""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash.storm import NODES, Storm

LEAST_CALLS = 300
MINUTES = 4.0
"""Of the long form."""


def test_a_short_storm(tmp_path: Path) -> None:
    """Some of the faults, once."""
    with Storm(tmp_path, seed=3, callers=4) as storm:
        storm.kill_without_postgres(1)
        storm.credit(3_000_000)
        storm.trouble_valkey("flushed")
        storm.finish()
    _judge(storm)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_long_storm(tmp_path: Path) -> None:
    """All of them again and again, in an order that chance gives."""
    chance = random.Random(11)
    with Storm(tmp_path, seed=11, callers=8) as storm:
        until = time.monotonic() + MINUTES * 60
        while time.monotonic() < until:
            faults = _faults(storm, chance)
            chance.shuffle(faults)
            for befall in faults:
                befall()
                if storm.report.faults:
                    break
        storm.finish()
    _judge(storm)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_is_silent_for_a_minute(tmp_path: Path) -> None:
    """As it is without haste: only then does what it had drawn return."""
    with Storm(tmp_path, seed=5, callers=3, hasty=False) as storm:
        storm.away_for_long(1)
        storm.kill(0)
        storm.finish()
    _judge(storm)


def _faults(storm: Storm, chance: random.Random) -> list[Callable[[], None]]:
    """Everything that may befall it, each on a node of chance."""

    def node() -> int:
        return chance.randrange(NODES)

    def money() -> None:
        storm.credit(chance.randrange(1, 4_000_000))

    return [
        lambda: storm.kill(node()),
        lambda: storm.kill(*chance.sample(range(NODES), 2)),
        lambda: storm.kill(*range(NODES)),
        lambda: storm.replace(node()),
        lambda: storm.lose_disk(node()),
        lambda: storm.away_for_long(node()),
        lambda: storm.restart_postgres(signal.SIGINT, chance.random() * 2),
        lambda: storm.restart_postgres(signal.SIGQUIT, chance.random() * 2),
        lambda: storm.pause_postgres(1 + chance.random()),
        lambda: storm.kill_without_postgres(node()),
        lambda: storm.trouble_valkey("flushed"),
        lambda: storm.trouble_valkey("slow", 3),
        lambda: storm.trouble_valkey("paused", 2),
        lambda: storm.trouble_valkey("still", 2),
        lambda: storm.trouble_valkey("away", 2),
        storm.change_key,
        storm.share_a_limit,
        lambda: storm.change_file(node()),
        storm.change_channel,
        money,
        money,
    ]


def _judge(storm: Storm) -> None:
    print("\n".join(storm.report.lines()))
    assert storm.report.faults == []
    assert storm.report.calls > LEAST_CALLS
