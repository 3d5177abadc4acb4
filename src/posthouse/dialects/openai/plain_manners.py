"""Errors for clients whose vendors name the message their own way.

OpenAI's `error` object stands beside that member: who knows one of them finds it.
"""

from collections.abc import Callable

from posthouse.dialects.base import Headers, Manners, error_headers
from posthouse.dialects.openai.errors import (
    error_frame,
    render_error_body,
    status_of,
)
from posthouse.errors import PosthouseError
from posthouse.wire import json

Status = Callable[[PosthouseError], int]


def manners_with(member: str, status: Status = status_of) -> Manners:
    """Make the manners of a vendor whose errors say what is wrong in a member.

    Args:
        member: its name.
        status: under which HTTP status its clients look for an error.
    """

    def render_error(error: PosthouseError) -> tuple[int, Headers, bytes]:
        envelope = json.decode_envelope(render_error_body(error))
        body = json.encode({member: error.message, **envelope})
        return status(error), error_headers(error), body

    return Manners(render_error, error_frame)
