"""A moderation in the neutral form: what is to be judged, and the verdicts."""

from msgspec import Struct

from posthouse.model.chat import Part
from posthouse.model.usage import ReportedUsage

KIND = "moderation"
"""What codecs of moderations are called."""

CATEGORIES = {
    "harassment": "insults, demeans or harasses somebody",
    "harassment/threatening": "harassment that threatens violence or serious harm",
    "hate": "hatred for a group by race, religion, gender, origin, sexuality or "
    "disability",
    "hate/threatening": "hatred that threatens violence or serious harm",
    "illicit": "gives instructions or advice for wrongdoing",
    "illicit/violent": "the same, with weapons or violence",
    "self-harm": "promotes, encourages or depicts harming oneself",
    "self-harm/intent": "the speaker means to harm himself",
    "self-harm/instructions": "tells how to harm oneself",
    "sexual": "is meant to arouse, or promotes sexual services",
    "sexual/minors": "sexual content with somebody under 18 years of age",
    "violence": "depicts death, violence or injury",
    "violence/graphic": "depicts them in graphic detail",
}
"""What OpenAI's newest model judges by, and what each means."""
OF_IMAGES = frozenset(
    {
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "violence",
        "violence/graphic",
    }
)
"""Categories that pictures are judged by as well."""


TOKENS_PER_VERDICT = 256


def verdicts_limit(inputs: int) -> int:
    """The most tokens in which the verdicts of so many inputs are said."""
    return 64 + TOKENS_PER_VERDICT * inputs


class ModerationInput(Struct, frozen=True):
    """One thing to judge: a text, or texts and pictures together."""

    parts: tuple[Part, ...]


class ModerationRequest(Struct, frozen=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    inputs: tuple[ModerationInput, ...]
    extras: tuple[str, ...] = ()
    """Names of what else the caller said."""


class Verdict(Struct, frozen=True):
    """What was found in one of the inputs."""

    scores: dict[str, float]
    """From 0 to 1, by category."""
    flagged: frozenset[str]
    """The categories that apply."""


class ModerationReply(Struct, frozen=True, kw_only=True):
    """What was answered: a verdict of each input."""

    verdicts: tuple[Verdict, ...]
    id: str
    """Letters and digits."""
    usage: ReportedUsage | None = None
