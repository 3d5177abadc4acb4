"""Fetching what a request's URLs lead to, for providers who take nothing but bytes.

The URLs are the caller's: they are fetched by the guarded egress, at most once for
all attempts of a call, and count for nothing but the call.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence

from posthouse.errors import InvalidRequest, URLNotFetched
from posthouse.model.chat import Media
from posthouse.upstream.egress import Fetch, Fetched

MOST_URLS = 32
"""Of one request."""
MOST_BYTES = 64 * 1024 * 1024
"""That all of them may lead to."""
PARAM = "messages"

FetchURL = Callable[[Fetch], Awaitable[Fetched]]
BringMedia = Callable[[Sequence[str], dict[str, Media]], Awaitable[None]]
"""Fetches URLs and puts what they led to into the dictionary."""


def media_bringer(fetch: FetchURL) -> BringMedia:
    """Make what brings media by way of the egress."""

    async def bring(urls: Sequence[str], found: dict[str, Media]) -> None:
        """Raises InvalidRequest, URLNotAllowed, URLNotFetched and Overloaded."""
        missing = [url for url in urls if url not in found]
        if len(urls) > MOST_URLS:
            raise InvalidRequest(
                f"A request may name at most {MOST_URLS} URLs for this model",
                param=PARAM,
                code="too_many_urls",
            )
        tasks = [asyncio.create_task(_fetch(fetch, url)) for url in missing]
        try:
            fetched = await asyncio.gather(*tasks)
        finally:
            # Where one has failed, or the caller has left, nobody wants the rest.
            for task in tasks:
                task.cancel()
        if sum(len(one.body) for one in fetched) > MOST_BYTES:
            raise InvalidRequest(
                "What the request's URLs lead to is too large for this model",
                param=PARAM,
                code="media_too_large",
            )
        for url, one in zip(missing, fetched, strict=True):
            data = await asyncio.to_thread(b64encode, one.body)
            found[url] = Media(
                data=data.decode("ascii"), media_type=one.content_type or None
            )

    return bring


async def _fetch(fetch: FetchURL, url: str) -> Fetched:
    fetched = await fetch(Fetch(url, param=PARAM))
    if fetched.status != 200:
        raise URLNotFetched(
            f"The URL could not be fetched: its server answered {fetched.status}.",
            param=PARAM,
        )
    return fetched
