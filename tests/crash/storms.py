"""A storm without end, in great number, then the report. Status 1 at a fault.

    python -m tests.crash.storms [--minutes 10] [--seed 1] [--callers 6]

All that `storm` knows befalls three nodes again and again, in an order that the seed
gives, and more: everything at once; a roll-out; money that is in a dead node. Beside
each node's own callers there are some who go to another node when one fails them
(`roamers`): they must get each of their answers in the end.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from tests.crash.nodes import CALLS_PER_NODE, Guests, Node
from tests.crash.processes import Companion
from tests.crash.storm import NODES, Storm
from tests.crash.storm_judge import NO_MONEY, NO_STORAGE, TENANTS, key_of
from tests.support import raw
from typing_extensions import override

ROAMERS = 4
PAID = 20
PAID_USD = "0.002"
"""For so many moderations."""
SPENDING_SECONDS = 60.0
VALKEY = ("flushed", "slow", "paused", "still", "away")
ENOUGH = 3
"""Refusals in a row, until the rest is thought to be with the dead."""


class Storms(Storm):
    """A storm with roamers in it, and with more that may befall nodes."""

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        folder = self._folder
        guests = Guests(folder / "roamers")
        for node in self.nodes:
            node.guests = guests
        ports = ",".join(str(node.gateway.port) for node in self.nodes)
        self._roamers = Companion(
            "tests.crash.roamers",
            *("--gateways", ports),
            *("--keys", ",".join(map(key_of, TENANTS))),
            *("--transcript", folder / "roamers"),
            *("--requests", folder / "requests"),
            *("--callers", str(ROAMERS)),
            *("--seed", str(self._seed)),
            log=folder / "roamers.log",
        )
        self._running.callback(self._roamers.process.kill)
        return self

    def roll(self) -> None:
        """One node after the other is replaced, as when there is a new release."""
        for place in range(NODES):
            self.replace(place)

    def all_at_once(self, place: int, seconds: float) -> None:
        """Valkey stands still, PostgreSQL crashes, and a node is killed meanwhile."""
        self.report.befalls("everything at once")
        self._allowances.limits += 2
        node = self.nodes[place]
        with self._without_storage(self.nodes):
            self.valkey.pause(on=True)
            self.postgres.stop(signal.SIGQUIT)
            self.report.lost += node.kill()
            since = time.monotonic()
            started = threading.Thread(target=self._start, args=(node, since))
            started.start()
            time.sleep(seconds)
            self.postgres.start()
            self.valkey.pause(on=False)
            started.join()

    def strand(self, place: int) -> None:
        """A node dies with a part of some money, of which others spend the rest.

        Nobody is told that there is none. When it has started again, all is spent.
        """
        self.report.befalls("money stranded")
        self._late += 1
        name = f"spent-{self._late}"
        since = self.desk.create_key(name, key_of(name), usd=PAID_USD)
        self._everywhere(name, 200, since)
        node = self.nodes[place]
        others = [other for other in self.nodes if other is not node]
        told: Counter[str] = Counter()
        told[self._spend(node, name, 0)] += 1
        # Or it may be the house's, should its node be taken for dead.
        self._until(lambda: self._is_posted(name), SPENDING_SECONDS, "post nothing")
        self.report.lost += node.kill()
        since, in_a_row = time.monotonic(), 0
        while in_a_row < ENOUGH and not told[NO_MONEY]:
            code = self._spend(others[told.total() % 2], name, told.total())
            told[code] += 1
            in_a_row = 0 if not code else in_a_row + 1
        self._start(node, since)
        deadline = time.monotonic() + SPENDING_SECONDS
        while not told[NO_MONEY] and time.monotonic() < deadline:
            told[self._spend(others[0], name, told.total())] += 1
        if told[""] != PAID or told.keys() - {"", NO_MONEY, NO_STORAGE}:
            self._fault(f"{name}: with money for {PAID}: {told}")

    def _is_posted(self, name: str) -> bool:
        """Whether a call of a key is in the ledger."""
        statement = "SELECT 1 FROM calls JOIN keys ON keys.id = key_id WHERE name = ?"
        return bool(self._rows(statement, name))

    def _spend(self, node: Node, name: str, number: int) -> str:
        """Make a call with a key; give the error's code, or nothing."""
        bearer = ("Authorization", f"Bearer {key_of(name)}")
        model = f"judge-{NODES * CALLS_PER_NODE + self._late * 1_000 + number}"
        body = json.dumps({"model": model, "input": "spent"}).encode()
        url = self._at(node)
        reply = raw.send(url, "/v1/moderations", body, headers=(bearer,))
        return "" if reply.status == 200 else json.loads(reply.body)["error"]["code"]

    @override
    def finish(self) -> None:
        """See to it that nobody was forsaken, then judge everything."""
        with self._roamers:
            pass
        found: Counter[str] = Counter()
        longest = 0.0
        for line in (self._folder / "requests").read_text().splitlines():
            how, tries, seconds, model = line.split()
            found["served" if tries == "1" else f"served by try {tries}"] += 1
            longest = max(longest, float(seconds))
            if how != "served":
                self._fault(f"{model}: forsaken after {tries} tries in {seconds} s")
        counted = ", ".join(f"{how} {count}" for how, count in sorted(found.items()))
        print(f"requests: {counted}; {longest:.1f} s at most")
        super().finish()


def _faults(storm: Storms, chance: random.Random) -> list[Callable[[], None]]:
    """Everything that may befall it, each on a node of chance."""

    def node() -> int:
        return chance.randrange(NODES)

    def money() -> None:
        storm.credit(chance.randrange(1, 4_000_000))

    faults: list[Callable[[], None]] = [
        lambda: storm.kill(node()),
        lambda: storm.kill(*chance.sample(range(NODES), 2)),
        lambda: storm.kill(*range(NODES)),
        storm.roll,
        lambda: storm.strand(node()),
        lambda: storm.all_at_once(node(), chance.random() * 2),
        lambda: storm.lose_disk(node()),
        lambda: storm.away_for_long(node()),
        lambda: storm.restart_postgres(signal.SIGINT, chance.random() * 2),
        lambda: storm.restart_postgres(signal.SIGQUIT, chance.random() * 2),
        lambda: storm.pause_postgres(1 + chance.random()),
        lambda: storm.kill_without_postgres(node()),
        storm.change_key,
        storm.share_a_limit,
        lambda: storm.change_file(node()),
        storm.change_channel,
        money,
        money,
    ]
    faults += [partial(storm.trouble_valkey, what, 2) for what in VALKEY]
    chance.shuffle(faults)
    return faults


def main() -> None:
    """Let a storm go on for so long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=6, help="of each node")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    began = time.monotonic()
    waiting: list[Callable[[], None]] = []
    with (
        tempfile.TemporaryDirectory(prefix="posthouse-storms-") as folder,
        Storms(Path(folder), seed=given.seed, callers=given.callers) as storm,
    ):
        while time.monotonic() - began < given.minutes * 60:
            waiting = waiting or _faults(storm, chance)
            waiting.pop()()
            for fault in storm.report.faults:
                print(f"FAULT {fault[:2000]}", flush=True)
            if storm.report.faults:
                break
        storm.finish()
    print("\n".join(storm.report.lines()))
    print(f"seed {given.seed}, {(time.monotonic() - began) / 60:.1f} minutes")
    sys.exit(1 if storm.report.faults else 0)


if __name__ == "__main__":
    main()
