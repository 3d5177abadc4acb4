"""The tally: calls that end are counted by batches, and none is missing in a scrape."""

import time

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from posthouse.app.tally import BATCH, Tally
from posthouse.model.call import AttemptRecord, CallRecord
from posthouse.observe.metrics import Metrics

ATTEMPT = AttemptRecord("main", 0, "up", 1, 500, "served", "", 200, 2_000_000_000)
SERVED = CallRecord(
    id="call",
    created_ms=0,
    key_id="key",
    operation="chat",
    dialect="openai_chat",
    streamed=False,
    requested_model="model",
    channel="main",
    upstream_model="up",
    usage={"input": 10, "output": 5},
    usage_source="provider",
    cost=2_000_000_000,
    list_price=0,
    price=3_000_000_001,
    price_version="",
    status=200,
    outcome="served",
    error_code="",
    first_token_ms=700,
    total_ms=700,
    attempts=[ATTEMPT],
)


def scraped(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Scrape; give a sample."""
    for family in text_string_to_metric_families(metrics.exposition()[1].decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_what_has_ended_is_in_the_next_scrape_and_counted_once() -> None:
    metrics = Metrics()
    tally = Tally(metrics)
    number = 2 * BATCH + 1
    for _ in range(number):
        tally.add(SERVED, 0.75, 0.5)
    for _ in range(2):
        kind = {"operation": "chat", "outcome": "served", "status": "2xx"}
        assert scraped(metrics, "posthouse_calls_total", **kind) == number
        for name, expected in (
            ("posthouse_call_seconds_sum", 0.75 * number),
            ("posthouse_upstream_seconds_sum", 0.5 * number),
            ("posthouse_overhead_seconds_sum", 0.25 * number),
            ("posthouse_overhead_seconds_count", number),
            ("posthouse_charged_usd_total", number * 3_000_000_001 / 1e9),
        ):
            assert scraped(metrics, name, operation="chat") == expected
        tokens = {"operation": "chat", "bucket": "input"}
        assert scraped(metrics, "posthouse_tokens_total", **tokens) == 10 * number
        assert (
            scraped(metrics, "posthouse_attempt_seconds_sum", channel="main")
            == 0.5 * number
        )
        assert (
            scraped(metrics, "posthouse_supplier_cost_usd_total", channel="main")
            == 2 * number
        )


def test_kinds_of_calls_and_their_attempts_are_told_apart() -> None:
    metrics = Metrics()
    tally = Tally(metrics)
    lost = replace(ATTEMPT, outcome="failed", error_code="upstream_timeout", cost=None)
    for call in (
        replace(SERVED, streamed=True, first_token_ms=90, attempts=[lost, ATTEMPT]),
        replace(SERVED, operation="embedding", usage={"input": 7}),
        replace(
            SERVED,
            status=503,
            outcome="failed",
            error_code="upstream_timeout",
            usage={},
            price=0,
            attempts=[lost],
        ),
    ):
        tally.add(call, 1.0, 0.5)

    def value(name: str, **labels: str) -> float | None:
        return scraped(metrics, name, **labels)

    assert value("posthouse_first_token_seconds_count", operation="chat") == 1
    assert value("posthouse_first_token_seconds_sum", operation="chat") == 0.09
    assert value("posthouse_first_token_seconds_count", operation="embedding") is None
    failed = {"operation": "chat", "outcome": "failed", "status": "5xx"}
    assert value("posthouse_calls_total", **failed) == 1
    assert value("posthouse_attempts_total", channel="main", outcome="failed") == 2
    assert value("posthouse_attempts_total", channel="main", outcome="served") == 2
    code = {"code": "upstream_timeout"}
    assert value("posthouse_upstream_errors_total", channel="main", **code) == 2
    assert value("posthouse_call_errors_total", operation="chat", **code) == 1


def test_a_call_costs_microseconds() -> None:
    """The budget is 2 µs; machines differ."""
    tally = Tally(Metrics())
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        for _ in range(8 * BATCH):
            tally.add(SERVED, 0.75, 0.5)
        best = min(best, (time.process_time() - began) / (8 * BATCH))
    assert best < 20e-6
