"""A process that shares limits; run by test_limits_processes.

It reads one line of JSON per order and answers each with one line: how many
calls were admitted. Permits are kept until it is told to release them.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from posthouse.access.ports import CounterStore, Permit
from posthouse.access.principal import Principal
from posthouse.access.shared import SharedLimits
from posthouse.errors import RateLimited
from posthouse.settings.coordination import read_coordination
from posthouse.storage.coordination import local as coordination
from posthouse.storage.coordination.local import SqliteCounters
from posthouse.storage.coordination.valkey import ValkeyCounters


async def admit(limits: SharedLimits, principal: Principal) -> Permit | None:
    try:
        return await limits.admit(principal, 1)
    except RateLimited:
        return None


async def order(limits: SharedLimits, line: str, kept: list[Permit]) -> int:
    """Do what a line says."""
    wanted = json.loads(line)
    for permit in kept if wanted.get("release") else ():
        permit.release(1)
    keys = [
        Principal(f"{wanted.get('key', 'k')}{number}", "a", "n", **wanted["rates"])
        for number in range(wanted.get("keys", 1))
    ]
    await asyncio.sleep(max(0.0, wanted.get("at", 0.0) - time.monotonic()))
    calls = [admit(limits, key) for _ in range(wanted["calls"]) for key in keys]
    permits = [permit for permit in await asyncio.gather(*calls) if permit is not None]
    kept += permits
    return len(permits)


def store_at(place: str) -> CounterStore:
    """A Valkey's URL, or a folder."""
    if "://" in place:
        return ValkeyCounters(read_coordination(place), "processes", seconds=10)
    return SqliteCounters(Path(place))


async def main(place: str, workers: int) -> None:
    """Serve orders until the input ends."""
    # A machine that does much else is no fault.
    coordination.BUSY_SECONDS = 10  # type: ignore[misc]
    limits = SharedLimits(store_at(place), workers, patience=30)
    await limits.start()
    kept: list[Permit] = []
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await order(limits, line, kept), flush=True)
    assert not limits.is_alone
    await limits.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
