"""The requests that every row sends: a chat body of 4 KiB, unary or streamed."""

import json
from collections.abc import Sequence

BODY_BYTES = 4096
PROSE = "The quick brown fox jumps over the lazy dog while the band plays on. "


def chat_body(*, model: str, chunks: int, stream: bool) -> bytes:
    """A chat body of exactly `BODY_BYTES`."""
    body = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.2,
        "max_tokens": chunks,
        "stream": stream,
    }
    missing = BODY_BYTES - len(encoded(body))
    body["messages"] = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": (PROSE * 80)[:missing]},
    ]
    return encoded(body)


def encoded(body: object) -> bytes:
    """JSON as a client's SDK writes it."""
    return json.dumps(body, separators=(",", ":")).encode()


def chat_requests(
    keys: Sequence[str],
    body: bytes,
    *,
    path: str = "/v1/chat/completions",
    headers: Sequence[str] = (),
) -> list[bytes]:
    """The same body as whole HTTP requests, one for each key."""
    extra = "".join(f"{line}\r\n" for line in headers)
    return [
        (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\n"
            "User-Agent: OpenAI/Python 2.8.0\r\n"
            f"Authorization: Bearer {key}\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for key in keys
    ]
