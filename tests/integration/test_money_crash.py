"""SIGKILL at every named instant of the money, and at random ones.

After each kill the next process recovers; then nothing that a client was told
is missing, nothing is there twice, and the auditor is silent.
"""

import os
import random
import time
from pathlib import Path

import pytest
from tests.crash.points import LEFT_OUT
from tests.support import nursery
from tests.unit.billing.books import Books, faults

from posthouse.billing.killpoints import POINTS

SIGKILLED = -9


class Run:
    """Books, and processes that work on them and die."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.books = Books(folder)
        self.books.fund("rich", 10**9)
        self.books.fund("poor", 5_000)

    def process(self, seed: int, calls: int, point: str = "") -> nursery.Process:
        environment = {
            **os.environ,
            "POSTHOUSE_KILL_POINT": point,
            "POSTHOUSE_KILL_REPORT": str(self.folder / "report"),
        }
        worker = "tests.integration.money_worker"
        arguments = (self.folder, str(seed), str(calls))
        with (
            Path(os.devnull).open("rb") as nothing,
            (self.folder / "log").open("ab") as log,
        ):
            files = (nothing, log, log)
            return nursery.start(
                worker, *arguments, files=files, environment=environment
            )

    def transcript(self) -> dict[str, dict[str, int]]:
        """What was told, by kind: call id and charge."""
        told: dict[str, dict[str, int]] = {"served": {}, "settled": {}, "voided": {}}
        path = self.folder / "transcript"
        for line in path.read_text().splitlines() if path.exists() else ():
            kind, call_id, charge = line.split()
            told[kind][call_id] = int(charge)
        return told

    async def check(self) -> None:
        """Recover, close, and compare the ledger with what was told."""
        manager = await self.books.start()
        assert await manager.close()
        told, ends = self.transcript(), self.books.ends()
        for call_id, charge in told["settled"].items():
            kind, _reason, posted = ends[call_id]
            assert (kind, posted) == ("settle", charge)
        for call_id in told["voided"]:
            assert ends[call_id][0] == "void"
        report = await self.books.audit(served=told["served"])
        assert faults(report) == {}
        open_journals = self.books.execute(
            "SELECT count(*) FROM journals WHERE state = 'open'"
        )
        assert open_journals == [(0,)]
        for account, amount in (("rich", 10**9), ("poor", 5_000)):
            charged = self.books.execute(
                "SELECT coalesce(sum(e.amount), 0) FROM entries e JOIN transfers t"
                " ON t.id = e.transfer_id WHERE t.account_id = ?"
                " AND e.account_id IN ('revenue', 'overrun') AND t.kind = 'settle'",
                account,
            )[0][0]
            assert self.books.available(account) == amount - charged


# Points that only a start after a crash, or the end of a run, comes by.
LATE = {name for name in POINTS if name.startswith(("recovery", "close"))}


def on_stores(points: set[str]) -> pytest.MarkDecorator:
    """Every point on SQLite, and those in a transaction's way on PostgreSQL too.

    Of SQLite's those are slow at which a whole server is killed elsewhere.
    """
    near = {name for name in points if not name.startswith(NEAR_THE_JOURNAL)}
    cases = [
        pytest.param(
            "sqlite", name, marks=[] if name in LEFT_OUT else [pytest.mark.slow]
        )
        for name in sorted(points)
    ]
    cases += [pytest.param("postgresql", name) for name in sorted(near)]
    return pytest.mark.parametrize(("store", "point"), cases, indirect=["store"])


NEAR_THE_JOURNAL = ("hold", "settle", "void", "journal")


@on_stores(POINTS - LATE)
async def test_a_kill_at_each_point(tmp_path, store, point):
    """Killed the first time and the twentieth time it comes by."""
    run = Run(tmp_path)
    for seed, count in ((1, 1), (2, 20)):
        process = run.process(seed, 1_500, f"{point}:{count}")
        code = process.wait(60)
        # Some instants are rare; each must come by at least once.
        assert code == SIGKILLED or (code == 0 and count > 1)
    reported = (tmp_path / "report").read_text().split()
    assert set(reported) == {point}
    await run.check()


@on_stores(LATE)
async def test_a_kill_in_recovery_and_closing(tmp_path, store, point):
    """First a crash with calls in flight, then a death while that is mended."""
    run = Run(tmp_path)
    crash = run.process(1, 10_000, "settle.after_record:100")
    assert crash.wait(60) == SIGKILLED
    assert run.process(2, 100, point).wait(60) == SIGKILLED
    assert point in (tmp_path / "report").read_text().split()
    await run.check()


async def test_kills_at_random_instants(tmp_path, store):
    """Some processes in a row on the same books, each killed while it works."""
    run = Run(tmp_path)
    chance = random.Random(7)
    processes = 10 if store == "sqlite" else 4
    for seed in range(processes):
        process = run.process(seed, 10**6)
        transcript = tmp_path / "transcript"
        size = transcript.stat().st_size if transcript.exists() else 0
        while not transcript.exists() or transcript.stat().st_size == size:
            time.sleep(0.005)
        time.sleep(chance.random() / 4)
        process.kill()
        assert process.wait(60) == SIGKILLED
    assert len(run.transcript()["settled"]) > 10 * processes
    await run.check()
