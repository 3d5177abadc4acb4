"""Each fault of the matrix, as it looks from behind the HTTP client."""

import contextlib

import pytest
from msgspec import structs
from tests.fakes.faults import FAULTS, NO_SUCH_HOST, ROWS, Fault
from tests.fakes.upstream import FakeUpstream, refusing_origin, silent_origin
from tests.support.cases import each
from tests.unit.upstream.support import LIMIT, chat_request, fixed_resolver

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
)
from posthouse.upstream.sender import Upstream

NOT_SENT = Certainty.NOT_SENT
POSSIBLY = Certainty.POSSIBLY_ACCEPTED
BEGUN = Certainty.RESPONSE_STARTED
PATIENT = Timeouts(connect=30.0, first_byte=30.0, idle=30.0, total=60.0)
"""Nothing is late for a machine that is busy with others."""
QUICK = {
    "U1": structs.replace(PATIENT, connect=0.3),
    "U16": structs.replace(PATIENT, idle=0.2),
}
"""For rows whose fault is that nothing comes."""

BROKEN_OFF = {
    "U9": (FailureKind.RESET, BEGUN),
    "U14": (FailureKind.RESET, BEGUN),
    "U16": (FailureKind.IDLE_TIMEOUT, BEGUN),
}
"""Rows whose reply begins and breaks; all others end well for HTTP."""


def expected_failure(fault: Fault) -> tuple[FailureKind, Certainty] | None:
    """What a fault looks like at this level; None if the body comes whole."""
    if fault.row == "U1":
        return FailureKind.CONNECT, NOT_SENT
    if fault.row == "U2":
        # A connection that breaks as it is accepted may do so before our request.
        return FailureKind.RESET, POSSIBLY
    return BROKEN_OFF.get(fault.row)


@contextlib.asynccontextmanager
async def origin_of(fault: Fault):  # type: ignore[no-untyped-def]
    """Give the origin at which a fault waits."""
    if fault.target == "dns":
        yield NO_SUCH_HOST
    elif fault.target == "refused":
        with refusing_origin() as origin:
            yield origin
    elif fault.target == "silent":
        with silent_origin() as origin:
            yield origin
    else:
        behave = fault.behave or (lambda _: pytest.fail("nothing gets this far"))
        async with FakeUpstream(behave) as provider:
            scheme = "https:" if fault.target == "tls" else "http:"
            yield provider.origin.replace("http:", scheme)


@each("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_told_truthfully(fault: Fault) -> None:
    """Its status or its failure, its certainty, and no connection left behind."""
    async with origin_of(fault) as origin:
        upstream = Upstream(resolver=fixed_resolver())
        timeouts = QUICK.get(fault.row, PATIENT)
        request = chat_request(origin, stream=fault.stream, timeouts=timeouts)
        status, seen = None, None
        try:
            response = await upstream.send(request)
            status = response.status
            await response.read_all(LIMIT)
        except ExchangeFailure as failure:
            seen = failure.kind, failure.certainty

        if fault.variant == "at-accept":
            assert seen in {expected_failure(fault), (FailureKind.CONNECT, NOT_SENT)}
        else:
            assert (status, seen) == (fault.status, expected_failure(fault))
        assert upstream.open_connections == upstream.idle_connections
        await upstream.close()


def test_every_row_is_there_in_both_forms() -> None:
    """No cell of the matrix can be forgotten."""
    for stream in (False, True):
        assert {fault.row for fault in FAULTS if fault.stream is stream} == set(ROWS)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
