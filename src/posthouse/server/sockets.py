"""Sockets: to listen at, with errors that an operator can act on; what one knows."""

import errno
import fcntl
import socket
import sys
import termios
from ipaddress import ip_address

_BACKLOG = 2048


class StartupError(Exception):
    """The server cannot start; str() says why and what to do."""


def bind(
    host: str, port: int, *, loopback_only: bool = False, shared: bool = False
) -> list[socket.socket]:
    """Bind every address that `host` names and listen.

    Args:
        host: a name or an address.
        port: 0 lets the system choose one, the same for all addresses.
        loopback_only: refuse an address that other machines can reach.
        shared: others may bind the same; the system spreads connections.

    Raises:
        StartupError: if an address is taken, unknown or refused.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise StartupError(f"the address {host} is unknown: {error.strerror}") from None
    if loopback_only:
        for *_, address in found:
            if not ip_address(str(address[0]).partition("%")[0]).is_loopback:
                raise StartupError(
                    f"{host} can be reached from other machines: set "
                    "POSTHOUSE_SECRET first, or listen on 127.0.0.1"
                )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets and port == 0 else port
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], chosen, *address[2:]))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise StartupError(_explain(error, host, port)) from None
    return sockets


def bind_for_each(workers: int, host: str, port: int) -> list[list[socket.socket]]:
    """Bind the same addresses once for each worker; see `bind`.

    Each has queues of its own, among which the system spreads connections, and
    a worker that takes over a dead one's place takes over its queues.
    """
    # Sharing would let in whoever listens there already.
    first = bind(host, port)
    chosen = first[0].getsockname()[1]
    for listener in first:
        listener.close()
    return [bind(host, chosen, shared=True) for _ in range(workers)]


def _explain(error: OSError, host: str, port: int) -> str:
    place = f"port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is already in use; stop the other program or choose --port"
    if error.errno == errno.EACCES:
        return f"{place} may not be opened by this user; choose a port above 1023"
    return f"{place} cannot be opened: {error.strerror}"


def unacknowledged(connection: socket.socket) -> int:
    """Give the bytes that wait in the kernel; 0 where it does not tell."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, answer)
    except (OSError, AttributeError):
        return 0
    return int.from_bytes(answer, sys.byteorder)
