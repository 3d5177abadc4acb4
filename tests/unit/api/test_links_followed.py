"""What a request is once its links were followed."""

from collections.abc import Sequence
from typing import Any

from posthouse.api.links import Links
from posthouse.model.chat import Media
from posthouse.relay.call import Incoming
from posthouse.relay.prepare import find_dialect
from posthouse.wire import json

PICTURE = Media(data="iVBORw0KGgo=", media_type="image/png")
WORDS = {"role": "user", "content": "What is on https://example.org/cat.png ?"}


async def bring(urls: Sequence[str], found: dict[str, Media]) -> None:
    """Find the same picture everywhere."""
    found.update(dict.fromkeys(urls, PICTURE))


async def test_words_that_a_link_made_a_picture_of_are_held_for_as_one() -> None:
    """It was plain before; its hold must have the picture in it."""
    dialect = find_dialect("openai_chat")
    body = json.encode({"model": "a", "messages": [WORDS]})
    nobody: Any = None
    incoming = Incoming("id", nobody, dialect, dialect.parse_request(body), None)
    assert incoming.request.plain

    followed = (await Links(bring).followed(incoming)).request
    assert followed.prompt.images == 1
    assert not followed.plain
