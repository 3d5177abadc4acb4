"""uvicorn's and httptools' members that the server leans on still exist."""

import asyncio
import inspect
from importlib.metadata import version

import httptools
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


def test_the_versions_are_the_ones_that_were_read() -> None:
    """A new version is read before it is pinned here and in pyproject.toml."""
    assert version("uvicorn") == "0.51.0"
    assert version("httptools") == "0.8.0"


def test_the_protocol_has_what_is_overridden_and_used() -> None:
    config = Config(None, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.load()
    loop = asyncio.new_event_loop()
    try:
        protocol = HttpToolsProtocol(config, ServerState(), {}, loop)
        for name in (
            "loop",
            "tasks",
            "parser",
            "transport",
            "flow",
            "client",
            "headers",
        ):
            assert hasattr(protocol, name), name
    finally:
        loop.close()
    for name in (
        "connection_made",
        "connection_lost",
        "eof_received",
        "data_received",
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "pause_writing",
        "resume_writing",
        "shutdown",
    ):
        assert callable(getattr(HttpToolsProtocol, name)), name
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters) == [
        "self",
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]


def test_flow_control_and_server_have_what_is_used() -> None:
    for name in ("drain", "pause_reading", "resume_reading"):
        assert callable(getattr(FlowControl, name))
    assert HIGH_WATER_LIMIT == 65536
    assert list(inspect.signature(Server.startup).parameters) == ["self", "sockets"]
    for name in ("set_dangerous_leniencies", "should_upgrade", "should_keep_alive"):
        assert hasattr(httptools.HttpRequestParser, name)
