"""Every method of an SDK's client that asks its API, with arguments made up for it.

Methods are found by looking, and their arguments made of their signatures: what is
required gets a value of its type. Those that only join others, wait, or keep a
connection open, ask nothing of their own.
"""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import typing_extensions


def words(text: str) -> frozenset[str]:
    """Give the words of a text."""
    return frozenset(text.split())


JOINING = (
    "_and_poll",
    "_and_stream",
    "_and_wait",
    "_chunked",
    "connect",
    "for_result",
    "helper",
    "parse",
    "parse_unverified",
    "poll",
    "prepare",
    "prepare_directory",
    "runner",
    "stream",
    "tool_runner",
    "unwrap",
    "upload_file",
    "verify_signature",
    "wait_for_processing",
    "worker",
)
"""With these end the names of methods that are made of others."""
MADE_OF_OTHERS = frozenset(
    {
        "beta.agents.environments.files.upload",
        "beta.messages.batches.results",
        "beta.messages.thread",
        "messages.batches.results",
        "vector_stores.files.upload",
    }
)
DIRECT = frozenset(
    {
        "beta.environments.work.poll",
        "beta.sessions.events.stream",
        "beta.sessions.threads.events.stream",
    }
)
"""Those that end so and ask all the same."""
DEEP = 6


class Method(NamedTuple):
    """A method of an API."""

    name: str
    """With dots: `vector_stores.files.list`."""
    call: Callable[..., Any]
    """Gives the raw answer, where the SDK has such a thing."""
    arguments: dict[str, Any]


def methods_of(client: Any) -> Iterator[Method]:
    """Find them all."""
    yield from _below(client, "")


def _below(resource: Any, path: str) -> Iterator[Method]:
    kind = type(resource)
    for name in dir(kind):
        if name.startswith(("_", "with_")) or (not path and name in CLIENTS):
            continue
        found = getattr(kind, name)
        here = f"{path}.{name}" if path else name
        if inspect.isfunction(found):
            joins = name.endswith(JOINING) or here in MADE_OF_OTHERS
            if path and (here in DIRECT or not joins):
                yield _method(resource, name, here)
        elif isinstance(found, property) or type(found).__name__ == "cached_property":
            inner = getattr(resource, name)
            if type(inner).__module__.partition(".")[0] in ("openai", "anthropic"):
                yield from _below(inner, here)


CLIENTS = words(
    """
    close copy delete get get_api_list is_closed patch platform_headers post put
    request with_middleware auth_headers base_url custom_auth default_headers
    default_query qs timeout user_agent middleware open_telemetry webhook_key
    """
)
"""What a client has beside its resources."""


def _method(resource: Any, name: str, here: str) -> Method:
    function = getattr(type(resource), name)
    raw = getattr(getattr(resource, "with_raw_response", None), name, None)
    return Method(here, raw or getattr(resource, name), arguments_of(function))


def arguments_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Make up what a method requires."""
    overloads = typing_extensions.get_overloads(function)
    wanted = overloads[0] if overloads else function
    scope = dict(vars(sys.modules[function.__module__]))
    made: dict[str, Any] = {}
    for parameter in inspect.signature(wanted).parameters.values():
        if parameter.name == "self" or parameter.default is not parameter.empty:
            continue
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        kind = parameter.annotation
        if isinstance(kind, str):
            kind = eval(kind, scope)
        made[parameter.name] = value_of(kind, parameter.name)
    return made


def value_of(kind: Any, name: str, depth: int = 0) -> Any:
    """Make up a value of a type."""
    origin, inner = get_origin(kind), get_args(kind)
    if typing_extensions.is_typeddict(kind):
        return _of_typed_dict(kind, depth)
    if origin is None or not inner:
        return _plain(kind, name)
    return _of_generic(origin, inner, name, depth)


def _of_generic(origin: Any, inner: tuple[Any, ...], name: str, depth: int) -> Any:
    """Make up a value of a type that is made of others."""
    if origin is Literal:
        return inner[0]
    if origin in (Union, types.UnionType):
        return _of_union(inner, name, depth)
    value = value_of(
        inner[-1 if "apping" in str(origin) or origin is dict else 0], name, depth + 1
    )
    if origin in (typing_extensions.Required, typing.Annotated):
        return value
    return {"key": value} if origin is dict or "apping" in str(origin) else [value]


def _of_union(inner: tuple[Any, ...], name: str, depth: int) -> Any:
    """A value of the simplest of some types."""
    if bytes in inner:
        return (f"{name}.txt", b"\x00 bytes of a file \xff\r\n--", "text/plain")
    known = [one for one in inner if one is not type(None)]
    return value_of(known[0], name, depth)


def _of_typed_dict(kind: Any, depth: int) -> dict[str, Any]:
    if depth > DEEP:
        return {}
    module = vars(sys.modules[kind.__module__])
    made = {}
    for base in reversed(kind.__mro__):
        for name in getattr(base, "__required_keys__", ()):
            hint = kind.__annotations__.get(name)
            if hint is not None:
                if isinstance(hint, typing.ForwardRef):
                    hint = hint.__forward_arg__
                if isinstance(hint, str):
                    hint = _evaluated(hint, module)
                made[name] = value_of(hint, name, depth + 1)
    for name in kind.__required_keys__ - made.keys():
        hint = kind.__annotations__[name]
        if isinstance(hint, typing.ForwardRef):
            hint = _evaluated(hint.__forward_arg__, module)
        made[name] = value_of(hint, name, depth + 1)
    return made


def _evaluated(hint: str, module: dict[str, Any]) -> Any:
    try:
        return eval(hint, {**vars(typing), **module})
    except NameError:
        return str


_PLAIN: dict[Any, Any] = {
    int: 3,
    float: 1.5,
    bool: True,
    bytes: b"bytes",
    object: {"any": "thing"},
    dict: {"any": "thing"},
}


def _plain(kind: Any, name: str) -> Any:
    if inspect.isclass(kind) and kind.__name__ == "datetime":
        return "2026-01-31T00:00:00Z"
    return _PLAIN.get(kind, f"{name}-1") if inspect.isclass(kind) else f"{name}-1"
