"""Tools that stand in a namespace, under names that every dialect takes.

Codex keeps the tools of an MCP server, and in some versions all its tools, in a
`namespace`; it finds a tool only under both names, so what a model calls by the
joined one must go back as two. Which was which is kept in the request's `served`.

Source: codex-rs, `tools/src/tool_spec.rs` and `protocol/src/models.rs` (2026).
"""

from typing import Any

from posthouse.model.chat import ChatRequest, Extras

SERVED = "namespaces"
"""The name in `served` of a map from joined names to namespace and name."""
_PLAIN = "functions"
"""Codex's namespace for what has none; its calls need not name it."""

Pair = tuple[str, str]


def joined(namespace: str, name: str) -> str:
    """The name of both that other dialects are told."""
    if namespace == _PLAIN:
        return name
    return f"{namespace}{name}" if namespace[-1:] in "_-" else f"{namespace}__{name}"


class Namespaces:
    """The namespaces that a request names."""

    __slots__ = ("_descriptions", "_pairs")

    def __init__(self) -> None:
        """None yet."""
        self._pairs: dict[str, list[str]] = {}
        self._descriptions: dict[str, str] = {}

    def join(self, namespace: str | None, name: str) -> str:
        """Give the joined name, and remember what it stands for."""
        if not namespace:
            return name
        both = joined(namespace, name)
        self._pairs[both] = [namespace, name]
        return both

    def describe(self, namespace: str, description: str | None) -> None:
        """Remember what is said of a namespace as a whole."""
        if description is not None:
            self._descriptions[namespace] = description

    def served(self) -> Extras:
        """What a request keeps of them."""
        if not self._pairs:
            return {}
        return {SERVED: {"names": self._pairs, "descriptions": self._descriptions}}


def pairs_of(chat: ChatRequest) -> dict[str, Pair]:
    """The namespace and name of each joined name."""
    found: dict[str, Any] = chat.served.get(SERVED) or {}
    return {both: (pair[0], pair[1]) for both, pair in found.get("names", {}).items()}


def descriptions_of(chat: ChatRequest) -> dict[str, str]:
    """What is said of each namespace."""
    found: dict[str, Any] = chat.served.get(SERVED) or {}
    return dict(found.get("descriptions", {}))


def called(pairs: dict[str, Pair], name: str) -> Extras:
    """The same for a call that goes to a client.

    Who keeps tools in the plain namespace knows them without it.
    """
    found = split(pairs, name)
    return {"name": found["name"]} if found.get("namespace") == _PLAIN else found


def split(pairs: dict[str, Pair], name: str) -> Extras:
    """The members that name a tool: one, or two where it has a namespace."""
    pair = pairs.get(name)
    if pair is None:
        return {"name": name}
    return {"name": pair[1], "namespace": pair[0]}
