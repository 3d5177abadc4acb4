"""The page of errors, from the tree of exceptions."""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import markdown
import posthouse
from posthouse.dialects.openai.errors import render_error
from posthouse.errors import (
    CallerError,
    InsufficientQuota,
    InvalidRequest,
    OperatorFault,
    PosthouseError,
    Retry,
    UpstreamFault,
    UpstreamRejected,
)
from posthouse.wire import json

INTRODUCTION = """\
# Errors

Generated from `src/posthouse/errors.py` by `make docs`.

Every error has the shape of OpenAI's, so that an SDK raises the class that its
user expects; `code` is stable, `message` is for people. The reply's
`x-request-id` finds the call in `posthouse calls` and in the log. `retry-after`
(seconds) says when another try makes sense, `x-should-retry: false` that none does.

In a stream that has begun, the same object comes as a `data:` event, and no
`[DONE]` follows it.
"""

REQUEST = """\
## The request

The caller must change something; nothing is charged and no provider is asked.
"""
PROVIDER = """\
## The provider

Every attempt that the rules allow has been made. *Elsewhere* says what was tried
before the caller saw the error: nothing, another credential, another channel, or any.
"""
SERVICE = """\
## The service

The operator must do something, or the service is at its limits.
"""
FINER = """\
## What is wrong with a request

With the status 400 and the type `invalid_request_error`, `code` is mostly one of these;
`param` names the field, and a field that takes only some values is told all of them.
Anthropic's and Google's callers see the message in their own shape.
"""
CHOICE = InvalidRequest.not_one_of
DYNAMIC = "…"
"""Stands for what only the request tells."""
GROUPS: tuple[tuple[type[PosthouseError], str], ...] = (
    (CallerError, REQUEST),
    (UpstreamFault, PROVIDER),
    (OperatorFault, SERVICE),
)
ELSEWHERE = {
    Retry.NEVER: "nothing",
    Retry.CREDENTIAL: "another credential or channel",
    Retry.CHANNEL: "another channel",
    Retry.AGAIN: "any channel, once",
}


def descendants(kind: type[PosthouseError]) -> Iterator[type[PosthouseError]]:
    """Give the kinds below one, in the order of the file."""
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def summary(kind: type[PosthouseError]) -> str:
    """Give a kind's default message."""
    return (kind.__doc__ or "").partition("\n")[0]


def rows(group: type[PosthouseError]) -> Iterator[tuple[str, ...]]:
    """Give the table of a group."""
    for kind in descendants(group):
        own = kind is UpstreamRejected
        yield (
            "the provider's 4xx" if own else str(kind.status),
            "the provider's" if own else f"`{kind.code}`",
            "the provider's" if own else f"`{kind.type}`",
            ELSEWHERE[kind.retry],
            summary(kind),
        )


def refusals() -> dict[str, Counter[str]]:
    """Give the messages of every code under which a request is refused."""
    found: dict[str, Counter[str]] = {}
    folder = Path(inspect.getfile(posthouse)).parent
    for path in sorted(folder.rglob("*.py")):
        if "providers" in path.relative_to(folder).parts:
            # The sandbox's own are a provider's.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and is_refusal(node.func):
                code, message = code_of(node), said(node.args[0] if node.args else None)
                if code:
                    found.setdefault(code, Counter())[message] += 1
            elif isinstance(node, ast.Attribute) and node.attr == CHOICE.__name__:
                refused = CHOICE(DYNAMIC, (DYNAMIC,))
                found.setdefault(str(refused.exact_code), Counter())[str(refused)] += 1
    return found


def is_refusal(function: ast.expr) -> bool:
    """Whether a call makes an InvalidRequest."""
    name = function.id if isinstance(function, ast.Name) else ""
    return name in (InvalidRequest.__name__, "cls")


def code_of(call: ast.Call) -> str:
    """Give the code that a call names; "" if it names none."""
    for keyword in call.keywords:
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


def said(message: ast.expr | None) -> str:
    """Give a message as far as it is the same for every request."""
    text = ""
    if isinstance(message, ast.Constant):
        text = str(message.value)
    elif isinstance(message, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else DYNAMIC
            for part in message.values
        ]
        text = "".join(parts)
    return re.sub("'[^' ]*'", f"'{DYNAMIC}'", text)


def finer_rows() -> Iterator[tuple[str, str]]:
    """Give the table of codes, each with the message that is most usual."""
    for code, messages in sorted(refusals().items()):
        told = sorted(messages.items(), key=lambda one: (not one[0], -one[1], one[0]))
        yield f"`{code}`", told[0][0]


def page() -> str:
    """Write the page."""
    status, headers, body = render_error(InsufficientQuota())
    fields = "\n".join(f"{name.decode()}: {value.decode()}" for name, value in headers)
    shape = json.pretty(json.decode(body, dict))
    example = f"```http\nHTTP/1.1 {status}\n{fields}\n\n{shape}\n```"
    parts = [INTRODUCTION, example]
    head = ("Status", "`code`", "`type`", "Elsewhere", "Meaning")
    tables: list[str] = []
    for group, text in GROUPS:
        tables += [text, *markdown.table(head, rows(group))]
        if group is CallerError:
            finer = markdown.table(("`code`", "For example"), finer_rows())
            tables += [FINER, *finer]
    return markdown.page(*parts, tables)
