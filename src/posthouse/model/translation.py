"""Translated texts in the neutral form: what its dialects are read into and from.

Rules. A language is its BCP 47 tag in lower case (`en`, `en-us`, `zh-hant`), whatever
a dialect calls it. There are as many translations as texts, in their order.
"""

from msgspec import Struct

from posthouse.model.usage import ReportedUsage

KIND = "translation"
"""What codecs of translations are called."""


class TranslationRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    texts: tuple[str, ...]
    target: str
    """The language to translate into."""
    source: str | None = None
    """The language of the texts; None is to be found out."""
    context: str | None = None
    """What surrounds the texts; it is not translated."""
    formality: str | None = None
    """`more` or `less`, or either after `prefer_`; None: as is usual."""
    markup: str | None = None
    """`html` or `xml`, if the texts hold tags."""
    extras: tuple[str, ...] = ()
    """Names of what else the caller said."""


class Translated(Struct, frozen=True):
    """One text in the other language."""

    text: str
    source: str | None = None
    """The language that it was in; None: nobody has said."""


class TranslationReply(Struct, frozen=True, kw_only=True):
    """What was answered."""

    translations: tuple[Translated, ...]
    usage: ReportedUsage | None = None
