"""Our own translations into the neutral form and out."""

from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import optional_text
from posthouse.dialects.openai.translating import check_count, texts_in
from posthouse.dialects.openai.upstream_only import refuse_asking
from posthouse.dialects.plain_translate.request import FORMATS
from posthouse.errors import UpstreamBadResponse
from posthouse.model.translation import KIND, TranslationReply, TranslationRequest
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "plain_translate"
_READ = frozenset({"model", "text", "target_language", "source_language", "format"}) | {
    "user"
}


class PlainTranslateCodec(PlainCodec[TranslationRequest, TranslationReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> TranslationRequest:
        envelope = request.envelope
        source = optional_text(envelope, "source_language")
        return TranslationRequest(
            dialect=NAME,
            texts=tuple(texts_in(envelope, "text")),
            target=(optional_text(envelope, "target_language") or "").lower(),
            source=source.lower() if source else None,
            markup=FORMATS[optional_text(envelope, "format") or "text/plain"],
            extras=tuple(name for name in envelope if name not in _READ),
        )

    @override
    def write_request(
        self, asked: TranslationRequest, model: str, losses: Losses
    ) -> Written:
        refuse_asking()

    @override
    def read_reply(
        self, reply: ParsedReply, asked: TranslationRequest
    ) -> TranslationReply:
        refuse_asking()

    @override
    def write_reply(
        self, answered: TranslationReply, request: ParsedRequest, model: str
    ) -> Payload:
        asked = self.read_request(request)
        if not check_count(answered, asked):
            raise UpstreamBadResponse
        written = {
            "model": model,
            "target_language": asked.target,
            "translations": [
                {"text": one.text, "source_language": one.source or asked.source}
                for one in answered.translations
            ],
        }
        return Payload(b"application/json", json.encode(written))
