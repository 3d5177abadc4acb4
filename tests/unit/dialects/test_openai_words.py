"""A provider's own words, made fit for a client."""

import time

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.openai.words import ERROR_TEXT_LIMIT, clean_name, clean_text

PRIVATE = [
    "sk-proj-abcDEF1234567890abcDEF",
    "sk-************abcd",
    "sk_live_1234567890",
    "pk-abcdef123456",
    "key-0123456789abcdef",
    "Bearer eyJhbGciOi.J9.abc",
    "bearer abcdefgh",
    "Basic dXNlcjpwYXNz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "0123456789abcdef0123456789abcdef.AbCdEfGh12345678",
    "bce-v3/ALTAK-ab12cd34ef56gh78ij90/0123456789abcdef0123456789abcdef01234567",
    "org-AbC123dEf456",
    "proj-9x8y7z6w",
    "https://api.internal.example.com/v1/chat?key=abc",
    "postgres://user:password@10.0.0.5:5432/db",
    "wss://h/x",
    "api.deepseek.com",
    "vllm-7.svc.cluster.local:8000/v1",
    "10.12.0.7:8080",
    "192.168.1.20",
]


@each("private", PRIVATE)
@each("around", ["{}", "Incorrect key: {}.", '("{}")', "a {}, b"])
def test_keys_and_addresses_are_removed(private: str, around: str) -> None:
    """Wherever they stand; what is left is not enough to be one."""
    cleaned = clean_text(around.format(private))
    assert private not in cleaned
    assert "[removed]" in cleaned
    for run in ("abcDEF1234567890", "0123456789abcdef", "password", "AbCdEfGh12345678"):
        assert run not in cleaned


@each(
    "text",
    [
        (
            "This model's maximum context length is 8192 tokens. However, you "
            "requested 9000 tokens (8000 in the messages, 1000 in the completion)."
        ),
        "Unsupported value: 'temperature' does not support 0.7 with this model.",
        "The model `gpt-4o-realtime-preview-2024-12-17` does not exist",
        "Qwen3-235B-A22B-Thinking-2507-FP8 takes no images",
        "Invalid schema for function 'get_weather': in context=('properties', 'a.b')",
        "request 123e4567-e89b-12d3-a456-426614174000 was refused",
        "tool_calls[0].function.arguments must be a key-value token_limit",
        "version 1.2.3 of key-based tokens; e.g. this.",
        "参数有误 top_p 不能大于 1。",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    """A message that helps is shown as it is."""
    assert clean_text(text) == text


@given(st.text() | st.text("sk-.:/ \x00\u2028\u202e\ud83d0a"))
def test_what_a_client_sees_is_short_clean_text(text: str) -> None:
    """Printable, at most 2 KiB, and nothing that an encoder refuses."""
    cleaned = clean_text(text)
    assert len(cleaned.encode()) <= ERROR_TEXT_LIMIT
    assert not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000
        for char in cleaned
    )
    assert not set(cleaned) & set("\u2028\u2029\u200b\u202e\ufeff")


@each(
    "text",
    [
        "x" * 10**6,
        "中" * 10**6,
        "a-" * 10**6,
        "a." * 10**6,
        "sk-" * 10**6,
        "key-a" * 10**6,
        "0" * 10**6,
        "a1" * 10**6,
        "http" * 10**6,
        "1.1.1.1" * 10**6,
        "bearer " * 10**6,
        "A" * 300 + ".",
    ],
)
def test_long_words_are_cut_in_no_time(text: str) -> None:
    """Whatever they consist of."""
    start = time.process_time()
    assert len(clean_text(text).encode()) <= ERROR_TEXT_LIMIT
    assert time.process_time() - start < 0.5


def test_names_are_cut_and_cleaned() -> None:
    """Codes, types and parameters are the provider's words, too."""
    assert clean_name("x" * 500) == "x" * 128
    assert clean_name("a\nb") == "a b"
    assert clean_name(429) == "429"
    assert clean_name(10**400) is None
    for value in (None, True, 1.5, [], {}, ""):
        assert clean_name(value) is None
