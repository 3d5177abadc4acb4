"""`posthouse demo`: the whole way of a call, seen from a terminal.

It adds the sandbox channel and a key of its own to the data folder, starts the
real server there, talks to it through the official `openai` SDK with only base
URL and key changed, prints the ledger lines that this caused, and keeps
serving. What else is in the folder stays as it is.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from msgspec import Struct

from posthouse.access.keys import new_key
from posthouse.cli.books import owners_of, print_ledger
from posthouse.cli.failures import CommandFailed
from posthouse.cli.installation import Installation, open_books, open_installation
from posthouse.cli.options import Data
from posthouse.cli.options import command as make_command
from posthouse.cli.output import print_line, print_note, working
from posthouse.model.money import format_usd
from posthouse.server.sockets import StartupError, bind
from posthouse.settings.environment import Settings, load_settings
from posthouse.settings.file import ChannelSpec, KeySpec
from posthouse.settings.secret import write_private
from posthouse.storage.channels import ChannelDesk, find_channel
from posthouse.storage.file_keys import FOLDER
from posthouse.storage.keys import KeyDesk, KeyRow, find_key
from posthouse.storage.ledger.accounts import open_account
from posthouse.storage.ledger.queries import LedgerLine

if TYPE_CHECKING:
    from openai import OpenAI

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30
DRAIN_SECONDS: Final = 10
STOP_SECONDS: Final = 30
KEY: Final = "demo"
BALANCE: Final = "5"
CHANNEL: Final = "sandbox"
MODEL: Final = "sandbox"
PROMPT: Final = "Explain in a sentence what a posthouse was."
ENVIRONMENT: Final = {
    # People watch: warnings are enough, and no load balancer is waited for.
    "POSTHOUSE_LOG_LEVEL": "warning",
    "POSTHOUSE_DRAIN_GRACE_SECONDS": "0",
}


class Stage(Struct, frozen=True):
    """Where the demo plays."""

    settings: Settings
    port: int
    key: KeyRow
    text: str
    """The key itself."""

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://{HOST}:{self.port}"


def demo(
    *,
    port: Annotated[
        int, Parameter(help="Port to serve at; 0 takes a free one.")
    ] = 3000,
    once: Annotated[
        bool, Parameter(show_default=False, help="Stop when all was shown.")
    ] = False,
    data: Data = None,
) -> None:
    """Show a chat through the relay, and what it cost; then keep serving.

    With --once the exit code is 0 only if all went well.
    """
    settings = load_settings(data=data)
    _require_sdk()
    port = _free(port)
    key, text = asyncio.run(_prepare(settings))
    stage = Stage(settings, port, key, text)
    server = subprocess.Popen(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "posthouse", "serve"),
            *("--data", str(settings.data), "--host", HOST, "--port", str(port)),
        ],
        env={**ENVIRONMENT, **os.environ},
    )
    # Whoever ends the demo ends the server, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _show(server, stage)
        _invite(stage)
        if once:
            _finish(server)
        else:
            print_note("\nServing; Ctrl-C stops.")
            _watch(server)
    except KeyboardInterrupt:
        print_note("Stopping.")
    finally:
        _stop(server)


def _require_sdk() -> None:
    """Raise CommandFailed when the SDK that the demo talks through is not there."""
    try:
        import openai  # noqa: F401, PLC0415 - the demo's alone
    except ImportError:
        reason = "the demo needs the openai package; install it beside posthouse"
        raise CommandFailed(reason) from None


def _free(port: int) -> int:
    """Give the port that the server will have; CommandFailed when it is taken."""
    try:
        sockets = bind(HOST, port)
    except StartupError as error:
        raise CommandFailed(f"{error} (make demo PORT=…)") from None
    number: int = sockets[0].getsockname()[1]
    for listener in sockets:
        listener.close()
    return number


async def _prepare(settings: Settings) -> tuple[KeyRow, str]:
    """Add what is missing; give the key's row and the key itself."""
    async with open_installation(settings) as installation:
        async with installation.database.write() as connection:
            if await find_channel(connection, installation.box, CHANNEL) is None:
                spec = ChannelSpec(name=CHANNEL, provider=CHANNEL)
                await ChannelDesk(installation.box).add(connection, spec)
        for number in range(1, 100):
            name = KEY if number == 1 else f"{KEY}-{number}"
            found = await _key(installation, name)
            if found is not None:
                return found
    raise CommandFailed("there are too many demo keys that cannot be used")


async def _key(installation: Installation, name: str) -> tuple[KeyRow, str] | None:
    """Make or find a key whose text is in the data folder; None if it is not."""
    path = installation.settings.data / FOLDER / name
    async with installation.database.write() as connection:
        row = await find_key(connection, name)
        if row is None:
            write_private(path, lambda: new_key() + "\n")
            text = path.read_text().strip()
            spec = KeySpec(name=name, key=text, balance_usd=BALANCE)
            desk = KeyDesk(installation.pepper, open_account)
            await desk.create(connection, spec)
            row = await find_key(connection, name)
            return None if row is None else (row, text)
    if row.revoked_ms is not None or not row.enabled or not path.exists():
        return None
    return row, path.read_text().strip()


def _show(server: "subprocess.Popen[bytes]", stage: Stage) -> None:
    with working("Starting the server"):
        _wait_until_ready(server, stage.url)
    before = asyncio.run(_newest_line(stage))
    _chat(f"{stage.url}/v1", stage.text)
    print_line("\nThe ledger lines that these calls caused:", "bold")
    asyncio.run(_print_caused_lines(stage, before))


def _invite(stage: Stage) -> None:
    """Tell how to go on by oneself."""
    print_line("\nPoint any OpenAI client at:", "bold")
    print_line(f"  base URL  {stage.url}/v1")
    print_line(f"  key       {stage.text}")
    print_line(f"  model     {MODEL}")
    print_line("\nOr try it with curl:", "bold")
    print_line(curl_line(stage.url, stage.text))


def curl_line(url: str, key: str) -> str:
    """Write a streamed chat as a command to copy."""
    return (
        f"curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f'-H \'Content-Type: application/json\' -d \'{{"model":"{MODEL}",'
        '"stream":true,"messages":[{"role":"user","content":"Hello!"}]}\''
    )


def _wait_until_ready(server: "subprocess.Popen[bytes]", base_url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CommandFailed("the server did not start; its reason stands above")
        try:
            health = f"{base_url}/health/ready"
            with urllib.request.urlopen(health, timeout=1):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.05)
    raise CommandFailed(f"the server was not ready after {START_SECONDS} seconds")


def _chat(base_url: str, key: str) -> None:
    """One chat in one piece, and one streamed to the terminal."""
    from openai import OpenAI, OpenAIError  # noqa: PLC0415 - the demo's alone

    try:
        with OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            print_line("A chat in one piece, through the openai SDK:", "bold")
            _whole(client)
            print_line("\nThe same, streamed:", "bold")
            _streamed(client)
    except OpenAIError as error:
        raise CommandFailed(f"the chat failed: {error}") from None


def _whole(client: "OpenAI") -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}]
    )
    text = reply.choices[0].message.content
    if not text or reply.usage is None:
        raise CommandFailed("the reply has no text or no usage")
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
        raise CommandFailed("the stream did not come in pieces")


async def _newest_line(stage: Stage) -> int:
    async with open_books(stage.settings) as books:
        lines = await books.ledger.lines(limit=1)
    return lines[0].id if lines else 0


async def _print_caused_lines(stage: Stage, before: int) -> None:
    """Print the settlements of the demo's calls, once they are in the ledger."""
    account = stage.key.account_id
    deadline = time.monotonic() + DRAIN_SECONDS
    async with open_books(stage.settings) as books:
        caused: list[LedgerLine] = []
        while len([line for line in caused if line.kind == "settle"]) < 2:
            if time.monotonic() > deadline:
                reason = "the calls' settlements did not reach the ledger"
                raise CommandFailed(reason)
            await asyncio.sleep(0.05)
            lines = await books.ledger.lines(account_id=account)
            caused = [line for line in lines if line.id > before]
        print_ledger(caused, await owners_of(books, caused))
        balance = (await books.ledger.balances(account))[0]
    print_line(f"{stage.key.name} has {format_usd(balance.shown)} USD left.")


def _watch(server: "subprocess.Popen[bytes]") -> None:
    """Wait for as long as the server runs."""
    code = server.wait()
    if code not in (0, -signal.SIGTERM):
        raise CommandFailed(f"the server ended with exit code {code}")


def _finish(server: "subprocess.Popen[bytes]") -> None:
    """Stop the server; CommandFailed unless it ends well."""
    server.send_signal(signal.SIGTERM)
    try:
        code = server.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise CommandFailed("the server did not stop") from None
    if code:
        raise CommandFailed(f"the server ended with exit code {code}")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()


command = make_command(demo)
