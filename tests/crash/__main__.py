"""Kills in great number, then the report. Status 1 if anything was at fault.

python -m tests.crash [--kills 200] [--calls 100000] [--seed 1] [--points NAME,NAME]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.crash import points
from tests.crash.campaign import Campaign

SHOWN_EVERY = 10


def main() -> None:
    """Kill at each point, then at random until there are enough kills and calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="random ones")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", default=",".join(points.discovered()))
    given = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="posthouse-crash-") as folder,
        Campaign(Path(folder), seed=given.seed) as campaign,
    ):
        for name in given.points.split(","):
            campaign.kill_at(name)
        random_kills = told = 0
        while random_kills < given.kills or campaign.calls < given.calls:
            campaign.aim(given.calls, given.kills - random_kills)
            campaign.kill_somewhere()
            random_kills += 1
            # At once: a fault is looked into best while the books are young.
            for fault in campaign.report.faults[told:]:
                print(f"FAULT at kill {random_kills}: {fault[:2000]}", flush=True)
            told = len(campaign.report.faults)
            if random_kills % SHOWN_EVERY == 0:
                minutes = (time.monotonic() - began) / 60
                print(
                    f"{random_kills} random kills, {campaign.calls} calls, "
                    f"{len(campaign.report.faults)} faults, {minutes:.1f} minutes",
                    flush=True,
                )
        campaign.finish()
    print("\n".join(campaign.report.lines()))
    print(f"seed {given.seed}, {(time.monotonic() - began) / 60:.1f} minutes")
    sys.exit(1 if campaign.report.faults else 0)


if __name__ == "__main__":
    main()
