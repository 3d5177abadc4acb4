"""The servers that real clients speak with, each started once for the session.

`direct` targets are providers themselves: they show that a test expects nothing
but what an honest provider does. `posthouse` targets are the same providers
behind a really running Posthouse.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import openai
import pytest
from tests.acceptance.configuration import KEYS, MAX_BODY_BYTES, configuration
from tests.conftest import StartPosthouse
from tests.support import llama
from tests.support.aimock import server as aimock_server
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse
from tests.support.processes import ServerProcess, free_port, python_module

TIMEOUT = 20.0


class Ports(NamedTuple):
    """Where the servers will be that Posthouse must know beforehand."""

    llama: int
    aimock: int


@pytest.fixture(scope="session")
def ports() -> Ports:
    """Ports for the servers that start when a test first needs them."""
    return Ports(free_port(), free_port())


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the servers' files and logs."""
    return tmp_path_factory.mktemp("acceptance")


@pytest.fixture(scope="session")
def fake() -> Iterator[ThreadedFake]:
    """The scriptable fake provider."""
    with ThreadedFake() as fake:
        yield fake


@pytest.fixture(scope="session")
def scripts(directory: Path) -> Iterator[ServerProcess]:
    """The sandbox on a socket of its own, without Posthouse."""
    port = free_port()
    with ServerProcess(
        python_module("tests.support.scripts", str(port)),
        url=f"http://127.0.0.1:{port}",
        ready="/ready",
        log=directory / "scripts.log",
    ) as server:
        yield server


@pytest.fixture(scope="session")
def llama_server(directory: Path, ports: Ports) -> Iterator[ServerProcess]:
    """llama.cpp with a tiny model."""
    model = directory / "tiny.gguf"
    llama.write_model(model)
    port = ports.llama
    with ServerProcess(
        python_module("tests.support.llama", model, str(port)),
        url=f"http://127.0.0.1:{port}",
        ready="/health",
        log=directory / "llama.log",
    ) as server:
        yield server


@pytest.fixture(scope="session")
def aimock(directory: Path, ports: Ports) -> Iterator[ServerProcess]:
    """aimock, which plays an OpenAI account."""
    with aimock_server.start(directory, ports.aimock) as server:
        yield server


@pytest.fixture(scope="session")
def posthouse(
    start_lasting_posthouse: StartPosthouse, fake: ThreadedFake, ports: Ports
) -> Posthouse:
    """Posthouse over all of them, whether or not they are running yet."""
    return start_lasting_posthouse(
        configuration(fake.origin, llama=ports.llama, aimock=ports.aimock),
        {"POSTHOUSE_MAX_BODY_BYTES": str(MAX_BODY_BYTES)},
    )


@pytest.fixture(params=["direct", "posthouse"])
def base_url(request: pytest.FixtureRequest) -> str:
    """Where the sandbox is found: by itself, and behind Posthouse."""
    name = "scripts" if request.param == "direct" else "posthouse"
    server: ServerProcess = request.getfixturevalue(name)
    return server.url + "/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    """The official SDK, pointed at the sandbox."""
    with openai.OpenAI(
        base_url=base_url, api_key=KEYS["app"], max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


@pytest.fixture
async def async_client(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK's asynchronous half, pointed at the sandbox."""
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=KEYS["app"], max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


@pytest.fixture
def relayed(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    """The official SDK, pointed at Posthouse only."""
    with openai.OpenAI(
        base_url=posthouse.url + "/v1",
        api_key=KEYS["app"],
        max_retries=0,
        timeout=TIMEOUT,
    ) as client:
        yield client
