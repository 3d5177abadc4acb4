"""W3C Trace Context: whose trace a call belongs to, and what providers are told."""

from tests.support.cases import each

from posthouse.observe.trace_context import Tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
ALL = Tracing(1.0, pass_on=True)


def test_a_callers_place_is_taken_over() -> None:
    fields = {
        b"traceparent": f"00-{TRACE}-{SPAN}-01".encode(),
        b"tracestate": b"a=1, b=2",
    }
    found = ALL.begin("req_1", fields)
    assert (found.trace_id, found.parent_id) == (TRACE, SPAN)
    assert found.sampled
    [parent, state] = found.headers("main", 0)
    child = found.attempt_id("main", 0)
    assert parent == (b"traceparent", f"00-{TRACE}-{child}-01".encode())
    assert state == (b"tracestate", b"a=1, b=2")


def test_a_later_version_may_say_more() -> None:
    fields = {b"traceparent": f"01-{TRACE}-{SPAN}-03-more".encode()}
    found = ALL.begin("req_1", fields)
    assert found.trace_id == TRACE
    assert found.headers("main", 0)[0][1].endswith(b"-01")


@each(
    "given",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
    ],
)
def test_a_malformed_place_is_none_and_its_state_with_it(given: str) -> None:
    fields = {b"traceparent": given.encode(), b"tracestate": b"a=1"}
    found = ALL.begin("req_1", fields)
    assert found.parent_id == ""
    assert found.trace_id != TRACE
    assert found.state == ""


@each("state", [b"a=\xff", b"a" * 513, b"a=1\x01"])
def test_a_state_that_is_no_plain_text_is_left_out(state: bytes) -> None:
    fields = {
        b"traceparent": f"00-{TRACE}-{SPAN}-01".encode(),
        b"tracestate": state,
    }
    assert len(ALL.begin("req_1", fields).headers("main", 0)) == 1


def test_the_caller_decides_whether_its_trace_is_sampled() -> None:
    for flags, tracing in (("01", Tracing(0.0, pass_on=False)), ("00", ALL)):
        fields = {b"traceparent": f"00-{TRACE}-{SPAN}-{flags}".encode()}
        assert tracing.begin("req_1", fields).sampled is (flags == "01")


def test_without_a_caller_s_word_a_share_is_sampled() -> None:
    tracing = Tracing(0.25, pass_on=False)
    calls = [tracing.begin(f"req_{number}", {}) for number in range(4000)]
    assert 0.22 < sum(call.sampled for call in calls) / 4000 < 0.28
    assert not Tracing(0.0, pass_on=False).begin("req_1", {}).sampled


def test_ids_follow_from_the_call_and_differ() -> None:
    found = ALL.begin("req_1", {})
    assert found == ALL.begin("req_1", {})
    ids = {
        found.span_id,
        found.attempt_id("main", 0),
        found.attempt_id("main", 1),
        found.attempt_id("main", 0, 1),
        found.attempt_id("other", 0),
        ALL.begin("req_2", {}).span_id,
    }
    assert len(ids) == 6
    assert found.trace_id != ALL.begin("req_2", {}).trace_id
