"""A campaign: calls without end, a gateway that is killed again and again.

After each death the clients and the provider are there still. The next gateway
recovers what it finds; then every call of the dead is held against its client,
its provider and the ledger, and the ledger against itself. A fault is written
down and the campaign goes on.
"""

import random
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct, field
from tests.crash import points, traffic
from tests.crash.books import Books, View
from tests.crash.gateway import SIGKILLED, Gateway, Ready
from tests.crash.judge import Row, fault_of
from tests.crash.processes import Companion
from tests.crash.records import ProviderJournal, Told, Transcript

READY_SECONDS = 5.0
"""Within which a gateway must serve again, recovery included, if it may run."""
IN_FLIGHT = 50
"""Calls that must be under way when a serving gateway is killed."""
POINT_SECONDS = 60.0
"""On a machine that has others to serve; a point that is not reached is a fault."""
QUIET_SECONDS = 30.0
CALLERS = 80
SHORTEST_RUN = 0.05
USUAL_RUN = 0.3
STARTING_SHARE = 0.1
"""How many of the random kills hit a gateway that is still starting."""
AUDIT_PART = 2
"""The ledger is audited again when it has grown by a half."""

RANDOM = "random"
"""What kills at no named point are called in the report."""
RICH = 2
POOR = 6
POOR_BALANCE = 6_000_000
"""Nano-dollars: some forty calls. As much again comes for each second of service."""

CHANNELS = """
[[channels]]
name = "first"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{first}"
priority = 10

[[channels]]
name = "second"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{second}"

[[keys]]
name = "unlimited"
key = "{unlimited}"
"""
KEY = """
[[keys]]
name = "{name}"
key = "{key}"
balance_usd = "{balance}"
"""


class Kill(Struct, frozen=True):
    """One death."""

    point: str
    in_flight: int
    """Calls whose clients lost their connection."""


class Report(Struct):
    """What a campaign came to."""

    kills: list[Kill] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    """How soon each start after a death served."""
    calls: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    """Calls by how they ended for their client."""
    rows: Counter[str] = field(default_factory=Counter)
    """Calls by how they ended in the ledger."""
    faults: list[str] = field(default_factory=list)

    @property
    def terminals(self) -> int:
        """Clients that were told that their call is over and well."""
        return self.judged["done"] + self.judged["body"]

    def lines(self) -> list[str]:
        """The report for people."""
        found = ["kills by point:"]
        by_point: dict[str, list[int]] = {}
        for kill in self.kills:
            by_point.setdefault(kill.point, []).append(kill.in_flight)
        for name in sorted(by_point):
            flights = by_point[name]
            found.append(
                f"  {name:32} {len(flights):4}   in flight "
                f"{min(flights)} to {max(flights)}"
            )
        totals = (
            f"kills {len(self.kills)}, calls {self.calls}, "
            f"terminal events {self.terminals}, faults {len(self.faults)}"
        )
        found += [
            totals,
            "clients: " + _counted(self.judged),
            "ledger: " + _counted(self.rows),
        ]
        if self.ready:
            own = _spread([ready.own for ready in self.ready])
            wall = _spread([ready.seconds for ready in self.ready])
            found.append(f"seconds to ready: {own}; on this busy machine {wall}")
        return [*found, *(f"FAULT {fault}" for fault in self.faults[:50])]


def _spread(values: list[float]) -> str:
    middle = statistics.median(values)
    return f"p50 {middle:.2f}, max {max(values):.2f}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


class Campaign:
    """Everything that runs; a context manager, whose end stops it all."""

    def __init__(
        self, folder: Path, *, seed: int, callers: int = CALLERS, forked: bool = False
    ) -> None:
        """Prepare.

        Args:
            folder: everything of it is in there.
            seed: chooses calls and instants.
            callers: how many call at a time.
            forked: gateways come from a nursery, so that each starts in no time.
        """
        self.report = Report()
        self._folder = folder
        self._chance = random.Random(seed)
        self._seed = seed
        self._callers = callers
        self._forked = forked
        self._running = ExitStack()
        self._clients: Companion | None = None
        self._gateway: Gateway
        self._books: Books
        self._transcript = Transcript(folder / "transcript")
        self._provider = ProviderJournal(folder / "provider.journal")
        self._names = ["unlimited"]
        self._names += [f"rich-{number}" for number in range(RICH)]
        self._poor = [f"poor-{number}" for number in range(POOR)]
        self._names += self._poor
        self._accounts: list[str] = []
        self._dead: list[Told] = []
        """Calls that ended while a gateway ran that is dead, not judged yet."""
        self._rows: dict[str, Row] = {}
        self._served_ids: set[str] = set()
        self._credited: Counter[str] = Counter()
        self._starts = 0
        self._longest_run = USUAL_RUN
        """Seconds for which a gateway serves before a random kill, at most."""
        self._aimed_at = 0
        self._audit_at = 0

    # --- beginning and end --------------------------------------------------------

    def __enter__(self) -> Self:
        """Start the provider, a first gateway, then the clients."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            provider = stack.enter_context(
                Companion(
                    "tests.crash.provider",
                    "--journal",
                    self._folder / "provider.journal",
                    log=self._folder / "provider.log",
                )
            )
            origin = f"http://127.0.0.1:{provider.line()}"
            self._gateway = Gateway(
                self._folder, self._configuration(origin), forked=self._forked
            )
            self._books = Books(self._gateway.data)
            stack.callback(self._put_down)
            self._start()
            self._clients = stack.enter_context(self._start_clients())
            self._running = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def finish(self) -> None:
        """Stop everything in good order and judge what is left."""
        if not self._gateway.running:
            self._start()
        assert self._clients is not None
        assert self._clients.process.stdin is not None
        self._clients.process.stdin.close()
        self._clients.process.wait(QUIET_SECONDS)
        self._gateway.ask_to_stop()
        code = self._gateway.wait_end(QUIET_SECONDS * 2)
        if code != 0:
            self._fault(f"the gateway ended {code}: {self._gateway.tail()}")
        self._collect()
        self._judge()
        if left := self._books.journals():
            self._fault(f"journals are left after a stop: {left}")
        for model in self._provider.served.keys() - self._rows.keys():
            self._fault(f"{model}: served by the provider, and not in the ledger")
        for line in self._gateway.errors():
            self._fault(f"logged: {line[:2000]}")
        clean, output = self._gateway.audit()
        if not clean:
            self._fault(f"posthouse audit: {output}")
        self.report.calls = self._transcript.calls

    def _put_down(self) -> None:
        if self._gateway.running:
            self._gateway.kill()

    @property
    def calls(self) -> int:
        """Calls that were sent so far."""
        return self._transcript.calls

    # --- kills ------------------------------------------------------------------

    @property
    def random_kills(self) -> int:
        """Kills at random instants so far, those before a named point among them."""
        return sum(kill.point.startswith(RANDOM) for kill in self.report.kills)

    def aim(self, calls: int, kills: int) -> None:
        """Let gateways live so long that so many kills come to so many calls."""
        done = self.calls - self._aimed_at
        self._aimed_at = self.calls
        if done <= 0 or kills <= 0:
            return
        wanted = max(0, calls - self.calls) / kills
        # One run tells little of the next: its length is chance.
        longer = min(max(wanted / done, 0.5), 2.0)
        self._longest_run = min(max(self._longest_run * longer, 0.02), 5.0)

    def kill_at(self, point: str) -> None:
        """Let the gateway die at a named point."""
        if point in points.AT_THE_START:
            # Something must be there to recover.
            self.kill_somewhere(starting=False)
        if point in points.APPLYING:
            self._add_key()
        before = self._gateway.died_at()[point]
        self._stop_running()
        ready = self._start(points.armed(point))
        if ready and point in points.AT_THE_END:
            self._wait_for_calls()
            self._gateway.ask_to_stop()
        code = self._gateway.wait_end(POINT_SECONDS)
        if code != SIGKILLED or self._gateway.died_at()[point] != before + 1:
            self._fault(f"{point}: never reached (exit {code})")
            if code is None:
                self._gateway.kill()
        self._bury(point)

    def kill_somewhere(self, *, starting: bool | None = None) -> None:
        """Kill the gateway at a random instant."""
        self._stop_running()
        if starting is None:
            starting = self._chance.random() < STARTING_SHARE
        if starting:
            self._gateway.start()
            self._starts += 1
            known = [ready.seconds for ready in self.report.ready]
            usual = statistics.median(known or [READY_SECONDS / 2])
            time.sleep(self._chance.random() * usual)
            self._gateway.kill()
            self._bury(f"{RANDOM}, while starting")
            return
        self._start()
        self._wait_for_calls()
        time.sleep(SHORTEST_RUN + self._chance.random() * self._longest_run)
        self._transcript.read()
        lost = [told.model for told in self._transcript.ended if told.how == "lost"]
        if lost:
            self._fault(f"nobody was killed, and these were lost: {lost[:5]}")
        self._gateway.kill()
        self._bury(RANDOM)

    def _stop_running(self) -> None:
        """Kill a gateway that serves unarmed, so that another may be started."""
        if self._gateway.running:
            self._gateway.kill()
            self._collect()

    def _bury(self, point: str) -> None:
        """Wait until every client has seen the death; look at what is left."""
        lost = self._collect()
        self.report.kills.append(Kill(point, lost))
        exempt = points.AT_THE_START | points.AT_THE_END
        if lost < IN_FLIGHT and point not in exempt and "starting" not in point:
            self._fault(f"{point}: only {lost} calls were in flight")
        for name in self._books.posted_and_pending():
            self._fault(f"{point}: {name} is posted, and its journal's position not")

    def _collect(self) -> int:
        """Take the calls of the dead; give how many were in flight."""
        deadline = time.monotonic() + QUIET_SECONDS
        self._transcript.read()
        while self._transcript.open:
            assert time.monotonic() < deadline, "clients still wait for the dead"
            time.sleep(0.005)
            self._transcript.read()
        ended = self._transcript.take()
        self._dead += ended
        return sum(told.how == "lost" for told in ended)

    # --- starts -------------------------------------------------------------------

    def _start(self, point: str = "") -> bool:
        """Start a gateway and judge its predecessor's calls; False: it died."""
        self._gateway.start(point)
        self._starts += 1
        ready = self._gateway.wait_ready()
        if ready is None:
            return False
        self._accounts = self._books.accounts(self._names)
        if self._clients is not None:
            self.report.ready.append(ready)
            if ready.own > READY_SECONDS:
                self._fault(f"ready only {ready.own:.2f} s after the start")
            self._judge()
            most = int(POOR_BALANCE * self._longest_run)
            amounts = {name: self._chance.randint(1, most) for name in self._poor}
            self._books.credit(amounts, f"start-{self._starts}")
            for name, amount in amounts.items():
                self._credited[name] += amount
        return True

    def _wait_for_calls(self) -> None:
        """Wait until enough calls are in flight."""
        deadline = time.monotonic() + QUIET_SECONDS
        while len(self._transcript.open) < self._callers * 3 // 4:
            assert time.monotonic() < deadline, "the clients do not call"
            time.sleep(0.002)
            self._transcript.read()

    # --- judging -------------------------------------------------------------------

    def _judge(self) -> None:
        """Hold every call of the dead, and the ledger, against the truth."""
        self._provider.read()
        view = self._books.look()
        for row in view.rows:
            if row.model in self._rows:
                self._fault(f"{row.model}: in the ledger twice")
            self._rows[row.model] = row
            self.report.rows[_label(row)] += 1
        dead, self._dead = self._dead, []
        for told in dead:
            self._judge_call(told)
        for name in view.outside:
            self._fault(f"{name}: within its hold, and not paid by its lease")
        self._judge_balances(view)
        if len(self._rows) >= self._audit_at or not self._gateway.running:
            self._audit()
        if self._gateway.running and len(self._books.journals()) != 1:
            self._fault(f"journals of the dead are left: {self._books.journals()}")

    def _audit(self) -> None:
        """Audit the whole ledger; again when it has grown by a part of itself.

        What is posted stays, so a later audit finds what an earlier one would
        have; audits of all books after each death would take most of the time.
        """
        self._audit_at = len(self._rows) + len(self._rows) // AUDIT_PART
        report = self._books.audit(self._served_ids)
        for check in report.checks:
            if not check.passed:
                self._fault(f"{check.name}: {check.title}: {check.examples}")

    def _judge_call(self, told: Told) -> None:
        self.report.judged[told.how] += 1
        row = self._rows.get(told.model)
        served = self._provider.served.get(told.model)
        wrong = fault_of(told, served, row)
        if row is not None and row.account_id != self._accounts[told.key]:
            wrong = f"charged to {row.account_id}"
        if wrong:
            self._fault(f"{told.model}: {wrong} ({told}, {served}, {row})")
        if served is not None and told.id != "-":
            self._served_ids.add(told.id)
        elif served is not None and row is not None:
            self._served_ids.add(row.id)

    def _judge_balances(self, view: View) -> None:
        """Opening and credits less charges is what is left, to the nano-dollar."""
        for name, account in zip(self._names, self._accounts, strict=True):
            balance = view.balances[account]
            if balance.left != balance.credits - balance.charges:
                self._fault(f"{name}: {balance} does not add up")
            expected = self._credited[name]
            if name != "unlimited":
                expected += _opening(name)
            if balance.credits != expected:
                self._fault(f"{name}: credited {balance.credits}, not {expected}")
            if name != "unlimited" and balance.left < 0:
                self._fault(f"{name}: has {balance.left}")

    def _fault(self, text: str) -> None:
        dead = self.report.kills[-1].point if self.report.kills else "nothing"
        self.report.faults.append(f"{text} [the last kill: {dead}]")

    # --- the others -----------------------------------------------------------------

    def _start_clients(self) -> Companion:
        return Companion(
            "tests.crash.clients",
            "--gateway",
            str(self._gateway.port),
            "--keys",
            ",".join(map(_key, self._names)),
            "--transcript",
            self._folder / "transcript",
            "--callers",
            str(self._callers),
            "--seed",
            str(self._seed),
            log=self._folder / "clients.log",
        )

    def _configuration(self, origin: str) -> str:
        channels = CHANNELS.format(
            origin=origin,
            first=traffic.FIRST,
            second=traffic.SECOND,
            unlimited=_key("unlimited"),
        )
        keys = [_key_table(name) for name in self._names if name != "unlimited"]
        return channels + "".join(keys) + traffic.PRICES

    def _add_key(self) -> None:
        """Give the next gateway's file a key that has an opening credit."""
        name = f"late-{self._starts}"
        self._names.append(name)
        self._gateway.add_configuration(_key_table(name))


def _key_table(name: str) -> str:
    balance = f"{_opening(name) / 1e9:.9f}"
    return KEY.format(name=name, key=_key(name), balance=balance)


def _key(name: str) -> str:
    return f"sk-crash-{name}-0123456789abcdefghijklmnopqrstuvw"


def _opening(name: str) -> int:
    return POOR_BALANCE if name.startswith("poor") else 1_000 * 10**9


def _label(row: Row) -> str:
    return (
        f"void {row.reason}"
        if row.kind == "void"
        else f"{row.outcome} by {row.usage_source}"
    )
