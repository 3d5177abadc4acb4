"""Several workers behind one address: one configuration, drain and set of books."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support import raw
from tests.support.posthouse import Posthouse

WORKERS = 3
HERE_WITHIN = 2.0
"""Seconds in which every worker knows of a change."""
PATIENCE = 15.0
KEY = "sk-workers-{name}-0123456789abcdefghijklmnopqrstuvw"
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"
"""
KEY_TABLE = """
[[keys]]
name = "{name}"
key = "{key}"
balance_usd = "10"
"""


def table(name: str) -> str:
    return KEY_TABLE.format(name=name, key=KEY.format(name=name))


def ask(posthouse: Posthouse, name: str = "first", prompt: str = "hi") -> raw.RawReply:
    """Make a call on a connection of its own."""
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": "sandbox", "messages": messages}).encode()
    bearer = ("Authorization", f"Bearer {KEY.format(name=name)}")
    return raw.send(posthouse.url, "/v1/chat/completions", body, headers=(bearer,))


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.02)


def workers(posthouse: Posthouse) -> list[psutil.Process]:
    """The serving processes; each may have others that help it."""
    children = psutil.Process(posthouse.process.pid).children()
    return [child for child in children if _runs(child)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def by_node(posthouse: Posthouse, name: str) -> dict[str, set[int]]:
    """The statuses that each worker answers a key with now."""
    found: dict[str, set[int]] = {}
    for _ in range(WORKERS * 8):
        reply = ask(posthouse, name)
        found.setdefault(str(reply.header("x-posthouse-node")), set()).add(reply.status)
    return found


@contextmanager
def serving(folder: Path) -> Iterator[Posthouse]:
    """Run a server of several workers."""
    environment = {
        "POSTHOUSE_WORKERS": str(WORKERS),
        "POSTHOUSE_NODE": "here",
        "POSTHOUSE_FAILURES_PER_MINUTE": "100000",
    }
    configuration = CONFIGURATION + table("first")
    with Posthouse(folder, configuration, environment) as running:
        eventually(lambda: '"serving"' in running.output())
        yield running


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    """A server that tests leave as they found it."""
    with serving(tmp_path_factory.mktemp("workers")) as running:
        yield running


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Posthouse]:
    """A server that a test may stop."""
    with serving(tmp_path) as running:
        yield running


def test_replies_name_their_worker_and_metrics_are_of_all(posthouse):
    """Every worker serves; a scrape of any one tells of all calls."""
    calls_before = scraped(posthouse)["posthouse_calls_total"]
    served = Counter(ask(posthouse).header("x-posthouse-node") for _ in range(60))
    assert set(served) == {f"here-{slot}" for slot in range(WORKERS)}
    assert min(served.values()) >= 6

    def calls() -> set[float]:
        return {scraped(posthouse)["posthouse_calls_total"] for _ in range(6)}

    eventually(lambda: calls() == {calls_before + 60})
    figures = scraped(posthouse)
    assert figures["posthouse_ready"] == 1
    assert figures["posthouse_call_seconds_count"] == calls_before + 60
    resident = sum(child.memory_info().rss for child in workers(posthouse))
    assert figures["process_resident_memory_bytes"] > resident / 2


def scraped(posthouse: Posthouse) -> Counter[str]:
    """The samples of a scrape, summed over their labels but buckets."""
    text = raw.send(posthouse.url, "/metrics", method="GET").body.decode()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


def test_a_changed_file_reaches_every_worker(posthouse):
    """SIGHUP: a key is there, then gone, for all within two seconds."""
    assert set().union(*by_node(posthouse, "second").values()) == {401}
    text = posthouse.configuration.read_text()
    posthouse.configuration.write_text(text + table("second"))
    posthouse.process.send_signal(signal.SIGHUP)
    eventually(lambda: '"created": 1' in posthouse.output())
    time.sleep(HERE_WITHIN)
    found = by_node(posthouse, "second")
    assert len(found) == WORKERS
    assert set().union(*found.values()) == {200}
    posthouse.configuration.write_text(text)
    posthouse.process.send_signal(signal.SIGHUP)
    eventually(lambda: '"disabled": 1' in posthouse.output())
    time.sleep(HERE_WITHIN)
    assert set().union(*by_node(posthouse, "second").values()) == {401}


def test_a_revoked_key_is_refused_by_every_worker(posthouse):
    """A command beside the server is enough."""
    made = posthouse.ask("key", "create", "third")
    bearer = ("Authorization", f"Bearer {made['key']}")

    def statuses() -> set[int]:
        asked = [
            raw.send(posthouse.url, "/v1/models", method="GET", headers=(bearer,))
            for _ in range(WORKERS * 8)
        ]
        return {reply.status for reply in asked}

    assert statuses() == {200}
    assert posthouse.run("key", "revoke", "third")[0] == 0
    time.sleep(HERE_WITHIN)
    assert statuses() == {401}


def test_a_faulty_file_changes_nothing(posthouse):
    """It is refused by its line, and all workers go on as before."""
    text = posthouse.configuration.read_text()
    posthouse.configuration.write_text(text + "\n[[channels]]\nname = 5\n")
    posthouse.process.send_signal(signal.SIGHUP)
    eventually(lambda: "was refused" in posthouse.output())
    assert set().union(*by_node(posthouse, "first").values()) == {200}
    posthouse.configuration.write_text(text)


def test_a_dead_worker_is_replaced_and_nothing_is_lost(posthouse):
    """kill -9 under load: the others serve on, and all that was paid is served."""
    done: list[int] = []
    ended = threading.Event()

    def call_on() -> None:
        while not ended.is_set():
            try:
                done.append(ask(posthouse).status)
            except (OSError, ValueError, IndexError):
                # The worker of this connection died.
                done.append(0)

    callers = [threading.Thread(target=call_on) for _ in range(8)]
    for caller in callers:
        caller.start()
    for _ in range(3):
        before = {worker.pid for worker in workers(posthouse)}
        eventually(lambda: len(done) > 50)
        workers(posthouse)[0].kill()
        eventually(lambda seen=before: _all_serve(posthouse, seen))
        done.clear()
    ended.set()
    for caller in callers:
        caller.join()
    assert "a worker died" in posthouse.output()
    journals = posthouse.data / "journal"
    eventually(lambda: len([p for p in journals.iterdir() if p.is_dir()]) == WORKERS)


def _all_serve(posthouse: Posthouse, before: set[int]) -> bool:
    now = {worker.pid for worker in workers(posthouse)}
    return len(now) == WORKERS and now != before


def test_a_stop_lets_all_workers_finish(doomed):
    """SIGTERM to every process, as service managers send it: calls end well."""
    statuses: list[int] = []
    callers = [
        threading.Thread(
            target=lambda: statuses.append(
                ask(doomed, prompt="sandbox:delay-2s hi").status
            )
        )
        for _ in range(12)
    ]
    for caller in callers:
        caller.start()
    time.sleep(0.7)
    serving = workers(doomed)
    doomed.process.send_signal(signal.SIGTERM)
    for worker in serving:
        worker.terminate()
    for caller in callers:
        caller.join()
    assert statuses == [200] * 12
    assert doomed.process.wait(PATIENCE) == 0
    assert not [worker for worker in serving if worker.is_running()]


def test_a_second_signal_hurries(doomed):
    """What is under way is cut, and the books are right."""

    def call() -> None:
        with suppress(OSError, IndexError):
            ask(doomed, prompt="sandbox:delay-60s hi")

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.7)
    doomed.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert doomed.process.poll() is None
    doomed.process.send_signal(signal.SIGINT)
    assert doomed.process.wait(PATIENCE) == 0
    caller.join()


def test_workers_do_not_outlive_their_supervisor(tmp_path):
    """However it dies, nobody serves on with nobody to look after them."""
    running = Posthouse(
        tmp_path, CONFIGURATION + table("first"), {"POSTHOUSE_WORKERS": str(WORKERS)}
    )
    eventually(lambda: '"serving"' in running.output())
    serving = workers(running)
    assert len(serving) == WORKERS
    running.process.kill()
    running.process.wait()
    eventually(lambda: not any(worker.is_running() for worker in serving))
    code, output = running.run("audit", "--json")
    assert code == 0, output


def test_a_second_server_on_the_same_port_is_refused(posthouse):
    """Sharing an address is for a server's own workers."""
    port = posthouse.url.rpartition(":")[2]
    code, output = posthouse.run("serve", "--port", port, "--workers", "2")
    assert code == 1
    assert "already in use" in output
