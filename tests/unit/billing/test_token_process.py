"""Counts from the process beside are the same, whatever happens to it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cases import each

from posthouse.billing import tokenizer
from posthouse.billing.token_process import TokenProcess
from posthouse.billing.tokenizer import count_here, count_tokens, counting_elsewhere

TEXT = "The keeper lit the lamp above the gate. "


def never(text: str, model: str) -> int:
    """Fail a test in which the text must not be counted here."""
    raise AssertionError(f"{len(text)} characters were counted here for {model}")


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends in time; one that nobody has waited for has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def beside() -> Iterator[TokenProcess]:
    process = TokenProcess(count=never)
    yield process
    process.close()


@each(
    ("text", "model"),
    [
        ("hello world", "gpt-4o"),
        ("お誕生日おめでとう", "gpt-4"),
        ("お誕生日おめでとう", "someone/model-7b"),
        ("a\ud800b", "m\ud800"),
        (TEXT * 20_000, ""),
    ],
)
def test_its_counts_are_ours(beside: TokenProcess, text: str, model: str) -> None:
    """Any text comes over whole, of any length and with lone surrogates."""
    assert beside.count(text, model) == count_here(text, model)


def test_threads_each_get_their_own_count(beside: TokenProcess) -> None:
    """Answers are not mixed up between those who ask at once."""
    found: dict[int, int] = {}

    def ask(number: int) -> None:
        found[number] = beside.count("a " * number, "")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: count_here("a " * n, "") for n in range(1, 40)}


def test_nothing_is_started_before_the_first_count() -> None:
    """A server whose providers report their usage has one process."""
    process = TokenProcess()
    assert process.pid is None
    process.close()


def test_a_killed_process_is_replaced(beside: TokenProcess) -> None:
    """Whoever asks next notices nothing."""
    beside.count("warm", "")
    first = beside.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert beside.count("hello world", "") == 2
    assert beside.pid not in (None, first)


def test_signals_to_the_group_do_not_end_it(beside: TokenProcess) -> None:
    """A service manager that stops all processes at once loses no count."""
    beside.count("warm", "")
    pid = beside.pid
    assert pid is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    assert beside.count("hello world", "") == 2
    assert beside.pid == pid


def test_an_idle_process_ends_and_comes_back() -> None:
    """Its memory is given back when nobody counts."""
    process = TokenProcess(idle_seconds=0.05, count=never)
    assert process.count("hello world", "") == 2
    first = process.pid
    assert first is not None
    assert gone(first)
    assert process.count("hello world", "") == 2
    process.close()


@pytest.mark.parametrize(
    "command",
    [("/nonexistent/python",), (sys.executable, "-c", "raise SystemExit")],
    ids=["cannot start", "ends at once"],
)
def test_without_a_process_the_text_is_counted_here(command: tuple[str, ...]) -> None:
    """There is a count in any case."""
    process = TokenProcess(command=command)
    assert process.count("hello world", "") == 2
    process.close()


def test_a_process_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is killed, and a settlement does not wait for ever."""
    monkeypatch.setattr("posthouse.billing.token_process.END_SECONDS", 0.05)
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)")
    process = TokenProcess(command=sleeper, reply_seconds=0.05)
    assert process.count("hello world", "") == 2
    assert process.pid is None


def test_closing_ends_it_and_later_counts_are_made_here() -> None:
    """Nothing is left behind, and nothing is started again."""
    process = TokenProcess()
    process.count("hello world", "")
    pid = process.pid
    assert pid is not None
    process.close()
    assert not Path(f"/proc/{pid}").exists()
    assert process.count("hello world", "") == 2
    assert process.pid is None


def test_it_ends_with_the_server_however_that_ended() -> None:
    """A killed server leaves no process behind."""
    code = (
        "from posthouse.billing.token_process import TokenProcess\n"
        "import time\n"
        "process = TokenProcess()\n"
        "process.count('hello world', '')\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        pid = int(it.stdout.readline())
        it.kill()
    assert gone(pid)


def test_it_is_not_told_the_servers_secrets(
    beside: TokenProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment has only what an interpreter needs."""
    monkeypatch.setenv("POSTHOUSE_SECRET", "canary-0123456789abcdef0123456789")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    process = TokenProcess()
    process.count("hello world", "")
    assert b"canary" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    process.close()


def test_within_the_block_counts_are_made_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And afterwards here again; an empty text is never asked about."""
    monkeypatch.setattr(tokenizer, "count_here", lambda text, model: -1)
    with counting_elsewhere(lambda text, model: len(text)):
        assert count_tokens("hello", "m") == 5
        assert count_tokens("") == 0
    assert count_tokens("hello") == -1
