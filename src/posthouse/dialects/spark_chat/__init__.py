"""Spark's own form, which is asked by WebSocket: one message out, many back.

Source: https://www.xfyun.cn/doc/spark/Web.html. Each message is a line here. The
address is signed by `providers.auth.spark_url`.
"""

from posthouse.dialects.openai.errors import parse_error
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.dialects.spark_chat.shape import SparkShape
from posthouse.wire.lines import LineDecoder

__all__ = ["DIALECT", "SHAPE"]

DIALECT = UpstreamOnly("spark_chat", parse_error, LineDecoder)
SHAPE = SparkShape()
