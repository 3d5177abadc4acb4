"""W3C Trace Context: where in a trace a call stands, and what a provider is told.

Pure. A caller's `traceparent` makes its span the call's parent, and its decision
whether to sample is kept; a malformed one counts as none. The ids of a call's
own spans follow from the call's id, so nobody has to remember them. Ids are
written in hexadecimal, as the headers have them.
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
    trace_id: str
    parent_id: str
    """The caller's span; empty is none."""
    sampled: bool
    state: str
    """The caller's `tracestate`, as it came."""
    passed_on: bool
    """Whether providers are told."""

    @property
    def span_id(self) -> str:
        """The call's own span."""
        return _hashed(self.call_id, _SPAN_BYTES)

    def attempt_id(self, channel: str, credential: int, lost: int = 0) -> str:
        """The span of the attempt on a channel's credential.

        A request that was sent again has two: `lost` numbers those in vain.
        """
        name = f"{self.call_id} {channel} {credential} {lost}"
        return _hashed(name, _SPAN_BYTES)

    def headers(self, channel: str, credential: int) -> Headers:
        """Give the header fields for the attempt on a channel's credential."""
        span = self.attempt_id(channel, credential)
        parent = f"00-{self.trace_id}-{span}-{self.sampled:02x}"
        found = ((b"traceparent", parent.encode()),)
        if not self.state:
            return found
        return (*found, (b"tracestate", self.state.encode()))


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
                found["trace"].decode(),
                found["span"].decode(),
                bool(int(found["flags"], 16) & 1),
                state.decode() if _STATE.fullmatch(state) else "",
                self.pass_on,
            )
        trace_id = _hashed(f"{call_id} trace", _TRACE_BYTES)
        sampled = int(trace_id[_TRACE_BYTES:], 16) < self.sample * _SHARES
        return TraceContext(call_id, trace_id, "", sampled, "", self.pass_on)


def _is_valid(found: re.Match[bytes]) -> bool:
    """Whether the ids mean something, and the version is one that may say more."""
    if found["version"] == b"ff" or (found["version"] == b"00" and found["more"]):
        return False
    return bool(found["trace"].strip(b"0")) and bool(found["span"].strip(b"0"))


def _hashed(text: str, size: int) -> str:
    """Give an id of so many bytes."""
    return blake2b(text.encode(), digest_size=size).hexdigest()
