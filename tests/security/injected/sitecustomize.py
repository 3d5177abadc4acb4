"""Faults inside a running `posthouse serve`, by way of PYTHONPATH.

Python imports this module by its name before anything else. Two variables say
what to do: INJECT_LOOK_UPS names a file that gets a line for each key that is
looked up in the database; INJECT_FAULTS makes a call of a model named
`broken-<place>` fail at that place, with everything that is secret in the
exception's text and in its frames.
"""

import os
from pathlib import Path
from typing import Any

if path := os.environ.get("INJECT_LOOK_UPS"):
    from posthouse.storage.key_reader import StoredKeys

    find = StoredKeys.find

    async def counted(self: StoredKeys, digest: bytes) -> Any:
        """Note a look-up, then carry it out."""
        with Path(path).open("a") as file:
            file.write(digest.hex() + "\n")
        return await find(self, digest)

    StoredKeys.find = counted  # type: ignore[method-assign]

if os.environ.get("INJECT_FAULTS"):
    from posthouse.relay.call import Call
    from posthouse.relay.service import Relay

    plan, render, respond = Relay._plan, Call.render, Relay._respond

    def fail(place: str, call: Call, *known: Any) -> None:
        """Fail if this call shall fail here."""
        request = call.incoming.request
        if request.model == f"broken-{place}":
            messages = bytes(request.envelope["messages"]).decode()
            raise RuntimeError(f"at {place}: {messages} {known}")

    def failing_plan(self: Relay, call: Call, *arguments: Any) -> Any:
        """Fail before anything is tried."""
        fail("plan", call, *arguments)
        return plan(self, call, *arguments)

    def failing_render(self: Call, *arguments: Any) -> Any:
        """Fail with the whole request, credentials included, at hand."""
        request = render(self, *arguments)
        fail("render", self, request.headers, request.origin, request.proxy)
        return request

    async def failing_reply(self: Relay, call: Call, *arguments: Any) -> None:
        """Fail when the answer is there and paid."""
        fail("reply", call, *arguments)
        await respond(self, call, *arguments)

    Relay._plan = failing_plan  # type: ignore[method-assign]
    Call.render = failing_render  # type: ignore[method-assign]
    Relay._respond = failing_reply  # type: ignore[method-assign]
