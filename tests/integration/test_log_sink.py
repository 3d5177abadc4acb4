"""A log that nobody takes has no effect on calls, nor on the end of the server."""

import fcntl
import json
import os
import time
from pathlib import Path

from tests.support import raw
from tests.support.example import key_of
from tests.support.posthouse import Posthouse

CALLS = 100
FILE = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"
[[keys]]
name = "app"
key = "{key_of("app")}"
"""
BODY = json.dumps(
    {"model": "sandbox", "messages": [{"role": "user", "content": "Hello."}]}
).encode()


def test_a_blocked_log_holds_up_nobody(tmp_path: Path) -> None:
    """Each call has a line, the pipe takes a few of them, and all are served."""
    pipe = tmp_path / "posthouse.log"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        headers = (("Authorization", f"Bearer {key_of('app')}"),)
        with Posthouse(tmp_path, FILE, {"POSTHOUSE_CALL_LOG": "on"}) as posthouse:
            began = time.monotonic()
            for _ in range(CALLS):
                reply = raw.send(
                    posthouse.url, "/v1/chat/completions", BODY, headers=headers
                )
                assert reply.status == 200, reply.body
            assert time.monotonic() - began < 20
            # It ends in time, too, and its books are in order.
        assert len(os.read(reading, 65_536)) > 2048, "the pipe was never full"
    finally:
        os.close(reading)
