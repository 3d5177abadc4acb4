"""Limits of keys and channels hold over all workers of a running server."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support import raw
from tests.support.posthouse import Posthouse

WORKERS = 4
KEY = "sk-limited-{name}-0123456789abcdefghijklmnopqrstuv"
KEY_TABLE = """
[[keys]]
name = "{name}"
key = "{key}"
balance_usd = "10"
{limits}
"""
CONFIGURATION = """
[[channels]]
name = "open"
provider = "sandbox"
models = ["sandbox"]

[[channels]]
name = "narrow"
provider = "sandbox"
models = [{ public = "scarce", upstream = "sandbox" }]
limits = { rpm = 7 }
"""
KEYS = {
    "five": "rpm = 5",
    "free": "",
    "single": "concurrency = 1",
    "spender": "tpm = 4000",
}


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    tables = [
        KEY_TABLE.format(name=name, key=KEY.format(name=name), limits=limits)
        for name, limits in KEYS.items()
    ]
    environment = {"POSTHOUSE_WORKERS": str(WORKERS), "POSTHOUSE_NODE": "here"}
    folder: Path = tmp_path_factory.mktemp("limits")
    with Posthouse(folder, CONFIGURATION + "".join(tables), environment) as running:
        end = time.monotonic() + 15
        while running.output().count('"serving"') < 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        yield running


def ask(
    posthouse: Posthouse, name: str, model: str = "sandbox", **fields: object
) -> raw.RawReply:
    """Make a call on a connection of its own."""
    messages = [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": model, "messages": messages, **fields}).encode()
    bearer = ("Authorization", f"Bearer {KEY.format(name=name)}")
    return raw.send(posthouse.url, "/v1/chat/completions", body, headers=(bearer,))


def parallel(
    posthouse: Posthouse, calls: int, name: str, model: str = "sandbox"
) -> list[raw.RawReply]:
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda _: ask(posthouse, name, model), range(calls)))


def test_of_a_hundred_in_parallel_exactly_five_pass(posthouse: Posthouse) -> None:
    """rpm = 5, whichever workers they reach; the others learn when to come again."""
    replies = parallel(posthouse, 100, "five")
    assert Counter(reply.status for reply in replies) == {200: 5, 429: 95}
    served = Counter(reply.header("x-posthouse-node") for reply in replies)
    assert len(served) == WORKERS
    assert min(served.values()) >= 10
    for reply in replies:
        assert reply.header("x-ratelimit-limit-requests") == "5"
        if reply.status == 429:
            assert reply.header("x-ratelimit-remaining-requests") == "0"
            assert 1 <= int(reply.header("retry-after") or "") <= 60


def test_channel_takes_no_more_than_its_limit(posthouse: Posthouse) -> None:
    """rpm = 7 of the only channel of a model, whoever asks."""
    replies = parallel(posthouse, 60, "free", "scarce")
    assert Counter(reply.status for reply in replies) == {200: 7, 429: 53}


def test_one_call_after_the_other_is_never_refused(posthouse: Posthouse) -> None:
    """A place, and tokens, are there for the next call on any worker."""
    replies = [ask(posthouse, "single") for _ in range(40)]
    replies += [ask(posthouse, "spender", max_tokens=3000) for _ in range(20)]
    assert {reply.status for reply in replies} == {200}
    served = {reply.header("x-posthouse-node") for reply in replies}
    assert len(served) == WORKERS
