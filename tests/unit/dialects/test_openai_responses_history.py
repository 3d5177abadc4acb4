"""Stored responses: what is kept, what follows from it, what can be asked of it."""

import json
from itertools import count

import pytest
from msgspec import Raw
from tests.support.cases import each

from posthouse.dialects.base import make_edits
from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.dialects.openai_responses.history import (
    Page,
    StoredResponse,
    is_stored,
    items_of,
    known_items,
    previous_of,
    read_page,
    references_of,
    render_deleted,
    render_items,
    render_response,
    response_in,
    response_of,
    stored_response,
    with_history,
    with_references,
)
from posthouse.errors import InvalidRequest, NotFound
from posthouse.model.catalog import Quirks
from posthouse.model.chat import ChatReply, Choice, Role, Text, Thinking

REPLY = {
    "id": "resp_1",
    "object": "response",
    "output": [
        {
            "type": "message",
            "id": "msg_out",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        }
    ],
}
ITEMS = [
    {"role": "user", "content": "One."},
    {"type": "message", "id": "msg_own", "role": "user", "content": "Two."},
    {"type": "function_call_output", "call_id": "c", "output": "3"},
]


def keep(**members: object) -> StoredResponse:
    numbers = count(1)
    request = DIALECT.parse_request(json.dumps({"model": "m", **members}).encode())
    return stored_response(
        request, json.dumps(REPLY).encode(), lambda: str(next(numbers))
    )


def decoded(items: tuple[Raw, ...]) -> list[dict[str, object]]:
    return [json.loads(bytes(item)) for item in items]


def test_a_text_is_kept_as_a_message_with_an_id() -> None:
    """As OpenAI lists it among the input items."""
    kept = keep(input="Hi")
    assert kept.id == "resp_1"
    assert kept.previous_id is None
    assert decoded(kept.input) == [
        {
            "id": "msg_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hi"}],
        }
    ]
    assert decoded(kept.output) == REPLY["output"]
    assert json.loads(render_response(kept)) == REPLY


def test_items_get_ids_of_their_kind_unless_they_have_one() -> None:
    """And the type that an easy message leaves out."""
    kept = keep(input=ITEMS, previous_response_id="resp_0")
    assert kept.previous_id == "resp_0"
    assert [(item["id"], item["type"]) for item in decoded(kept.input)] == [
        ("msg_1", "message"),
        ("msg_own", "message"),
        ("fco_2", "function_call_output"),
    ]


def test_an_id_that_is_no_text_is_none() -> None:
    """Nobody could ask for it."""
    kept = keep(
        input=[{"id": 5, "type": None, "role": "user", "content": "x"}, {"id": 7}]
    )
    assert [item["id"] for item in decoded(kept.input)] == ["msg_1", "msg_2"]
    request = DIALECT.parse_request(
        b'{"model":"m","previous_response_id":"r","input":[{"id":5},{"id":7}]}'
    )
    odd = Raw(b'{"id":5,"role":"user","content":"x"}')
    assert with_history(request, [odd]).prompt.messages == 3


@each(
    ("members", "stored"),
    [({}, True), ({"store": True}, True), ({"store": False}, False)],
)
def test_a_response_is_stored_unless_the_client_says_otherwise(
    members: dict[str, object], stored: bool
) -> None:
    """As OpenAI does by default."""
    request = DIALECT.parse_request(
        json.dumps({"model": "m", "input": "x", **members}).encode()
    )
    assert is_stored(request) == stored


def test_what_follows_is_asked_with_all_that_was_said() -> None:
    """In order, and is read as one conversation; instructions are not carried over."""
    first = keep(input="Hi", instructions="Be brief.")
    body = {"model": "m", "previous_response_id": "resp_1", "input": "And?"}
    request = DIALECT.parse_request(json.dumps(body).encode())
    assert previous_of(request) == "resp_1"
    whole = with_history(request, items_of(first))
    assert previous_of(whole) is None
    assert whole.prompt.messages == 3
    assert whole.prompt.text_bytes > request.prompt.text_bytes
    chat = CODEC.read_request(whole)
    assert [(message.role, message.parts) for message in chat.messages] == [
        (Role.USER, (Text("Hi"),)),
        (Role.ASSISTANT, (Text("Hello."),)),
        (Role.USER, (Text("And?"),)),
    ]
    assert chat.served["previous_response_id"] == "resp_1"
    assert chat.extras == {}


def test_a_reference_becomes_the_item_that_is_stored() -> None:
    """Others stay what they are, to be refused."""
    first = keep(
        input=[{"id": "msg_a", "type": "message", "role": "user", "content": "A"}]
    )
    asked = [
        {"type": "item_reference", "id": "msg_a"},
        {"id": "msg_out"},
        {"type": "item_reference", "id": "msg_unknown"},
    ]
    body = {"model": "m", "previous_response_id": "resp_1", "input": asked}
    request = DIALECT.parse_request(json.dumps(body).encode())
    whole = with_history(request, items_of(first))
    items = json.loads(bytes(whole.envelope["input"]))
    assert [item["id"] for item in items] == [
        "msg_a",
        "msg_out",
        "msg_a",
        "msg_out",
        "msg_unknown",
    ]
    with pytest.raises(InvalidRequest, match="send the item itself"):
        CODEC.read_request(whole)


def test_what_is_referred_to_is_found_by_its_response() -> None:
    """Clients of Vercel's SDK refer to every item of an earlier answer."""
    asked = [
        {"role": "user", "content": "One?"},
        {"type": "item_reference", "id": "rs_0a-1f_0"},
        {"type": "item_reference", "id": "msg_0a-1f_1"},
        {"type": "item_reference", "id": "msg_0a-1f_1"},
        {"role": "user", "content": "Two?"},
    ]
    request = DIALECT.parse_request(json.dumps({"model": "m", "input": asked}).encode())
    assert references_of(request) == ("rs_0a-1f_0", "msg_0a-1f_1")
    assert {response_of(name) for name in references_of(request)} == {"resp_0a-1f"}
    thought = {"type": "reasoning", "id": "rs_0a-1f_0", "summary": []}
    said = {**REPLY["output"][0], "id": "msg_0a-1f_1"}  # type: ignore[index]  # a list
    items = [Raw(json.dumps(item).encode()) for item in (thought, said)]
    whole = with_references(request, known_items(items))
    assert json.loads(bytes(whole.envelope["input"])) == [
        asked[0],
        thought,
        said,
        said,
        asked[4],
    ]
    assert references_of(whole) == ()
    assert previous_of(whole) is None


def test_a_reference_to_what_is_not_here_is_left() -> None:
    """A provider that keeps it will know; in translation it is refused."""
    body = {"model": "m", "input": [{"type": "item_reference", "id": "msg_68af"}]}
    request = DIALECT.parse_request(json.dumps(body).encode())
    assert response_of("msg_68af") is None
    assert with_references(request, {}).envelope["input"] == request.envelope["input"]


def test_the_items_of_a_reply_are_found_by_their_ids() -> None:
    """As the encoder names them."""
    reply = ChatReply(
        dialect="x", choices=(Choice(0, (Text("a"), Thinking("b")), None),)
    )
    chat = CODEC.read_request(DIALECT.parse_request(b'{"model":"m","input":"x"}'))
    body = json.loads(CODEC.write_reply(reply, chat, Identity("0a1f", 1)))
    found = {response_of(item["id"]) for item in body["output"]}
    assert found == {body["id"]} == {"resp_0a1f"}


def test_a_provider_of_the_same_dialect_gets_the_history_alone() -> None:
    """It knows neither the response that was stored here nor our mark."""
    request = DIALECT.parse_request(
        b'{"model":"m","previous_response_id":"resp_1","input":"And?","store":true}'
    )
    whole = with_history(request, items_of(keep(input="Hi")))
    body = json.loads(DIALECT.render_request(whole, make_edits("m", Quirks())))
    assert body.keys() == {"model", "input", "store"}
    assert len(body["input"]) == 3


def test_an_unresolved_response_is_refused_in_translation() -> None:
    """Rather than answered as if nothing had been said before."""
    request = DIALECT.parse_request(
        b'{"model":"m","previous_response_id":"resp_1","input":"And?"}'
    )
    with pytest.raises(InvalidRequest) as caught:
        CODEC.read_request(request)
    assert caught.value.param == "previous_response_id"


def test_a_conversation_and_a_previous_response_exclude_each_other() -> None:
    """As OpenAI has it."""
    request = DIALECT.parse_request(
        b'{"model":"m","previous_response_id":"r","conversation":"c","input":"x"}'
    )
    with pytest.raises(InvalidRequest, match="conversation"):
        previous_of(request)


def test_the_event_that_ends_a_stream_holds_the_response() -> None:
    """Others hold none."""
    event = {"type": "response.completed", "response": REPLY}
    found = response_in(json.dumps(event).encode())
    assert found is not None
    assert json.loads(found) == REPLY
    assert response_in(b'{"type":"response.output_text.delta"}') is None
    assert response_in(b"[DONE]") is None


# --- lists ----------------------------------------------------------------------------


def page_of(kept: StoredResponse, page: Page) -> tuple[list[str], bool]:
    shown = json.loads(render_items(kept, page))
    ids = [item["id"] for item in shown["data"]]
    assert shown["object"] == "list"
    assert shown["first_id"] == (ids[0] if ids else None)
    assert shown["last_id"] == (ids[-1] if ids else None)
    return ids, shown["has_more"]


def test_items_are_listed_newest_first_unless_asked_otherwise() -> None:
    """And in pages, each of which begins after an item."""
    kept = keep(
        input=[{"id": f"i{n}", "role": "user", "content": "x"} for n in range(5)]
    )
    assert page_of(kept, Page()) == (["i4", "i3", "i2", "i1", "i0"], False)
    assert page_of(kept, Page(limit=2)) == (["i4", "i3"], True)
    assert page_of(kept, Page("i3", 2)) == (["i2", "i1"], True)
    assert page_of(kept, Page("i1", 3)) == (["i0"], False)
    assert page_of(kept, Page("i0")) == ([], False)
    ascending = Page("i1", 2, newest_first=False)
    assert page_of(kept, ascending) == (["i2", "i3"], True)


def test_a_list_after_an_item_that_is_not_there_is_not_found() -> None:
    """It is not the same as an empty list."""
    with pytest.raises(NotFound):
        render_items(keep(input="Hi"), Page("msg_9"))


def test_a_page_is_read_from_the_query() -> None:
    """With OpenAI's defaults."""
    assert read_page({}) == Page(None, 20, newest_first=True)
    query = {"after": "i1", "limit": "100", "order": "asc"}
    assert read_page(query) == Page("i1", 100, newest_first=False)


@each(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": ""},
        {"limit": "1e2"},
        {"limit": "1000000000000"},
        {"limit": "٣"},
        {"order": "up"},
    ],
    ids=str,
)
def test_what_is_no_page_is_refused(query: dict[str, str]) -> None:
    """By the parameter's name."""
    with pytest.raises(InvalidRequest) as caught:
        read_page(query)
    assert caught.value.param in query


def test_a_deletion_says_what_is_gone() -> None:
    """In OpenAI's words."""
    assert json.loads(render_deleted("resp_1")) == {
        "id": "resp_1",
        "object": "response.deleted",
        "deleted": True,
    }
