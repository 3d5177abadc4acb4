"""What is kept of an answer's text, to count its tokens if nobody tells them.

Most answers are kept whole. Of a long one some slices are, evenly spread over it,
so that a stream that goes on for hours, or whose client reads nothing, costs no
more memory than any other. The share that they are of the whole is for whoever
counts.
"""

SLICE = 1024
"""Characters."""
MOST_SLICES = 128


class TextSample:
    """Slices of a text that grows."""

    __slots__ = ("_cut", "_rest", "_slices", "_stride")

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._slices: list[str] = []
        self._stride = 1
        self._cut = 0
        """How many slices there have been."""
        self._rest = ""
        """The last one, as far as it has come."""

    def add(self, text: str) -> None:
        """Take what follows."""
        text = self._rest + text
        whole = len(text) - len(text) % SLICE
        self._rest = text[whole:]
        for start in range(0, whole, SLICE):
            if self._cut % self._stride == 0:
                self._slices.append(text[start : start + SLICE])
            self._cut += 1
        while len(self._slices) > MOST_SLICES:
            # Those that stay are the ones that a longer stride would have kept.
            self._slices = self._slices[::2]
            self._stride *= 2

    def text(self) -> str:
        """What is kept, in order."""
        return "".join((*self._slices, self._rest))
