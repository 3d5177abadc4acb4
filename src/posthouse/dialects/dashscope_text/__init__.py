"""DashScope's own text generation, beside its compatible mode.

Sources: https://help.aliyun.com/zh/model-studio/qwen-api-reference ("DashScope"), and
`aigc/generation.py` of dashscope 2.0.2. It is OpenAI's chat, taken apart into what is
said and how it shall be answered. Streams come in pieces, each with the usage so far.
"""

from posthouse.dialects.dashscope_text.shape import DashScopeShape
from posthouse.dialects.openai.errors import parse_error
from posthouse.dialects.openai.upstream_only import UpstreamOnly

__all__ = ["DIALECT", "SHAPE"]

DIALECT = UpstreamOnly("dashscope_text", parse_error)
SHAPE = DashScopeShape()
