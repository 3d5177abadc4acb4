"""What the sandbox refuses, with the error's status, code and field."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each
from tests.support.sandbox import ask, chat, request, take_apart

from posthouse.providers.sandbox import play

TOOL = {"type": "function", "function": {"name": "f"}}
USER = {"role": "user", "content": "Hello"}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ],
}
LOOSE = {
    "type": "object",
    "properties": {"a": {"type": "object", "properties": {"b": {}}}},
    "required": ["a"],
    "additionalProperties": False,
}

CASES: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"model": None}, "missing_required_parameter", "model"),
    ({"messages": None}, "missing_required_parameter", "messages"),
    ({"messages": []}, "empty_array", "messages"),
    ({"messages": "Hello"}, "invalid_type", "messages"),
    ({"messages": ["Hello"]}, "invalid_type", "messages[0]"),
    ({"messages": [{"role": "boss", "content": ""}]}, "invalid_value", None),
    ({"messages": [{"role": "user"}]}, "missing_required_parameter", None),
    ({"messages": [{"role": "user", "content": 7}]}, "invalid_type", None),
    (
        {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        "invalid_value",
        "messages[0].content[0].type",
    ),
    ({"messages": [USER, CALLS, USER]}, None, "messages[2].role"),
    ({"messages": [USER, CALLS]}, None, "messages[1].role"),
    (
        {"messages": [USER, {"role": "tool", "tool_call_id": "x", "content": ""}]},
        None,
        "messages[1].tool_call_id",
    ),
    ({"n": 0}, "integer_below_min_value", "n"),
    ({"n": 129}, "integer_above_max_value", "n"),
    ({"n": "2"}, "invalid_type", "n"),
    ({"n": True}, "invalid_type", "n"),
    ({"n": 1.5}, "invalid_type", "n"),
    ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
    ({"temperature": -0.1}, "decimal_below_min_value", "temperature"),
    ({"top_p": "1"}, "invalid_type", "top_p"),
    ({"presence_penalty": 3}, "decimal_above_max_value", "presence_penalty"),
    ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
    ({"max_tokens": 20_000}, "invalid_value", "max_tokens"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "unsupported_parameter", None),
    (
        {"model": "sandbox-reasoning", "max_tokens": 9},
        "unsupported_parameter",
        "max_tokens",
    ),
    ({"stop": ["a", "b", "c", "d", "e"]}, "array_above_max_length", "stop"),
    ({"stop": [1]}, "invalid_type", "stop"),
    ({"stream": "yes"}, "invalid_type", "stream"),
    ({"stream_options": {"include_usage": True}}, None, "stream_options"),
    ({"top_logprobs": 1}, None, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "integer_above_max_value", None),
    ({"tools": [{"type": "hammer"}]}, "invalid_value", "type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", None),
    ({"tool_choice": "auto"}, None, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "maybe"}, "invalid_value", "tool_choice"),
    (
        {
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "g"}},
        },
        "invalid_value",
        "tool_choice",
    ),
    ({"response_format": {"type": "xml"}}, "invalid_value", "type"),
    ({"response_format": {"type": "json_object"}}, None, "messages"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "missing_required_parameter",
        "response_format.json_schema.name",
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "strict": True, "schema": LOOSE},
            }
        },
        "invalid_function_parameters",
        "response_format.json_schema.schema.properties.a",
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"$ref": "#"}},
            }
        },
        "invalid_schema",
        None,
    ),
    ({"modalities": ["audio"]}, "missing_required_parameter", "audio"),
    (
        {"modalities": ["audio"], "audio": {"voice": "a", "format": "flac"}},
        "invalid_value",
        "format",
    ),
    ({"service_tier": "gold"}, "invalid_value", "service_tier"),
    ({"reasoning_effort": "enormous"}, "invalid_value", "reasoning_effort"),
    (
        {"messages": [{"role": "user", "content": "a" * 600_000}]},
        "context_length_exceeded",
        "messages",
    ),
    ({"messages": [{"role": "user", "content": "sandbox:nonsense Hi"}]}, None, None),
]


@each(("body", "code", "param"), CASES)
def test_a_wrong_chat_is_refused(
    body: dict[str, Any], code: str | None, param: str | None
) -> None:
    played = chat(**body)
    error = played.document["error"]
    assert played.status == 400
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code
    assert param is None or error["param"] == param


def test_a_null_is_as_good_as_nothing() -> None:
    names = (
        "n stop tools tool_choice functions response_format stream stream_options "
        "max_tokens max_completion_tokens temperature logprobs top_logprobs audio "
        "modalities prediction service_tier seed user reasoning_effort"
    )
    assert chat(**dict.fromkeys(names.split())).status == 200


def test_an_unknown_directive_in_a_models_name_is_an_unknown_model() -> None:
    played = chat(model="sandbox:nonsense")
    assert played.status == 404
    assert played.document["error"]["code"] == "model_not_found"


def test_any_other_model_is_answered() -> None:
    assert chat(model="llama3:8b").document["model"] == "llama3:8b"


@each("data", [b"", b"{", b"[]", b'"a"', b"\xff\xfe", b"1e999"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    played = take_apart(play(request("/chat/completions", data)))
    assert played.status == 400


def test_an_unknown_address_is_refused() -> None:
    assert ask("/audio/voices").status == 404
    assert take_apart(play(request("/chat/completions", b"", "GET"))).status == 405


def test_the_models_are_listed() -> None:
    listed = take_apart(play(request("/models", b"", "GET"))).document
    assert "sandbox" in [model["id"] for model in listed["data"]]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["user", "tool", "text", "function", "json_schema", "required"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "type",
                    "text",
                    "function",
                    "name",
                    "parameters",
                    "tool_calls",
                    "id",
                    "json_schema",
                    "schema",
                    "properties",
                    "required",
                    "$ref",
                    "anyOf",
                    "items",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "n",
        "stop",
        "stream",
        "stream_options",
        "logprobs",
        "prediction",
        "modalities",
        "audio",
        "prompt",
        "input",
        "echo",
        "dimensions",
        "encoding_format",
        "best_of",
        "suffix",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(FIELDS, json_values, max_size=6),
    st.sampled_from(
        ["/chat/completions", "/completions", "/embeddings", "/moderations"]
    ),
    st.booleans(),
)
def test_no_request_whatever_makes_it_raise(
    body: dict[str, Any], path: str, sensible: bool
) -> None:
    if sensible:
        body.setdefault("model", "sandbox")
        body.setdefault("messages", [USER])
        body.setdefault("prompt", "Hello")
        body.setdefault("input", "Hello")
    played = ask(path, **body)
    assert played.status in (200, 400)
    assert played.headers["x-posthouse-sandbox"] == "true"


GREEDY: list[tuple[str, dict[str, Any]]] = [
    (
        "/chat/completions",
        {"n": 128, "messages": [USER | {"content": "sandbox:length-5000"}]},
    ),
    (
        "/chat/completions",
        {
            "logprobs": True,
            "top_logprobs": 20,
            "messages": [USER | {"content": "sandbox:length-5000"}],
        },
    ),
    (
        "/chat/completions",
        {"n": 100, "modalities": ["audio"], "audio": {"format": "wav"}},
    ),
    ("/completions", {"prompt": ["a" * 100_000] * 100, "echo": True}),
    ("/completions", {"prompt": ["sandbox:length-5000 a"] * 100, "max_tokens": 5000}),
    ("/embeddings", {"input": ["a"] * 2048, "dimensions": 3072}),
    ("/embeddings", {"input": ["abcd " * 1000] * 1000}),
    ("/moderations", {"input": "a" * 500_001}),
]


@each(("path", "body"), GREEDY)
def test_what_would_hold_up_everybody_else_is_refused(
    path: str, body: dict[str, Any]
) -> None:
    if path == "/chat/completions":
        body = {"messages": [USER], **body}
    played = ask(path, **{"model": "sandbox", **body})
    assert played.status == 400
