"""Requests that nobody would write: mutated bytes and generated JSON.

Whatever comes is served or refused, never a 5xx and never a hang; what reaches
the provider says exactly what its sender said, to every reader.
"""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.guard import BODIES, CASE_SECONDS, Guarded, error_of
from tests.support.raw import RawReply

CHAT = "/v1/chat/completions"
MUTANTS = 300
"""Of each body, and of each whole request."""
EXAMPLES = 120
RICH: dict[str, bytes] = {
    **BODIES,
    CHAT: (
        b'{"model":"chat","messages":[{"role":"system","content":"be \\u00e9"},'
        b'{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url",'
        b'"image_url":{"url":"data:image/png;base64,AAAA"}}]}],"stream":false,"n":1,'
        b'"max_tokens":16,"temperature":0.5,"stop":["a"],"tools":[{"type":"function",'
        b'"function":{"name":"f","parameters":{"type":"object"}}}],"user":"u",'
        b'"stream_options":{"include_usage":true},"metadata":{"a":"b"},"x":[1.10,null]}'
    ),
}
"""Good bodies with much to break."""
LAST = b"\r\n\r\nGET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"
SPLINTERS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b"\xc3", b"-",
    b"0", b"9" * 30, b"1e999", b"null", b"true", b"\\u0000", b"\\ud800", b'"n":2,',
    b"\r\n", b'"model":"chat",', b'"model":"other",', b'"Model":"other",',
    b'"stream":true,', b'"messages":[],', b'"":', b"  ", b"[[[[", b'{"a":',
]  # fmt: skip


def mutant(source: random.Random, data: bytes) -> bytes:
    """Change a few places of some bytes."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        at = source.randrange(len(changed) + 1)
        end = min(len(changed), at + source.choice((1, 1, 2, 5, 20)))
        match source.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = source.choice(SPLINTERS)
            case 3:
                changed[at:at] = changed[source.randrange(len(changed) + 1) :][:30]
            case _:
                changed[at:end] = source.choice(SPLINTERS)
    return bytes(changed)


def one_meaning(body: bytes) -> Any:
    """Read JSON; every name that decides anything stands in it once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name.casefold() for name, _ in pairs]
        for name in DECISIVE:
            assert names.count(name) < 2, name
        return dict(pairs)

    def top(value: dict[str, Any]) -> dict[str, Any]:
        for name in DECISIVE:
            for other in value:
                assert other == name or other.casefold() != name, other
        return value

    outer = json.loads(body)
    json.loads(body, object_pairs_hook=once)
    return top(outer)


DECISIVE = ("model", "stream", "n", "best_of", "max_tokens", "max_completion_tokens")


def judge(guarded: Guarded, body: bytes, before: int, reply: RawReply) -> None:
    """A reply is good, or bad, and never anything between."""
    sent = guarded.fake.everything[before:]
    assert reply.complete
    if reply.status != 200:
        assert 400 <= reply.status < 500, (reply.status, body)
        error_of(reply)
        assert sent == [], body
        return
    (served,) = sent
    seen, said = one_meaning(served.request.body), json.loads(body)
    for value in (seen, said):
        value.pop("stream_options", None)
        value.pop("model", None)
    assert seen == said, body


@pytest.mark.parametrize("target", RICH)
def test_mutated_bodies_are_served_as_they_read_or_refused(
    guarded: Guarded, target: str
) -> None:
    """The same ones each time."""
    source = random.Random(target)
    outcomes = set()
    for _ in range(MUTANTS):
        body = mutant(source, RICH[target])
        before = len(guarded.fake.everything)
        reply = guarded.post(target, body)
        judge(guarded, body, before, reply)
        outcomes.add(reply.status)
    assert {200, 400} <= outcomes
    assert guarded.state().holds == 0


def test_mutated_requests_end_in_time_and_reach_the_provider_once(
    guarded: Guarded,
) -> None:
    """The head's bytes; a request for the connection's end follows them."""
    source = random.Random(11)
    body = RICH[CHAT]
    whole = guarded.head(
        "POST", CHAT, b"Content-Type: application/json", length=len(body)
    )
    statuses = set()
    for _ in range(MUTANTS):
        before = len(guarded.fake.everything)
        data = mutant(source, whole) + body + LAST
        received = guarded.talk(data, seconds=2 * CASE_SECONDS)
        found = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
        statuses.update(found)
        assert not any(status.startswith(b"5") for status in found), data
        assert len(guarded.fake.everything) - before <= 1
    assert {b"200", b"400", b"401", b"404"} <= statuses
    assert guarded.state().holds == 0


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner)
    ),
    max_leaves=8,
)
PART = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "image_url"]), "text": JSON}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]) | JSON},
    optional={"content": st.text() | st.lists(PART | JSON) | JSON, "x": JSON},
)
FIELDS = [
    "n", "stream", "max_tokens", "max_completion_tokens", "temperature", "stop", "user",
    "tools", "models", "moderation", "metadata", "stream_options", "service_tier",
    "prompt_cache_key", "response_format", "Model", "a", "best_of", "suffix",
    "dimensions", "encoding_format", "web_search_options", "functions",
]  # fmt: skip
COUNTS = st.integers(-3, 300) | st.booleans() | JSON
MORE = st.dictionaries(st.sampled_from(FIELDS), COUNTS, max_size=4)
REQUESTS = {
    CHAT: st.fixed_dictionaries(
        {
            "model": st.just("chat") | JSON,
            "messages": st.lists(MESSAGE, max_size=4) | JSON,
        }
    ),
    "/v1/completions": st.fixed_dictionaries(
        {
            "model": st.just("text"),
            "prompt": st.text() | st.lists(st.text()) | st.lists(st.integers()) | JSON,
        }
    ),
    "/v1/embeddings": st.fixed_dictionaries(
        {
            "model": st.just("embed"),
            "input": st.text() | st.lists(st.lists(st.integers(-9, 9))) | JSON,
        }
    ),
    "/v1/moderations": st.fixed_dictionaries(
        {"input": st.text() | st.lists(st.text() | PART) | JSON}
    ),
}


@pytest.mark.parametrize("target", REQUESTS)
def test_generated_json_is_served_as_it_reads_or_refused(
    guarded: Guarded, target: str
) -> None:
    """Of every type in every place."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(REQUESTS[target], MORE, st.booleans())
    def ask(request: dict[str, Any], more: dict[str, Any], ascii_only: bool) -> None:
        text = json.dumps({**request, **more}, ensure_ascii=ascii_only)
        body = text.encode(errors="surrogatepass")
        before = len(guarded.fake.everything)
        judge(guarded, body, before, guarded.post(target, body))

    ask()
    assert guarded.state().holds == 0
