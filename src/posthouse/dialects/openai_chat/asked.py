"""Requests of nothing but words, as most are: decoded once, to be judged and read.

Whatever has a member more, or one of another type, is judged member by member
(`request`) and read by other types (`usual_request`).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from posthouse.dialects.openai.envelope import LARGEST_NUMBER, MODEL_NAME_LIMIT
from posthouse.wire import json
from posthouse.wire.json import Envelope

MESSAGES_LIMIT = 16_384
"""More have never been seen in one conversation."""

_Tokens = Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)]


class Options(Struct, gc=False, kw_only=True):
    """How the answer is to be drawn; whole numbers stay what they are."""

    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    frequency_penalty: int | float | None = None
    presence_penalty: int | float | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] | None = None


class Words(Struct, gc=False, forbid_unknown_fields=True):
    """What somebody has said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str
    name: str | None = None


class Asked(Options, gc=False, kw_only=True):
    """All that such a request says."""

    model: Annotated[str, Meta(min_length=1, max_length=MODEL_NAME_LIMIT)]
    messages: Annotated[list[Words], Meta(min_length=1, max_length=MESSAGES_LIMIT)]
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    user: Annotated[str, Meta(pattern=r"\A[^\r\n\0]*\Z")] | None = None
    stream: bool | None = None


_asked = json.decoder(Asked)
_NAMES = frozenset(Asked.__struct_fields__)


def read_asked(body: bytes, envelope: Envelope) -> Asked | None:
    """Read a whole request; None if it is not such a one.

    Args:
        body: the request.
        envelope: its top level, decoded before.
    """
    if not envelope.keys() <= _NAMES:
        return None
    try:
        asked: Asked = _asked.decode(body)
    except json.DECODE_ERRORS:
        return None
    return asked if asked.model.isprintable() else None
