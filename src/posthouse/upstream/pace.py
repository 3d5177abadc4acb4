"""The least rate of a reply, once its head is there.

A provider that sends a byte a second is never silent, and yet nobody is served.
So a reply must grow by some bytes in every window of some seconds; the window is
never shorter than the limit of silence, which alone judges one that says nothing
at all. Two things are no slowness: bytes that nobody has read yet, and what some
providers send while a call waits for its turn, which is empty lines or comments.
"""

from msgspec import Struct

from posthouse.upstream.response import Response


class Pace(Struct, frozen=True):
    """By how much a reply must grow, and in how many seconds."""

    seconds: float = 60.0
    bytes: int = 1024

    def ends(self, response: Response, now: float) -> float:
        """When the present window ends; `now` at the latest if it was too slow.

        Begins the next window where one has ended well.
        """
        window = max(self.seconds, response.timeouts.idle)
        since = response.window_since
        if since and now - since < window:
            return since + window
        grown = response.received - response.window_from
        if since and grown < self.bytes and not _may_be_slow(response):
            return now
        response.window_since = now
        response.window_from = response.received
        return now + window


def _may_be_slow(response: Response) -> bool:
    """Whether it is we who make it wait, or its last bytes said only `wait`."""
    if response.paused or response.unread:
        return True
    latest = response.latest
    said = latest.lstrip()
    return latest.endswith((b"\n", b"\r")) and (not said or said.startswith(b":"))
