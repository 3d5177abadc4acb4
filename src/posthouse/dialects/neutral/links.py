"""Links that stand in a user's words: files and pictures for models that read links.

Some clients can send nothing but text, and put a link to the file into it. For models
of which the operator says so, what the last message's links lead to becomes parts of
that message; the words stay as they are.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import structs

from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Media,
    Message,
    Part,
    Role,
    Text,
)

MOST_LINKS = 8
_URL = re.compile(r"https?://[^\s<>\"'`\\^{|}]{1,2000}", re.IGNORECASE)
_CLOSING = ".,;:!?)]*_，。；：！？）】」"  # noqa: RUF001 - as Chinese sentences end
"""What ends a sentence or a Markdown link, and not a URL."""
_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp"),
    *(".pdf", ".txt", ".md", ".csv", ".json"),
    *(".mp3", ".wav"),
)
"""What a path ends with that leads to a file."""


def links_in(chat: ChatRequest) -> tuple[str, ...]:
    """The links to files in the user's last message, each once."""
    last = _last(chat)
    if last is None:
        return ()
    found: dict[str, None] = {}
    for part in last.parts:
        if isinstance(part, Text):
            for match in _URL.finditer(part.text):
                url = match[0].rstrip(_CLOSING)
                if _leads_to_file(url):
                    found[url] = None
    return tuple(found)[:MOST_LINKS]


def with_linked(
    chat: ChatRequest, fetched: Mapping[str, Media]
) -> tuple[ChatRequest, tuple[Part, ...]]:
    """Add what links lead to, in the order of the mapping; give that, too."""
    last = _last(chat)
    found = (_part(url, one) for url, one in fetched.items())
    parts = tuple(part for part in found if part is not None)
    if last is None or not parts:
        return chat, ()
    filled = structs.replace(last, parts=(*last.parts, *parts))
    messages = tuple(filled if one is last else one for one in chat.messages)
    return structs.replace(chat, messages=messages), parts


def _last(chat: ChatRequest) -> Message | None:
    users = (one for one in reversed(chat.messages) if one.role is Role.USER)
    return next(users, None)


def _leads_to_file(url: str) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(_ENDINGS)
    except ValueError:
        return False


def _part(url: str, media: Media) -> Part | None:
    """Give what was fetched as a part, by what its server says that it is."""
    kind = (media.media_type or "").partition(";")[0].strip().lower()
    source = structs.replace(media, media_type=kind)
    name = urlsplit(url).path.rpartition("/")[2]
    if kind.startswith("image/"):
        return Image(source)
    if kind.startswith("audio/"):
        return Audio(source)
    if kind == "application/pdf" or kind.startswith("text/"):
        return Document(source, title=name)
    return None
