"""A storm over three nodes, one PostgreSQL and one Valkey, while callers call.

Each method of `Storm` named after a fault does it and mends it. What every call
came to is judged at the end as after a kill (`judge`), when nothing is under way:
each call that the provider saw has one end in the ledger, no account spent what
it did not have, nobody was lost whose node was not killed, and nobody was refused
for storage but while PostgreSQL was away. How soon changes hold on all nodes is
measured on the way.
"""

import asyncio
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from msgspec import Struct, field
from tests.crash import traffic
from tests.crash.books import Books, View
from tests.crash.campaign import CHANNELS, KEY
from tests.crash.desk import Desk
from tests.crash.gateway import Gateway
from tests.crash.hasty import SILENT_SECONDS
from tests.crash.judge import Row, fault_of
from tests.crash.nodes import CALLS_PER_NODE, Node
from tests.crash.processes import Companion
from tests.crash.records import ProviderJournal, Told
from tests.fakes.tcp_proxy import TCPProxy
from tests.support import raw
from tests.support.postgres import Server, execute
from tests.support.valkey import Valkey

from posthouse.settings.file import ChannelSpec

NODES = 3
SECRET = "of all nodes in a storm, at least 32 characters"
THIRD = "third-account"
"""What is shown to the provider on the channel that comes and goes."""
CHANGE_SECONDS = 2.0
"""Within which a change must hold on every node."""
BUSY_SECONDS = 2.0
"""What a machine may add that runs all of this, and other tests."""
REFUSED_SECONDS = 1.0
"""Within which a call must be told that there is no database."""
LOST_SECONDS = 2.0
"""Calls that ended so long before their node's disk was lost are in the ledger."""
RPM = 60
POOR = 3
POOR_BALANCE = 6_000_000
RICH_BALANCE = 1_000 * 10**9
NO_STORAGE = "storage_unavailable"
LIMITED = "poor-in-calls"
REFUSALS = frozenset({"insufficient_quota", "rate_limit_exceeded"})
"""With which any call may be refused before it is sent on."""
ACCOUNT_FOR = """
[[keys]]
name = "{name}"
key = "{key}"
rpm = {rpm}
"""


class Report(Struct):
    """What a storm came to."""

    done: Counter[str] = field(default_factory=Counter)
    """What befell the nodes, how often."""
    calls: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    """Calls whose node was killed under them."""
    gone: int = 0
    """Calls that a lost disk has taken with it."""
    refused_ms: list[int] = field(default_factory=list)
    """How long those waited who were told that there is no database."""
    changes: list[float] = field(default_factory=list)
    """Seconds until a change of a key or the file held on every node."""
    starts: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report for people."""
        changes, refused = sorted(self.changes), sorted(self.refused_ms)
        found = [
            "done: " + _counted(self.done),
            f"calls {self.calls}, faults {len(self.faults)}",
            f"lost with their node {self.lost}, with its disk {self.gone}",
            "clients: " + _counted(self.judged),
            "ledger: " + _counted(self.rows),
        ]
        if changes:
            found.append(
                f"changes hold after {changes[len(changes) // 2]:.2f} s, "
                f"{changes[-1]:.2f} at most, of {len(changes)}"
            )
        if refused:
            found.append(
                f"no database: told after {refused[len(refused) // 2]} ms, "
                f"{refused[len(refused) * 99 // 100]} at p99, {refused[-1]} at most"
            )
        found.append(f"starts: {max(self.starts):.1f} s at most")
        return [*found, *(f"FAULT {fault}" for fault in self.faults[:50])]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


class SlowDoor:
    """The proxy before the Valkey, in a thread of its own."""

    def __init__(self, port: int) -> None:
        """Lead to a port of this machine."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.proxy = TCPProxy(port)

    def __enter__(self) -> Self:
        """Open it."""
        self._thread.start()
        self.run(self.proxy.open)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.run(self.proxy.shut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Callable[[], object]) -> None:
        """Do something of the proxy's."""
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)  # type: ignore[arg-type]


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
        self._silent = SILENT_SECONDS if hasty else 60.0
        module = "tests.crash.hasty" if hasty else "posthouse"
        self._program = [sys.executable, "-m", module]
        self._running = ExitStack()
        self._poor = [f"poor-{number}" for number in range(POOR)]
        self._names = ["unlimited", "rich-0", "rich-1", LIMITED, *self._poor]
        self._credited: Counter[str] = Counter()
        self._late = 0
        """Keys that have come since the beginning."""
        self._limits = 0
        """Times at which a minute of the limits may have begun anew."""
        self._excused: set[str] = set()
        """Calls that may have been told that there is no database."""
        self._gone: set[str] = set()
        """Calls that a lost disk may have taken with it."""
        self._overdrawn: set[str] = set()
        """Calls of nodes that had been taken for dead: see `away_for_long`."""
        self._began = time.monotonic()
        self.nodes: list[Node] = []

    # --- beginning ---------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start servers and nodes; then callers come to each."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Server())
            self.valkey = stack.enter_context(Valkey())
            self.door = stack.enter_context(SlowDoor(self.valkey.port))
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
            keys = [_key(name) for name in self._names]
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
            "POSTHOUSE_COORDINATION": f"valkey://127.0.0.1:{self.door.proxy.port}/0",
            "POSTHOUSE_DRAIN_GRACE_SECONDS": "1",
            "POSTHOUSE_DRAIN_SECONDS": "20",
        }
        gateway = Gateway(folder, self._configuration(), more, self._program)
        return Node(folder, place, gateway)

    def _configuration(self) -> str:
        text = CHANNELS.format(
            origin=self._origin,
            first=traffic.FIRST,
            second=traffic.SECOND,
            unlimited=_key("unlimited"),
        )
        for name in self._names:
            if name != "unlimited":
                usd = f"{_opening(name) / 1e9:.9f}"
                text += KEY.format(name=name, key=_key(name), balance=usd)
                # What is edited while it is charged.
                rpm = RPM if name == LIMITED else 100_000 + self._late
                text += f"rpm = {rpm}\n"
        for number in range(self._late):
            text += ACCOUNT_FOR.format(
                name=f"late-{number}", key=_key(f"late-{number}"), rpm=1_000 + number
            )
        return text + traffic.PRICES

    def _add_third_channel(self) -> None:
        self.desk.add_channel(
            ChannelSpec(
                name="third",
                provider="openai-compatible",
                base_url=f"{self._origin}/v1",
                api_key=THIRD,
                priority=20,
            )
        )

    # --- nodes -------------------------------------------------------------------

    def kill(self, *places: int) -> None:
        """SIGKILL to nodes at once; then they start again."""
        self.report.done["kill -9"] += len(places)
        for place in places:
            self.report.lost += self.nodes[place].kill()
        for place in places:
            self._start(self.nodes[place])

    def replace(self, place: int) -> None:
        """A node ends in good order and starts again: nobody notices."""
        self.report.done["replaced"] += 1
        self.nodes[place].stop()
        self._start(self.nodes[place])

    def lose_disk(self, place: int) -> None:
        """A node dies with its disk; another comes in its place.

        What it had drawn returns once it has been silent for long enough.
        """
        self.report.done["disk lost"] += 1
        node = self.nodes[place]
        certain = node.read()
        time.sleep(LOST_SECONDS)
        self.report.lost += node.kill()
        self._gone.update(told.model for told in node.told[certain:])
        shutil.rmtree(node.gateway.data)
        self._start(node)

    def away_for_long(self, place: int) -> None:
        """A node stands still until others take it for dead, and goes on.

        It ends, and its next start posts what it had charged meanwhile.
        """
        self.report.done["away for long"] += 1
        node = self.nodes[place]
        node.nobody_is_lost()
        begun = node.calls
        node.pause(on=True)
        self._until(lambda: self._is_swept(node), self._silent + 30, "is not swept")
        with self._without_storage((node,)):
            node.pause(on=False)
            code = node.gateway.wait_end(30)
            if code != 0:
                node.faults.append(f"back after long, it ended {code}")
                if code is None:
                    node.kill()
            node.nobody_is_lost()
            self._start(node)
        # What it had under way, and took in the moment before it knew.
        taken = node.told[max(0, begun - self._callers) :]
        self._overdrawn.update(told.model for told in taken)

    def _is_swept(self, node: Node) -> bool:
        home = (node.gateway.data / "home.id").read_text().strip()
        return not self._rows(
            "SELECT 1 FROM journals WHERE home = ? AND state = 'open'", home
        )

    def _start(self, node: Node) -> None:
        self.report.starts.append(node.start())

    # --- PostgreSQL --------------------------------------------------------------

    def restart_postgres(self, how: signal.Signals, seconds: float) -> None:
        """It stops, in good order or not, and comes back later."""
        self.report.done[f"PostgreSQL {how.name}"] += 1
        with self._without_storage(self.nodes):
            self.postgres.stop(how)
            time.sleep(seconds)
            self.postgres.start()

    def pause_postgres(self, seconds: float) -> None:
        """It stands still."""
        self.report.done["PostgreSQL still"] += 1
        with self._without_storage(self.nodes):
            self.postgres.pause(on=True)
            time.sleep(seconds)
            self.postgres.pause(on=False)

    def kill_without_postgres(self, place: int) -> None:
        """A node dies while there is no database, and is started all the same."""
        self.report.done["kill -9 without PostgreSQL"] += 1
        node = self.nodes[place]
        with self._without_storage(self.nodes):
            self.postgres.stop(signal.SIGQUIT)
            time.sleep(0.5)
            self.report.lost += node.kill()
            started = threading.Thread(target=self._start, args=(node,))
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
            ready = node.gateway.wait_ready
            assert ready() is not None, node.gateway.tail()
        time.sleep(0.5)
        for node, since in zip(nodes, begun, strict=True):
            node.read()
            for told in node.told[since:]:
                if told.code == NO_STORAGE:
                    self._excused.add(told.model)
                    self.report.refused_ms.append(told.took)

    # --- Valkey ------------------------------------------------------------------

    def trouble_valkey(self, what: str, seconds: float = 1.0) -> None:
        """It is flushed, slow, dumb, standing still or away for some time."""
        self.report.done[f"Valkey {what}"] += 1
        self._limits += 2
        proxy = self.door.proxy
        if what == "flushed":
            self.valkey.do("FLUSHALL")
            self.valkey.do("SCRIPT", "FLUSH")
        elif what == "slow":
            proxy.delay = 5.0
            time.sleep(seconds)
            proxy.delay = 0.0
            self.door.run(proxy.cut)
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
        self.report.done["key made and revoked"] += 1
        self._late += 1
        name = f"made-{self._late}"
        for node in self.nodes:
            assert self._status(node, name) == 401
        since = self.desk.create_key(name, _key(name))
        self._everywhere(name, 200, since)
        since = self.desk.revoke_key(name)
        self._everywhere(name, 401, since)

    def change_file(self, place: int) -> None:
        """All files have more keys and other limits; one node reads its own."""
        self.report.done["file changed"] += 1
        self._late += 1
        for node in self.nodes:
            node.gateway.configure(self._configuration())
        since = time.monotonic()
        self.nodes[place].gateway.send(signal.SIGHUP)
        self._everywhere(f"late-{self._late - 1}", 200, since)

    def change_channel(self) -> None:
        """The channel that all prefer is switched off, and on again."""
        self.report.done["channel off and on"] += 1
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
        self.report.done["credited fifty times"] += 1
        for name in self._poor:
            identity = f"{name}-{self._credited[name]}"
            new = self.desk.credit(name, amount, identity, 50)
            self._credited[name] += amount
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
        url = f"http://127.0.0.1:{node.gateway.port}"
        bearer = ("Authorization", f"Bearer {_key(name)}")
        return raw.send(url, "/v1/models", method="GET", headers=(bearer,)).status

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
            self.report.faults += [f"node {node.place}: {one}" for one in node.faults]
            self.report.calls += node.calls
        self._provider.read()
        books = Books(self.nodes[0].gateway.data, self._url)
        view = books.look()
        rows: dict[str, Row] = {}
        for row in view.rows:
            if row.model in rows:
                self._fault(f"{row.model}: in the ledger twice")
            rows[row.model] = row
            self.report.rows[_label(row)] += 1
        accounts = books.accounts(self._names)
        served: set[str] = set()
        for node in self.nodes:
            for told in node.told:
                self._judge_call(told, rows.get(told.model), accounts, served)
        self._judge_ledger(view, rows, minutes)
        self._judge_balances(view, accounts)
        for check in books.audit(served).checks:
            if not check.passed:
                self._fault(f"{check.name}: {check.title}: {check.examples}")

    def _judge_call(
        self, told: Told, row: Row | None, accounts: list[str], known: set[str]
    ) -> None:
        self.report.judged[f"{told.how} {told.code}".removesuffix(" -")] += 1
        served = self._provider.served.get(told.model)
        if row is None and told.model in self._gone:
            self.report.gone += 1
            return
        if served is not None and row is not None:
            known.add(row.id)
        wrong = "" if self._may_refuse(told, row) else fault_of(told, served, row)
        if row is not None and row.account_id != accounts[told.key]:
            wrong = f"charged to {row.account_id}"
        kind = traffic.kind_of(told.model)
        if told.how == "refused" and told.status >= 500 and not wrong:
            if told.retry_after == "-" and told.status == 503:
                wrong = "refused for now, and not told until when"
            elif kind.fault != "all" and told.model not in self._excused:
                wrong = "refused although nothing was away"
        if wrong:
            self._fault(f"{told.model}: {wrong} ({told}, {served}, {row})")

    def _may_refuse(self, told: Told, row: Row | None) -> bool:
        """Whether a call was refused as it may be, before it was sent on."""
        if told.how != "refused" or row is not None:
            return False
        if told.model in self._provider.served:
            return False
        return told.code in REFUSALS or told.model in self._excused

    def _judge_ledger(self, view: View, rows: dict[str, Row], minutes: float) -> None:
        """All that was served is there; leases paid for it; limits held."""
        for model in self._provider.served.keys() - rows.keys() - self._gone:
            self._fault(f"{model}: served by the provider, and not in the ledger")
        late = {row.id for row in view.rows if row.model in self._overdrawn}
        for name in set(view.outside) - late:
            self._fault(f"{name}: within its hold, and not paid by its lease")
        place = self._names.index(LIMITED)
        admitted = sum(
            told.key == place and told.model in self._provider.served
            for node in self.nodes
            for told in node.told
        )
        most = RPM * (int(minutes) + 2 + self._limits)
        if not 0 < admitted <= most:
            self._fault(
                f"{admitted} calls of a key with {RPM} a minute, {most} at most"
            )
        for row in view.rows:
            if row.kind == "settle" and row.price != row.charged:
                self._fault(f"{row.id}: priced {row.price}, charged {row.charged}")

    def _judge_balances(self, view: View, accounts: list[str]) -> None:
        """Opening and credits less charges is what is left; and nobody owes."""
        for name, account in zip(self._names, accounts, strict=True):
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
        leases = "SELECT id FROM accounts WHERE kind = 'lease' AND balance <> 0"
        if kept := self._rows(leases):
            self._fault(f"money is left in leases: {kept}")

    def _fault(self, text: str) -> None:
        self.report.faults.append(text)


def _key(name: str) -> str:
    return f"sk-crash-{name}-0123456789abcdefghijklmnopqrstuvw"


def _opening(name: str) -> int:
    return (
        POOR_BALANCE if name.startswith("poor-") and name != LIMITED else RICH_BALANCE
    )


def _label(row: Row) -> str:
    return (
        f"void {row.reason}"
        if row.kind == "void"
        else f"{row.outcome} by {row.usage_source}"
    )
