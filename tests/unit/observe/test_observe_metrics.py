"""Metrics: exact counts, bounded labels, little cost."""

import time

from prometheus_client.parser import text_string_to_metric_families

from posthouse.observe import metrics as module
from posthouse.observe.histogram import Histogram
from posthouse.observe.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Scrape and parse, as Prometheus does."""
    content_type, body = metrics.exposition()
    assert content_type.startswith(b"text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_calls_are_counted_by_operation_outcome_and_status_class() -> None:
    metrics = Metrics()
    usage = {"input": 10, "output": 5, "reasoning": 0}
    for status in (2, 2, 2, 5):
        outcome = "served" if status == 2 else "failed"
        metrics.calls(
            ("chat", outcome, status),
            [0.7],
            [0.6],
            first_tokens=[0.12],
            usage=usage,
        )
    metrics.calls(("embedding", "served", 2), [0.03], [0.03], usage={"input": 7})
    found = samples(metrics)

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    calls = "posthouse_calls_total"
    assert value(calls, operation="chat", outcome="served", status="2xx") == 3
    assert value(calls, operation="chat", outcome="failed", status="5xx") == 1
    tokens = "posthouse_tokens_total"
    assert value(tokens, operation="chat", bucket="input") == 40
    assert (tokens, (("bucket", "reasoning"), ("operation", "chat"))) not in found
    total = "posthouse_call_seconds"
    assert value(f"{total}_count", operation="chat") == 4
    assert abs(value(f"{total}_sum", operation="chat") - 2.8) < 1e-9
    assert value(f"{total}_bucket", operation="chat", le="0.5") == 0
    assert value(f"{total}_bucket", operation="chat", le="1.0") == 4
    first = "posthouse_first_token_seconds"
    assert value(f"{first}_bucket", operation="chat", le="0.25") == 4
    assert (f"{first}_count", (("operation", "embedding"),)) not in found


def test_attempts_and_their_errors() -> None:
    metrics = Metrics()
    metrics.attempts("main", "served")
    metrics.attempts("main", "failed", "upstream_timeout")
    metrics.attempts("main", "failed", "upstream_timeout")
    found = samples(metrics)
    labels = (("channel", "main"), ("outcome", "failed"))
    assert found["posthouse_attempts_total", labels] == 2
    labels = (("channel", "main"), ("code", "upstream_timeout"))
    assert found["posthouse_upstream_errors_total", labels] == 2


def test_our_own_time_is_told_from_the_providers() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.calls(("chat", "served", 2), [2.0005], [2.0], charged=3_000_000_001)
    found = samples(metrics)
    chat = (("operation", "chat"),)
    assert found["posthouse_upstream_seconds_sum", chat] == 4.0
    assert abs(found["posthouse_overhead_seconds_sum", chat] - 0.001) < 1e-9
    own = "posthouse_overhead_seconds_bucket"
    assert found[own, (("le", "0.00025"), *chat)] == 0
    assert found[own, (("le", "0.001"), *chat)] == 2
    assert found["posthouse_charged_usd_total", chat] == 6.000000002


def test_what_attempts_on_a_channel_took_and_cost() -> None:
    metrics = Metrics()
    metrics.attempts("main", "served", durations_ms=[1000, 500], cost=2_000_000_000)
    metrics.attempts("main", "failed", "upstream_timeout", durations_ms=[500])
    found = samples(metrics)
    main = (("channel", "main"),)
    assert found["posthouse_attempt_seconds_count", main] == 3
    assert found["posthouse_attempt_seconds_sum", main] == 2.0
    assert found["posthouse_supplier_cost_usd_total", main] == 2.0


def test_errors_are_counted_by_code() -> None:
    metrics = Metrics()
    metrics.call_error("chat", "upstream_timeout")
    metrics.error_reply("invalid_api_key")
    metrics.error_reply("invalid_api_key")
    found = samples(metrics)
    labels = (("code", "upstream_timeout"), ("operation", "chat"))
    assert found["posthouse_call_errors_total", labels] == 1
    labels = (("code", "invalid_api_key"),)
    assert found["posthouse_error_replies_total", labels] == 2


def test_counters_and_states_of_others_are_read_at_the_scrape() -> None:
    metrics = Metrics()
    metrics.counter("posthouse_things", "Things.", lambda: 7)
    metrics.states("posthouse_state", "States.", "channel", lambda: [("a", 2.0)])
    found = samples(metrics)
    assert found["posthouse_things_total", ()] == 7
    assert found["posthouse_state", (("channel", "a"),)] == 2


def test_gauges_are_read_at_the_scrape() -> None:
    metrics = Metrics()
    value = 3.0
    metrics.gauge("posthouse_holds_open", "Holds.", lambda: value)
    assert samples(metrics)["posthouse_holds_open", ()] == 3
    value = 4.0
    assert samples(metrics)["posthouse_holds_open", ()] == 4


def test_labels_that_outgrow_their_bound_are_summed(monkeypatch) -> None:
    monkeypatch.setattr(module, "_SERIES", 10)
    metrics = Metrics()
    for number in range(50):
        metrics.attempts(f"channel-{number}", "served")
    metrics.attempts("channel-3", "served")
    found = samples(metrics)
    rows = {key: n for key, n in found.items() if key[0] == "posthouse_attempts_total"}
    assert len(rows) == 11
    assert sum(rows.values()) == 51
    other = (("channel", "other"), ("outcome", "other"))
    assert rows["posthouse_attempts_total", other] == 40


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.attempts('a"b\\c\nd', "served")
    labels = (("channel", 'a"b\\c\nd'), ("outcome", "served"))
    assert samples(metrics)["posthouse_attempts_total", labels] == 1


def test_openmetrics_on_request_and_the_process_s_own_figures() -> None:
    content_type, body = Metrics().exposition("application/openmetrics-text")
    assert content_type.startswith(b"application/openmetrics-text")
    assert b"process_resident_memory_bytes" in body
    assert body.endswith(b"# EOF\n")


def test_a_histogram_s_bounds_are_inclusive() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.add([9.0, 0.5, 2.0])
    histogram.add([1.5, 1.0])
    histogram.add([])
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert histogram.total == 14.0


def test_a_thousand_channels_scrape_fast() -> None:
    """The budget is well below a second; machines differ."""
    metrics = Metrics()
    for number in range(1000):
        for outcome in ("served", "failed", "rejected"):
            metrics.attempts(f"channel-{number}", outcome)
    began = time.process_time()
    metrics.exposition()
    assert time.process_time() - began < 1
