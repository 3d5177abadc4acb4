"""Pictures as their caller wants them: a URL or base64, whatever the provider gave.

It is done behind the settlement, so nothing here fails a call: what cannot be turned
stays as it came. URLs are the provider's word, and so are fetched by the guarded
egress. What they lead to must be a picture by its own bytes.
"""

import asyncio
import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable

from msgspec import Raw, structs

from posthouse.dialects.openai.image_reply import reply_envelope
from posthouse.errors import PosthouseError
from posthouse.observe.logs import logger
from posthouse.relay.call import Incoming
from posthouse.relay.media import FetchURL
from posthouse.relay.media_store import MediaStore
from posthouse.relay.served import Served
from posthouse.routing.plan import Target
from posthouse.upstream.egress import Fetch
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON
from posthouse.wire.multipart import JSON
from posthouse.wire.pictures import picture_type
from posthouse.wire.sse import SSEDecoder, with_data

log = logger("posthouse.delivery")

MOST_PICTURES = 16
"""Of one reply that are looked at."""
_URL, _BASE64 = "url", "b64_json"
_DATA = "data:"
_FETCHED = ("http://", "https://")
_pictures = json.decoder(list[Envelope])
_picture = json.decoder(Envelope)
_text = json.decoder(str | None)

Turn = Callable[[Envelope], Awaitable[bool]]
"""Turns one picture; tells whether anything has changed."""


class ImageDelivery:
    """Sees to how pictures are given."""

    def __init__(
        self, fetch: FetchURL, store: MediaStore, *, rehost: bool = False
    ) -> None:
        """Fetch and keep by these; with `rehost` no provider's URL is given out."""
        self._fetch = fetch
        self._store = store
        self._rehost = rehost

    async def chosen(self, incoming: Incoming) -> Incoming:
        """Have a call's pictures delivered as it wants them."""
        wanted = incoming.request.wants_base64
        if incoming.request.stream:
            # Their events have no other form.
            return structs.replace(incoming, deliver=self._streamed)
        if wanted is None and not self._rehost:
            return incoming
        return structs.replace(incoming, deliver=self._deliverer(wanted))

    async def _streamed(self, _: Target, served: Served) -> Served:
        """Turn the events of a stream that has come in one piece."""
        frames = SSEDecoder()
        turned = []
        for raw, data in (*frames.feed(served.body), *frames.close()):
            try:
                picture = reply_envelope(data) if data else {}
                changed = await self._as_base64(picture)
            except MalformedJSON:
                changed = False
            turned.append(with_data(raw, json.encode(picture)) if changed else raw)
        return structs.replace(served, body=b"".join(turned))

    async def as_given(self, incoming: Incoming) -> Incoming:
        """Have a call's pictures delivered as the provider gives them, but kept."""
        if not self._rehost:
            return incoming
        return structs.replace(incoming, deliver=self._deliverer(None))

    def _deliverer(
        self, wanted: bool | None
    ) -> Callable[[Target, Served], Awaitable[Served]]:
        if wanted:
            turn: Turn = self._as_base64
        elif wanted is None:
            turn = self._kept
        else:
            turn = self._as_url

        async def deliver(_: Target, served: Served) -> Served:
            if served.content_type != JSON:
                return served
            try:
                body = await _turned(served.body, turn)
            except MalformedJSON:
                return served
            return served if body is None else structs.replace(served, body=body)

        return deliver

    async def _as_base64(self, picture: Envelope) -> bool:
        url = _text_in(picture, _URL)
        if not url or _text_in(picture, _BASE64):
            return False
        if url.startswith(_DATA):
            text = url.partition(",")[2]
        else:
            data = await self._fetched(url)
            if data is None:
                return False
            text = (await asyncio.to_thread(b64encode, data)).decode()
        picture[_BASE64] = json.raw(text)
        del picture[_URL]
        return True

    async def _as_url(self, picture: Envelope) -> bool:
        url, text = _text_in(picture, _URL), _text_in(picture, _BASE64)
        if url and not url.startswith(_DATA):
            return await self._kept(picture) if self._rehost else False
        if url:
            text = url.partition(",")[2]
        if not text:
            return False
        try:
            data = await asyncio.to_thread(b64decode, text, validate=True)
        except (binascii.Error, ValueError):
            return False
        return await self._given(picture, data)

    async def _kept(self, picture: Envelope) -> bool:
        url = _text_in(picture, _URL)
        if not url or not url.lower().startswith(_FETCHED):
            return False
        data = await self._fetched(url)
        return data is not None and await self._given(picture, data)

    async def _given(self, picture: Envelope, data: bytes) -> bool:
        """Keep a picture and give its URL; what is none is not kept."""
        kept = await self._store.keep(data) if picture_type(data) else None
        if kept is None:
            return False
        picture.pop(_BASE64, None)
        picture[_URL] = json.raw(kept)
        return True

    async def _fetched(self, url: str) -> bytes | None:
        """Fetch a picture; None for anything else."""
        try:
            found = await self._fetch(Fetch(url))
        except PosthouseError as error:
            log.warning("a picture could not be fetched", reason=error.code)
            return None
        if found.status != 200 or picture_type(found.body) is None:
            log.warning("a URL led to no picture", status=found.status)
            return None
        return found.body


async def _turned(body: bytes, turn: Turn) -> bytes | None:
    """Turn every picture of a reply; None where nothing has changed."""
    envelope = reply_envelope(body)
    listed, single = envelope.get("data"), envelope.get("image")
    if listed is not None and json.opens_with(listed, b"["):
        pictures = json.decode_with(_pictures, listed)
        changes = await asyncio.gather(*map(turn, pictures[:MOST_PICTURES]))
        envelope["data"] = json.raw(pictures)
        return json.encode(envelope) if any(changes) else None
    if single is not None and json.opens_with(single, b"{"):
        picture = json.decode_with(_picture, single)
        changed = await turn(picture)
        envelope["image"] = json.raw(picture)
        return json.encode(envelope) if changed else None
    return None


def _text_in(picture: Envelope, name: str) -> str | None:
    value: Raw | None = picture.get(name)
    found: str | None = None if value is None else json.decode_with(_text, value)
    return found
