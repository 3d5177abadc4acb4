"""The fake provider itself: what suites rely on must be true."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.fakes import openai
from tests.fakes.behaviours import BEHAVIOURS
from tests.fakes.journal import read_journal
from tests.fakes.steps import Behaviour, Hang, Send, Wait, reply
from tests.fakes.upstream import FakeUpstream, parse_request
from tests.support.cases import each
from tests.unit.upstream.support import chat_request, fetch, read_until

from posthouse.upstream.sender import Upstream

ROOT = Path(__file__).parents[3]


async def ask(target: str, **body: object) -> tuple[int, dict[str, object], object]:
    """Ask a healthy provider; give status, answer and its true usage."""
    async with FakeUpstream(openai.answer) as provider:
        upstream = Upstream()
        request = chat_request(
            provider.origin, target=target, body=msgspec.json.encode(body)
        )
        status, answer = await fetch(upstream, request)
        await upstream.close()
        return status, msgspec.json.decode(answer), provider.served[0].usage


async def test_a_chat_says_its_true_usage() -> None:
    """The journal and the answer agree, and follow from the request."""
    messages = [{"role": "user", "content": "x" * 40}]
    status, answer, usage = await ask(
        "/v1/chat/completions", model="m", messages=messages, max_tokens=5
    )
    assert (status, answer["usage"]) == (200, usage)
    assert usage == openai.usage_of(10 + 1, 5)  # the role counts, too
    choice = answer["choices"][0]  # type: ignore[index]
    assert choice["message"]["content"].split() == [f"word{n}" for n in range(5)]


@pytest.mark.parametrize("include", [True, False])
async def test_a_streamed_chat_has_a_chunk_per_token(include: bool) -> None:
    """And a usage chunk if it was asked for."""
    async with FakeUpstream(openai.answer) as provider:
        upstream = Upstream()
        request = chat_request(
            provider.origin,
            stream=True,
            max_tokens=7,
            stream_options={"include_usage": include},
        )
        _, body = await fetch(upstream, request)
        await upstream.close()
        *events, done, rest = body.split(b"\n\n")
        assert (done, rest) == (b"data: [DONE]", b"")
        values = [msgspec.json.decode(event[6:]) for event in events]
        assert len(values) == 1 + 7 + 1 + include
        last = values[-1]
        assert (last.get("usage") == provider.served[0].usage) is include
        assert (last["choices"] == []) is include


@each(
    ("target", "body", "usage"),
    [
        ("/v1/completions", {"prompt": "x" * 8}, openai.usage_of(2, openai.WORDS)),
        (
            "/v1/embeddings",
            {"input": ["x" * 8, "y" * 4]},
            {"prompt_tokens": 3, "total_tokens": 3},
        ),
        ("/embeddings", {"input": [1, 2, 3]}, {"prompt_tokens": 3, "total_tokens": 3}),
        ("/v1/moderations", {"input": ["a", "b"]}, None),
    ],
)
async def test_the_other_operations_answer(
    target: str, body: dict[str, object], usage: object
) -> None:
    """With their usage, if they have one."""
    status, answer, served = await ask(target, model="m", **body)
    assert (status, served) == (200, usage)
    assert answer.get("usage") == usage


async def test_embeddings_come_as_floats_or_base64() -> None:
    """The official SDK asks for base64."""
    _, plain, _ = await ask("/v1/embeddings", input="x", dimensions=2)
    _, packed, _ = await ask(
        "/v1/embeddings", input="x", dimensions=2, encoding_format="base64"
    )
    assert plain["data"][0]["embedding"] == [1.0, 0.5]  # type: ignore[index]
    assert packed["data"][0]["embedding"] == "AACAPwAAAD8="  # type: ignore[index]


async def test_unknown_operations_are_404() -> None:
    """As a provider answers them."""
    assert (await ask("/v1/nonsense"))[0] == 404


async def test_the_journal_tells_what_was_asked_and_how_far_the_answer_came(
    tmp_path: Path,
) -> None:
    """Whole, broken off by the client, and never finished."""
    file = tmp_path / "journal"
    whole = Behaviour("whole", (Send(reply(200, b"abc")),), {"total_tokens": 1})
    slow = Behaviour("slow", (Send(reply(200, b"x" * 10)[:-5]), Wait(9.0), Send(b"y")))
    stuck = Behaviour("stuck", (Hang(),))
    async with FakeUpstream([whole, slow, stuck], journal=file) as provider:
        upstream = Upstream()
        await fetch(upstream, chat_request(provider.origin, note="first"))
        response = await upstream.send(chat_request(provider.origin))
        response.abort()
        waiting = asyncio.create_task(fetch(upstream, chat_request(provider.origin)))
        await asyncio.sleep(0.05)
        seen = [
            (entry.script, entry.terminal, entry.completed)
            for entry in read_journal(file)
        ]
        waiting.cancel()
        await upstream.close()
    assert seen == [
        ("whole", True, True),
        ("slow", False, False),
        ("stuck", False, None),
    ]
    first = read_journal(file)[0]
    assert (first.method, first.target) == ("POST", "/v1/chat/completions")
    assert msgspec.json.decode(first.body)["note"] == "first"
    assert ("authorization", "Bearer x") in first.headers
    assert (first.usage, first.sent) == ({"total_tokens": 1}, len(reply(200, b"abc")))


async def test_the_journal_is_written_before_the_last_bytes_leave(
    tmp_path: Path,
) -> None:
    """Whoever has the end of an answer finds it journaled, always."""
    file = tmp_path / "journal"
    async with FakeUpstream(openai.answer, journal=file) as provider:
        upstream = Upstream()
        for number in range(20):
            request = chat_request(provider.origin, stream=bool(number % 2))
            response = await upstream.send(request)
            mark = b"[DONE]" if number % 2 else b'"total_tokens"'
            await read_until(response, mark)
            assert read_journal(file)[-1].terminal
            response.abort()
        await upstream.close()


async def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """It prints its port, serves, plays faults by model name, and keeps its journal."""
    file = tmp_path / "journal"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.upstream", "--journal", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.to_thread(process.stdout.readline))
        upstream = Upstream()
        origin = f"http://127.0.0.1:{port}"
        assert (await fetch(upstream, chat_request(origin)))[0] == 200
        request = chat_request(origin, model="fault-u4-529-unary")
        assert (await fetch(upstream, request))[0] == 529
        await upstream.close()
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 10)
        process.stdout.close()  # type: ignore[union-attr]
    assert process.returncode == 0
    scripts = [entry.script for entry in read_journal(file)]
    assert scripts == ["chat", "fault-u4-529-unary"]


async def test_a_thousand_streams_run_at_once() -> None:
    """A stream costs a timer, not a task."""
    behave = BEHAVIOURS["paced-10ms"]
    async with FakeUpstream(behave) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin, stream=True, max_tokens=3)
        bodies = await asyncio.gather(*(fetch(upstream, request) for _ in range(1000)))
        assert all(body.endswith(b"[DONE]\n\n") for _, body in bodies)
        assert all(served.completed for served in provider.served)
        assert len(asyncio.all_tasks()) == 1
        await upstream.close()


async def test_a_used_up_queue_says_so() -> None:
    """A request that a test did not foresee fails loudly."""
    async with FakeUpstream([]) as provider:
        upstream = Upstream()
        status, body = await fetch(upstream, chat_request(provider.origin))
        assert (status, b"no script is left" in body) == (500, True)
        await upstream.close()


@pytest.mark.parametrize(
    "body", [b"5;x=y\r\nhello\r\n0\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]
)
def test_it_reads_chunked_requests(body: bytes) -> None:
    """Other gateways send them; it waits for the whole."""
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    for end in range(len(head + body)):
        assert parse_request(bytearray((head + body)[:end])) is None
    buffer = bytearray(head + body + b"next")
    parsed = parse_request(buffer)
    assert parsed is not None
    assert (parsed[3], bytes(buffer)) == (b"hello", b"next")
