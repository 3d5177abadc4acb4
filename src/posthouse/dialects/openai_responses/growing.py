"""The items of an answer as they grow, and the events that tell of it.

An item is added, grows and is done; `item` is what it has come to. Texts are kept
in pieces until a part is done, so that a long one costs no more than its length.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.neutral.custom_tools import unwrapped
from posthouse.dialects.openai_responses.errors import frame
from posthouse.dialects.openai_responses.parts import write_citation, write_picture
from posthouse.dialects.openai_responses.reasoning import (
    close_signature,
    write_reasoning,
)
from posthouse.model.chat import (
    Citation,
    Extras,
    Image,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)

Body = dict[str, Any]


class Scribe:
    """Writes events down, and counts them."""

    __slots__ = ("_out", "_silent", "number")

    def __init__(self, *, silent: bool) -> None:
        """Begin; a silent one writes nothing, for a reply in one piece."""
        self.number = 0
        """Of the next event."""
        self._out: list[bytes] = []
        self._silent = silent

    def tell(self, kind: str, members: Body) -> None:
        """Write an event."""
        self.put({"type": kind, "sequence_number": self.number, **members})

    def put(self, event: Body) -> None:
        """Write an event that has its type and its number."""
        if not self._silent:
            self._out.append(frame(event))
        self.number += 1

    def written(self) -> bytes:
        """Give what was written since this was asked last."""
        out = b"".join(self._out)
        self._out.clear()
        return out


class GrowingItem:
    """What all items have in common."""

    __slots__ = ("_index", "_scribe", "item")

    def __init__(self, scribe: Scribe, index: int, item: Body) -> None:
        """Add an item to the output, as the one with this index."""
        self.item = item
        self._scribe = scribe
        self._index = index
        self._scribe.tell(
            "response.output_item.added", {"output_index": index, "item": item}
        )

    def _tell(self, kind: str, members: Body) -> None:
        """Tell of something that happens within the item."""
        place = {"item_id": self.item["id"], "output_index": self._index}
        self._scribe.tell(kind, {**place, **members})

    def grow(self, text: str) -> None:
        """Take more of the part that is open; most items come whole."""

    def sign(self, signature: Signature) -> None:
        """Take a signature; most items have no place for one."""

    def cite(self, citation: Citation, *, own: bool) -> None:
        """Take a citation; only words have some."""

    def end_part(self, extras: Extras) -> None:
        """End the part that is open."""
        self.item.update(extras)
        self.end()

    def end(self, status: str = "completed") -> None:
        """End the item."""
        if "status" in self.item:
            self.item["status"] = status
        members = {"output_index": self._index, "item": self.item}
        self._scribe.tell("response.output_item.done", members)


class GrowingMessage(GrowingItem):
    """A message, which holds texts and refusals."""

    __slots__ = ("_length", "_part", "_pending", "_pieces", "_scores")

    def __init__(self, scribe: Scribe, index: int, item_id: str, phase: Any) -> None:
        """Add a message; `phase` is None where there is none."""
        item = {
            "id": item_id,
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        if phase is not None:
            item["phase"] = phase
        super().__init__(scribe, index, item)
        self._part: Body = {}
        self._pieces: list[str] = []
        self._length = 0
        """Of what is in them."""
        self._scores: list[Extras] = []
        """Of the part's tokens."""
        self._pending = 0
        """How many of them no delta has told yet."""

    def start_part(
        self, part: Text | Refusal, scores: tuple[Extras, ...], *, own: bool
    ) -> None:
        """Open a part with what is known of it, and of its first tokens."""
        if isinstance(part, Text):
            self._part = {
                "type": "output_text",
                "annotations": [],
                "logprobs": [],
                "text": "",
            }
        else:
            self._part = {"type": "refusal", "refusal": ""}
        self._tell_part("response.content_part.added", {"part": self._part})
        self._pieces = []
        self._length = 0
        self._scores = [_score(entry) for entry in scores]
        self._pending = len(scores)
        if part.text:
            self.grow(part.text)
        for citation in part.citations if isinstance(part, Text) else ():
            self.cite(citation, own=own)

    def score(self, tokens: tuple[Extras, ...]) -> None:
        """Take the probabilities of tokens; the next delta tells them."""
        self._scores += map(_score, tokens)
        self._pending += len(tokens)

    def score_last(self, tokens: tuple[Extras, ...]) -> bool:
        """Take what comes after its part has ended; tell whether it has a place."""
        content = self.item["content"]
        if not content or content[-1]["type"] != "output_text":
            return False
        content[-1]["logprobs"] += map(_score, tokens)
        return True

    @override
    def grow(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
        if self._part["type"] == "refusal":
            self._tell_part("response.refusal.delta", {"delta": text})
            return
        scores = self._scores[-self._pending :] if self._pending else []
        self._pending = 0
        # The one that there are most of: built at once.
        self._scribe.put(
            {
                "type": "response.output_text.delta",
                "sequence_number": self._scribe.number,
                "item_id": self.item["id"],
                "output_index": self._index,
                "content_index": len(self.item["content"]),
                "delta": text,
                "logprobs": scores,
            }
        )

    @override
    def cite(self, citation: Citation, *, own: bool) -> None:
        annotation = write_citation(citation, self._length, own=own)
        annotations = self._part.get("annotations")
        if annotation is None or annotations is None:
            return
        told = {"annotation_index": len(annotations), "annotation": annotation}
        annotations.append(annotation)
        self._tell_part("response.output_text.annotation.added", told)

    @override
    def end_part(self, extras: Extras) -> None:
        text = "".join(self._pieces)
        part = self._part
        if part["type"] == "refusal":
            part["refusal"] = text
            self._tell_part("response.refusal.done", {"refusal": text})
        else:
            part["text"] = text
            part["logprobs"] = self._scores
            told = {"text": text, "logprobs": self._scores}
            self._tell_part("response.output_text.done", told)
        part.update(extras)
        self._tell_part("response.content_part.done", {"part": part})
        self.item["content"].append(part)
        self._pieces = []

    def _tell_part(self, kind: str, members: Body) -> None:
        place = {"content_index": len(self.item["content"])}
        self._tell(kind, {**place, **members})


def _score(entry: Extras) -> Extras:
    """Write a token's probability with all members that it must have here."""
    tops = entry.get("top_logprobs")
    return {
        **_with_bytes(entry),
        "top_logprobs": [
            _with_bytes(top)
            for top in (tops if isinstance(tops, list) else ())
            if isinstance(top, dict)
        ],
    }


def _with_bytes(entry: Extras) -> Extras:
    if entry.get("bytes") is not None:
        return entry
    return {
        **entry,
        "bytes": list(str(entry.get("token", "")).encode(errors="replace")),
    }


class GrowingThought(GrowingItem):
    """An item of reasoning."""

    __slots__ = ("_as_summary", "_begun", "_pieces", "_thought")

    def __init__(
        self, scribe: Scribe, index: int, item_id: str, part: Thinking, *, own: bool
    ) -> None:
        """Add an item; `own` says that thoughts of this dialect are its part."""
        self._as_summary = part.summary or not own
        self._thought = part
        self._pieces: list[str] = []
        self._begun = False
        extras = part.extras if own else {}
        super().__init__(
            scribe, index, {"id": item_id, "type": "reasoning", "summary": [], **extras}
        )
        if part.text:
            self.grow(part.text)

    @override
    def grow(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            self._tell_piece("part.added", {"part": self._piece("")})
        self._pieces.append(text)
        self._tell_piece("text.delta", {"delta": text})

    @override
    def sign(self, signature: Signature) -> None:
        part = self._thought
        self._thought = Thinking(part.text, signature, part.redacted, part.summary)

    @override
    def end_part(self, extras: Extras) -> None:
        text = "".join(self._pieces)
        if self._begun:
            self._tell_piece("text.done", {"text": text})
            self._tell_piece("part.done", {"part": self._piece(text)})
        part = self._thought
        whole = Thinking(text, part.signature, part.redacted, part.summary)
        # The item is called what it was called when it was added.
        written = write_reasoning(whole, as_summary=self._as_summary)
        self.item.update({**written, "id": self.item["id"]})
        super().end_part(extras)

    def _piece(self, text: str) -> Body:
        kind = "summary_text" if self._as_summary else "reasoning_text"
        return {"type": kind, "text": text}

    def _tell_piece(self, what: str, members: Body) -> None:
        """Tell of the item's only piece, by the name that its kind has."""
        if self._as_summary:
            kind = f"response.reasoning_summary_{what}"
            self._tell(kind, {"summary_index": 0, **members})
            return
        of_text = what.startswith("text")
        kind = f"response.reasoning_{what}" if of_text else f"response.content_{what}"
        self._tell(kind, {"content_index": 0, **members})


def signature_item(item_id: str, signature: Signature) -> Body:
    """An item of reasoning that is nothing but somebody's signature."""
    members = close_signature(Thinking(signature=signature))
    return {"type": "reasoning", "summary": [], **members, "id": item_id}


class GrowingCall(GrowingItem):
    """A call of one of the caller's tools."""

    __slots__ = ("_custom", "_pieces", "_wrapped")

    def __init__(
        self, scribe: Scribe, index: int, item: Body, *, part: ToolCall, custom: bool
    ) -> None:
        """Add a call.

        Args:
            scribe: writes the events.
            index: of the item in the output.
            item: its id, its call's id and its tool's name.
            part: the call as it began.
            custom: the caller knows the tool as one that takes text.
        """
        self._custom = custom
        self._wrapped = custom and not part.custom
        """The provider has it as a function: the text is read once it is whole."""
        self._pieces: list[str] = []
        item["type"] = "custom_tool_call" if custom else "function_call"
        item["status"] = "in_progress"
        item["input" if custom else "arguments"] = ""
        super().__init__(scribe, index, item)
        if part.arguments:
            self.grow(part.arguments)

    @override
    def grow(self, text: str) -> None:
        self._pieces.append(text)
        if not self._wrapped:
            self._tell_given("delta", {"delta": text})

    @override
    def end_part(self, extras: Extras) -> None:
        given = "".join(self._pieces)
        if self._wrapped:
            given = unwrapped(given)
            self._tell_given("delta", {"delta": given})
        elif not self._custom and not given.strip():
            given = "{}"
            self._tell_given("delta", {"delta": given})
        member = "input" if self._custom else "arguments"
        self.item[member] = given
        done = {member: given}
        if not self._custom:
            done["name"] = self.item["name"]
        self._tell_given("done", done)
        super().end_part(extras)

    def _tell_given(self, what: str, members: Body) -> None:
        name = "custom_tool_call_input" if self._custom else "function_call_arguments"
        self._tell(f"response.{name}.{what}", members)


class GrowingImage(GrowingItem):
    """A picture, which comes whole."""

    __slots__ = ()

    def __init__(self, scribe: Scribe, index: int, item_id: str, part: Image) -> None:
        """Add a picture in base64."""
        whole = {"id": item_id, **write_picture(part)}
        begun = {**whole, "status": "in_progress", "result": None}
        super().__init__(scribe, index, begun)
        self.item = whole

    @override
    def end_part(self, extras: Extras) -> None:
        self._tell("response.image_generation_call.completed", {})
        self.end()
