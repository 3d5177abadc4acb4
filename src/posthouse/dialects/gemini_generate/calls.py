"""Which result belongs to which call, where neither need have an id.

Google's older models give no ids, and clients may leave out those they were
given: results are then matched by name, in the order of the calls. Ids that are
made here tell so, and are left out again on their way to Google.
"""

import re

MADE = "call_gemini_"
_NO_ID = re.compile(r"[^A-Za-z0-9_-]")
_REPLY_LETTERS = 20
"""Of a reply's id: some providers take no call's id above 40 letters."""


def made_id(reply: str, ordinal: int) -> str:
    """Make an id for a call without one.

    Args:
        reply: the id of the reply that it stands in; "" where there is none.
        ordinal: which of the calls it is.
    """
    name = _NO_ID.sub("", reply)[:_REPLY_LETTERS]
    return f"{MADE}{name}_{ordinal}" if name else f"{MADE}{ordinal}"


def is_made(call_id: str) -> bool:
    """Whether an id was made here."""
    return call_id.startswith(MADE)


class OpenCalls:
    """The calls of a conversation that wait for their results."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        """Begin before the first turn."""
        self._open: dict[str, str] = {}
        """By id, the tool's name; in order."""
        self._count = 0

    def called(self, call_id: str | None, name: str) -> str:
        """Take a call; give the id that it goes by."""
        found = call_id or made_id("", self._count)
        self._count += 1
        self._open[found] = name
        return found

    def returned(self, call_id: str | None, name: str | None) -> str:
        """Take a result; give the id of its call."""
        if call_id is not None and call_id in self._open:
            del self._open[call_id]
            return call_id
        waiting = (known for known, tool in self._open.items() if tool == name)
        found = next(waiting, None)
        if found is None:
            # Nobody has called: the id tells at least which results are which.
            found = call_id or made_id("", self._count)
            self._count += call_id is None
        self._open.pop(found, None)
        return found
