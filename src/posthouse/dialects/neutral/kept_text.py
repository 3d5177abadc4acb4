"""The text that a stream has brought, for whoever must count it."""

from typing_extensions import override

from posthouse.dialects.base import StreamTap
from posthouse.dialects.neutral.sample import TextSample

COMPACTED_BYTES = 64 * 1024
"""Of text, after which less is kept of it."""


class KeepsText(StreamTap):
    """A tap that keeps what was produced: `_texts`, and `output_bytes` of them."""

    __slots__ = ("_compacted", "_sample", "_texts", "output_bytes")

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.output_bytes = 0
        self._texts: list[str] = []
        self._sample: TextSample | None = None
        """What came before `_texts`, once there was much."""
        self._compacted = 0

    @override
    def output_text(self) -> str:
        text = "".join(self._texts)
        if self._sample is not None:
            self._sample.add(text)
            self._texts.clear()
            text = self._sample.text()
        # Halves of surrogate pairs may have come in different frames.
        joined = text.encode("utf-16", "surrogatepass")
        return joined.decode("utf-16", "replace")

    @override
    def compact(self) -> None:
        if self.output_bytes - self._compacted < COMPACTED_BYTES:
            return
        self._compacted = self.output_bytes
        if self._sample is None:
            self._sample = TextSample()
        self._sample.add("".join(self._texts))
        self._texts.clear()
