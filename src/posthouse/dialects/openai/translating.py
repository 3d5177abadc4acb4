"""What the dialects of text translation have in common: languages, sizes."""

import re
from collections.abc import Sequence

from msgspec import Raw

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import judged
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.translation import TranslationReply, TranslationRequest
from posthouse.model.usage import Unit
from posthouse.wire import json
from posthouse.wire.json import Envelope

CONTEXT_LIMIT = 128 * 1024
"""Characters of what surrounds a text."""

_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")


def language(tag: str, place: str) -> str:
    """Read a language's tag; raises InvalidRequest."""
    if not _TAG.fullmatch(tag):
        raise InvalidRequest(
            f"Value for '{place}' not supported.", param=place, code="invalid_value"
        )
    return tag.lower()


def translation_request(
    envelope: Envelope, model: str, texts: Sequence[str], beside: str = ""
) -> ParsedRequest:
    """Make a request of what is to be translated.

    Args:
        envelope: its members, as a provider of its dialect gets them.
        model: who shall translate; "" leaves it to us.
        texts: they are billed by their characters.
        beside: what else is read.
    """
    size = sum(len(text.encode(errors="replace")) for text in (*texts, beside))
    return ParsedRequest(
        operation=Operation.TRANSLATION,
        envelope=envelope,
        model=model,
        stream=False,
        prompt=PromptSize(text_bytes=size),
        affinity=(),
        output_limit=0,
        counted={Unit.CHARACTER.value: max(1, sum(map(len, texts)))},
        worded_limit=translated_limit(texts),
    )


def translated_limit(texts: Sequence[str]) -> int:
    """The most tokens that translations of these texts may have."""
    size = sum(len(text.encode(errors="replace")) for text in texts)
    return 256 + 48 * len(texts) + size


def check_count(reply: TranslationReply, asked: TranslationRequest) -> bool:
    """Whether there is a translation of every text."""
    return len(reply.translations) == len(asked.texts)


def texts_in(envelope: Envelope, name: str) -> list[str]:
    """Read a member that holds texts, or one text; raises InvalidRequest."""
    value = envelope.get(name)
    found = None if value is None else _read(value, name)
    if isinstance(found, str):
        found = [found]
    if not found:
        raise InvalidRequest(
            f"Parameter '{name}' not specified.",
            param=name,
            code="missing_required_parameter",
        )
    return found


_texts = json.decoder(str | list[str] | None)


def _read(value: Raw, name: str) -> str | list[str] | None:
    return judged(value, name, _texts)  # type: ignore[no-any-return]  # what it gives
