"""Whole replies read along: passed to the letter, renamed, counted, refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from tests.unit.dialects.asked import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    parse,
)

from posthouse.dialects.base import Dialect, ParsedReply
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.dialects.openai.replies import (
    parse_reply_head,
    reported_usage,
)
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)
from posthouse.model.usage import ReportedUsage

USAGE = b'{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}'
REPLIES: dict[str, bytes] = {
    "openai_chat": (
        b'{"id":"c", "model":"up","choices":[{"index":0,"message":{"role":"assistant",'
        b'"content":"\\u4e2d 1.10"},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":' + USAGE + b',"service_tier":"default","x":1e400}'
    ),
    "openai_completions": (
        b'{"object":"text_completion","model":"up","choices":[{"text":"a","index":0}],'
        b'"usage":' + USAGE + b"}"
    ),
    "openai_embeddings": (
        b'{"object":"list","model":"up","data":[{"index":0,"embedding":[0.10,-1]}],'
        b'"usage":{"prompt_tokens":9,"total_tokens":9}}'
    ),
    "openai_moderations": (
        b'{"id":"modr","model":"up","results":[{"flagged":false,"x":1.10}]}'
    ),
}
DIALECTS = [CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS]


def read(dialect: Dialect, body: bytes, public: str | None = None) -> ParsedReply:
    return dialect.parse_reply(parse(dialect), body, public)


@each("dialect", DIALECTS)
@each("before", [b"", b"\n\n \r\n"])
def test_a_reply_passes_to_the_letter(dialect: Dialect, before: bytes) -> None:
    """Also after the empty lines that DeepSeek sends while it is busy."""
    body = before + REPLIES[dialect.name] + b"\n"
    assert read(dialect, body).body == body


@each("dialect", DIALECTS)
def test_the_public_name_is_what_a_client_sees(dialect: Dialect) -> None:
    """And nothing else of the reply changes."""
    body = REPLIES[dialect.name]
    expected = body.replace(b'"model":"up"', b'"model":"public"')
    assert read(dialect, body, "public").body == expected.replace(b", ", b",")
    nameless = body.replace(b'"model":"up",', b"")
    assert read(dialect, nameless, "public").body == nameless


def test_usage_and_tier_are_read() -> None:
    """As the provider tells them; a tier that is no text is none."""
    reply = read(CHAT, REPLIES["openai_chat"])
    assert reply.usage == ReportedUsage(input=9, output=12)
    assert reply.service_tier == "default"
    assert read(EMBEDDINGS, REPLIES["openai_embeddings"]).usage == ReportedUsage(9)
    assert read(MODERATIONS, REPLIES["openai_moderations"]).usage is None
    assert read(CHAT, b'{"choices":[],"service_tier":7}').service_tier is None


@each("usage", [b"null", b"[]", b'"many"', b"7", None])
def test_text_is_read_where_it_must_be_counted(usage: bytes | None) -> None:
    """All that was produced, in every choice."""
    choices: list[dict[str, Any]] = [
        {
            "message": {
                "content": "text",
                "reasoning_content": "hm",
                "reasoning": "hm",
                "refusal": None,
                "tool_calls": [
                    {
                        "id": "call",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
                "function_call": {"name": "g", "arguments": "[]"},
            }
        },
        {"message": {"content": None, "refusal": "no"}},
        {"message": None},
    ]
    body = b'{"choices":' + json.dumps(choices).encode()
    body += b"}" if usage is None else b',"usage":' + usage + b"}"
    reply = read(CHAT, body)
    assert reply.output_text() == "hmtextf{}g[]\nno"
    assert reply.usage is None
    two = b'{"choices":[{"text":"a"},{"text":null},{"text":"b"}]}'
    assert read(COMPLETIONS, two).output_text() == "a\nb"


@each(
    "choices",
    [
        b"[]",
        b"[1,null]",
        b'[{"message":7},{"text":[]}]',
        b'[{"message":{"content":' + b"9" * 5000 + b"}}]",
    ],
)
@each("dialect", [CHAT, COMPLETIONS])
def test_a_reply_without_readable_text_has_none(
    dialect: Dialect, choices: bytes
) -> None:
    """Counting comes after the answer is accepted, so it refuses nothing."""
    assert read(dialect, b'{"choices":' + choices + b"}").output_text() == ""


BAD = [
    b"",
    b" ",
    b"<html><body>Bad gateway</body></html>",
    b"upstream connect error",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"choices":null,"data":null,"results":null}',
    b'{"choices":{},"data":"x","results":1}',
    b'{"choices":[{"message":{"content":"tru',
    b'{"choices":[],"data":[],"results":[]',
    b'{"choices":["\xff"],"data":["\xff"],"results":["\xff"]}',
    b'{"choices":[1,],"data":[1,],"results":[1,]}',
    b"[" * 100_000,
    b'{"choices":' + b"[" * 100_000,
]


@each("dialect", DIALECTS)
@each("body", BAD)
def test_what_is_no_such_reply_is_refused(dialect: Dialect, body: bytes) -> None:
    """HTML, other JSON, a cut reply, bytes that are not UTF-8: try elsewhere."""
    for public in (None, "public"):
        with pytest.raises(UpstreamFault) as caught:
            read(dialect, body, public)
        assert type(caught.value) is UpstreamBadResponse


ERRORS: list[tuple[bytes, type[UpstreamFault]]] = [
    (b'{"error":{"message":"m","code":"rate_limit_exceeded"}}', UpstreamRateLimited),
    (b'{"error":{"message":"m","type":"invalid_request_error"}}', UpstreamRejected),
    (b'{"error":"overloaded"}', UpstreamOverloaded),
    (b'{"choices":[],"data":[],"results":[],"error":{"code":401}}', UpstreamCredential),
    (b'{"object":"error","message":"m","code":400}', UpstreamRejected),
    (b'{"code":"Throttling","message":"m","request_id":"r"}', UpstreamRateLimited),
    (b'{"code":"Arrearage","message":"m"}', UpstreamCredential),
    (b'{"code":10013,"message":"m","sid":"s"}', UpstreamOverloaded),
]


@each("dialect", DIALECTS)
@each(("body", "kind"), ERRORS)
def test_an_error_with_status_200_is_an_error(
    dialect: Dialect, body: bytes, kind: type[UpstreamFault]
) -> None:
    """In every shape in which providers hide one."""
    with pytest.raises(UpstreamFault) as caught:
        read(dialect, body)
    assert type(caught.value) is kind


def test_an_empty_error_is_none() -> None:
    """`error: null` stands in many replies."""
    body = REPLIES["openai_chat"][:-1]
    for text in (b"null", b"{}", b'""', b"[]", b"false"):
        assert read(CHAT, body + b',"error":' + text + b"}").usage is not None


counts = st.none() | st.integers(-1, 5)
reports = st.builds(ReportedUsage, *[counts] * 6)


@given(st.lists(reports | st.none()))
def test_the_last_count_that_says_something_holds(
    given_reports: list[ReportedUsage | None],
) -> None:
    """Field by field: zero and absent say nothing."""
    merged = None
    for report in given_reports:
        merged = merged_usage(merged, report)
    told = [report for report in given_reports if report is not None]
    if not told:
        assert merged is None
        return
    assert merged is not None
    for name in ReportedUsage.__struct_fields__:
        values = [getattr(report, name) for report in told]
        last = [value for value in values if value]
        zero = 0 if 0 in values else {} if {} in values else None
        assert getattr(merged, name) == (last[-1] if last else zero)


@given(reports, reports, reports)
def test_merging_is_associative(
    one: ReportedUsage, two: ReportedUsage, three: ReportedUsage
) -> None:
    """A frame may be joined with its neighbour first; and twice is once."""
    left = merged_usage(merged_usage(one, two), three)
    assert left == merged_usage(one, merged_usage(two, three))
    assert merged_usage(one, one) == one


def test_a_correction_downwards_counts() -> None:
    """The last word stands, also when it is lower."""
    merged = merged_usage(ReportedUsage(output=9), ReportedUsage(output=7))
    assert merged == ReportedUsage(output=7)


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists))
def test_no_usage_object_is_too_strange(value: Any) -> None:
    """Whatever stands in its fields, reading it raises nothing."""
    names = ["prompt_tokens", "completion_tokens", "prompt_tokens_details"]
    report = reported_usage(dict.fromkeys(names, value))
    assert report is not None
    assert report.input is None or isinstance(value, int)
    assert reported_usage(value) is None


_COUNTS = st.none() | st.integers(-5, 10**12)
_DETAILS = st.none() | st.dictionaries(
    st.sampled_from(
        [
            "audio_tokens",
            "cache_creation_input_tokens",
            "cache_write_tokens",
            "cached_tokens",
            "image_tokens",
            "reasoning_tokens",
        ]
    ),
    _COUNTS,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": _COUNTS,
            "completion_tokens": _COUNTS | st.just(2.5),
            "total_tokens": _COUNTS,
            "prompt_cache_hit_tokens": _COUNTS,
            "cached_tokens": _COUNTS,
            "prompt_tokens_details": _DETAILS,
            "completion_tokens_details": _DETAILS | st.just([]),
        },
    )
)
def test_usual_usage_is_read_like_any_other(usage: dict[str, Any]) -> None:
    """Typed or not, a usage says the same."""
    head = parse_reply_head(json.dumps({"choices": [], "usage": usage}).encode())
    assert head.usage == reported_usage(usage)
