"""W3C Trace Context: where in a trace a call stands, and what a provider is told.

Pure. A caller's `traceparent` makes its span the call's parent, and its decision
whether to sample is kept; a malformed one counts as none. The ids of a call's
own spans follow from the call's id, so nobody has to remember them.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b

from msgspec import Struct

Headers = tuple[tuple[bytes, bytes], ...]

_PARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_STATE = re.compile(rb"[ -~]{1,512}")
_TRACE_BYTES = 16
_SPAN_BYTES = 8
_SHARES = 2**64


class TraceContext(Struct, frozen=True, gc=False):
    """A call's place in a trace."""

    call_id: str
    trace_id: int
    parent_id: int
    """The caller's span; 0 is none."""
    sampled: bool
    state: bytes
    """The caller's `tracestate`, as it came."""
    passed_on: bool
    """Whether providers are told."""

    @property
    def span_id(self) -> int:
        """The call's own span."""
        return _hashed(self.call_id, _SPAN_BYTES)

    def attempt_id(self, channel: str, credential: int, lost: int = 0) -> int:
        """The span of the attempt on a channel's credential.

        A request that was sent again has two: `lost` numbers those in vain.
        """
        name = f"{self.call_id} {channel} {credential} {lost}"
        return _hashed(name, _SPAN_BYTES)

    def headers(self, channel: str, credential: int) -> Headers:
        """Give the header fields for the attempt on a channel's credential."""
        span = self.attempt_id(channel, credential)
        parent = b"00-%032x-%016x-%02x" % (self.trace_id, span, self.sampled)
        found = ((b"traceparent", parent),)
        return (*found, (b"tracestate", self.state)) if self.state else found


class Tracing(Struct, frozen=True):
    """How traces begin."""

    sample: float
    """Share of the calls that are traced where the caller does not say."""
    pass_on: bool
    """Whether providers are told."""

    def begin(self, call_id: str, fields: Mapping[bytes, bytes]) -> TraceContext:
        """Give a call's place, by the header fields of its request."""
        given = fields.get(b"traceparent")
        found = None if given is None else _PARENT.fullmatch(given)
        if found is not None and _is_valid(found):
            state = fields.get(b"tracestate", b"")
            return TraceContext(
                call_id,
                int(found["trace"], 16),
                int(found["span"], 16),
                bool(int(found["flags"], 16) & 1),
                state if _STATE.fullmatch(state) else b"",
                self.pass_on,
            )
        trace_id = _hashed(f"{call_id} trace", _TRACE_BYTES)
        sampled = trace_id % _SHARES < self.sample * _SHARES
        return TraceContext(call_id, trace_id, 0, sampled, b"", self.pass_on)


def _is_valid(found: re.Match[bytes]) -> bool:
    """Whether the ids mean something, and the version is one that may say more."""
    if found["version"] == b"ff" or (found["version"] == b"00" and found["more"]):
        return False
    return bool(found["trace"].strip(b"0")) and bool(found["span"].strip(b"0"))


def _hashed(text: str, size: int) -> int:
    """Give a number of so many bytes that is never 0."""
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1
