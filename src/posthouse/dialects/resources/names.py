"""Ids in requests, wherever they stand: path, query, JSON and forms.

A member whose name says that it holds an id names a thing, which must be the caller's
own. Any other text that looks like an id is told as well: should it be somebody
else's, it must not pass. Names count without regard to case, as some servers read
them, and each of several that are the same counts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct, field

from posthouse.dialects.resources.words import listed
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON, Members
from posthouse.wire.multipart import Form, MalformedForm, is_form, read_form

MOST_TEXTS = 20_000
"""Texts that look like ids in one request."""
LONGEST_ID = 256

_NOT_OURS = listed(
    """
    account_id app_id call_id client_id connector_id correlation_id custom_id
    external_id model_id organization_id parent_span_id partner_id project_id
    request_id span_id tenant_id tool_call_id tool_use_id trace_id user_id
    workspace_id
    """
)
"""Names of ids that callers choose, or that are no thing of these APIs."""
_ALSO = listed(
    """
    agent after before container conversation ending_before fine_tuned_model
    fine_tuned_model_checkpoint id ids result_files starting_after training_file
    validation_file
    """
)
"""Names that say nothing of an id and hold one."""
_CALLERS = listed(
    """
    arguments attributes input_schema item item_schema json_schema metadata
    parameters properties sample schema variables
    """
)
"""Names of what callers have put there for themselves."""
_TYPES_WITH_ID = frozenset({"item_reference", "agent"})
"""Objects with a type that name a thing by `id`; the others tell their own."""
_ITEMS = "input"
"""What holds the items of a prompt."""
_PICTURE = "image_generation_call"
_WITH_ID = frozenset({"agent", "conversation", "prompt", "voice", "workflow"})
"""Members whose objects name a thing by `id`, whatever else is in them."""
_LOOKS_LIKE_ID = re.compile(
    r"(?=\S*\d)(?=\S*[_:-])[A-Za-z0-9][\w.:/-]{7,255}|(?:audio|voice)_[\w-]{1,249}",
    re.ASCII,
)
VOICE = "voice_"
"""With this the id of a voice begins that somebody has made; others are names of
voices that everybody has."""
_JSON_STARTS = (b"{", b"[")


def is_id_name(name: str) -> bool:
    """Whether a member of this name, in lower case, holds an id, or several."""
    if name in _ALSO:
        return True
    return name.endswith(("_id", "_ids")) and name not in _NOT_OURS


class Named(Struct):
    """What a request names."""

    ids: set[str] = field(default_factory=set)
    """Things that must be the caller's own."""
    texts: set[str] = field(default_factory=set)
    """What would be a thing if anybody had it."""
    models: list[str] = field(default_factory=list)
    """Every model, the one at the top first."""
    address: frozenset[str] = frozenset()
    """Those of the ids that stand in the path or the query."""
    counts: Callable[[str], bool] = is_id_name
    """Whether a member of a name, in lower case, holds an id, or several."""

    def add_text(self, text: str) -> None:
        """Note a text if it looks like an id; raises InvalidRequest."""
        if _LOOKS_LIKE_ID.fullmatch(text):
            self.texts.add(text)
            if len(self.texts) > MOST_TEXTS:
                raise InvalidRequest("The request names too many things.")


def is_callers(name: str) -> bool:
    """Whether a member of this name, in lower case, holds what a caller keeps there."""
    return name in _CALLERS


def is_reference(item: Mapping[str, Any]) -> bool:
    """Whether an item of a prompt is nothing but the name of one that is kept.

    It may leave out its type; and a picture without its bytes is one, too.
    """
    if "id" not in item:
        return False
    if item.get("type") is None:
        return "content" not in item
    return bool(item["type"] == _PICTURE and not item.get("result"))


def read_address(ids: Iterable[str], query: str) -> Named:
    """Tell what an address names: ids in its path, and its query."""
    named = Named(ids=set(ids))
    read_query(query, named)
    named.address = frozenset(named.ids)
    return named


def read_query(query: str, named: Named) -> None:
    """Note what a query names."""
    for name, value in parse_qsl(query):
        _note(last_word(name), value, named, strict=True)


def read_body(
    content_type: bytes | None, body: bytes, named: Named, *, stored: bool = True
) -> None:
    """Note what a body names; raises InvalidRequest for one that cannot be read.

    Of what is not `stored`, only references name things by a plain `id`: a message
    that is sent once more has its own.
    """
    if not body:
        return
    kind = (content_type or b"").partition(b";")[0].strip().lower()
    if is_form(content_type):
        _read_form(content_type or b"", body, named)
    elif kind == b"application/x-www-form-urlencoded":
        read_query(body.decode("latin-1"), named)
    elif kind.endswith(b"json") or body.lstrip()[:1] in _JSON_STARTS:
        _read_json(body, named, must=kind.endswith(b"json"), stored=stored)


def _read_json(body: bytes, named: Named, *, must: bool, stored: bool = True) -> None:
    try:
        value = json.decode_members(body)
    except MalformedJSON as error:
        if must:
            raise InvalidRequest(f"The body is not valid JSON: {error}") from None
        return
    _walk(value, named, stored=stored)


def _read_form(content_type: bytes, body: bytes, named: Named) -> None:
    try:
        form = read_form(content_type, body)
    except MalformedForm as error:
        raise InvalidRequest(f"The form cannot be read: {error}") from None
    note_form(form, named)


def note_form(form: Form, named: Named) -> None:
    """Note what a form names."""
    for part in form.parts:
        if part.filename is None and part.value.lstrip()[:1] in _JSON_STARTS:
            _read_json(part.value, named, must=False)
        elif len(part.value) <= LONGEST_ID:
            strict = "metadata" not in part.name
            text = part.value.decode(errors="replace")
            _note(last_word(part.name), text, named, strict=strict)


def last_word(name: str) -> str:
    """Give the last word of a name such as `filter[file_ids][]`, in lower case."""
    parts = [part for part in name.replace("]", "").split("[") if part]
    return (parts[-1] if parts else name).casefold()


def _note(name: str, value: str, named: Named, *, strict: bool) -> None:
    if not value:
        return
    if name == "model":
        named.models.append(value)
    elif strict and (
        named.counts(name) or (name == "voice" and value.startswith(VOICE))
    ):
        named.ids.add(value)
    else:
        named.add_text(value)


def _walk(top: Any, named: Named, *, stored: bool) -> None:
    """Note what a JSON value names, level by level."""
    left: list[tuple[str, Any, bool]] = [("", top, True)]
    at = 0
    while at < len(left):
        name, value, strict = left[at]
        at += 1
        if isinstance(value, str):
            _note(name, value, named, strict=strict)
        elif isinstance(value, Members):
            left.extend(_members(value, name, strict=strict, stored=stored))
        elif isinstance(value, list):
            left.extend((name, one, strict) for one in value)


def _members(
    members: Members, parent: str, *, strict: bool, stored: bool
) -> Iterator[tuple[str, Any, bool]]:
    types = {
        value
        for name, value in members
        if name.casefold() == "type" and isinstance(value, str)
    }
    for written, value in members:
        name = written.casefold()
        if name == "id" and not stored:
            counts = parent in _WITH_ID or bool(types & _TYPES_WITH_ID)
            counts = counts or (parent == _ITEMS and is_reference(dict(members)))
        else:
            counts = _counts(name, types)
        yield name, value, strict and counts


def _counts(name: str, types: set[str]) -> bool:
    """Whether what a member holds are ids if its name says so."""
    if name == "skill_id":
        return types != {"anthropic"}
    if name == "input":
        return not any(one.endswith("tool_use") for one in types)
    return name not in _CALLERS
