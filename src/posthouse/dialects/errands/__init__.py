"""What a chat comes to at a model that does not chat: pictures, speech, vectors.

A client of a chat dialect may name any model. Where that makes pictures, speaks,
listens, ranks or embeds, the chat is its errand: the words of the last message of the
user are the prompt, the media of that message what is worked on, and the result is
told as the answer of a chat. The errand itself is an ordinary request of the
operation's own route, so that it is routed, priced and recorded like one.
"""

from posthouse.dialects.errands.asking import Errand, errand_of, wanted_urls
from posthouse.dialects.errands.telling import (
    Result,
    as_it_came,
    chat_reply,
    write_answer,
)

__all__ = [
    "Errand",
    "Result",
    "as_it_came",
    "chat_reply",
    "errand_of",
    "wanted_urls",
    "write_answer",
]
