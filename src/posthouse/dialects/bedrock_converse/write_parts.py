"""Blocks of content, written for a provider.

Source: `ContentBlock` of botocore 1.44.5. Empty texts are refused there, and left out
here. A mark of the cache is a block of its own, after what it marks.
"""

import re
from typing import Any

from msgspec import Raw

from posthouse.dialects.bedrock_converse.names import NAME, SIGNED_BY
from posthouse.dialects.bedrock_converse.write_media import CONTENT, MediaWriter
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.custom_tools import wrapped
from posthouse.model.chat import (
    Audio,
    CacheMark,
    Document,
    Extras,
    Foreign,
    Image,
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

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.:-]")
_LONGEST_ID = 64
_object = json.decoder(dict[str, Raw])


class PartWriter:
    """Writes the blocks of one request."""

    __slots__ = ("_calls", "_losses", "_media", "_unanswered", "called")

    def __init__(self, losses: Losses) -> None:
        """Begin a request."""
        self._losses = losses
        self._media = MediaWriter(losses)
        self._calls = 0
        """How many calls without an id have been given one."""
        self._unanswered: dict[str, list[str]] = {}
        """The ids of those, by name."""
        self.called: dict[str, None] = {}
        """The tools that calls of earlier turns name."""

    def tell(self, extras: Extras, place: str) -> None:
        """Tell what other dialects' members meant."""
        for name in extras:
            self._losses.drop(f"{place}.{name}")

    def shown(self, part: Part) -> list[Block]:
        """Write what a user or a tool shows."""
        place = CONTENT
        match part:
            case Text():
                return self._text(part)
            case Refusal():
                return [{"text": part.text}] if part.text.strip() else []
            case Image():
                block = self._media.image(part)
            case Document():
                block = self._media.document(part)
            case Audio():
                self.tell(part.extras, CONTENT)
                return [self._media.audio(part)]
            case Video():
                block = self._media.video(part)
            case ToolResult():
                block, place = self._result(part), "tool_result"
            case Foreign():
                self._foreign(part)
                return []
            case Thinking() | ToolCall():
                self._losses.drop(f"{CONTENT}.{type(part).__name__.lower()}")
                return []
        return self._marked([block], part.cache, part.extras, place)

    def said(self, part: Part, *, replay: bool) -> list[Block]:
        """Write what a model has said."""
        match part:
            case Thinking():
                return self._thinking(part, replay=replay)
            case ToolCall():
                block = self._call(part)
                return self._marked([block], part.cache, part.extras, "tool_calls")
            case Audio() if part.transcript:
                self._losses.change(f"{CONTENT}.audio")
                return [{"text": part.transcript}]
            case Image() | Audio() | Video() | Document():
                self._losses.drop(f"{CONTENT}.{type(part).__name__.lower()}")
                return []
            case _:
                return self.shown(part)

    def _marked(
        self,
        blocks: list[Block],
        cache: CacheMark | None,
        extras: Extras,
        place: str = CONTENT,
    ) -> list[Block]:
        self.tell(extras, place)
        return blocks if cache is None else [*blocks, cache_point(cache)]

    def _text(self, part: Text) -> list[Block]:
        if part.citations:
            self._losses.drop("citations")
        blocks: list[Block] = [{"text": part.text}] if part.text.strip() else []
        return self._marked(blocks, part.cache if blocks else None, part.extras)

    def _foreign(self, part: Foreign) -> None:
        if not part.harmless:
            self._losses.refuse(
                f"{CONTENT}.{part.kind}", f"This model takes no {part.kind!r}."
            )
        self._losses.drop(f"{CONTENT}.{part.kind}")

    # --- thoughts ---------------------------------------------------------------

    def _thinking(self, part: Thinking, *, replay: bool) -> list[Block]:
        signature = part.signature
        if signature is not None and part.redacted and signature.by == NAME:
            return [{"reasoningContent": {"redactedContent": signature.value}}]
        if signature is not None and signature.by == SIGNED_BY and not part.redacted:
            text = {"text": part.text, "signature": signature.value}
            return [{"reasoningContent": {"reasoningText": text}}]
        if replay and part.text:
            return [{"reasoningContent": {"reasoningText": {"text": part.text}}}]
        self._losses.drop("thinking")
        return []

    # --- tools ------------------------------------------------------------------

    def _call(self, part: ToolCall) -> Block:
        name = part.name
        self.called[name] = None
        arguments = wrapped(part.arguments) if part.custom else part.arguments
        return {
            "toolUse": {
                "toolUseId": self._id_of_call(part),
                "name": name,
                "input": self._input(arguments),
            }
        }

    def _input(self, arguments: str) -> Raw:
        """The arguments to the letter; they must be an object."""
        if not arguments.strip():
            return Raw(b"{}")
        data = arguments.encode(errors="surrogatepass")
        try:
            json.decode_with(_object, data)
            json.check_utf8(data)
        except MalformedJSON:
            self._losses.refuse(
                "tool_calls.arguments", "The arguments of a tool call are not JSON."
            )
        return Raw(data)

    def _id_of_call(self, part: ToolCall) -> str:
        if part.id:
            return _as_id(part.id)
        self._calls += 1
        given = f"tooluse_{self._calls}"
        self._unanswered.setdefault(part.name, []).append(given)
        return given

    def _id_of_result(self, part: ToolResult) -> str:
        if part.call_id:
            return _as_id(part.call_id)
        waiting = self._unanswered.get(part.name or "")
        return waiting.pop(0) if waiting else "tooluse_0"

    def _result(self, part: ToolResult) -> Block:
        content = [block for inner in part.content for block in self._shown_by(inner)]
        result: Block = {
            "toolUseId": self._id_of_result(part),
            "content": content or [{"text": ""}],
        }
        if part.is_error is not None:
            result["status"] = "error" if part.is_error else "success"
        return {"toolResult": result}

    def _shown_by(self, part: Part) -> list[Block]:
        """Write what a tool shows, which has no marks inside."""
        if isinstance(part, Audio):
            self._losses.refuse(CONTENT, "This model takes no sound from a tool.")
        return [block for block in self.shown(part) if "cachePoint" not in block]


def cache_point(mark: CacheMark) -> Block:
    """Write a mark of the cache."""
    ttl = {} if mark.ttl is None else {"ttl": mark.ttl}
    return {"cachePoint": {"type": "default", **ttl}}


def _as_id(text: str) -> str:
    """Give an id that is allowed; the same one for the same text."""
    return _NOT_IN_AN_ID.sub("_", text)[-_LONGEST_ID:]
