"""Tencent's ChatCompletions, as Hunyuan's own API has it.

Source: `ChatCompletionsRequest` and `ChatCompletionsResponse` of version 2023-09-01,
as tencentcloud-sdk-python-hunyuan 3.1 has them. It is OpenAI's chat with other
letters; the signature is `providers.auth.tc3`'s.
"""

from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.dialects.tencent_chat.errors import parse_error
from posthouse.dialects.tencent_chat.shape import TencentShape

__all__ = ["DIALECT", "SHAPE"]

DIALECT = UpstreamOnly("tencent_chat", parse_error)
SHAPE = TencentShape()
