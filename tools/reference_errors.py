"""The page of errors, from the tree of exceptions."""

from collections.abc import Iterator

import markdown
from posthouse.dialects.openai.errors import render_error
from posthouse.errors import (
    CallerError,
    InsufficientQuota,
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
    return markdown.page(*parts, tables)
