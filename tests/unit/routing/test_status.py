"""How channels stand: described by a process, joined over several."""

from tests.unit.routing.routes import channel

from posthouse.routing.health import HealthTable, LastError, Verdict
from posthouse.routing.latency import LatencyTable
from posthouse.routing.status import (
    IDLE,
    ChannelStatus,
    ErrorStatus,
    RestStatus,
    describe,
    join,
)

NOW = 1000.0


def test_only_what_there_is_to_say_is_said() -> None:
    """A healthy, idle channel is left out, whatever it was before."""
    health, latencies = HealthTable(failures=2), LatencyTable()
    names = ("idle", "busy", "open", "resting", "quick", "well")
    channels = {name: channel(name, "m") for name in names}
    channels["busy"].load.in_flight = 3
    for _ in range(2):
        health.end("open", 0, Verdict.FAILURE, NOW - 10)
    health.note("open", LastError("upstream_timeout", 504, NOW - 10))
    health.end("resting", 0, Verdict.REFUSED, NOW - 900)
    health.end("resting", 1, Verdict.RATE_LIMITED, NOW - 20, rest=60.0)
    health.end("resting", 2, Verdict.RATE_LIMITED, NOW - 90, rest=60.0)
    health.end("well", 0, Verdict.SUCCESS, NOW)
    latencies.add(("quick", "m", True), 0.25, NOW)
    found = describe(channels.values(), health, latencies, NOW)
    assert found == {
        "busy": ChannelStatus(in_flight=3),
        "open": ChannelStatus(
            breaker="open",
            open_for=20.0,
            failures=2,
            last_error=ErrorStatus("upstream_timeout", 504, 10.0),
        ),
        "resting": ChannelStatus(
            resting={
                "0": RestStatus("refused", 0.0),
                "1": RestStatus("rate_limited", 40.0),
            }
        ),
        "quick": ChannelStatus(latency={"m (stream)": 0.25}),
    }


def test_several_processes_are_one() -> None:
    """Loads are added; of breakers the worst counts, of errors the latest."""
    joined = join(
        [
            ChannelStatus(
                in_flight=2,
                failures=1,
                latency={"m": 0.2},
                last_error=ErrorStatus("a", 500, 9.0),
            ),
            ChannelStatus(
                breaker="open",
                open_for=12.0,
                in_flight=3,
                resting={"1": RestStatus("refused", 5.0)},
                latency={"m": 0.4, "n": 1.0},
                last_error=ErrorStatus("b", 0, 4.0),
            ),
            ChannelStatus(
                breaker="half_open", resting={"1": RestStatus("refused", 9.0)}
            ),
        ]
    )
    assert joined.breaker == "open"
    assert (joined.open_for, joined.failures, joined.in_flight) == (12.0, 1, 5)
    assert joined.resting == {"1": RestStatus("refused", 9.0)}
    assert {name: round(value, 9) for name, value in joined.latency.items()} == {
        "m": 0.3,
        "n": 1.0,
    }
    assert joined.last_error == ErrorStatus("b", 0, 4.0)
    assert join([]) == IDLE
