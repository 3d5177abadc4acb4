"""What a model is asked instead, where it has no route for what is asked.

A model that embeds or chats can rerank, one that chats can translate and judge: the
call is then that operation's to its provider, and billed in that operation's units.
"""

from msgspec import structs

from posthouse.dialects.base import ParsedRequest
from posthouse.model.call import Operation

STAND_INS: dict[Operation, tuple[Operation, ...]] = {
    Operation.RERANK: (Operation.EMBEDDING, Operation.CHAT),
    Operation.TRANSLATION: (Operation.CHAT,),
    Operation.MODERATION: (Operation.CHAT,),
}
"""By what is asked, in the order in which they are tried."""

INSTRUCTIONS = 4_096
"""Bytes of what a chat model is told to do, at most."""
_EMBEDS = ("embed", "bge-", "e5-", "gte-")
"""What the names of models that embed have in them."""


def seems_to(operation: Operation, model: str) -> bool:
    """Whether a model that the catalogue does not know does this, by its name."""
    embeds = any(word in model.lower() for word in _EMBEDS)
    return embeds == (operation is Operation.EMBEDDING)


def told_what_to_do(request: ParsedRequest) -> ParsedRequest:
    """The request with what a chat model that stands in is told, and may answer."""
    size = request.prompt
    return structs.replace(
        request,
        prompt=structs.replace(size, text_bytes=size.text_bytes + INSTRUCTIONS),
        output_limit=request.worded_limit,
    )
