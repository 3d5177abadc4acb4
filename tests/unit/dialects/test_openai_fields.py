"""Every field of OpenAI's four operations is taken and carried through."""

from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.asked import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    dump,
    in_common,
    parse,
    render,
    with_member,
)

from posthouse.dialects.base import Dialect
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation

SCHEMA = (
    b'{"type":"object","properties":{"a":{"type":"number","multipleOf":1.10}},'
    b'"required":["a"],"additionalProperties":false}'
)
FUNCTION = b'{"name":"f","description":"d","strict":null,"parameters":' + SCHEMA + b"}"

CHAT_FIELDS: list[tuple[str, bytes]] = [
    ("stream", b"true"),
    ("stream", b"null"),
    ("stream_options", b'{"include_usage":true,"include_obfuscation":false}'),
    ("max_completion_tokens", b"1024"),
    ("max_tokens", b"1"),
    ("temperature", b"0.70"),
    ("top_p", b"1.0"),
    ("n", b"128"),
    ("stop", b'["a","\\n"]'),
    ("stop", b'"a"'),
    ("presence_penalty", b"-2"),
    ("frequency_penalty", b"2e0"),
    ("logit_bias", b'{"50256":-100}'),
    ("logprobs", b"true"),
    ("top_logprobs", b"20"),
    ("seed", b"18446744073709551617"),
    ("response_format", b'{"type":"json_object"}'),
    (
        "response_format",
        b'{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":'
        + SCHEMA
        + b"}}",
    ),
    ("tools", b'[{"type":"function","function":' + FUNCTION + b"}]"),
    (
        "tools",
        (
            b'[{"type":"custom","custom":{"name":"c","format":{"type":"grammar",'
            b'"grammar":{"definition":"start: x","syntax":"lark"}}}}]'
        ),
    ),
    ("tools", b"[]"),
    ("tools", b"null"),
    ("tool_choice", b'"required"'),
    ("tool_choice", b'{"type":"function","function":{"name":"f"}}'),
    (
        "tool_choice",
        b'{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}',
    ),
    ("parallel_tool_calls", b"false"),
    ("functions", b"[" + FUNCTION + b"]"),
    ("function_call", b'{"name":"f"}'),
    ("reasoning_effort", b'"xhigh"'),
    ("verbosity", b'"low"'),
    ("modalities", b'["text","audio"]'),
    ("audio", b'{"voice":"alloy","format":"wav"}'),
    ("prediction", b'{"type":"content","content":[{"type":"text","text":"x"}]}'),
    ("service_tier", b'"flex"'),
    ("store", b"true"),
    ("metadata", b'{"k":"v"}'),
    ("user", b'"u"'),
    ("safety_identifier", b'"s"'),
    ("prompt_cache_key", b'"k"'),
    ("prompt_cache_retention", b'"24h"'),
    ("prompt_cache_options", b'{"ttl":"30m","mode":"explicit"}'),
    ("web_search_options", b'{"search_context_size":"low"}'),
    ("moderation", b'{"model":"omni","policy":{"input":{"mode":"block"}}}'),
    ("models", b'["a",{"model":"b"}]'),
    # What other providers of the dialect know, and what nobody knows yet.
    ("thinking", b'{"type":"enabled","budget_tokens":1024}'),
    ("enable_thinking", b"true"),
    ("enable_search", b"true"),
    ("top_k", b"40"),
    ("repetition_penalty", b"1.050"),
    ("chat_template_kwargs", b'{"x":[1e400,-0.0]}'),
    ("a_field_of_next_year", b'{"deep":[{"er":{"1.10":"\\u4e2d"}}]}'),
]
COMPLETION_FIELDS: list[tuple[str, bytes]] = [
    ("prompt", b'"once"'),
    ("prompt", b'["a","b"]'),
    ("prompt", b"[1,2,3]"),
    ("prompt", b"[[1,2],[3]]"),
    ("best_of", b"0"),
    ("best_of", b"20"),
    ("echo", b"true"),
    ("suffix", b'"end"'),
    ("suffix", b"null"),
    ("max_tokens", b"0"),
    ("n", b"2"),
    ("logprobs", b"5"),
    ("temperature", b"0"),
    ("top_p", b"0.5"),
    ("stop", b'"x"'),
    ("stream", b"false"),
    ("stream_options", b"null"),
    ("seed", b"-1"),
    ("presence_penalty", b"0"),
    ("frequency_penalty", b"0"),
    ("logit_bias", b"null"),
    ("user", b'"u"'),
]
EMBEDDING_FIELDS: list[tuple[str, bytes]] = [
    ("input", b'"text"'),
    ("input", b'["a","b"]'),
    ("input", b"[1,2]"),
    ("input", b"[[1],[2,3]]"),
    ("encoding_format", b'"base64"'),
    ("encoding_format", b'"float"'),
    ("encoding_format", b"null"),
    ("dimensions", b"256"),
    ("user", b'"u"'),
    ("input_type", b'"query"'),
]
MODERATION_FIELDS: list[tuple[str, bytes]] = [
    ("input", b'"text"'),
    ("input", b'["a","b"]'),
    ("input", b'[{"type":"text","text":"a"}]'),
    ("input", b'[{"type":"image_url","image_url":{"url":"https://h/i.png"}}]'),
]
FIELDS = [
    (dialect, name, value)
    for dialect, fields in (
        (CHAT, CHAT_FIELDS),
        (COMPLETIONS, COMPLETION_FIELDS),
        (EMBEDDINGS, EMBEDDING_FIELDS),
        (MODERATIONS, MODERATION_FIELDS),
    )
    for name, value in fields
]


@each(("dialect", "name", "value"), FIELDS)
def test_a_field_is_carried_to_the_letter(
    dialect: Dialect, name: str, value: bytes
) -> None:
    """Nothing is added, dropped, moved or written anew."""
    body = with_member(dialect, name, value)
    if name == "stream" and value == b"true":
        body = body[:-1] + b',"stream_options":{"include_usage":true}}'
    assert render(dialect, body) == body


MESSAGES: list[bytes] = [
    b'{"role":"developer","content":"d","name":"x"}',
    b'{"role":"system","content":[{"type":"text","text":"t"}]}',
    (
        b'{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/i",'
        b'"detail":"low"}},{"type":"text","text":"t"}]}'
    ),
    b'{"role":"user","content":[{"type":"image_url","image_url":"https://h/i"}]}',
    b'{"role":"user","content":[{"type":"video_url","video_url":{"url":"u"}}]}',
    (
        b'{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"QQ==",'
        b'"format":"wav"}}]}'
    ),
    (
        b'{"role":"user","content":[{"type":"file","file":{"file_data":"data:x;base64,QQ",'
        b'"filename":"f.pdf"},"prompt_cache_breakpoint":{"mode":"explicit"}}]}'
    ),
    b'{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}',
    (
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function",'
        b'"function":{"name":"f","arguments":"{\\"a\\": not json"}}]}'
    ),
    b'{"role":"assistant","function_call":{"name":"f","arguments":"{}"}}',
    b'{"role":"assistant","content":"x","reasoning_content":"","audio":{"id":"a"}}',
    b'{"role":"assistant","content":"x","partial":true,"prefix":true}',
    b'{"role":"tool","tool_call_id":"1","content":"r"}',
    b'{"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"r"}]}',
    b'{"role":"function","name":"f","content":null}',
    b'{"role":"user","content":[{"type":"a_part_of_next_year","x":1.10}]}',
    b'{"role":"user","content":[{"type":"image_url","image_url":null}]}',
]


@each("message", MESSAGES)
def test_a_message_is_carried_to_the_letter(message: bytes) -> None:
    """Every role, kind of part and kind of call."""
    body = with_member(CHAT, "messages", b"[" + message + b"]")
    assert render(CHAT, body) == body


NUMBER, TEXT, LIST, OBJECT, TRUE = b"1", b'"x"', b"[]", b'{"a":1}', b"true"
WRONG: list[tuple[Dialect, str, bytes, str]] = [
    *((CHAT, "model", value, "model") for value in (NUMBER, LIST, OBJECT, TRUE)),
    *((CHAT, "model", value, "model") for value in (b"null", b'""', b'"a\\nb"')),
    (CHAT, "model", b'"' + b"x" * 257 + b'"', "model"),
    (CHAT, "model", rb'"\u200b\u202e"', "model"),
    *((CHAT, "messages", value, "messages") for value in (NUMBER, TEXT, OBJECT, LIST)),
    (CHAT, "messages", b"null", "messages"),
    (CHAT, "messages", b"[1]", "messages[0]"),
    (CHAT, "messages", b'[{"role":"user"},{"content":"x"}]', "messages[1]"),
    (CHAT, "messages", b'[{"role":1,"content":"x"}]', "messages[0].role"),
    (CHAT, "messages", b'[{"role":"user","content":1}]', "messages[0].content"),
    (CHAT, "messages", b'[{"role":"user","content":{}}]', "messages[0].content"),
    (CHAT, "messages", b'[{"role":"user","content":["x"]}]', "messages[0].content[0]"),
    (
        CHAT,
        "messages",
        b'[{"role":"user","content":[{"type":"text","text":1}]}]',
        "messages[0].content[0].text",
    ),
    *((CHAT, "stream", value, "stream") for value in (NUMBER, TEXT, LIST, OBJECT)),
    *((CHAT, "stream_options", v, "stream_options") for v in (NUMBER, TEXT, LIST)),
    (
        CHAT,
        "stream_options",
        b'{"include_usage":1}',
        "stream_options.include_usage",
    ),
    *((CHAT, "tools", value, "tools") for value in (NUMBER, TEXT, OBJECT)),
    (CHAT, "tools", b"[1]", "tools[0]"),
    (CHAT, "tools", b'[{"type":1}]', "tools[0].type"),
    (CHAT, "tools", b'[{"type":"mcp"}]', "tools"),
    (CHAT, "tools", b'[{"type":"code_interpreter"}]', "tools"),
    (CHAT, "tools", b'[{"model":7}]', "tools[0].model"),
    *((CHAT, "service_tier", v, "service_tier") for v in (NUMBER, LIST, OBJECT)),
    *((CHAT, "prompt_cache_key", v, "prompt_cache_key") for v in (NUMBER, LIST)),
    *((CHAT, "enable_search", v, "enable_search") for v in (NUMBER, TEXT)),
    (CHAT, "models", b"[1]", "models[0]"),
    (CHAT, "models", b"[{}]", "models"),
    (CHAT, "fallbacks", b'[{"model":1}]', "fallbacks"),
    (CHAT, "models", b'[""]', "model"),
    (CHAT, "moderation", b'"omni"', "moderation"),
    (CHAT, "moderation", b'{"model":1}', "moderation.model"),
    *((COMPLETIONS, "prompt", v, "prompt") for v in (NUMBER, OBJECT, LIST, b"null")),
    (COMPLETIONS, "prompt", b'["a",1]', "prompt"),
    (COMPLETIONS, "prompt", b"[[1],2]", "prompt"),
    (COMPLETIONS, "prompt", b"[[1.5]]", "prompt[0][0]"),
    (COMPLETIONS, "prompt", b"[true]", "prompt[0]"),
    (COMPLETIONS, "suffix", NUMBER, "suffix"),
    *((EMBEDDINGS, "input", v, "input") for v in (NUMBER, OBJECT, LIST, b"null")),
    (EMBEDDINGS, "input", b'["a",[1]]', "input"),
    (EMBEDDINGS, "input", dump(["x"] * 2049), "input"),
    *((EMBEDDINGS, "encoding_format", v, "encoding_format") for v in (NUMBER, TEXT)),
    *((MODERATIONS, "input", v, "input") for v in (NUMBER, OBJECT, LIST, b"null")),
    (MODERATIONS, "input", b"[1]", "input[0]"),
    (MODERATIONS, "input", b'[{"text":"x"}]', "input[0]"),
    (MODERATIONS, "model", NUMBER, "model"),
]


@each(("dialect", "name", "value", "param"), WRONG)
def test_a_wrong_type_is_named(
    dialect: Dialect, name: str, value: bytes, param: str
) -> None:
    """The error says which field it is, and never repeats what stood there."""
    with pytest.raises(InvalidRequest) as caught:
        dialect.parse_request(with_member(dialect, name, value))
    assert caught.value.status == 400
    assert caught.value.param == param
    assert caught.value.exact_code is not None
    assert len(caught.value.message) < 300


@each("dialect", [CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS])
@each("body", [b"", b"[]", b"{", b'{"a":"\xff"}', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(
    dialect: Dialect, body: bytes
) -> None:
    """With a code of its own."""
    with pytest.raises(InvalidRequest) as caught:
        dialect.parse_request(body)
    assert caught.value.exact_code == "invalid_json"


@each("dialect", [CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS])
def test_what_is_required_is_missed(dialect: Dialect) -> None:
    """An empty object lacks its input, and one with input its model."""
    with pytest.raises(InvalidRequest) as caught:
        dialect.parse_request(b"{}")
    assert caught.value.param in ("model", "messages", "prompt", "input")


@each(
    "name",
    [
        "Model",
        "MODEL",
        "mOdels",
        "Stream",
        "\u017ftream",
        "Stream_Options",
        "N",
        "Best_Of",
        "Max_Tokens",
        "max_to\u212aens",
        "Messages",
        "Tools",
    ],
)
def test_a_second_spelling_of_a_judged_name_is_refused(name: str) -> None:
    """Some servers match names in any case; what we judged must be what counts."""
    with pytest.raises(InvalidRequest) as caught:
        CHAT.parse_request(with_member(CHAT, name, b"1"))
    assert caught.value.param == name


def test_other_spellings_pass() -> None:
    """Unknown fields may be spelt as they like."""
    assert parse(CHAT, TopK=1, ключ=2).model == "m"


def test_every_model_that_a_body_names_is_found() -> None:
    """Each of them must be allowed and priced."""
    request = parse(
        CHAT,
        models=["a", {"model": "b"}],
        fallbacks=["c"],
        moderation={"model": "d"},
        tools=[{"type": "web_search", "model": "e"}, {"type": "function"}],
    )
    assert request.other_models == ("a", "b", "c", "d", "e")
    assert parse(COMPLETIONS, models=["a"]).other_models == ("a",)
    assert parse(EMBEDDINGS, fallbacks=["a"]).other_models == ("a",)


@each(
    "members",
    [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search_preview"}]},
        {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
        {"enable_search": True},
    ],
)
def test_a_web_search_is_counted(members: dict[str, Any]) -> None:
    """It costs extra, by whatever name it is asked for."""
    assert parse(CHAT, **members).searches == 1
    assert parse(CHAT, web_search_options=None, enable_search=False).searches == 0


def test_what_calls_of_one_conversation_share() -> None:
    """The opening up to the first user message, or the client's own key."""
    opening = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    first = in_common(parse(CHAT, messages=opening))
    later = parse(CHAT, messages=[*opening, {"role": "assistant", "content": "a"}])
    assert in_common(later) == first == ("s", "q")
    other = [opening[0], {"role": "user", "content": [{"type": "text", "text": "r"}]}]
    assert in_common(parse(CHAT, messages=other)) != first
    keyed = parse(CHAT, messages=other, prompt_cache_key="k" * 5000)
    assert keyed.affinity == b"k" * 4096
    long = parse(CHAT, messages=[{"role": "user", "content": "中" * 9000}])
    assert len(in_common(long)[0]) == 4096
    for dialect, name in ((COMPLETIONS, "prompt"), (EMBEDDINGS, "input")):
        assert parse(dialect, **{name: "x" * 9000}).affinity == b'"' + b"x" * 4095


def test_media_count_as_parts_and_not_as_bytes() -> None:
    """A picture of a megabyte is no megabyte of text."""
    payload = "QUFB" * 250_000
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + payload}},
        {"type": "image_url", "image_url": "https://h/i.png"},
        {"type": "input_audio", "input_audio": {"data": payload, "format": "wav"}},
        {"type": "file", "file": {"file_data": payload}},
        {"type": "video_url", "video_url": {"url": payload}},
    ]
    size = parse(CHAT, messages=[{"role": "user", "content": parts}]).prompt
    assert (size.messages, size.images, size.audio_parts, size.files) == (1, 3, 1, 1)
    assert size.has_media
    assert 0 < size.text_bytes < 3000
    hidden = [{"type": "text", "text": "x" * 5000, "file": {"file_id": "f"}}]
    size = parse(CHAT, messages=[{"role": "user", "content": hidden}]).prompt
    assert size.text_bytes > 5000


def test_everything_that_is_read_counts_as_prompt() -> None:
    """Tools, schemas, predictions and suffixes are read, too."""
    small = parse(CHAT).prompt.text_bytes
    for name, value in {
        "tools": [{"type": "function", "function": {"description": "x" * 1000}}],
        "functions": [{"name": "f", "description": "x" * 1000}],
        "response_format": {"type": "json_schema", "json_schema": {"x": "x" * 1000}},
        "prediction": {"type": "content", "content": "x" * 1000},
    }.items():
        assert parse(CHAT, **{name: value}).prompt.text_bytes > small + 1000
    assert parse(COMPLETIONS, suffix="x" * 1000).prompt.text_bytes == 1002
    assert parse(COMPLETIONS, prompt=["中", "b"]).prompt.text_bytes == 4
    assert parse(COMPLETIONS, prompt=[[1, 2], [3]]).prompt.text_bytes == 12
    assert parse(EMBEDDINGS, input=[1, 2]).prompt.text_bytes == 8
    assert parse(MODERATIONS, input=["中", {"type": "text", "text": "a"}]).prompt == (
        parse(MODERATIONS, input="中a").prompt
    )
    images = [{"type": "image_url", "image_url": {"url": "u"}}]
    assert parse(MODERATIONS, input=images).prompt.images == 1


def test_the_prompts_text_is_what_a_model_reads() -> None:
    """For counting: texts, calls and schemas, but no ids, types or pictures."""
    text = CHAT.prompt_text(
        parse(
            CHAT,
            messages=[
                {"role": "system", "content": "be kind"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image_url", "image_url": {"url": "data:..."}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            ],
            tools=[{"type": "function", "function": {"name": "f"}}],
        )
    )
    assert text == (
        'be kind\nlook\nf\n{}\nsunny\n[{"type":"function","function":{"name":"f"}}]'
    )
    assert COMPLETIONS.prompt_text(parse(COMPLETIONS, prompt=["a", "b"], suffix="c"))
    assert COMPLETIONS.prompt_text(parse(COMPLETIONS, prompt=[1, 2])) == ""
    assert EMBEDDINGS.prompt_text(parse(EMBEDDINGS, input="a")) == "a"
    assert MODERATIONS.prompt_text(parse(MODERATIONS, input=["a", "b"])) == "a\nb"


def test_what_is_asked_for_is_read() -> None:
    """Operation, stream, usage, tier, encoding and the default model."""
    request = parse(
        CHAT,
        stream=True,
        stream_options={"include_usage": True},
        service_tier="flex",
        n=3,
        max_tokens=7,
    )
    assert (request.operation, request.model) == (Operation.CHAT, "m")
    assert request.stream
    assert request.include_usage
    assert (request.choices, request.output_limit) == (3, 7)
    assert request.service_tier == "flex"
    assert parse(EMBEDDINGS, encoding_format="base64").wants_base64 is True
    assert parse(EMBEDDINGS).wants_base64 is False
    assert CHAT.parse_request(
        b'{"messages":[{"role":"user"}],"model":"a","model":"b"}'
    ).model == ("b")
    default = MODERATIONS.parse_request(b'{"input":"x"}')
    assert default.model == "omni-moderation-latest"
    assert MODERATIONS.parse_request(b'{"input":"x","model":null}').model
