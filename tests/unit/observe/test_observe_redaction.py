"""Nothing that looks like a secret is left in what is logged."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.observe.redaction import (
    MASK,
    is_secret_name,
    redact,
    redact_text,
    redact_value,
)

CANARY = "Zk3v9QpLw7XtYb2R"


@each(
    "text",
    [
        f"key sk-{CANARY} refused",
        f"sk-proj-{CANARY}_{CANARY}",
        f"sk-ant-api03-{CANARY}",
        f"sk_live_{CANARY}",
        f"whsec_{CANARY}",
        f"AIzaSy{CANARY}{CANARY}",
        f"AKIA{CANARY}",
        f"gsk_{CANARY}",
        f"hf_{CANARY}",
        f"xai-{CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization=bearer {CANARY}",
        f"{{'authorization': 'Basic {CANARY}=='}}",
        f'"x-api-key": "{CANARY}"',
        f"x-goog-api-key={CANARY}",
        f"api_key='{CANARY}'",
        f"password={CANARY}",
        f"GET /v1beta/models?alt=sse&key={CANARY} failed",
        f"https://a.test/?api_key={CANARY}#x",
        f"postgresql://user:{CANARY}@db/x",
        f"socks5://user:{CANARY}@proxy:1080",
        f"set-cookie: session={CANARY}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{CANARY}.{CANARY}",
        "0123456789abcdef0123456789abcdef" + CANARY.encode().hex(),
        f"first sk-{CANARY} then\n  second Bearer {CANARY}",
    ],
)
def test_secrets_in_texts_are_masked(text) -> None:
    redacted = redact_text(text)
    assert CANARY not in redacted
    assert CANARY.encode().hex() not in redacted
    assert MASK in redacted


@each(
    "text",
    [
        "listening on http://127.0.0.1:3000",
        "model gpt-4o-mini-2024-07-18 on channel openai-main",
        "req_eb93b602ca0b5a2b00000001 failed",
        "call 018f6b1c-8d7a-7cc3-a0b1-2f3e4d5c6b7a settled",
        "bearer of bad news",
        "the token count is 17",
        "/usr/lib/python3.11/asyncio/tasks.py:277 in __step",
    ],
)
def test_ordinary_texts_stay(text) -> None:
    assert redact_text(text) == text


@each(
    ("name", "secret"),
    [
        ("authorization", True),
        ("Authorization", True),
        ("api_key", True),
        ("api-key", True),
        ("x-goog-api-key", True),
        ("provider_key", True),
        ("key", True),
        ("password", True),
        ("database_dsn", True),
        ("client_secret", True),
        ("access_token", True),
        ("set-cookie", True),
        ("key_id", False),
        ("key_name", False),
        ("max_tokens", False),
        ("total_tokens", False),
        ("monkey", False),
        ("event", False),
    ],
)
def test_fields_are_judged_by_their_names(name, secret) -> None:
    assert is_secret_name(name) == secret
    assert (redact(None, "info", {name: "plain"})[name] == MASK) == secret


def test_nested_values_are_redacted_and_bodies_shown_by_size() -> None:
    event = {
        "event": "x",
        "headers": {"authorization": CANARY, "accept": "*/*"},
        "list": [f"sk-{CANARY}", 3, None, True, 1.5],
        "body": CANARY.encode(),
        "error": ValueError(f"bad sk-{CANARY}"),
    }
    result = redact(None, "info", event)
    assert CANARY not in repr(result)
    assert result["headers"]["accept"] == "*/*"
    assert result["list"][1:] == [3, None, True, 1.5]
    assert result["body"] == f"[{len(CANARY)} bytes]"


def test_deep_and_circular_values_end() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert redact_value(loop)


@given(st.text(alphabet="abcXYZ019", min_size=12, max_size=80), st.text(max_size=40))
def test_a_key_is_masked_wherever_it_stands(key, around) -> None:
    """Whatever stands before and after it, apart by a space."""
    secret = f"sk-{key}"
    assert key not in redact_text(f"{around} {secret} {around}").replace(around, "")


@given(st.text(max_size=200))
def test_redacting_is_total_and_stable(text) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@each(
    "text",
    [
        "a" * 200_000,
        "0" * 39 + "g" + "f" * 200_000 + "z",
        "://" * 60_000,
        "a://" + "b:" * 100_000,
        "sk-" * 60_000,
        "bearer " * 30_000,
        "eyJ" * 60_000,
        "password=" * 20_000,
        "&key=" * 40_000,
    ],
)
def test_long_texts_take_little_time(text) -> None:
    """Linear, or near to it: 200 kB within the tests' patience many times over."""
    import time

    began = time.process_time()
    redact_text(text)
    assert time.process_time() - began < 2
