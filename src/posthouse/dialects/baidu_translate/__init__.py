"""Baidu's text translation: /api/trans/vip/translate, a form or a query.

Sources: https://fanyi-api.baidu.com/doc/21 (parameters, languages, errors). What is
translated is one text whose lines are translated one by one; requests are signed by
`providers.auth.baidu_sign`. An error comes with status 200 and an `error_code`.
"""

from typing_extensions import override

from posthouse.dialects.baidu_translate.codec import BaiduCodec
from posthouse.dialects.baidu_translate.reply import MANNERS, parse_error, parse_reply
from posthouse.dialects.baidu_translate.request import (
    parse_request,
    prompt_text,
    rendered,
)
from posthouse.dialects.base import (
    Answer,
    Edits,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
)
from posthouse.wire.multipart import Payload

__all__ = ["DIALECT", "PLAIN_CODEC"]


class BaiduTranslate(MediaDialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "baidu_translate"
    manners = MANNERS
    parse_request = staticmethod(parse_request)
    parse_error = staticmethod(parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return rendered(request, edits)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer.body)


DIALECT = BaiduTranslate()
PLAIN_CODEC = BaiduCodec()
