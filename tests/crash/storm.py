"""A storm over three nodes, one PostgreSQL and one Valkey, while callers call.

Each method of `Storm` named after a fault does it and mends it. What every call
came to is judged at the end (`storm_judge`), when nothing is under way:
each call that the provider saw has one end in the ledger, no account spent what
it did not have, nobody was lost whose node was not killed, and nobody was refused
for storage but while PostgreSQL was away. How soon changes hold on all nodes is
measured on the way.
"""

import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tests.crash import traffic
from tests.crash.books import Books
from tests.crash.campaign import CHANNELS, KEY
from tests.crash.desk import Desk
from tests.crash.gateway import Gateway
from tests.crash.node_process import HASTY_SECONDS
from tests.crash.nodes import CALLS_PER_NODE, Node
from tests.crash.processes import Companion
from tests.crash.records import ProviderJournal
from tests.crash.storm_judge import (
    LIMITED,
    NO_STORAGE,
    POOREST,
    RPM,
    TENANTS,
    Allowances,
    Judge,
    key_of,
    opening_of,
)
from tests.crash.storm_report import Report
from tests.support import raw
from tests.support.door import Door
from tests.support.postgres import Server, execute
from tests.support.valkey import Valkey

from posthouse.settings.file import ChannelSpec

NODES = 3
PROGRAM = (sys.executable, "-m", "tests.crash.node_process")
SKEW = 300
"""Seconds by which one node's clock is ahead of the next one's."""
SECRET = "of all nodes in a storm, at least 32 characters"
THIRD = "third-account"
"""What is shown to the provider on the channel that comes and goes."""
CHANGE_SECONDS = 2.0
"""Within which a change must hold on every node."""
BUSY_SECONDS = 2.0
"""What a machine may add that runs all of this, and other tests."""
LOST_SECONDS = 2.0
"""Calls that ended so long before their node's disk was lost are in the ledger."""
CREDIT_SECONDS = 60.0
"""Within which fifty credits are done."""
SHARE_ATTEMPTS = 5
LOCKED_SECONDS = 2.0
"""For which a node that stands still may keep others from an account."""
START_SECONDS = 5.0
"""Within which a node must serve again."""
ACCOUNT_FOR = """
[[keys]]
name = "{name}"
key = "{key}"
rpm = {rpm}
"""


class Storm:
    """Everything that runs; a context manager, whose end stops it all."""

    def __init__(
        self, folder: Path, *, seed: int, callers: int, hasty: bool = True
    ) -> None:
        """Prepare; `hasty` nodes take others for dead after seconds."""
        self.report = Report()
        self._folder = folder
        self._seed = seed
        self._callers = callers
        self._silent = HASTY_SECONDS if hasty else 60.0
        self._running = ExitStack()
        self._allowances = Allowances()
        self._late = 0
        """Keys that have come since the beginning."""
        self._began = time.monotonic()
        self.nodes: list[Node] = []

    # --- beginning ---------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start servers and nodes; then callers come to each."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Server())
            self.valkey = stack.enter_context(Valkey())
            self.door = stack.enter_context(Door(self.valkey.port))
            self._url = self.postgres.new_database()
            path = self._folder / "provider.journal"
            provider = stack.enter_context(
                Companion(
                    "tests.crash.provider",
                    "--journal",
                    path,
                    log=self._folder / "provider.log",
                )
            )
            self._provider = ProviderJournal(path)
            self._origin = f"http://127.0.0.1:{provider.line()}"
            for place in range(NODES):
                self.nodes.append(self._make_node(place))
                stack.callback(self.nodes[-1].put_down)
            for node in self.nodes:
                node.gateway.start()
            for node in self.nodes:
                assert node.gateway.wait_ready() is not None, node.gateway.tail()
            self.desk = Desk(self._url, SECRET)
            stack.callback(self.desk.close)
            self._add_third_channel()
            keys = [key_of(name) for name in TENANTS]
            for node in self.nodes:
                node.send_callers(keys, self._callers, self._seed)
            self._began = time.monotonic()
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _make_node(self, place: int) -> Node:
        folder = self._folder / f"node-{place}"
        more = {
            "POSTHOUSE_DATABASE": self._url,
            "POSTHOUSE_SECRET": SECRET,
            "POSTHOUSE_NODE": f"node-{place}",
            "POSTHOUSE_COORDINATION": f"valkey://127.0.0.1:{self.door.port}/0",
            # We ourselves ask with keys that are not there yet.
            "POSTHOUSE_FAILURES_PER_MINUTE": "100000",
            "POSTHOUSE_DRAIN_GRACE_SECONDS": "1",
            "POSTHOUSE_DRAIN_SECONDS": "20",
            "STORM_CLOCK": str(SKEW * (place - 1)),
            "STORM_SILENT": str(self._silent),
        }
        gateway = Gateway(folder, self._configuration(), more, PROGRAM)
        return Node(folder, place, gateway)

    def _configuration(self) -> str:
        # Of channels that only get what others failed at, each would rest.
        text = CHANNELS.replace("priority = 10\n", "").format(
            origin=self._origin,
            first=traffic.FIRST,
            second=traffic.SECOND,
            unlimited=key_of("unlimited"),
        )
        for name in TENANTS:
            if name != "unlimited":
                usd = f"{opening_of(name) / 1e9:.9f}"
                text += KEY.format(name=name, key=key_of(name), balance=usd)
                # What is edited while it is charged.
                rpm = RPM if name == LIMITED else 100_000 + self._late
                text += f"rpm = {rpm}\n"
        for number in range(self._late):
            text += ACCOUNT_FOR.format(
                name=f"late-{number}", key=key_of(f"late-{number}"), rpm=1_000 + number
            )
        return text + traffic.PRICES

    def _add_third_channel(self) -> None:
        self.desk.add_channel(
            ChannelSpec(
                name="third",
                provider="openai-compatible",
                base_url=f"{self._origin}/v1",
                api_key=THIRD,
            )
        )

    # --- nodes -------------------------------------------------------------------

    def kill(self, *places: int) -> None:
        """SIGKILL to nodes at once; then they start again."""
        self.report.befalls("kill -9")
        since = time.monotonic()
        for place in places:
            self.report.lost += self.nodes[place].kill()
        for place in places:
            self._start(self.nodes[place], since)

    def replace(self, place: int) -> None:
        """A node ends in good order and starts again: nobody notices."""
        self.report.befalls("replaced")
        self.nodes[place].stop()
        self._start(self.nodes[place], time.monotonic())

    def lose_disk(self, place: int) -> None:
        """A node dies with its disk; another comes in its place.

        What it had drawn returns once it has been silent for long enough.
        """
        self.report.befalls("disk lost")
        node = self.nodes[place]
        certain = node.read()
        time.sleep(LOST_SECONDS)
        self.report.lost += node.kill()
        self._allowances.gone.update(told.model for told in node.told[certain:])
        shutil.rmtree(node.gateway.data)
        self._start(node, time.monotonic())

    def away_for_long(self, place: int) -> None:
        """A node stands still until others take it for dead, and goes on.

        It ends, and its next start posts what it had charged meanwhile.
        """
        self.report.befalls("away for long")
        node = self.nodes[place]
        node.nobody_is_lost()
        others = [other for other in self.nodes if other is not node]
        since = time.monotonic()
        with self._without_storage(others):
            # It may be in the midst of a transaction, which others wait for.
            node.pause(on=True)
            time.sleep(LOCKED_SECONDS)
        self._until(lambda: self._is_swept(node), self._silent + 30, "is not swept")
        with self._without_storage((node,)):
            node.pause(on=False)
            code = node.gateway.wait_end(30)
            if code != 0:
                node.fault(f"back after long, it ended {code}")
                if code is None:
                    node.kill()
            node.nobody_is_lost()
            self._start(node, since)

    def _is_swept(self, node: Node) -> bool:
        home = (node.gateway.data / "home.id").read_text().strip()
        return not self._rows(
            "SELECT 1 FROM journals WHERE home = ? AND state = 'open'", home
        )

    def _start(self, node: Node, since: float) -> None:
        """Start a node that was heard of last at a moment."""
        ready = node.start()
        if time.monotonic() - since > self._silent:
            # Taken for dead. What was not in the ledger yet, what was under way, and
            # what was taken in the moment before it knew, is posted late.
            self._allowances.late.update(
                told.model
                for told in node.told
                if told.began + told.took > since - LOST_SECONDS
            )
        self.report.starts.append(ready)
        if ready.own > START_SECONDS:
            self._fault(f"node {node.place}: served after {ready.own:.1f} s only")

    # --- PostgreSQL --------------------------------------------------------------

    def restart_postgres(self, how: signal.Signals, seconds: float) -> None:
        """It stops, in good order or not, and comes back later."""
        self.report.befalls(f"PostgreSQL {how.name}")
        with self._without_storage(self.nodes):
            self.postgres.stop(how)
            time.sleep(seconds)
            self.postgres.start()

    def pause_postgres(self, seconds: float) -> None:
        """It stands still."""
        self.report.befalls("PostgreSQL still")
        with self._without_storage(self.nodes):
            self.postgres.pause(on=True)
            time.sleep(seconds)
            self.postgres.pause(on=False)

    def kill_without_postgres(self, place: int) -> None:
        """A node dies while there is no database, and is started all the same."""
        self.report.befalls("kill -9 without PostgreSQL")
        node = self.nodes[place]
        with self._without_storage(self.nodes):
            self.postgres.stop(signal.SIGQUIT)
            time.sleep(0.5)
            self.report.lost += node.kill()
            since = time.monotonic()
            started = threading.Thread(target=self._start, args=(node, since))
            started.start()
            time.sleep(1)
            self.postgres.start()
            started.join()

    @contextmanager
    def _without_storage(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Excuse refusals for want of a database, until all are ready again."""
        begun = [node.read() for node in nodes]
        yield
        for node in nodes:
            node.wait_ready()
        time.sleep(0.5)
        for node, since in zip(nodes, begun, strict=True):
            node.read()
            for told in node.told[since:]:
                if told.code == NO_STORAGE:
                    self._allowances.excused.add(told.model)
                    self.report.refused_ms.append(round(told.took * 1000))

    # --- Valkey ------------------------------------------------------------------

    def trouble_valkey(self, what: str, seconds: float = 1.0) -> None:
        """It is flushed, slow, dumb, standing still or away for some time."""
        self.report.befalls(f"Valkey {what}")
        self._allowances.limits += 2
        if what == "flushed":
            self.valkey.do("FLUSHALL")
            self.valkey.do("SCRIPT", "FLUSH")
        elif what == "slow":
            self.door.slow(5.0)
            time.sleep(seconds)
            self.door.slow(0)
        elif what == "paused":
            self.valkey.do("CLIENT", "PAUSE", round(seconds * 1000))
            time.sleep(seconds)
        elif what == "still":
            self.valkey.pause(on=True)
            time.sleep(seconds)
            self.valkey.pause(on=False)
        else:
            self.valkey.stop()
            time.sleep(seconds)
            self.valkey.start()

    # --- changes -----------------------------------------------------------------

    def change_key(self) -> None:
        """A key that nobody knew works everywhere, and then nowhere."""
        self.report.befalls("key made and revoked")
        self._late += 1
        name = f"made-{self._late}"
        for node in self.nodes:
            assert self._status(node, name) == 401
        since = self.desk.create_key(name, key_of(name))
        self._everywhere(name, 200, since)
        since = self.desk.revoke_key(name)
        self._everywhere(name, 401, since)

    def share_a_limit(self) -> None:
        """Of thirty calls at once with five a minute, five pass, whose clock it is.

        Unless a node had to decide alone meanwhile, as on a machine that is busy.
        """
        self.report.befalls("limit shared")
        found: Counter[int] = Counter()
        for _ in range(SHARE_ATTEMPTS):
            self._until(self._is_sharing, 30, "do not share limits again")
            before = self._times_alone()
            found = self._ask_thirty_times()
            if found == {200: 5, 429: 25}:
                return
            if self._times_alone() == before and self._is_sharing():
                break
        self._fault(f"of thirty calls with five a minute: {found}")

    def _ask_thirty_times(self) -> Counter[int]:
        """Ask all nodes at once with a new key; give how often each status came."""
        self._late += 1
        name = f"five-{self._late}"
        self.desk.create_key(name, key_of(name), rpm=5)
        bearer = ("Authorization", f"Bearer {key_of(name)}")

        def ask(number: int) -> int:
            url = self._at(self.nodes[number % NODES])
            model = f"judge-{NODES * CALLS_PER_NODE + self._late * 100 + number}"
            body = b'{"model": "%b", "input": "five"}' % model.encode()
            return raw.send(url, "/v1/moderations", body, headers=(bearer,)).status

        with ThreadPoolExecutor(15) as pool:
            return Counter(pool.map(ask, range(30)))

    def _times_alone(self) -> int:
        logs = [node.gateway.log.read_text(errors="replace") for node in self.nodes]
        return sum(log.count("limits cannot be shared") for log in logs)

    def _is_sharing(self) -> bool:
        return all(
            b"\nposthouse_limits_shared 1"
            in raw.send(self._at(node), "/metrics", method="GET").body
            for node in self.nodes
        )

    def change_file(self, place: int) -> None:
        """All files have more keys and other limits; one node reads its own."""
        self.report.befalls("file changed")
        self._late += 1
        for node in self.nodes:
            node.gateway.configure(self._configuration())
        since = time.monotonic()
        self.nodes[place].gateway.send(signal.SIGHUP)
        self._everywhere(f"late-{self._late - 1}", 200, since)

    def change_channel(self) -> None:
        """The channel that all prefer is switched off, and on again."""
        self.report.befalls("channel off and on")
        self.desk.enable_channel("third", enabled=False)
        time.sleep(CHANGE_SECONDS + BUSY_SECONDS / 2)
        self._asked_of_third()
        time.sleep(0.5)
        if more := self._asked_of_third():
            self._fault(f"{more} calls went to a channel that is switched off")
        self.desk.enable_channel("third", enabled=True)
        using: Counter[int] = Counter()

        def all_use_it() -> bool:
            using.update(self._asked_of_third())
            return len(using) == NODES

        self._until(all_use_it, 10, "do not use the channel again")

    def _asked_of_third(self) -> Counter[int]:
        """Which nodes have asked on that channel since the last look, how often."""
        self._provider.read()
        found, self._provider.by_account = self._provider.by_account, {}
        return Counter(number // CALLS_PER_NODE for number in found.get(THIRD, []))

    def credit(self, amount: int) -> None:
        """The poor are given money, fifty times under one id: once."""
        self.report.befalls("credited fifty times")
        for name in POOREST:
            identity = f"{name}-{self._allowances.credited[name]}"
            began = time.monotonic()
            new = self.desk.credit(name, amount, identity, 50)
            if (took := time.monotonic() - began) > CREDIT_SECONDS:
                self._fault(f"{identity}: took {took:.1f} s")
            self._allowances.credited[name] += amount
            if new != 1:
                self._fault(f"{identity}: credited {new} times")

    def _everywhere(self, name: str, status: int, since: float) -> None:
        """Wait until a key gives this status on every node; note how long it took."""
        limit = since + CHANGE_SECONDS + BUSY_SECONDS
        for node in self.nodes:
            while (found := self._status(node, name)) != status:
                if time.monotonic() > limit:
                    self._fault(f"{name}: {found}, not {status}, on {node.place}")
                    return
                time.sleep(0.02)
        self.report.changes.append(time.monotonic() - since)

    def _status(self, node: Node, name: str) -> int:
        bearer = ("Authorization", f"Bearer {key_of(name)}")
        return raw.send(
            self._at(node), "/v1/models", method="GET", headers=(bearer,)
        ).status

    def _at(self, node: Node) -> str:
        return f"http://127.0.0.1:{node.gateway.port}"

    def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                self._fault(f"nodes {what}")
                return
            time.sleep(0.05)

    def _rows(self, statement: str, *values: object) -> list[tuple]:
        return execute(self._url, statement, *values)

    # --- the end -----------------------------------------------------------------

    def finish(self) -> None:
        """Let all calls end, stop all nodes, judge every call and every account."""
        for node in self.nodes:
            node.call_off()
        minutes = (time.monotonic() - self._began) / 60
        for node in self.nodes:
            node.stop()
            for one, told in node.faults:
                during = "" if told is None else f"{self.report.meanwhile(told)} {told}"
                self._fault(f"node {node.place}: {one}; {during}")
            self.report.calls += node.calls
        books = Books(self.nodes[0].gateway.data, self._url)
        judge = Judge(self.report, self._allowances, books, self._provider)
        judge.judge(self.nodes, minutes)

    def _fault(self, text: str) -> None:
        self.report.fault(text)
