"""ERNIE's streams: events, or an error that is the whole of the body."""

from typing_extensions import override

from posthouse.wire.sse import Frame, SSEDecoder


class ErnieFrames(SSEDecoder):
    """Cuts one stream."""

    __slots__ = ()

    @override
    def close(self) -> list[Frame]:
        return [
            (raw, data or (raw.strip() if raw.lstrip().startswith(b"{") else b""))
            for raw, data in super().close()
        ]
