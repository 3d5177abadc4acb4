"""Checks of request fields, refusing what OpenAI's API refuses and as it does.

Each reader gives the field's value, None when it is absent or null, and raises
`RequestRefused` naming the field. Unknown fields are nobody's business here.
"""

from collections.abc import Collection
from typing import Any

from posthouse.providers.sandbox import tokens
from posthouse.providers.sandbox.refusal import RequestRefused

Body = dict[str, Any]

KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def wrong_type(name: str, expected: str, value: Any) -> RequestRefused:
    """Refuse a value of the wrong type."""
    given = KINDS[type(value)]
    return RequestRefused(
        f"Invalid type for '{name}': expected {expected}, got {given}.",
        code="invalid_type",
        param=name,
    )


def missing(name: str) -> RequestRefused:
    """Refuse a request that lacks a field."""
    return RequestRefused(
        f"Missing required parameter: '{name}'.",
        code="missing_required_parameter",
        param=name,
    )


def invalid_value(name: str, value: Any, allowed: Collection[str]) -> RequestRefused:
    """Refuse a value that is none of those allowed."""
    listed = ", ".join(f"'{item}'" for item in allowed)
    return RequestRefused(
        f"Invalid value for '{name}': '{str(value)[:100]}'. Supported are: {listed}.",
        code="invalid_value",
        param=name,
    )


def too_long(name: str, count: int, most: int) -> RequestRefused:
    """Refuse a prompt that is longer than the model's context."""
    return RequestRefused(
        f"This model's context length is {most} tokens; '{name}' has {count}.",
        code="context_length_exceeded",
        param=name,
    )


def unsupported(name: str, why: str, code: str = "unsupported_parameter") -> Exception:
    """Refuse a field that this model or this combination does not take."""
    return RequestRefused(
        f"Unsupported parameter: '{name}' {why}.", code=code, param=name
    )


def integer(body: Body, name: str, low: int, high: int) -> int | None:
    """Read an integer between `low` and `high`."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise wrong_type(name, "an integer", value)
    check_bounds("integer", name, value, (low, high))
    return value


def number(body: Body, name: str, low: float, high: float) -> float | None:
    """Read a number between `low` and `high`."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise wrong_type(name, "a decimal", value)
    check_bounds("decimal", name, value, (low, high))
    return float(value)


def check_bounds(
    kind: str, name: str, value: float, bounds: tuple[float, float]
) -> None:
    """Refuse a number outside its bounds, which are inclusive."""
    low, high = bounds
    if value < low:
        raise RequestRefused(
            f"Invalid '{name}': expected a value >= {low}, got {value}.",
            code=f"{kind}_below_min_value",
            param=name,
        )
    if value > high:
        raise RequestRefused(
            f"Invalid '{name}': expected a value <= {high}, got {value}.",
            code=f"{kind}_above_max_value",
            param=name,
        )


def boolean(body: Body, name: str) -> bool | None:
    """Read a boolean."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value


def string(body: Body, name: str) -> str | None:
    """Read a string."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value


def option(body: Body, name: str, allowed: Collection[str]) -> str | None:
    """Read a string that is one of those allowed."""
    value = string(body, name)
    if value is not None and value not in allowed:
        raise invalid_value(name, value, allowed)
    return value


def member(body: Body, name: str) -> Body | None:
    """Read an object."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    return value


def array(body: Body, name: str, high: int = 2**31) -> list[Any] | None:
    """Read an array of at most `high` members; an empty one is refused."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise wrong_type(name, "an array", value)
    if not value:
        raise RequestRefused(
            f"Invalid '{name}': expected an array of at least one member.",
            code="empty_array",
            param=name,
        )
    if len(value) > high:
        raise RequestRefused(
            f"Invalid '{name}': expected at most {high} members, got {len(value)}.",
            code="array_above_max_length",
            param=name,
        )
    return value


def model(body: Body) -> str:
    """Read the model's name."""
    value = string(body, "model")
    if not value:
        raise missing("model")
    return value


def stops(body: Body) -> tuple[str, ...]:
    """Read the stop sequences: one string, or up to four."""
    value = body.get("stop")
    if value is None:
        return ()
    sequences = [value] if isinstance(value, str) else array(body, "stop", 4) or []
    for sequence in sequences:
        if not isinstance(sequence, str):
            raise wrong_type("stop", "a string", sequence)
    return tuple(sequence for sequence in sequences if sequence)


def sampling(body: Body) -> None:
    """Check the fields that chat and completions share and that change nothing."""
    number(body, "temperature", 0, 2)
    number(body, "top_p", 0, 1)
    number(body, "presence_penalty", -2, 2)
    number(body, "frequency_penalty", -2, 2)
    integer(body, "seed", -(2**63), 2**63 - 1)
    member(body, "logit_bias")
    string(body, "user")


def reply_size(count: int) -> None:
    """Refuse a reply that would be too much work."""
    if count > tokens.MAX_REPLY_TOKENS:
        raise RequestRefused(
            f"The sandbox makes at most {tokens.MAX_REPLY_TOKENS} tokens in one "
            f"reply, log probabilities included; {count} were asked for.",
            code="invalid_value",
        )


def include_usage(body: Body) -> bool:
    """Whether a stream is to end with its usage; options need a stream."""
    streamed = boolean(body, "stream")
    options = member(body, "stream_options")
    if options is None:
        return False
    if not streamed:
        raise RequestRefused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return bool(boolean(options, "include_usage"))
