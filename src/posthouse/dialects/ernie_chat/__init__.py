"""ERNIE's first API, which some accounts still have.

Source: https://cloud.baidu.com/doc/WENXINWORKSHOP/s/clntwmv7t; `ChatCompletion` of
qianfan 0.4. The model stands in the path, as the endpoint is called there; a token
in the query is `providers.auth.baidu_token`'s.
"""

from posthouse.dialects.ernie_chat.errors import parse_error
from posthouse.dialects.ernie_chat.frames import ErnieFrames
from posthouse.dialects.ernie_chat.shape import ErnieShape
from posthouse.dialects.openai.upstream_only import UpstreamOnly

__all__ = ["DIALECT", "SHAPE"]

DIALECT = UpstreamOnly("ernie_chat", parse_error, ErnieFrames)
SHAPE = ErnieShape()
