"""Files that callers name by links in their words, for models that shall read them.

A link that cannot be fetched stays what it was, words; the reply tells that nothing
was made of it.
"""

import asyncio

from msgspec import structs

from posthouse.dialects.base import PromptSize
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.links import links_in, with_linked
from posthouse.errors import PosthouseError
from posthouse.model.call import Operation
from posthouse.model.chat import Audio, Document, Image, Media, Part
from posthouse.model.traits import Traits
from posthouse.relay.call import Incoming
from posthouse.relay.media import BringMedia
from posthouse.relay.prepare import find_codec
from posthouse.wire import json

LOSS = "-links"
_TALK = frozenset({"messages", "input", "contents"})
"""What holds the conversation, in any dialect."""
_EVERYTHING = Traits(developer=True, custom_tools=True)
"""The request is written for its own dialect again: nothing in it is new there."""


def _larger(size: PromptSize, added: tuple[Part, ...]) -> PromptSize:
    """What a prompt amounts to with further parts."""
    return structs.replace(
        size,
        images=size.images + sum(isinstance(part, Image) for part in added),
        audio_parts=size.audio_parts + sum(isinstance(part, Audio) for part in added),
        files=size.files + sum(isinstance(part, Document) for part in added),
    )


class Links:
    """Puts what links lead to into requests."""

    def __init__(self, bring: BringMedia) -> None:
        """Fetch by `bring`."""
        self._bring = bring

    async def followed(self, incoming: Incoming) -> Incoming:
        """Give a call with what its links lead to; raises InvalidRequest."""
        request = incoming.request
        codec = find_codec(incoming.dialect.name)
        if codec is None or request.operation is not Operation.CHAT:
            return incoming
        chat = codec.read_request(request)
        urls = links_in(chat)
        if not urls:
            return incoming
        found = await asyncio.gather(*map(self._fetched, urls))
        fetched = {url: one for url, one in zip(urls, found, strict=True) if one}
        dropped = request.dropped
        if len(fetched) < len(urls):
            dropped += (LOSS,)
        filled, added = with_linked(chat, fetched)
        written = codec.write_request(filled, _EVERYTHING, Losses())
        talk = {name: json.raw(written[name]) for name in _TALK if name in written}
        envelope = {**request.envelope, **talk}
        changed = structs.replace(
            request,
            envelope=envelope,
            prompt=_larger(request.prompt, added),
            dropped=dropped,
            kept=None,
            plain=False,
        )
        return structs.replace(incoming, request=changed, bring=self._bring)

    async def _fetched(self, url: str) -> Media | None:
        found: dict[str, Media] = {}
        try:
            await self._bring((url,), found)
        except PosthouseError:
            return None
        return found[url]
