"""What a collector is sent of realtime sessions."""

import asyncio
from pathlib import Path

from tests.fakes.realtime import ThreadedRealtime
from tests.integration.realtime_support import (
    KEYS,
    configuration,
    request_id,
    say,
    session,
    until,
)
from tests.support.collector import Collector
from tests.support.posthouse import Posthouse

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TELEMETRY = """
[telemetry]
propagate = "on"
"""


async def test_answers_are_spans_below_their_sessions(tmp_path: Path) -> None:
    """All in the caller's trace, which the provider is told of."""
    with ThreadedRealtime() as provider, Collector() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}
        text = configuration(provider.origin, provider.origin) + TELEMETRY
        with Posthouse(tmp_path, text, variables) as posthouse:
            headers = {"Authorization": f"Bearer {KEYS['app']}", "traceparent": PARENT}
            async with session(posthouse, headers=headers) as connection:
                await say(connection, "response.create")
                await until(connection, "response.done")
                name = request_id(connection)

            def found() -> dict[str, object]:
                return {
                    span.attributes["posthouse.call.id"]: span
                    for span in collector.spans()
                    if span.attributes.get("posthouse.call.id") in (name, f"{name}-1")
                }

            await asyncio.to_thread(
                collector.wait_for, lambda: len(found()) == 2, "two spans"
            )
            own, answer = found()[name], found()[f"{name}-1"]
        told = provider.visits[0].headers["traceparent"].split("-")
    assert own.parent_id == "b7ad6b7169203331"
    assert answer.parent_id == own.span_id
    assert told[1] == "0af7651916cd43dd8448eb211c80319c"
