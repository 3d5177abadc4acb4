"""The Posthouse that tests of the configuration file's keys share."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Self

import pytest
from tests.conftest import StartPosthouse
from tests.fakes.proxies import HTTPProxy, SOCKS5Proxy
from tests.fakes.upstream import silent_origin
from tests.integration.example_file import ENVIRONMENT, configuration
from tests.support.example import Example
from tests.support.fake import ThreadedFake


class ThreadedProxies:
    """Both kinds of proxies on a thread of their own."""

    def __init__(self) -> None:
        """Prepare; they listen inside the `with` block."""
        self.http = HTTPProxy()
        self.socks = SOCKS5Proxy()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        for proxy in (self.http, self.socks):
            asyncio.run_coroutine_threadsafe(proxy.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        for proxy in (self.http, self.socks):
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="session")
def proxies() -> Iterator[ThreadedProxies]:
    """An HTTP and a SOCKS5 proxy."""
    with ThreadedProxies() as proxies:
        yield proxies


@pytest.fixture(scope="session")
def example(
    start_lasting_posthouse: StartPosthouse,
    proxies: ThreadedProxies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Example]:
    """Posthouse with every key of the example in use."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "provider.key").write_text("provider-key-of-a-file\n")
    with contextlib.ExitStack() as stack:
        fake = stack.enter_context(ThreadedFake())
        silent = stack.enter_context(silent_origin())
        text = configuration(
            fake.origin,
            silent,
            folder=str(folder),
            http_proxy=proxies.http.url,
            socks_proxy=proxies.socks.url,
        )
        yield Example(start_lasting_posthouse(text, ENVIRONMENT), fake, folder)
