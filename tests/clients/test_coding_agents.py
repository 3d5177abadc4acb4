"""Claude Code and Codex: each is started, and runs one command that a model asks for.

What they may do is harmless: the models here are played, and what they ask for is to
say a word. Each has a home of its own.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.clients import installing
from tests.clients.providers import AIMOCK, COMMAND, HELLO, KEY, PRINTED, SEEN
from tests.support.posthouse import Posthouse

pytestmark = pytest.mark.clients

SECONDS = 100


class Done(NamedTuple):
    """What an agent did."""

    commands: list[str]
    outputs: list[str]
    """What its commands printed."""
    said: str
    """Its last words."""


def execute(
    command: list[str], home: Path, environment: dict[str, str]
) -> list[dict[str, Any]]:
    """Run an agent in a home; give the events that it printed, one on each line."""
    work = home / "work"
    work.mkdir()
    done = subprocess.run(
        command,
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def claude_code(url: str, model: str, home: Path, *, tools: bool) -> Done:
    """Have Claude Code answer, or run a command."""
    prompt, tool = ("run the command with Bash", "Bash") if tools else ("say hello", "")
    command = [str(installing.CLAUDE / "bin" / "claude.exe"), "-p", prompt]
    command += ["--tools", tool, "--output-format", "stream-json", "--verbose"]
    if tools:
        command += ["--allowedTools", tool]
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    *events, result = execute(command, home, environment)
    assert result["type"] == "result"
    assert not result["is_error"], result
    blocks = [
        block
        for event in events
        if event["type"] in ("assistant", "user")
        for block in event["message"]["content"]
    ]
    return Done(
        [block["input"]["command"] for block in blocks if block["type"] == "tool_use"],
        [block["content"] for block in blocks if block["type"] == "tool_result"],
        result["result"],
    )


CODEX = """
model = "{model}"
model_provider = "posthouse"

[model_providers.posthouse]
name = "Posthouse"
base_url = "{url}/v1"
env_key = "RELAY_KEY"
wire_api = "responses"
"""


def codex(url: str, model: str, home: Path, *, tools: bool) -> Done:
    """Have Codex answer, or run a command."""
    folder = home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(CODEX.format(model=model, url=url))
    program = installing.MODULES / "@openai" / "codex" / "bin" / "codex.js"
    command = ["node", str(program), "exec", "--skip-git-repo-check", "--json"]
    # Its own sandbox needs rights that a container may not have.
    command += ["--sandbox", "danger-full-access"]
    command += ["run the command with exec_command" if tools else "say hello"]
    events = execute(command, home, {"RELAY_KEY": KEY})
    assert events[-1]["type"] == "turn.completed", events
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    ran = [item for item in items if item["type"] == "command_execution"]
    said = [item["text"] for item in items if item["type"] == "agent_message"]
    return Done(
        [item["command"] for item in ran],
        [item["aggregated_output"] for item in ran],
        said[-1],
    )


Agent = Callable[..., Done]
AGENTS: dict[str, Agent] = {"claude-code": claude_code, "codex": codex}


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest, node: Path) -> Agent:
    """One of the agents, installed."""
    return AGENTS[request.param]


@pytest.mark.parametrize("model", AIMOCK)
def test_it_starts_and_answers(
    agent: Agent, posthouse: Posthouse, model: str, tmp_path: Path
) -> None:
    done = agent(posthouse.url, model, tmp_path, tools=False)
    assert done == Done([], [], HELLO)


@pytest.mark.parametrize("model", AIMOCK)
def test_it_runs_a_command_and_tells_the_model(
    agent: Agent, posthouse: Posthouse, model: str, tmp_path: Path
) -> None:
    done = agent(posthouse.url, model, tmp_path, tools=True)
    [command], [output] = done.commands, done.outputs
    assert COMMAND in command
    assert PRINTED in output
    # Only a model that was told what the command printed says this.
    assert done.said == SEEN


def test_it_runs_what_the_sandbox_makes_up(
    agent: Agent, posthouse: Posthouse, tmp_path: Path
) -> None:
    """The command is a sample that no machine has, and the sandbox says what came."""
    done = agent(posthouse.url, "sandbox", tmp_path, tools=True)
    [command], [output] = done.commands, done.outputs
    assert "sample c" in command
    assert "not found" in output
    assert "The tool said: " in done.said
    assert "not found" in done.said
