"""URLs in requests, fetched for providers who take nothing but bytes."""

import base64

import pytest
from tests.support.cases import each

from posthouse.dialects.base import ParsedRequest, make_edits
from posthouse.dialects.neutral.translation import Naming, Speaker, Translation
from posthouse.errors import InvalidRequest, URLNotAllowed, URLNotFetched
from posthouse.model.catalog import Quirks
from posthouse.model.chat import Media
from posthouse.model.traits import Traits
from posthouse.relay.media import MOST_URLS, media_bringer
from posthouse.relay.prepare import find_codec, find_dialect
from posthouse.upstream.egress import Fetch, Fetched
from posthouse.wire import json

PICTURE = b"\x89PNG\r\n\x1a\n picture"
URL = "https://pictures.example/cat.png"
GOOGLES = "https://www.youtube.com/watch?v=9hE5-98ZeCg"


class Web:
    """What is fetched from."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[Fetch] = []
        self.status = status

    async def fetch(self, wanted: Fetch) -> Fetched:
        self.asked.append(wanted)
        if "internal" in wanted.url:
            raise URLNotAllowed(param=wanted.param)
        return Fetched(self.status, wanted.url, "image/png", PICTURE)


def request_with(*urls: str) -> ParsedRequest:
    """A chat of OpenAI's with pictures."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    return find_dialect("openai_chat").parse_request(json.encode(body))


def translation(
    *, image_urls: bool, client: str = "openai_chat", upstream: str = "gemini_generate"
) -> Translation:
    """From OpenAI's chat to Gemini, unless they are named."""
    before, behind = find_codec(client), find_codec(upstream)
    assert before is not None
    assert behind is not None
    return Translation(
        Speaker(find_dialect(client), before),
        Speaker(find_dialect(upstream), behind),
        Traits(model="m", image_urls=image_urls),
        Naming(lambda: "id", lambda: 0.0),
    )


def test_files_are_fetched_for_who_takes_none_by_url() -> None:
    """OpenAI's chat takes pictures by URL, and files as base64 alone."""
    places = {"image": "https://a.example/a.png", "document": "https://a.example/b.pdf"}
    parts = [
        {"type": kind, "source": {"type": "url", "url": url}}
        for kind, url in places.items()
    ]
    body = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": parts}],
    }
    way = translation(
        image_urls=True, client="anthropic_messages", upstream="openai_chat"
    )
    request = way.parse_request(json.encode(body))
    assert way.wanted_media(request) == (places["document"],)
    request.reading.media[places["document"]] = Media(
        data="AA", media_type="application/pdf"
    )
    sent = way.render_request(request, make_edits("m", Quirks()))
    assert b"data:application/pdf;base64,AA" in sent
    assert places["image"].encode() in sent


def test_what_must_be_fetched_is_what_the_provider_cannot_read() -> None:
    request = request_with(URL, GOOGLES, "data:image/png;base64,aGk=", URL)
    assert translation(image_urls=False).wanted_media(request) == (URL,)
    assert translation(image_urls=True).wanted_media(request) == ()


async def test_what_was_fetched_is_sent_whole() -> None:
    web = Web()
    request = request_with(URL, URL)
    way = translation(image_urls=False)
    bring = media_bringer(web.fetch)
    await bring(way.wanted_media(request), request.reading.media)
    await bring(way.wanted_media(request), request.reading.media)
    assert [wanted.url for wanted in web.asked] == [URL]
    body = json.decode(way.render_request(request, make_edits("m", Quirks())), dict)
    parts = body["contents"][0]["parts"]
    data = base64.b64encode(PICTURE).decode()
    assert [part["inlineData"] for part in parts] == [
        {"mimeType": "image/png", "data": data}
    ] * 2


@each(
    ("urls", "status", "error"),
    [
        (["http://internal.example/"], 200, URLNotAllowed),
        ([URL], 404, URLNotFetched),
        ([f"{URL}?{number}" for number in range(MOST_URLS + 1)], 200, InvalidRequest),
    ],
)
async def test_what_cannot_be_fetched_is_the_callers_fault(
    urls: list[str], status: int, error: type[Exception]
) -> None:
    found: dict[str, Media] = {}
    with pytest.raises(error) as raised:
        await media_bringer(Web(status).fetch)(urls, found)
    assert getattr(raised.value, "status", 0) == 400
    assert not found
