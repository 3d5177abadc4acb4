"""Requests of nothing but words, as most are: decoded once, to be judged and read.

Whatever has a member more, one of another type or in the other spelling, is judged
and read member by member (`request`, `read_request`).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from posthouse.dialects.openai.envelope import COUNT_LIMIT, LARGEST_NUMBER
from posthouse.wire import json
from posthouse.wire.json import Envelope

CONTENTS_LIMIT = 16_384
"""More have never been seen in one conversation."""


class Words(Struct, gc=False, forbid_unknown_fields=True):
    """A part that is a text."""

    text: str


class Content(Struct, gc=False, forbid_unknown_fields=True):
    """What somebody has said; its role is the user's where there is none."""

    parts: list[Words]
    role: Literal["user", "model"] | None = None


class Config(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """How the answer is to be drawn; whole numbers stay what they are."""

    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    frequency_penalty: int | float | None = None
    presence_penalty: int | float | None = None
    seed: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=COUNT_LIMIT)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)] | None = None


class Asked(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """All that such a request says."""

    contents: Annotated[list[Content], Meta(min_length=1, max_length=CONTENTS_LIMIT)]
    system_instruction: Content | None = None
    generation_config: Config | None = None

    def said(self) -> list[Content]:
        """What is said, by the system first."""
        system = self.system_instruction
        return self.contents if system is None else [system, *self.contents]


_asked = json.decoder(Asked)
_NAMES = frozenset(Asked.__struct_encode_fields__)


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
    return asked
