"""Values that stand on lines of their own: bytes in, whole lines out.

A line ends with LF; CR before it is white space to whoever reads JSON. Work is
linear in the bytes fed.
"""

from posthouse.wire.sse import FRAME_LIMIT, Frame, FrameTooLarge


class LineDecoder:
    """Cuts a byte stream into lines, as frames whose data is the line."""

    __slots__ = ("_rest", "_size")

    def __init__(self) -> None:
        """Start before the stream's first byte."""
        self._rest: list[bytes] = []
        self._size = 0
        """Bytes of the line that has begun."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; give the lines that they complete.

        Raises FrameTooLarge.
        """
        *whole, rest = data.split(b"\n")
        frames: list[Frame] = []
        for line in whole:
            self._rest.append(line)
            joined = b"".join(self._rest)
            self._rest.clear()
            self._size = 0
            frames.append((joined + b"\n", joined.strip()))
        if rest:
            self._rest.append(rest)
            self._size += len(rest)
            if self._size > FRAME_LIMIT:
                raise FrameTooLarge
        return frames

    def close(self) -> list[Frame]:
        """End the stream; a last line without its end still counts."""
        rest = b"".join(self._rest)
        self._rest.clear()
        return [(rest, rest.strip())] if rest.strip() else []
