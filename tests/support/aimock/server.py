"""aimock, which plays an OpenAI account: installed from npm once, then started.

The version is pinned with its digest by `package-lock.json` beside this file.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.acceptance.configuration import AIMOCK_KEY
from tests.support.processes import ROOT, ServerFailed, ServerProcess

HERE = Path(__file__).parent
CACHE = ROOT / ".cache" / "aimock"
PROGRAM = CACHE / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "say hello"},
            "response": {"content": "Hello from aimock, twice over."},
        },
        {"match": {"hasToolResult": True}, "response": {"content": "It is sunny."}},
        {
            "match": {"userMessage": "weather everywhere"},
            "response": {
                "toolCalls": [
                    {"name": "get_weather", "arguments": {"city": "Oslo"}},
                    {"name": "get_weather", "arguments": {"city": "Rome"}},
                ]
            },
        },
        {
            "match": {"toolName": "get_weather"},
            "response": {
                "toolCalls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
            },
        },
        {
            "match": {"userMessage": "as json"},
            "response": {"content": '{"city": "Oslo", "degrees": 8}'},
        },
        {
            "match": {"userMessage": "be wrong"},
            "response": {
                "error": {
                    "message": "That is wrong.",
                    "type": "invalid_request_error",
                    "code": "wrong_thing",
                },
                "status": 400,
            },
        },
    ]
}


def install() -> None:
    """Install aimock into the cache, unless this very version is there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("aimock needs node and npm, and this machine has none")
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE.parent / ".gitignore").write_text("*\n")
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = CACHE / "installed"
    with (CACHE / "lock").open("w") as guard:
        # Several test processes may want it at the same time.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == lock:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, CACHE / name)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=CACHE,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"npm ci failed:\n{done.stdout}{done.stderr}")
        stamp.write_bytes(lock)


def start(
    directory: Path, port: int, fixtures: Mapping[str, object] = FIXTURES
) -> ServerProcess:
    """Start aimock with fixtures; use the result as a context manager."""
    install()
    file = directory / "aimock.json"
    file.write_text(json.dumps(fixtures))
    command = ["node", PROGRAM, "-h", "127.0.0.1", "-p", str(port), "-f", file]
    return ServerProcess(
        [*command, "--strict", "--validate-on-load"],
        url=f"http://127.0.0.1:{port}",
        ready="/health",
        log=directory / "aimock.log",
        environment={"AIMOCK_API_KEYS": AIMOCK_KEY},
    )
