"""Providers' batches over HTTP: what is asked, and what is believed of what is said."""

import json
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.cases import each
from typing_extensions import override

from posthouse.catalog.load import load_catalog
from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    UpstreamRequest,
)
from posthouse.relay.batches import suppliers as batch_suppliers
from posthouse.relay.batches.suppliers import HTTPSuppliers, find_batches
from posthouse.routing.table import ChannelDefaults, make_channel
from posthouse.settings.file import ChannelSpec
from posthouse.tasks.ports import (
    PartGone,
    Progress,
    SupplierRefused,
    SupplierUncertain,
)
from posthouse.tasks.records import Part, PartState, Place
from posthouse.upstream.ports import Resending, Sender, UpstreamResponse

INTENDED = 1_800_000_000
MARK = "batch_1-p1"
PLACE = Place("open", 0, "m", "/v1/chat/completions", b'{"a":1}', 0)
Reply = tuple[int, Any] | ExchangeFailure


class Response:
    """A reply that arrives in pieces."""

    def __init__(self, status: int, body: bytes, pieces: int) -> None:
        self.status = status
        self.headers: list[tuple[bytes, bytes]] = []
        self._body = body
        self._size = max(1, -(-len(body) // pieces))
        self.broken = False

    async def read(self) -> bytes:
        piece, self._body = self._body[: self._size], self._body[self._size :]
        return piece

    async def read_all(self, limit: int) -> bytes:
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        """It is over."""

    def release(self) -> None:
        """It is over."""


class Provider(Sender):
    """Answers in order, and notes what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[UpstreamRequest] = []

    @override
    async def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, ExchangeFailure):
            raise reply
        status, body = reply
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return cast("UpstreamResponse", Response(status, data, 7))

    @override
    async def close(self) -> None:
        """Do nothing."""


def suppliers(
    provider: Provider, credentials: tuple[str, ...] = ("a-long-secret",)
) -> HTTPSuppliers:
    catalog = load_catalog()
    channels = {}
    for name, row in (("open", "openai"), ("claude", "anthropic")):
        spec = ChannelSpec(name, row, api_key="a-long-secret")
        channels[name] = make_channel(
            spec, catalog[row], credentials, ChannelDefaults()
        )
    snapshot: Any = SimpleNamespace(table=SimpleNamespace(channels=channels))
    return HTTPSuppliers(lambda: snapshot, provider)


def part(channel: str = "open", lines: int = 2) -> Part:
    return Part(
        "batch_1",
        1,
        channel,
        0,
        "m",
        "/v1/chat/completions",
        lines,
        0,
        INTENDED * 1000,
        PartState.CREATED,
        "batch-9",
    )


def openai_batch(name: str, mark: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "status": "in_progress",
        "created_at": INTENDED,
        "metadata": {"posthouse": mark} if mark else None,
        **more,
    }


def anthropic_batch(name: str, count: int = 2, state: str = "ended") -> dict[str, Any]:
    return {
        "id": name,
        "processing_status": state,
        "created_at": "2027-01-15T08:00:00.123Z",
        "request_counts": {"succeeded": count, "processing": 0},
        "results_url": "https://elsewhere.example/steal",
    }


def page(*batches: dict[str, Any], last: str = "") -> tuple[int, Any]:
    return 200, {"data": list(batches), "has_more": bool(last), "last_id": last}


def lost(certainty: Certainty) -> ExchangeFailure:
    return ExchangeFailure(FailureKind.RESET, certainty)


async def failure_of(asked: Awaitable[Any]) -> str:
    try:
        await asked
    except (SupplierRefused, SupplierUncertain, PartGone) as error:
        return type(error).__name__
    return ""


FILE = (200, {"id": "file-1"})
CREATIONS: list[tuple[list[Reply], str]] = [
    ([(400, {}), (200, {})], "SupplierRefused"),
    ([lost(Certainty.POSSIBLY_ACCEPTED)], "SupplierRefused"),
    ([(200, {"id": "../models"})], "SupplierRefused"),
    ([(200, b"\xff")], "SupplierRefused"),
    ([FILE, (400, {})], "SupplierRefused"),
    ([FILE, (307, b"")], "SupplierRefused"),
    ([FILE, (429, {})], "SupplierRefused"),
    ([FILE, (408, {})], "SupplierUncertain"),
    ([FILE, (500, {})], "SupplierUncertain"),
    ([FILE, lost(Certainty.NOT_SENT)], "SupplierRefused"),
    ([FILE, lost(Certainty.POSSIBLY_ACCEPTED)], "SupplierUncertain"),
    ([FILE, lost(Certainty.RESPONSE_STARTED)], "SupplierUncertain"),
    ([FILE, (200, b"[]")], "SupplierUncertain"),
    ([FILE, (200, {"id": "a/../../b", "status": "validating"})], "SupplierUncertain"),
    ([FILE, (200, openai_batch("batch-9"))], ""),
]


@each(("replies", "failure"), CREATIONS)
async def test_it_is_known_whether_a_batch_may_have_come_of_a_fault(
    replies: list[Reply], failure: str
) -> None:
    """Only what certainly has not goes elsewhere."""
    provider = Provider(*replies)
    asked = suppliers(provider).create(part(), {1: PLACE, 2: PLACE})
    assert await failure_of(asked) == failure


def test_what_rows_name_is_spoken() -> None:
    """Every provider's way of speaking about batches is there."""
    rows = [row.batches for row in load_catalog().values() if row.batches]
    assert len(rows) >= 2
    for row in rows:
        assert find_batches(row.dialect)


async def test_a_batch_is_found_by_its_mark() -> None:
    """On whatever page it is, among those of its time."""
    provider = Provider(
        page(openai_batch("a"), openai_batch("b", "batch_1-p12"), last="b"),
        page(openai_batch("c", "other"), openai_batch("d", MARK)),
    )
    assert await suppliers(provider).find(part(), frozenset()) == "d"
    assert provider.asked[1].target == "/v1/batches?limit=100&after=b"
    old = openai_batch("e", MARK, created_at=INTENDED - 86_400)
    provider = Provider(page(old, last="e"))
    assert await suppliers(provider).find(part(), frozenset()) is None
    endless = [page(openai_batch("a"), last="a")] * batch_suppliers.MOST_PAGES
    asked = suppliers(Provider(*endless)).find(part(), frozenset())
    assert await failure_of(asked) == "SupplierUncertain"


async def test_one_without_a_mark_is_known_by_its_results() -> None:
    """Others of its size and time are ruled out by theirs, once they have any."""
    ours = {"custom_id": f"{MARK}-2", "result": {"type": "expired"}}
    theirs = {"custom_id": "theirs", "result": {"type": "expired"}}
    listed = page(
        anthropic_batch("known"), anthropic_batch("big", 3), anthropic_batch("x"),
        anthropic_batch("y"),
    )  # fmt: skip
    provider = Provider(listed, (200, theirs), (200, ours))
    found = await suppliers(provider).find(part("claude"), frozenset({"known"}))
    assert found == "y"
    assert [one.origin for one in provider.asked] == ["https://api.anthropic.com"] * 3
    assert provider.asked[2].target == "/v1/messages/batches/y/results"
    provider = Provider(page(anthropic_batch("x")), (200, theirs))
    assert await suppliers(provider).find(part("claude"), frozenset()) is None
    provider = Provider(page(anthropic_batch("x", state="in_progress")))
    asked = suppliers(provider).find(part("claude"), frozenset())
    assert await failure_of(asked) == "SupplierUncertain"


LOOKS: list[tuple[Reply, str]] = [
    ((404, {}), "PartGone"),
    ((503, {}), "SupplierUncertain"),
    ((302, b""), "SupplierUncertain"),
    ((200, b"{"), "SupplierUncertain"),
    ((200, openai_batch("batch-8")), "SupplierUncertain"),
    ((200, openai_batch("batch-9", status="paid")), "SupplierUncertain"),
    (
        (200, openai_batch("batch-9", status="completed", output_file_id="../me")),
        "SupplierUncertain",
    ),
    (lost(Certainty.NOT_SENT), "SupplierUncertain"),
    ((200, openai_batch("batch-9")), ""),
]


@each(("reply", "failure"), LOOKS)
async def test_a_look_believes_what_it_can_read(reply: Reply, failure: str) -> None:
    """And nothing of another batch, nor a name that leads elsewhere."""
    asked = suppliers(Provider(reply)).look(part())
    assert await failure_of(asked) == failure


async def test_another_credential_may_reach_a_batch() -> None:
    """Whose order has changed since; its results are asked for with the same."""
    good = (200, openai_batch("batch-9"))
    provider = Provider((404, {}), (401, {}), good, good, (200, b""))
    asking = suppliers(provider, ("one-secret", "two-secret", "three-secret"))
    await asking.look(part())
    await asking.look(part())
    progress = Progress(True, ("/files/out/content",))
    assert [one async for one in asking.results(part(), progress)] == []
    shown = [dict(one.headers)[b"authorization"] for one in provider.asked]
    assert shown == [
        b"Bearer one-secret",
        b"Bearer two-secret",
        *[b"Bearer three-secret"] * 3,
    ]


async def test_a_failure_is_told_by_its_code() -> None:
    """Its words may quote what callers wrote, or our own secrets."""
    told = {"code": "token_limit_exceeded", "message": "of a prompt"}
    batch = openai_batch("batch-9", status="failed", errors={"data": [told]})
    progress = await suppliers(Provider((200, batch))).look(part())
    assert progress == Progress(True, (), "token_limit_exceeded")
    refusal = {"error": {"message": "a prompt", "type": "a prompt", "code": "a_code"}}
    with pytest.raises(SupplierUncertain, match=r"^status 500, a_code$"):
        await suppliers(Provider((500, refusal))).look(part())
    with pytest.raises(SupplierUncertain, match=r"^status 502$"):
        await suppliers(Provider((502, {"error": {"code": "a prompt"}}))).look(part())


async def test_results_are_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is none, or too long, or another's, is left out; the rest is there."""
    monkeypatch.setattr(batch_suppliers, "LONGEST_LINE", 1000)
    good = {"response": {"status_code": 200, "body": {"n": 10**30, "x": 1.50}}}
    lines = [
        {"custom_id": f"{MARK}-1", **good},
        {"custom_id": "theirs-2", **good},
        {"custom_id": f"{MARK}-x", **good},
        {"custom_id": f"{MARK}-3", "response": {"status_code": 99999, "body": {}}},
        {"custom_id": f"{MARK}-4", "response": None, "error": {"code": "x"}},
        {"custom_id": f"{MARK}-5", "response": {"body": "x" * 5000}},
        {"custom_id": f"{MARK}-6", "response": {"status_code": 400, "body": None}},
    ]
    text = "\n".join(["not json", "", *map(json.dumps, lines)]).encode()
    progress = Progress(True, ("/files/out/content", "/files/err/content"))
    last = json.dumps({"custom_id": f"{MARK}-7", **good}).encode()
    provider = Provider((200, text), (200, last))
    results = suppliers(provider).results(part(), progress)
    found = [(number, bought and bought.status) async for number, bought in results]
    assert found == [(1, 200), (4, None), (6, 400), (7, 200)]
    provider = Provider((200, last), (500, b""))
    results = suppliers(provider).results(part(), progress)
    assert (await anext(results))[0] == 7
    with pytest.raises(SupplierUncertain):
        await anext(results)
