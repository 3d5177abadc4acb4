"""DeepL's translations into the neutral form and out."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.deepl_translate.reply import Reply, reply_decoder
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import flag, optional_text
from posthouse.dialects.openai.translating import check_count, texts_in
from posthouse.errors import UpstreamBadResponse
from posthouse.model.translation import (
    KIND,
    Translated,
    TranslationReply,
    TranslationRequest,
)
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "deepl_translate"
_READ = frozenset({"model", "text", "target_lang", "source_lang", "context"}) | {
    "formality",
    "tag_handling",
    "show_billed_characters",
}
_SAYS_NOTHING = frozenset({b"null", b'"default"', b"false", b"[]"})
_TARGETS = {"en": "EN-US", "pt": "PT-BR", "zh-cn": "ZH-HANS", "zh-tw": "ZH-HANT"}
"""What it wants to know more exactly, of languages to translate into."""
_SOURCES = frozenset({"en", "es", "pt", "zh"})
"""Languages whose variants it does not tell apart in what is to be translated."""


class DeepLCodec(PlainCodec[TranslationRequest, TranslationReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> TranslationRequest:
        envelope = request.envelope
        source = optional_text(envelope, "source_lang")
        formality = optional_text(envelope, "formality")
        return TranslationRequest(
            dialect=NAME,
            texts=tuple(texts_in(envelope, "text")),
            target=(optional_text(envelope, "target_lang") or "").lower(),
            source=source.lower() if source else None,
            context=optional_text(envelope, "context") or None,
            formality=None if formality == "default" else formality,
            markup=optional_text(envelope, "tag_handling"),
            extras=tuple(
                name
                for name, value in envelope.items()
                if name not in _READ and bytes(value) not in _SAYS_NOTHING
            ),
        )

    @override
    def write_request(
        self, asked: TranslationRequest, model: str, losses: Losses
    ) -> Written:
        written: dict[str, Any] = {
            "text": asked.texts,
            "target_lang": _TARGETS.get(asked.target, asked.target.upper()),
        }
        if asked.source is not None:
            first = asked.source.partition("-")[0]
            source = first if first in _SOURCES else asked.source
            written["source_lang"] = source.upper()
        optional = {
            "context": asked.context,
            "formality": asked.formality,
            "tag_handling": asked.markup,
        }
        written |= {name: said for name, said in optional.items() if said is not None}
        for name in asked.extras:
            losses.drop(name)
        return Written(written)

    @override
    def read_reply(
        self, reply: ParsedReply, asked: TranslationRequest
    ) -> TranslationReply:
        found: Reply = json.decode_with(reply_decoder, reply.body)
        return TranslationReply(
            translations=tuple(
                Translated(
                    one.text,
                    one.detected_source_language
                    and one.detected_source_language.lower(),
                )
                for one in found.translations
            ),
            usage=reply.usage,
        )

    @override
    def write_reply(
        self, answered: TranslationReply, request: ParsedRequest, model: str
    ) -> Payload:
        asked = self.read_request(request)
        if not check_count(answered, asked):
            raise UpstreamBadResponse
        shown = flag(request.envelope, "show_billed_characters")
        written = []
        for text, one in zip(asked.texts, answered.translations, strict=True):
            source = (one.source or asked.source or "en").partition("-")[0].upper()
            members: dict[str, Any] = {
                "detected_source_language": source,
                "text": one.text,
            }
            if shown:
                members["billed_characters"] = len(text)
            written.append(members)
        body = json.encode({"translations": written})
        return Payload(b"application/json", body)
