"""From a whole reply to the events of a stream that amounts to it.

For providers that do not stream, and for tests: `collect(events_of(reply))` is
the reply.
"""

from collections.abc import Iterator

from posthouse.model.chat import ChatReply
from posthouse.model.chat_events import (
    ChatEvent,
    Ended,
    Finished,
    LogprobsTold,
    PartEnded,
    PartStarted,
    Started,
    UsageTold,
)


def events_of(reply: ChatReply) -> Iterator[ChatEvent]:
    """Give the events; every part comes whole."""
    yield Started(reply.dialect, reply.id, reply.model, reply.created, reply.extras)
    for choice in reply.choices:
        if choice.logprobs is not None:
            yield LogprobsTold(choice.index, choice.logprobs)
        for number, part in enumerate(choice.parts):
            yield PartStarted(choice.index, number, part)
            yield PartEnded(choice.index, number)
        if choice.finish is not None:
            yield Finished(choice.index, choice.finish, choice.extras)
    if reply.usage is not None or reply.service_tier is not None:
        yield UsageTold(reply.usage, reply.service_tier)
    yield Ended()
