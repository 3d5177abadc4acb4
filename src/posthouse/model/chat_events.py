"""A streamed chat reply in the neutral form: what happens, in order.

Rules. `Started` comes first and once, `Ended` last and once. A part is opened,
grows and is ended; its number counts the parts of its choice from 0, in the
order in which they were opened, and parts of one choice may overlap. `Finished`
comes once for each choice, after its parts have ended. Usage is cumulative: a
later `UsageTold` replaces an earlier one, field by field where it says something.
"""

from msgspec import Struct

from posthouse.model.chat import Citation, Extras, Finish, Part, Signature
from posthouse.model.usage import ReportedUsage


class Started(Struct, frozen=True, tag="started", omit_defaults=True):
    """The reply has begun."""

    dialect: str
    """What it is read from."""
    id: str | None = None
    model: str | None = None
    created: int | None = None
    """Unix seconds."""
    extras: Extras = {}


class PartStarted(Struct, frozen=True, tag="part_started", omit_defaults=True):
    """A part begins, with whatever is known of it; some come whole."""

    choice: int
    part: int
    content: Part


class PartGrew(Struct, frozen=True, tag="part_grew", omit_defaults=True):
    """More of a part.

    Of a text, thought or refusal its words, of a call its arguments, of a sound
    its base64.
    """

    choice: int
    part: int
    text: str


class PartSigned(Struct, frozen=True, tag="part_signed", omit_defaults=True):
    """A part's signature; a later one replaces it."""

    choice: int
    part: int
    signature: Signature


class PartCited(Struct, frozen=True, tag="part_cited", omit_defaults=True):
    """A text's next citation."""

    choice: int
    part: int
    citation: Citation


class AudioTold(Struct, frozen=True, tag="audio_told", omit_defaults=True):
    """What else is known of a sound: more of its transcript, its end of life."""

    choice: int
    part: int
    transcript: str = ""
    expires_at: int | None = None


class PartEnded(Struct, frozen=True, tag="part_ended", omit_defaults=True):
    """A part is whole."""

    choice: int
    part: int
    extras: Extras = {}
    """Added to those that it began with."""


class LogprobsTold(Struct, frozen=True, tag="logprobs_told", omit_defaults=True):
    """The probabilities of a choice's next tokens, in OpenAI's shape.

    It comes before the words that they are of.
    """

    choice: int
    tokens: tuple[Extras, ...]


class Finished(Struct, frozen=True, tag="finished", omit_defaults=True):
    """A choice is whole."""

    choice: int
    finish: Finish
    extras: Extras = {}


class UsageTold(Struct, frozen=True, tag="usage_told", omit_defaults=True):
    """What the reply has used so far."""

    usage: ReportedUsage | None
    service_tier: str | None = None
    extras: Extras = {}


class Beat(Struct, frozen=True, tag="beat", omit_defaults=True):
    """The provider is still there."""


class Ended(Struct, frozen=True, tag="ended", omit_defaults=True):
    """The reply is whole."""

    extras: Extras = {}


ChatEvent = (
    Started
    | PartStarted
    | PartGrew
    | PartSigned
    | PartCited
    | AudioTold
    | PartEnded
    | LogprobsTold
    | Finished
    | UsageTold
    | Beat
    | Ended
)
