"""The way into the neutral form and out; see `ChatCodec`."""

from posthouse.dialects.neutral.codec import ChatCodec
from posthouse.dialects.openai_chat.decoder import Decoder
from posthouse.dialects.openai_chat.encoder import Encoder
from posthouse.dialects.openai_chat.read_reply import read_reply
from posthouse.dialects.openai_chat.read_request import read_request
from posthouse.dialects.openai_chat.write_reply import write_reply
from posthouse.dialects.openai_chat.write_request import write_request


class OpenAIChatCodec(ChatCodec):
    """Reads and writes this dialect."""

    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    read_reply = staticmethod(read_reply)
    write_reply = staticmethod(write_reply)
    decoder = Decoder
    encoder = Encoder
    file_urls = False


CODEC = OpenAIChatCodec()
