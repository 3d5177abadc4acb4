"""`posthouse demo`: the whole way of a call, seen from a terminal.

Starts the real server with the sandbox behind it, talks to it through the
official `openai` SDK with only base URL and key changed, prints the ledger
lines that this caused, and keeps serving.
"""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.cli.books import print_ledger
from posthouse.cli.installation import open_installation
from posthouse.cli.options import Data
from posthouse.cli.output import print_line, print_note
from posthouse.settings.environment import load_settings
from posthouse.storage.keys import find_key
from posthouse.storage.ledger_queries import LedgerLine

if TYPE_CHECKING:
    from openai import OpenAI

START_SECONDS = 30
DRAIN_SECONDS = 10
KEY = "demo"
MODEL = "sandbox"
PROMPT = "Explain in a sentence what a posthouse was."


class DemoFailed(Exception):
    """The demo could not show what it promises; str() says why."""


def demo(*, port: int = 3000, once: bool = False, data: Data = None) -> None:
    """Show a chat through the relay, and what it cost; then keep serving.

    Args:
        port: Port to serve at.
        once: Stop when all was shown; exit code 0 only if all went well.
        data: Data folder; default ./data.
    """
    folder = data or Path("data")
    config = resources.files("posthouse.cli").joinpath("demo.toml")
    with resources.as_file(config) as file:
        server = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", "posthouse", "serve"),
                *("--config", str(file), "--data", str(folder)),
                *("--host", "127.0.0.1", "--port", str(port)),
            ]
        )
        try:
            _show(server, port, folder)
            if not once:
                server.wait()
        except DemoFailed as failure:
            sys.stderr.write(f"posthouse demo: {failure}\n")
            sys.exit(1)
        except KeyboardInterrupt:
            print_note("Stopping.")
        finally:
            _stop(server)


def _show(server: "subprocess.Popen[bytes]", port: int, data: Path) -> None:
    base_url = f"http://127.0.0.1:{port}"
    _wait_until_ready(server, base_url)
    key = (data / "keys" / KEY).read_text().strip()
    before = _newest_line(data)
    _chat(f"{base_url}/v1", key)
    lines = asyncio.run(_caused_lines(data, before))
    print_line("\nThe ledger lines that these calls caused:", "bold")
    print_ledger(lines)
    print_line("\nServing. Point any OpenAI client at:", "bold")
    print_line(f"  base URL  {base_url}/v1")
    print_line(f"  key       {key}")
    print_line("\nOr try it with curl:", "bold")
    print_line(
        f"curl -N {base_url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f'-H \'Content-Type: application/json\' -d \'{{"model":"{MODEL}",'
        '"stream":true,"messages":[{"role":"user","content":"Hello!"}]}\''
    )


def _wait_until_ready(server: "subprocess.Popen[bytes]", base_url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoFailed("the server did not start; its reason stands above")
        try:
            health = f"{base_url}/health/ready"
            with urllib.request.urlopen(health, timeout=1):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.1)
    raise DemoFailed(f"the server was not ready after {START_SECONDS} seconds")


def _chat(base_url: str, key: str) -> None:
    """One chat in one piece, and one streamed to the terminal."""
    try:
        from openai import OpenAI, OpenAIError  # noqa: PLC0415 - the demo's alone
    except ImportError:
        raise DemoFailed("the openai package is not installed") from None
    client = OpenAI(base_url=base_url, api_key=key, max_retries=0)
    try:
        print_line("A chat in one piece, through the openai SDK:", "bold")
        _whole(client)
        print_line("\nThe same, streamed:", "bold")
        _streamed(client)
    except OpenAIError as error:
        raise DemoFailed(f"the chat failed: {error}") from None


def _whole(client: "OpenAI") -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}]
    )
    text = reply.choices[0].message.content
    if not text or reply.usage is None:
        raise DemoFailed("the reply has no text or no usage")
    print_line(text)
    print_note(
        f"{reply.usage.prompt_tokens} tokens in, {reply.usage.completion_tokens} out"
    )


def _streamed(client: "OpenAI") -> None:
    pieces = []
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    for chunk in stream:
        if chunk.choices and (piece := chunk.choices[0].delta.content):
            pieces.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
    if len(pieces) < 2:
        raise DemoFailed("the stream did not come in pieces")


def _newest_line(data: Path) -> int:
    async def newest() -> int:
        async with open_installation(load_settings(data=data)) as installation:
            lines = await installation.ledger.lines(limit=1)
        return lines[0].id if lines else 0

    return asyncio.run(newest())


async def _caused_lines(data: Path, before: int) -> list[LedgerLine]:
    """The settlements of the demo's calls, once they are in the ledger."""
    deadline = time.monotonic() + DRAIN_SECONDS
    async with open_installation(load_settings(data=data)) as installation:
        async with installation.database.read() as connection:
            row = await find_key(connection, KEY)
        if row is None:
            raise DemoFailed("the demo's key is not in the database")
        while time.monotonic() < deadline:
            lines = await installation.ledger.lines(account_id=row.account_id)
            caused = [line for line in lines if line.id > before]
            if len([line for line in caused if line.kind == "settle"]) >= 2:
                return caused
            await asyncio.sleep(0.1)
    raise DemoFailed("the calls' settlements did not reach the ledger")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
