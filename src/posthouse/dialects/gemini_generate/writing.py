"""One request on its way to a provider of this dialect."""

from msgspec import Struct

from posthouse.dialects.gemini_generate.signatures import NAME
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import CacheMark, Extras
from posthouse.model.traits import Traits


class Writing(Struct, frozen=True):
    """What the writers of a request's pieces know."""

    own: bool
    """It was read from this dialect: what it had beside goes back."""
    traits: Traits
    losses: Losses

    def extras(self, extras: Extras, place: str) -> Extras:
        """Give what goes back, or tell that it is left out."""
        if self.own or not extras:
            return extras
        for name in extras:
            self.losses.drop(f"{place}.{name}" if place else name)
        return {}

    def mark(self, cache: CacheMark | None) -> None:
        """Tell of a mark that Google has no word for: it keeps prompts unasked."""
        if cache is not None:
            self.losses.drop("cache_control")


def writing(dialect: str, traits: Traits, losses: Losses) -> Writing:
    """Begin to write a request that was read from a dialect."""
    return Writing(dialect == NAME, traits, losses)
