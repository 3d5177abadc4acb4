"""A process that makes calls until it is killed; run by test_money_crash.

What it has told its clients goes to a file with plain writes: `settled` lines
after `settle` has returned, `voided` after `void`, `served` when the provider
would have answered.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from tests.unit.billing.books import Books, opening, record

from posthouse.billing import drain_thread, holds
from posthouse.billing.holds import HoldManager
from posthouse.billing.leases import LeasePolicy
from posthouse.errors import InsufficientQuota

AT_ONCE = 50


async def call(
    manager: HoldManager, chance: random.Random, transcript: int, account: str
) -> None:
    """One call with a random life."""
    wanted = opening(account, chance.choice([10, 100, 1000]), prompt=5)
    try:
        hold = await manager.open(wanted)
    except InsufficientQuota:
        return
    await asyncio.sleep(chance.random() / 500)
    if chance.random() < 0.1:
        await hold.void(record(wanted, 0, "failed"), "failed")
        os.write(transcript, f"voided {wanted.call_id} 0\n".encode())
        return
    os.write(transcript, f"served {wanted.call_id} 0\n".encode())
    charge = 5
    if chance.random() < 0.5:
        hold.answering("main")
        for _ in range(chance.randrange(6)):
            charge += chance.randrange(1, hold.amount)
            if not await hold.progress(charge - 5):
                break
            await asyncio.sleep(0)
    await hold.settle(record(wanted, charge))
    os.write(transcript, f"settled {wanted.call_id} {charge}\n".encode())


async def run(folder: Path, seed: int, calls: int) -> None:
    """Calls, AT_ONCE in flight, then a close in good order."""
    chance = random.Random(seed)
    drain_thread.TICK_SECONDS = 0.02
    holds.TICK_SECONDS = 0.02
    holds.SWEEP_TICKS = 1
    manager = await Books(folder).start(
        policy=LeasePolicy(slice_holds=4, idle_seconds=0.05),
        segment_size=32 * 1024,
    )
    transcript = os.open(
        folder / "transcript", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
    )
    # One hold stays open for long, so that it must be carried.
    lasting = opening("rich", 10, call_id=f"lasting-{os.getpid()}")
    lasting_hold = await manager.open(lasting)
    left = iter(range(calls))

    async def client() -> None:
        for _ in left:
            await call(manager, chance, transcript, chance.choice(["rich", "poor"]))

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    await lasting_hold.settle(record(lasting, 1))
    await asyncio.sleep(0.3)
    await manager.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
