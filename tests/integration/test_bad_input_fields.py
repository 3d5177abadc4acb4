"""Members of the wrong type, absurd numbers and doubtful names, at a real server.

A provider is asked only what was judged: for every request that it receives,
each reading of the body that a JSON library may choose says the same.
"""

import json
import time
from typing import Any

from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Send, json_reply
from tests.support.cases import each
from tests.support.guard import BODIES, Guarded, error_of

CHAT, TEXT, EMBED, MODERATE = BODIES

NULL, FLAG, NUMBER, STRING, LIST, OBJECT = "null", "true", "1", '"x"', "[]", "{}"
ALL = (NULL, FLAG, NUMBER, STRING, LIST, OBJECT)
"""One value of each type."""


def types(*allowed: str) -> tuple[str, ...]:
    """The values that are of another type than these; null may always stand."""
    return tuple(value for value in ALL if value not in (NULL, *allowed))


KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    CHAT: {
        "model": types(STRING),
        "messages": types(LIST),
        "stream": types(FLAG),
        "stream_options": types(OBJECT),
        "max_completion_tokens": types(NUMBER),
        "max_tokens": types(NUMBER),
        "temperature": types(NUMBER),
        "top_p": types(NUMBER),
        "n": types(NUMBER),
        "stop": types(STRING, LIST),
        "presence_penalty": types(NUMBER),
        "frequency_penalty": types(NUMBER),
        "logit_bias": types(OBJECT),
        "logprobs": types(FLAG),
        "top_logprobs": types(NUMBER),
        "seed": types(NUMBER),
        "response_format": types(OBJECT),
        "tools": types(LIST),
        "tool_choice": types(STRING, OBJECT),
        "parallel_tool_calls": types(FLAG),
        "functions": types(LIST),
        "function_call": types(STRING, OBJECT),
        "reasoning_effort": types(STRING),
        "verbosity": types(STRING),
        "modalities": types(LIST),
        "audio": types(OBJECT),
        "prediction": types(OBJECT),
        "service_tier": types(STRING),
        "store": types(FLAG),
        "metadata": types(OBJECT),
        "user": types(STRING),
        "safety_identifier": types(STRING),
        "prompt_cache_key": types(STRING),
        "prompt_cache_retention": types(STRING),
        "prompt_cache_options": types(OBJECT),
        "web_search_options": types(OBJECT),
        "moderation": types(OBJECT),
    },
    TEXT: {
        "model": types(STRING),
        "prompt": types(STRING, LIST),
        "best_of": types(NUMBER),
        "echo": types(FLAG),
        "suffix": types(STRING),
        "max_tokens": types(NUMBER),
        "n": types(NUMBER),
        "logprobs": types(NUMBER),
        "temperature": types(NUMBER),
        "top_p": types(NUMBER),
        "stop": types(STRING, LIST),
        "stream": types(FLAG),
        "stream_options": types(OBJECT),
        "seed": types(NUMBER),
        "presence_penalty": types(NUMBER),
        "frequency_penalty": types(NUMBER),
        "logit_bias": types(OBJECT),
        "user": types(STRING),
    },
    EMBED: {
        "model": types(STRING),
        "input": types(STRING, LIST),
        "encoding_format": types(STRING),
        "dimensions": types(NUMBER),
        "user": types(STRING),
    },
    MODERATE: {
        "model": types(STRING),
        "input": types(STRING, LIST),
    },
}
"""What every known member must not be."""


def with_member(target: str, name: str, value: str) -> bytes:
    """Give a good body with one member set to a JSON text."""
    members = {
        known: json.dumps(content)
        for known, content in json.loads(BODIES[target]).items()
    }
    members[name] = value
    text = ",".join(f"{json.dumps(known)}:{text}" for known, text in members.items())
    return b"{" + text.encode() + b"}"


@each("target", KNOWN)
def test_a_known_member_of_another_type_is_400(guarded: Guarded, target: str) -> None:
    """Every one of them; the error names it."""

    def ask() -> None:
        for name, wrong in KNOWN[target].items():
            for value in wrong:
                reply = guarded.post(target, with_member(target, name, value))
                assert reply.status == 400, (name, value)
                assert error_of(reply)["param"] == name

    guarded.untouched(ask)


NESTED: list[tuple[str, str, str]] = [
    *((CHAT, "messages", f"[{value}]") for value in (NULL, FLAG, NUMBER, STRING, LIST)),
    (CHAT, "messages", "[{}]"),
    (CHAT, "messages", '[{"role":null,"content":"x"}]'),
    (CHAT, "messages", '[{"role":1,"content":"x"}]'),
    (CHAT, "messages", '[{"role":["user"],"content":"x"}]'),
    *(
        (CHAT, "messages", f'[{{"role":"user","content":{value}}}]')
        for value in (FLAG, NUMBER, OBJECT)
    ),
    *(
        (CHAT, "messages", f'[{{"role":"user","content":[{value}]}}]')
        for value in (NULL, FLAG, NUMBER, STRING, LIST)
    ),
    *(
        (CHAT, "messages", f'[{{"role":"user","content":[{{"type":{value}}}]}}]')
        for value in (FLAG, NUMBER, LIST, OBJECT)
    ),
    *(
        (
            CHAT,
            "messages",
            f'[{{"role":"user","content":[{{"type":"text","text":{value}}}]}}]',
        )
        for value in (FLAG, NUMBER, LIST, OBJECT)
    ),
    *((CHAT, "tools", f"[{value}]") for value in (NULL, FLAG, NUMBER, STRING, LIST)),
    (CHAT, "tools", '[{"type":1}]'),
    (CHAT, "tools", '[{"type":"no_such_tool"}]'),
    (CHAT, "tools", '[{"type":"mcp","server_url":"http://127.0.0.1"}]'),
    (CHAT, "stream_options", '{"include_usage":"yes"}'),
    (CHAT, "stream_options", '{"include_usage":1}'),
    (CHAT, "models", '[{"model":1}]'),
    (CHAT, "models", '["no-such-model",1]'),
    (CHAT, "moderation", '{"model":1}'),
    *((TEXT, "prompt", f"[{value}]") for value in (NULL, FLAG, OBJECT)),
    (TEXT, "prompt", "[]"),
    (TEXT, "prompt", "null"),
    (TEXT, "prompt", '["a",1]'),
    (TEXT, "prompt", "[[1],2]"),
    (TEXT, "prompt", "[1.5]"),
    *((EMBED, "input", f"[{value}]") for value in (NULL, FLAG, OBJECT)),
    (EMBED, "input", "[]"),
    (EMBED, "input", "null"),
    (EMBED, "input", '[["a"]]'),
    (EMBED, "encoding_format", '"hex"'),
    *((MODERATE, "input", f"[{value}]") for value in (NULL, FLAG, NUMBER, LIST)),
    (MODERATE, "input", '[{"text":"x"}]'),
    (MODERATE, "input", "[]"),
]


def test_members_of_members_are_judged_as_far_as_money_needs(guarded: Guarded) -> None:
    """Messages, parts, tools, prompts and inputs."""

    def ask() -> None:
        for target, name, value in NESTED:
            reply = guarded.post(target, with_member(target, name, value))
            assert reply.status == 400, (name, value, reply.body)
            assert str(error_of(reply)["param"]).startswith(name)

    guarded.untouched(ask)


# --- numbers --------------------------------------------------------------------

ABSURD = [
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "1e19",
    "18446744073686646784",
    "9223372036854775808",
    "-9223372036854775809",
    "9" * 400,
    "9" * 5000,
    '"9"',
    '"1e9"',
    "true",
]
COUNTS = [
    (CHAT, "n"),
    (CHAT, "max_tokens"),
    (CHAT, "max_completion_tokens"),
    (TEXT, "n"),
    (TEXT, "best_of"),
    (TEXT, "max_tokens"),
]


def test_absurd_counts_are_400(guarded: Guarded) -> None:
    """Every number that multiplies a price."""

    def ask() -> None:
        for target, name in COUNTS:
            for value in ABSURD:
                reply = guarded.post(target, with_member(target, name, value))
                assert reply.status == 400, (name, value)
                assert error_of(reply)["param"] == name
        for target, name in ((CHAT, "n"), (TEXT, "n"), (CHAT, "max_tokens")):
            assert guarded.post(target, with_member(target, name, "0")).status == 400
        assert guarded.post(CHAT, with_member(CHAT, "n", "129")).status == 400

    guarded.untouched(ask)


def without_usage(request: Request) -> Behaviour:
    """Answer as a provider that does not count."""
    value = openai.chat_value(request)
    del value["usage"]
    if b'"stream":true' not in request.body:
        return Behaviour("uncounted", (Send(json_reply(200, value)),))
    events = openai.chat_events(request, 3, None)
    return Behaviour("uncounted", openai.stream_steps(events, 0.0))


@each("stream", [False, True])
@each("member", ['"x":' + "9" * 5000, '"x":' + "[" * 120 + "]" * 120, '"x":-1e400'])
def test_what_is_hard_to_read_is_charged_all_the_same(
    guarded: Guarded, member: str, stream: bool
) -> None:
    """A number too long for a parser made the prompt uncountable, and so free."""
    guarded.fake.on("chat", without_usage)
    message = f'[{{"role":"user","content":"hello","name":"n",{member}}}]'
    body = with_member(CHAT, "messages", message)
    if stream:
        body = body[:-1] + b',"stream":true}'
    try:
        reply = guarded.post(CHAT, body)
    finally:
        guarded.fake.on("chat", guarded.fake.otherwise)
    assert reply.status == 200
    assert reply.complete
    record = guarded.record(reply)
    assert record["usage_source"] == "estimated"
    assert record["price"] > 0
    assert guarded.state().holds == 0


# --- control characters -----------------------------------------------------------

CONTROLS = ["\\n", "\\r", "\\u0000", "\\u000a", "\\u000D", "\\r\\nX-Injected: 1"]
NAMES = ["model", "user", "safety_identifier", "prompt_cache_key"]


def test_line_breaks_and_nul_in_identifiers_are_400(guarded: Guarded) -> None:
    """They end up in a provider's own logs, headers and files."""

    def ask() -> None:
        for control in CONTROLS:
            for name in NAMES:
                value = f'"a{control}b"'
                reply = guarded.post(CHAT, with_member(CHAT, name, value))
                assert reply.status == 400, (name, control)
                assert error_of(reply)["param"] == name
            for value in (f'{{"a{control}":"b"}}', f'{{"a":"b{control}"}}'):
                reply = guarded.post(CHAT, with_member(CHAT, "metadata", value))
                assert reply.status == 400, value
                assert error_of(reply)["param"] == "metadata"

    guarded.untouched(ask)


def test_other_escapes_in_identifiers_pass(guarded: Guarded) -> None:
    """A backslash, a quote, a tab or a foreign letter is no line break."""
    for name in NAMES[1:]:
        value = '"a\\\\n\\"\\u4e2d\\t"'
        assert guarded.post(CHAT, with_member(CHAT, name, value)).status == 200
    value = '{"a\\\\r":"b\\u00e9"}'
    assert guarded.post(CHAT, with_member(CHAT, "metadata", value)).status == 200


# --- names that are said twice ------------------------------------------------------


def readings(data: bytes) -> tuple[Any, Any]:
    """Read JSON as those do who take the last, and the first, of equal names."""

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            # Some servers match names in any case.
            found.setdefault(name.casefold(), value)
        return found

    def last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name.casefold(): value for name, value in pairs}

    return (
        json.loads(data, object_pairs_hook=last),
        json.loads(data, object_pairs_hook=first),
    )


TWICE = [
    (CHAT, '{"model":"other","model":"chat","messages":[{"role":"user"}]}'),
    (CHAT, '{"model":"chat","messages":[{"role":"user","content":""}],"n":9,"n":1}'),
    (CHAT, '{"model":"chat","\\u006dodel":"chat","messages":[{"role":"user"}]}'),
    (CHAT, '{"model":"chat","messages":[],"messages":[{"role":"user","content":""}]}'),
    *(
        (CHAT, f'{{"model":"chat","messages":[{{"role":"user"}}],{member}}}')
        for member in (
            '"models":[{"model":"x","model":"chat"}]',
            '"models":[{"Model":"x","model":"chat"}]',
            '"fallbacks":["chat",{"model":"x","model":"chat"}]',
            '"moderation":{"model":"x","model":"chat"}',
            '"moderation":{"MODEL":"x","model":"chat"}',
            '"stream":true,"stream":false',
            '"stream_options":{"include_usage":false,"include_usage":true}',
            '"stream_options":{"Include_Usage":false,"include_usage":true}',
            '"Model":"other"',
            '"N":100',
        )
    ),
    *(
        (CHAT, f'{{"model":"chat","messages":[{{"role":"user"}}],"tools":[{tool}]}}')
        for tool in (
            '{"type":"web_search","type":"function"}',
            '{"type":"function","type":"web_search"}',
            '{"type":"function","Type":"web_search"}',
            '{"type":"function", "ty\\u0070e" : "mcp"}',
            '{"type":"mcp" , "type":"function"}',
            '{"type":"function","model":"other","model":"chat"}',
            '{"type":"function","MODEL":"other"}',
        )
    ),
    (TEXT, '{"model":"text","prompt":"long","prompt":"x","best_of":20,"best_of":1}'),
    (EMBED, '{"model":"embed","input":["a","b"],"input":"a","Input":"c"}'),
    (MODERATE, '{"input":"a","model":"x","model":"omni-moderation-latest"}'),
]


@each("case", TWICE, ids=range(len(TWICE)))
def test_what_is_said_twice_is_refused_or_sent_on_once(
    guarded: Guarded, case: tuple[str, str]
) -> None:
    """No parser, whichever of two equal names it takes, reads what was not judged."""
    target, body = case
    before = len(guarded.fake.everything)
    reply = guarded.post(target, body.encode())
    sent = guarded.fake.everything[before:]
    if reply.status != 200:
        assert reply.status in (400, 404)
        error_of(reply)
        assert sent == []
        return
    (served,) = sent
    last, first = readings(served.request.body)
    assert last == first


MODEL_NAMES = [
    (CHAT, '"models":["secret"]'),
    (CHAT, '"models":["chat","secret"]'),
    (CHAT, '"fallbacks":[{"model":"secret"}]'),
    (CHAT, '"moderation":{"model":"secret"}'),
    (CHAT, '"tools":[{"type":"function","model":"secret"}]'),
    (TEXT, '"models":["secret"]'),
    (TEXT, '"fallbacks":["secret"]'),
    (EMBED, '"models":["secret"]'),
    (EMBED, '"fallbacks":["secret"]'),
    (MODERATE, '"models":["secret"]'),
    (MODERATE, '"fallbacks":[{"model":"secret"}]'),
]


def test_every_model_that_a_body_names_must_be_served(guarded: Guarded) -> None:
    """Whichever member names it, at every operation."""

    def ask() -> None:
        for target, member in MODEL_NAMES:
            body = BODIES[target][:-1] + b"," + member.encode() + b"}"
            reply = guarded.post(target, body)
            assert reply.status == 404, member
            assert error_of(reply)["code"] == "model_not_found"

    guarded.untouched(ask)


STRANGE_MODELS = [
    "",
    " ",
    "x" * 257,
    "x" * 1_000_000,
    "../../etc/passwd",
    "chat/../embed",
    "chat%00",
    "chat?x=1",
    "chat#",
    "CHAT",
    "chat ",
    "\u202echat",
    "ch\u0430t",
    "*",
    "c*",
    "' OR '1'='1",
]


def test_strange_names_of_models_are_refused(guarded: Guarded) -> None:
    """None of them is any of those that are served."""

    def ask() -> None:
        for name in STRANGE_MODELS:
            reply = guarded.post(CHAT, with_member(CHAT, "model", json.dumps(name)))
            assert reply.status in (400, 404), name
            error_of(reply)
            assert len(reply.body) < 1000

    guarded.untouched(ask)


def test_bad_fields_take_no_time(guarded: Guarded) -> None:
    """A hundred refusals in a row are a matter of a moment."""
    body = with_member(CHAT, "temperature", STRING)
    began = time.monotonic()
    for _ in range(100):
        assert guarded.post(CHAT, body).status == 400
    assert time.monotonic() - began < 2
