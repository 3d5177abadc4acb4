"""Masks that callers give, turned for makers who have them in another way.

It is done before the request is written, once for all attempts of a call, in a thread
of its own: one mask at a time, for each is large while it is turned.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.images import ImageTranslation
from posthouse.errors import InvalidRequest
from posthouse.wire.masks import MaskUnreadable, opaque_mask

_aside = ThreadPoolExecutor(1, "posthouse-mask")


async def turn_mask(translation: ImageTranslation, request: ParsedRequest) -> None:
    """Turn a request's mask for its maker, if it must be; raises InvalidRequest."""
    given, changes = translation.wanted_mask(request), translation.mask_changes
    if given is None or changes is None:
        return
    loop = asyncio.get_running_loop()
    try:
        turned = await loop.run_in_executor(_aside, opaque_mask, given, changes)
    except MaskUnreadable as error:
        raise InvalidRequest(
            f"The mask cannot be read: {error}", param="mask", code="invalid_image_file"
        ) from None
    request.reading.masks[changes] = turned
