"""HTTP/1.1 over a bare socket: what a test sends and gets, to the byte."""

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.sandbox import dechunked


@dataclass
class RawReply:
    """A reply as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    """Without its chunks' framing."""
    complete: bool
    """Whether the body ended as its head announced."""

    def header(self, name: str) -> str | None:
        """Give the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


def send(
    url: str,
    target: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
) -> RawReply:
    """Send one request and read until the server closes."""
    parts = urlsplit(url)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += ["Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(data)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    return read_reply(received)


def read_reply(data: bytes) -> RawReply:
    """Take a reply apart."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    fields = dict(headers)
    if fields.get("transfer-encoding") == "chunked":
        body, complete = dechunked(rest), rest.endswith(b"0\r\n\r\n")
    else:
        body, complete = rest, len(rest) == int(fields.get("content-length", len(rest)))
    return RawReply(int(first.split()[1]), headers, body, complete)
