"""Plays an in-process provider's scripts over a real socket.

So a real client can speak with the sandbox without Posthouse in between:

    python -m tests.support.scripts PORT
"""

import asyncio
import socket
import struct
import sys

from tests.fakes.upstream import parse_request

from posthouse.model.exchange import Script, ScriptEnd, Timeouts, UpstreamRequest
from posthouse.providers.sandbox import play

RESET = struct.pack("ii", 1, 0)
READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests, one after the other."""
    buffer = bytearray()
    try:
        while data := await reader.read(65_536):
            buffer += data
            while (parsed := parse_request(buffer)) is not None:
                method, target, headers, body = parsed
                if target == "/ready":
                    writer.write(READY)
                    continue
                request = UpstreamRequest(
                    method, "sandbox://local", target, tuple(headers), body, Timeouts()
                )
                if not await play_to(writer, play(request)):
                    return
    except ConnectionError:
        pass
    finally:
        writer.close()


async def play_to(writer: asyncio.StreamWriter, script: Script) -> bool:
    """Write a script's bytes at their times; whether the connection goes on."""
    for step in script.steps:
        if step.delay:
            await asyncio.sleep(step.delay)
        writer.write(step.data)
        await writer.drain()
    if script.end is ScriptEnd.RESET:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    return script.end is ScriptEnd.KEEP


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(converse, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
