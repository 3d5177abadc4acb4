"""Faults of money, planted one by one, to see that the kills find each.

    python -m tests.crash.plants [NAME …]

Each is planted in a copy of the source; a few kills on that copy must bring up
a fault, and on the unharmed copy none. Status 0 if it is so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct
from tests.support.processes import ROOT

KILLS = "before_terminal,settle.before_record,drain.after_commit,hold.after_open_record"
RANDOM_KILLS = "2"
SECONDS = 300.0
SHOWN = 3


class Plant(Struct, frozen=True):
    """A fault: what is replaced by what, in which file."""

    file: str
    old: str
    new: str


_STREAM = """        record = await self._settle(
            call, hold, served, exchange.content_ms, failure=failure
        )
        if failure is not None:
            await exchange.fail(failure)
        else:
            await self._finish(call, served, exchange)
        return record
"""
_STREAM_LATE = """        if failure is not None:
            await exchange.fail(failure)
        else:
            await self._finish(call, served, exchange)
        await asyncio.sleep(0)
        return await self._settle(
            call, hold, served, exchange.content_ms, failure=failure
        )
"""
_UNARY = """        record = await self._settle(call, hold, served, None)
        if not client.gone:
            await self._respond(call, served, client, record.translation)
        return record
"""
_UNARY_LATE = """        if not client.gone:
            await self._respond(call, served, client, "")
        await asyncio.sleep(0)
        return await self._settle(call, hold, served, None)
"""
_REPLAY = """        position = ledger.register(directory.name)
        follower = Follower(directory, position, alive=False)
"""
_RETURN_FIRST = """        position = ledger.register(directory.name)
        with ledger._transaction():
            ledger._return_leases(directory.name)
        follower = Follower(directory, position, alive=False)
"""
_OPEN = "if not journal.open(opened, self.open_holds + RESERVED_HOLDS):"
_ANSWERED = "    elif not hold.channel:\n"

PLANTS = {
    "a stream settled after its terminal bytes": Plant(
        "relay/service.py", _STREAM, _STREAM_LATE
    ),
    "a whole reply settled after its bytes": Plant(
        "relay/service.py", _UNARY, _UNARY_LATE
    ),
    "the journal's position not moved": Plant(
        "storage/ledger/sqlite.py",
        "UPDATE journals SET drained_to = ?",
        "UPDATE journals SET drained_to = drained_to + 0 * ?",
    ),
    "the lease returned before the replay": Plant(
        "billing/recovery.py", _REPLAY, _RETURN_FIRST
    ),
    "a hold not written down": Plant("billing/holds.py", _OPEN, "if False:"),
    "what had begun to answer is void": Plant(
        "billing/records.py", _ANSWERED, "    elif True:\n"
    ),
}


def main() -> None:
    """Plant what is asked for, or everything, and show what comes of it."""
    wanted = sys.argv[1:] or [*PLANTS, ""]
    missed = [name for name in wanted if not _is_found(name)]
    print(f"planted {len(wanted)}, missed: {missed or 'none'}")
    sys.exit(1 if missed else 0)


def _is_found(name: str) -> bool:
    """Whether the kills tell a copy with the fault from a good one."""
    with tempfile.TemporaryDirectory(prefix="posthouse-plant-") as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy)
        if name:
            plant = PLANTS[name]
            path = copy / "posthouse" / plant.file
            text = path.read_text()
            assert text.count(plant.old) == 1, f"{name}: it no longer fits the source"
            path.write_text(text.replace(plant.old, plant.new))
        command = [sys.executable, "-m", "tests.crash", "--points", KILLS]
        command += ["--kills", RANDOM_KILLS, "--calls", "0"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    found = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
    print(f"{name or 'nothing planted'}: status {done.returncode}, {len(found)} faults")
    print(
        "\n".join(f"    {line[:200]}" for line in found[:SHOWN]) or done.stderr[-500:]
    )
    sys.stdout.flush()
    return (done.returncode == 1 and bool(found)) == bool(name)


if __name__ == "__main__":
    main()
