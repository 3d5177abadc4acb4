"""Listening fails with words, not with a traceback."""

import socket

import pytest

from posthouse.server.sockets import StartupError, bind


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"port {port} on 127.0.0.1 is already"):
            bind("127.0.0.1", port)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(StartupError, match=r"999\.0\.0\.1"):
        bind("999.0.0.1", 0)


def test_a_public_address_is_refused_only_if_told_to() -> None:
    with pytest.raises(StartupError, match="other machines"):
        bind("0.0.0.0", 0, loopback_only=True)
    for listener in (*bind("0.0.0.0", 0), *bind("127.0.0.1", 0, loopback_only=True)):
        listener.close()


def test_all_addresses_of_a_name_share_one_port() -> None:
    listeners = bind("localhost", 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()
