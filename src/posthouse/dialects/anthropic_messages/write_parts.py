"""Blocks of content, written for a provider.

What the language has no block for is told: left out where it is only history,
refused where the model was to see it. Thoughts go back only with Anthropic's own
signature, or without any where the provider wants that.
"""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from typing import Any, NoReturn

from msgspec import Raw

from posthouse.dialects.anthropic_messages.caching import NAME, write_cache
from posthouse.dialects.anthropic_messages.citations import is_genuine, write_citation
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Document,
    Extras,
    Foreign,
    Image,
    Media,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

Block = dict[str, Any]

_object = json.decoder(dict[str, Raw])
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_PDF = "application/pdf"
_TEXTS = ("application/json", "application/xml", "application/x-ndjson")
"""Beside `text/*`."""
_CONTENT = "messages.content"


class PartWriter:
    """Writes the blocks of one request."""

    __slots__ = ("_calls", "_losses", "_own", "_unanswered")

    def __init__(self, dialect: str, losses: Losses) -> None:
        """Begin a request that was read from `dialect`."""
        self._own = dialect == NAME
        self._losses = losses
        self._calls = 0
        """How many calls without an id have been given one."""
        self._unanswered: dict[str, list[str]] = {}
        """The ids of those, by name."""

    # --- what all blocks have ---------------------------------------------------

    def extras_of(self, extras: Extras, place: str) -> Extras:
        """Give what goes back as it stood; tell what other dialects meant."""
        if self._own:
            return extras
        for name in extras:
            self._losses.drop(f"{place}.{name}")
        return {}

    def _with(
        self,
        block: Block,
        cache: CacheMark | None,
        extras: Extras,
        place: str = _CONTENT,
    ) -> Block:
        """Add a block's mark and its extras."""
        kept = self.extras_of(extras, place) if extras else extras
        rest = {name: value for name, value in kept.items() if name not in _INSIDE}
        return block | rest | write_cache(cache, kept)

    def text(self, part: Text) -> Block | None:
        """Write words; None for none at all, which are refused there."""
        if not part.text and not self._own:
            return None
        if part.signature is not None:
            self._losses.drop("signature")
        block: Block = {"type": "text", "text": part.text}
        cited = self._citations(part)
        if cited:
            block["citations"] = cited
        return self._with(block, part.cache, part.extras)

    def _citations(self, part: Text) -> list[Extras]:
        """Write the citations that Anthropic would know again."""
        known = [found for found in part.citations if self._own and is_genuine(found)]
        if len(known) < len(part.citations):
            self._losses.drop("citations")
        return [write_citation(citation, own=True) for citation in known]

    # --- what a user shows ------------------------------------------------------

    def image(self, part: Image) -> Block:
        """Write a picture."""
        if part.detail is not None:
            self._losses.drop(f"{_CONTENT}.detail")
        source = self._source(part.source, part.extras, "image")
        if source["type"] == "text":
            self._losses.refuse(_CONTENT, "A picture that is a text is none.")
        return self._with({"type": "image", "source": source}, part.cache, part.extras)

    def document(self, part: Document) -> Block:
        """Write a file to be read: PDF or plain text."""
        found = part.extras.get("search_result")
        if self._own and isinstance(found, dict):
            return found
        source = self._source(part.source, part.extras, "document")
        if source["type"] == "base64":
            source = self._readable(source)
        block: Block = {"type": "document", "source": source}
        if part.title is not None:
            block["title"] = part.title
        if part.context is not None:
            block["context"] = part.context
        further = part.extras.get("citations", {}) if self._own else {}
        if part.citations is not None or further:
            enabled = {} if part.citations is None else {"enabled": part.citations}
            block["citations"] = enabled | further
        return self._with(block, part.cache, part.extras)

    def _source(self, media: Media, extras: Extras, kind: str) -> Block:
        kept = extras.get("source")
        if self._own and isinstance(kept, dict) and "type" in kept:
            return kept
        source = self._place(media, kind)
        if media.media_type is not None and (self._own or media.data is not None):
            source["media_type"] = media.media_type
        return source | (kept if self._own and isinstance(kept, dict) else {})

    def _place(self, media: Media, kind: str) -> Block:
        """Say where the bytes are."""
        if media.data is not None:
            default = _PDF if kind == "document" else "image/jpeg"
            return {"type": "base64", "media_type": default, "data": media.data}
        if media.url is not None:
            return {"type": "url", "url": media.url}
        if media.text is not None:
            return {"type": "text", "media_type": "text/plain", "data": media.text}
        if not self._own:
            self._losses.refuse(
                f"{_CONTENT}.file_id",
                "A file that another provider keeps cannot be shown to this model; "
                "send its content.",
            )
        return {"type": "file", "file_id": media.file_id}

    def _readable(self, source: Block) -> Block:
        """Make plain text of what is text; refuse what the model cannot read."""
        media_type = str(source["media_type"]).partition(";")[0].strip().lower()
        if media_type == _PDF or self._own:
            return source
        if not media_type.startswith("text/") and media_type not in _TEXTS:
            self._losses.refuse(
                _CONTENT, f"This model reads PDF and text, not {media_type[:64]}."
            )
        try:
            text = a2b_base64(source["data"]).decode()
        except (NotBase64, ValueError):
            self._losses.refuse(_CONTENT, "A text file is not base64 of UTF-8.")
        return {"type": "text", "media_type": "text/plain", "data": text}

    def unseen(self, part: Audio | Video) -> NoReturn:
        """Refuse what the model can neither hear nor watch."""
        kind = "audio" if isinstance(part, Audio) else "video"
        self._losses.refuse(_CONTENT, f"This model takes no {kind}.")

    def foreign(self, part: Foreign) -> Block | None:
        """Put back what is ours; tell or refuse what another provider ran."""
        if self._own:
            return part.value
        if not part.harmless:
            self._losses.refuse(
                f"{_CONTENT}.{part.kind}", f"This model takes no {part.kind!r}."
            )
        self._losses.drop(f"{_CONTENT}.{part.kind}")
        return None

    # --- what a model said ------------------------------------------------------

    def thinking(self, part: Thinking, *, replay: bool) -> Block | None:
        """Write thoughts; None for what only another provider can use."""
        signature = part.signature
        if signature is not None and signature.by == NAME:
            if part.redacted:
                block = {"type": "redacted_thinking", "data": signature.value}
            else:
                block = {
                    "type": "thinking",
                    "thinking": part.text,
                    "signature": signature.value,
                }
            return self._with(block, None, part.extras)
        if replay and part.text:
            return {"type": "thinking", "thinking": part.text, "signature": ""}
        if part.text or not self._own:
            self._losses.drop("thinking")
        return None

    def tool_call(self, part: ToolCall) -> Block:
        """Write a call; what it takes must be a JSON object."""
        arguments = wrapped(part.arguments) if part.custom else part.arguments
        block: Block = {
            "type": "tool_use",
            "id": self._id_of_call(part),
            "name": part.name,
            "input": self._input(arguments),
        }
        return self._with(block, part.cache, part.extras, "tool_calls")

    def _input(self, arguments: str) -> Raw:
        given = as_input(arguments)
        if given is None:
            self._losses.refuse(
                "tool_calls.arguments",
                "The arguments of a tool call are not a JSON object.",
            )
        return given

    def _id_of_call(self, part: ToolCall) -> str:
        if part.id:
            return _NOT_IN_AN_ID.sub("_", part.id)
        self._calls += 1
        invented = f"toolu_{self._calls}"
        self._unanswered.setdefault(part.name, []).append(invented)
        return invented

    def _id_of_result(self, part: ToolResult) -> str:
        if part.call_id:
            return _NOT_IN_AN_ID.sub("_", part.call_id)
        waiting = self._unanswered.get(part.name or "")
        return waiting.pop(0) if waiting else "toolu_0"

    def tool_result(self, part: ToolResult) -> Block:
        """Write what a call came to."""
        block: Block = {
            "type": "tool_result",
            "tool_use_id": self._id_of_result(part),
        }
        if part.content:
            block["content"] = self._result_content(part.content)
        if part.is_error is not None:
            block["is_error"] = part.is_error
        return self._with(block, part.cache, part.extras, "tool_result")

    def _result_content(self, parts: tuple[Part, ...]) -> str | list[Block]:
        plain = plain_text(parts)
        if plain is not None:
            return plain
        return [block for part in parts if (block := self.shown(part)) is not None]

    def shown(self, part: Part) -> Block | None:
        """Write what a user or a tool shows."""
        match part:
            case Text():
                block = self.text(part)
            case Image():
                block = self.image(part)
            case Document():
                block = self.document(part)
            case Foreign():
                block = self.foreign(part)
            case Refusal():
                block = self.text(Text(part.text))
            case ToolResult():
                block = self.tool_result(part)
            case Audio() | Video():
                block = self.unseen(part)
            case Thinking() | ToolCall():
                self._losses.drop(f"{_CONTENT}.{type(part).__name__.lower()}")
                block = None
        return block

    def said(self, part: Part, *, replay: bool) -> Block | None:
        """Write what a model has said."""
        match part:
            case Thinking():
                return self.thinking(part, replay=replay)
            case ToolCall():
                return self.tool_call(part)
            case Audio() if part.transcript:
                self._losses.change(f"{_CONTENT}.audio")
                return self.text(Text(part.transcript))
            case Image() | Audio() | Video() | Document() if not self._own:
                self._losses.drop(f"{_CONTENT}.{type(part).__name__.lower()}")
                return None
        return self.shown(part)


_INSIDE = frozenset({"cache_control", "source", "citations"})
"""Extras that stand inside a member of the block."""


def plain_text(parts: tuple[Part, ...]) -> str | None:
    """The text, if that is all there is; None if it takes a list of blocks."""
    if len(parts) != 1 or type(parts[0]) is not Text:
        return None
    part = parts[0]
    plain = not (part.citations or part.cache or part.signature or part.extras)
    return part.text if plain else None


def as_input(arguments: str) -> Raw | None:
    """The arguments as a tool's input, to the letter; None if they are no object."""
    if not arguments.strip():
        return Raw(b"{}")
    data = arguments.encode(errors="surrogatepass")
    try:
        json.decode_with(_object, data)
        json.check_utf8(data)
    except MalformedJSON:
        return None
    return Raw(data)
