"""Baidu's translations into the neutral form and out.

Each line is a text: as Baidu translates them one by one, so does whoever stands in
for it. Several texts go to Baidu as the lines of one, and their translations are put
together again.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.baidu_translate.reply import Reply, reply_decoder
from posthouse.dialects.baidu_translate.request import (
    AUTOMATIC,
    SIZE_LIMIT,
    lines_of,
    text_of,
)
from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import optional_text
from posthouse.dialects.openai.translating import check_count
from posthouse.errors import UpstreamBadResponse
from posthouse.model.translation import (
    KIND,
    Translated,
    TranslationReply,
    TranslationRequest,
)
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "baidu_translate"
_READ = frozenset({"model", "q", "from", "to"})

_OWN = {
    "ar": "ara",
    "bg": "bul",
    "da": "dan",
    "es": "spa",
    "et": "est",
    "fi": "fin",
    "fr": "fra",
    "ja": "jp",
    "ko": "kor",
    "ro": "rom",
    "sl": "slo",
    "sv": "swe",
    "vi": "vie",
    "zh-hans": "zh",
    "zh-cn": "zh",
    "zh-hant": "cht",
    "zh-tw": "cht",
    "lzh": "wyw",
}
"""What Baidu calls a language otherwise than the rest of the world."""
_USUAL = {own: tag for tag, own in _OWN.items() if own != "zh"} | {"cht": "zh-hant"}


class BaiduCodec(PlainCodec[TranslationRequest, TranslationReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> TranslationRequest:
        envelope = request.envelope
        source = (optional_text(envelope, "from") or AUTOMATIC).lower()
        target = (optional_text(envelope, "to") or "").lower()
        return TranslationRequest(
            dialect=NAME,
            texts=tuple(lines_of(text_of(envelope))),
            target=_USUAL.get(target, target),
            source=None if source == AUTOMATIC else _USUAL.get(source, source),
            extras=tuple(name for name in envelope if name not in _READ),
        )

    @override
    def write_request(
        self, asked: TranslationRequest, model: str, losses: Losses
    ) -> Written:
        lines = [line for text in asked.texts for line in lines_of(text)]
        joined = "\n".join(lines)
        if len(joined.encode(errors="replace")) > SIZE_LIMIT:
            losses.refuse(
                "text", f"This model translates at most {SIZE_LIMIT} bytes at once."
            )
        if not lines:
            losses.refuse("text", "There is nothing to translate.")
        if asked.markup is not None:
            losses.drop("tag_handling")
        if asked.context is not None:
            losses.drop("context")
        if asked.formality is not None:
            losses.drop("formality")
        for name in asked.extras:
            losses.drop(name)
        source = AUTOMATIC if asked.source is None else _own(asked.source)
        return Written({"q": joined, "from": source, "to": _own(asked.target)})

    @override
    def read_reply(
        self, reply: ParsedReply, asked: TranslationRequest
    ) -> TranslationReply:
        found: Reply = json.decode_with(reply_decoder, reply.body)
        source = found.source and _USUAL.get(found.source, found.source)
        left = iter(found.trans_result)
        translations = []
        for text in asked.texts:
            lines = [
                next(left).dst if line.strip() else line for line in text.split("\n")
            ]
            translations.append(Translated("\n".join(lines), source))
        return TranslationReply(translations=tuple(translations), usage=reply.usage)

    @override
    def write_reply(
        self, answered: TranslationReply, request: ParsedRequest, model: str
    ) -> Payload:
        asked = self.read_request(request)
        if not check_count(answered, asked):
            raise UpstreamBadResponse
        found = (one.source for one in answered.translations if one.source is not None)
        source = asked.source or next(found, None) or "en"
        written: dict[str, Any] = {
            "from": _own(source),
            "to": optional_text(request.envelope, "to"),
            "trans_result": [
                {"src": text, "dst": one.text}
                for text, one in zip(asked.texts, answered.translations, strict=True)
            ],
        }
        return Payload(b"application/json", json.encode(written))


def _own(tag: str) -> str:
    """What Baidu calls a language: variants that it does not know are left out."""
    return _OWN.get(tag) or _OWN.get(tag.partition("-")[0]) or tag.partition("-")[0]
