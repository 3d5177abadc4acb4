"""AWS Bedrock's Converse and ConverseStream, as providers speak them.

Source: the service model `bedrock-runtime` 2023-09-30 as botocore 1.44.5 has it. No
client asks us in it: see `openai.upstream_only`.
"""

from typing import NoReturn

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.bedrock_converse.decoder import ConverseDecoder
from posthouse.dialects.bedrock_converse.errors import parse_error
from posthouse.dialects.bedrock_converse.frames import ConverseFrames
from posthouse.dialects.bedrock_converse.names import NAME
from posthouse.dialects.bedrock_converse.reply import read_reply
from posthouse.dialects.bedrock_converse.write_request import write_request
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
)
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.model.chat import ChatReply, ChatRequest

__all__ = ["CODEC", "DIALECT"]


class ConverseCodec(ChatCodec):
    """The codec's object; see `ChatCodec` for what each method promises."""

    several = False
    write_request = staticmethod(write_request)
    read_reply = staticmethod(read_reply)

    @override
    def decoder(self) -> ChatDecoder:
        return ConverseDecoder()

    @override
    def read_request(self, request: ParsedRequest) -> ChatRequest:
        _refuse()

    @override
    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        _refuse()

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        _refuse()


def _refuse() -> NoReturn:
    raise LookupError(f"nobody asks in {NAME}")


DIALECT = UpstreamOnly(NAME, parse_error, ConverseFrames)
CODEC = ConverseCodec()
