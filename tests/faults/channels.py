"""Channels as tests write them: only what differs from the usual."""

from typing import Any

from posthouse.wire import json


def channel(name: str, origin: str, **members: Any) -> str:
    """Write a channel of the configuration, and what its provider charges us.

    Args:
        name: its name; its key is `sk-provider-NAME`.
        origin: where its provider listens.
        members: whatever else it says, as JSON would say it (tables are inline).
    """
    fields: dict[str, Any] = {
        "name": name,
        "provider": "openai-compatible",
        "base_url": f"{origin}/v1",
        "api_key": f"sk-provider-{name}",
        **members,
    }
    lines = ["[[channels]]"]
    lines += [f"{key} = {_value(value)}" for key, value in fields.items()]
    lines += ["[[prices]]", 'model = "*"', f'channel = "{name}"']
    lines += ['input = "1"', 'cached_input = "0.25"', 'output = "4"', ""]
    return "\n".join(lines)


def _value(value: Any) -> str:
    """Write a TOML value."""
    if isinstance(value, dict):
        members = (f'"{key}" = {_value(item)}' for key, item in value.items())
        return "{ " + ", ".join(members) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.encode(value).decode()
