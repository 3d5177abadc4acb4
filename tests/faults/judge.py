"""Holds what came of a cell against what the table promises."""

from collections.abc import Iterable
from typing import Any

from msgspec import json
from tests.fakes import openai
from tests.fakes.journal import Served
from tests.fakes.steps import Request, Send
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import counted_prompt
from tests.faults.probe import LONGEST_TURN, Probe
from tests.faults.table import Cell
from tests.faults.variation import USUAL_MEMORY, Quantities
from tests.faults.wire import DONE, Reply, events_of

from posthouse.billing.tokenizer import count_tokens
from posthouse.model.call import AttemptRecord, CallRecord
from posthouse.routing.health import ChannelHealth, Verdict
from posthouse.storage.ledger.queries import LedgerLine

PRICES = {"input": 2000, "cached_input": 500, "output": 8000}
COSTS = {"input": 1000, "cached_input": 250, "output": 4000}
"""Nano-dollars a token, as `station.KEYS` and the cells' channels have them."""
SLOWEST = 0.2 + 1.0
"""Seconds that a call may take, of those in which our loop ran: its longest limit,
and one for a machine that is slow."""
FAULTS_HIDDEN = (b"the provider says", b"<!doctype", b"sk-provider", b"Traceback")


def credential(cell: str, place: str) -> str:
    """A channel's key; it must reach nobody but its provider."""
    return f"sk-provider-{cell}-{place}"


def amount(quantities: Quantities, rates: dict[str, int]) -> int:
    """What so many tokens cost, in nano-dollars."""
    return sum(count * rates[unit] for unit, count in quantities.items())


class Judge:
    """One cell's; every method asserts one thing and says what differs."""

    def __init__(
        self, cell: Cell, faulty: FakeUpstream, backup: FakeUpstream, seen: Reply
    ) -> None:
        """Judge `seen`, which came of the providers' answers."""
        self.cell = cell
        self.expected = cell.variation.expected
        self.faulty = faulty
        self.backup = backup
        self.seen = seen
        self.failed_over = cell.backed and self.expected.failover and not self.good
        """Whether the second channel has served the call."""

    @property
    def good(self) -> bool:
        """Whether the first channel's answer counts."""
        return self.expected.served

    @property
    def partial(self) -> bool:
        """Whether some words were delivered before the fault."""
        return self.expected.words is not None and self.cell.streamed

    @property
    def request(self) -> Request:
        """The request whose answer counts."""
        server = self.backup if self.failed_over else self.faulty
        return server.served[-1].request

    # --- what the client saw ------------------------------------------------------

    def reply(self, hosts: Iterable[str]) -> None:
        """Judge the bytes that the client got."""
        self._no_secret(hosts)
        assert "content-encoding" not in self.seen.headers
        if self.expected.cut:
            self._cut()
        elif self.good or self.failed_over:
            self._whole()
        elif self.partial:
            self._broken_off(self._delivered())
        elif self.cell.streamed and self._begun():
            self._broken_off([])
        else:
            self._refused()

    def _begun(self) -> bool:
        return self.cell.operation in self.expected.begun

    def _no_secret(self, hosts: Iterable[str]) -> None:
        for secret in (*FAULTS_HIDDEN, *(host.encode() for host in hosts)):
            shown = self.expected.status in (400, 404, 422)
            if secret == FAULTS_HIDDEN[0] and shown and not self.failed_over:
                continue
            assert secret not in self.seen.raw, f"the client sees {secret!r}"

    def _whole(self) -> None:
        """The answer is whole, to the byte."""
        seen = self.seen
        assert (seen.status, seen.ended) == (200, True), seen.raw
        if not self.cell.streamed:
            assert seen.framing == "length"
            assert seen.body == self._sent_body()
            return
        assert seen.framing == "chunked"
        assert seen.headers["content-type"] == "text/event-stream; charset=utf-8"
        if self.expected.answer == "events" and not self.failed_over:
            sent = events_of(_bodies(self._steps(), chunked=True))
            shown = [data for data in sent if not _is_usage(b"data: " + data)]
            assert events_of(seen.body) == shown
            return
        assert seen.body == self._sent_stream(), seen.body
        assert seen.body.endswith(DONE)
        assert seen.body.count(b"[DONE]") == 1

    def _sent_body(self) -> bytes:
        steps = self._steps()
        return _bodies(steps, chunked=b"Transfer-Encoding: chunked" in steps[0])

    def _sent_stream(self) -> bytes:
        """What the provider sent, but for the usage that only we asked for."""
        frames = _bodies(self._steps(), chunked=True).split(b"\n\n")
        return b"".join(
            frame + b"\n\n" for frame in frames if frame and not _is_usage(frame)
        )

    def _steps(self) -> list[bytes]:
        script = None if self.failed_over else self.cell.variation.script
        if script is None or self.expected.answer == "good":
            steps = openai.answer(self.request).steps
        else:
            steps = script(self.request)
        return [step.data for step in steps if isinstance(step, Send)]

    def _delivered(self) -> list[bytes]:
        """The frames that the client has had before the fault."""
        expected = self.expected
        if expected.frames is not None:
            return expected.frames(self.request)
        return scripts.first_frames(self.request, expected.words or 0)

    def _cut(self) -> None:
        """A stream of ours ends as by its length, and says why."""
        seen = self.seen
        assert (seen.status, seen.ended) == (200, True), seen.raw[-500:]
        *before, last, done = seen.frames
        assert done == DONE
        cut = json.decode(last[6:])
        assert [choice["finish_reason"] for choice in cut["choices"]] == ["length"]
        assert cut["posthouse"]["code"] == self.expected.cut
        sent = events_of(_bodies(self._steps(), chunked=True))
        assert before == [b"data: %b\n\n" % data for data in sent[: len(before)]]
        assert 3 < len(before) < len(sent)

    def _broken_off(self, delivered: list[bytes]) -> None:
        """A stream ends with an error, without any terminator."""
        seen = self.seen
        assert seen.status == 200
        assert seen.framing == "chunked"
        assert (seen.ended, seen.closed) == (False, True), seen.raw
        assert b"[DONE]" not in seen.raw
        *before, last = seen.frames
        assert before == delivered, before
        assert last.startswith(b"data: ")
        self._error(json.decode(last[6:]))

    def _refused(self) -> None:
        """An error of its own."""
        seen, expected = self.seen, self.expected
        assert (seen.status, seen.ended) == (expected.status, True), seen.raw
        assert seen.headers["content-type"] == "application/json"
        shown = seen.headers.get("retry-after")
        wanted = expected.retry_after
        assert shown == (None if wanted is None else str(wanted)), shown
        self._error(json.decode(seen.body))

    def _error(self, value: Any) -> None:
        """Judge an error object."""
        assert value.keys() == {"error"}
        error = value["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["code"] == self.expected.code, error
        assert error["message"]
        assert error["type"]

    def time(self, seconds: float) -> None:
        """Judge how long it took."""
        assert seconds < SLOWEST, f"{seconds:.2f} s"

    def cost(self, probe: Probe) -> None:
        """Judge for how long others had to wait, and what memory it took."""
        most = self.cell.variation.memory
        # What is large is made, and read, by the fake providers in the same loop.
        longest = LONGEST_TURN * (3 if most > USUAL_MEMORY else 1)
        assert probe.longest < longest, f"a turn of {probe.longest:.3f} s"
        assert probe.grown < most, f"{probe.grown >> 20} MiB more"

    # --- what the providers saw ---------------------------------------------------

    def served(self) -> None:
        """Judge what reached the providers: nothing twice, nothing elsewhere."""
        unreachable = self.cell.variation.target != "server"
        once = 0 if unreachable else 1 + self.expected.resent
        assert len(self.faulty.served) <= once or self.cell.variation.at_accept
        assert len(self.faulty.served) <= 2, "asked again and again"
        most = self.expected.most_sent
        if most is not None:
            assert self.faulty.served[0].sent <= most, self.faulty.served[0].sent
        if not self.cell.variation.at_accept:
            assert len(self.faulty.served) == once
        assert self.faulty.connections <= 1
        assert len(self.backup.served) == int(self.failed_over)
        for place, server in (("first", self.faulty), ("second", self.backup)):
            for entry in server.served:
                if entry.id:
                    self._asked_properly(entry, place)

    def _asked_properly(self, entry: Served, place: str) -> None:
        headers = entry.headers
        wanted = f"Bearer {credential(self.cell.id, place)}".encode()
        assert headers[b"authorization"] == wanted
        assert entry.request.json["model"] == self.cell.id

    # --- what was written down ----------------------------------------------------

    def record(self, record: CallRecord) -> None:
        """Judge the call's record and its attempts."""
        expected, cell = self.expected, self.cell
        assert record.operation == cell.operation
        assert record.streamed == cell.streamed
        assert record.requested_model == cell.id
        answered = self.good or self.failed_over
        place = "second" if self.failed_over else "first"
        assert record.channel == f"{cell.id}-{place}"
        status = 200 if answered or self.partial else expected.status
        if not self.partial and cell.streamed and self._begun() and not answered:
            status = 200
        assert record.status == status
        assert record.error_code == ("" if answered else self._code())
        assert record.outcome == self._outcome(attempt=False)
        first, *others = record.attempts
        if expected.resent:
            self._lost(first)
            first, *others = others
        self._attempt(first)
        if self.failed_over:
            (second,) = others
            assert second.channel == f"{cell.id}-second"
            assert (second.outcome, second.upstream_status) == ("served", 200)
            assert second.cost == amount(record.usage, COSTS)
        else:
            assert not others, others
        costs = [attempt.cost for attempt in record.attempts]
        known = [cost for cost in costs if cost is not None]
        assert record.cost == (sum(known) if len(known) == len(costs) else None)

    def _lost(self, attempt: AttemptRecord) -> None:
        """Judge the record of a request that was sent once more."""
        assert attempt.channel == f"{self.cell.id}-first"
        assert (attempt.outcome, attempt.error_code) == (
            "failed",
            "upstream_unavailable",
        )
        assert (attempt.upstream_status, attempt.cost) == (0, None)

    def _code(self) -> str:
        """The code in records, where a provider's own words have no place."""
        rejected = self.expected.status in (400, 404, 422)
        return "upstream_error" if rejected else self.expected.code

    def _attempt(self, attempt: AttemptRecord) -> None:
        """Judge the first attempt's record."""
        expected = self.expected
        assert attempt.channel == f"{self.cell.id}-first"
        assert attempt.credential == 0
        assert attempt.upstream_model == self.cell.id
        assert attempt.outcome == self._outcome(attempt=True)
        if self.good:
            assert (attempt.error_code, attempt.upstream_status) == ("", 200)
            assert attempt.cost == amount(self._usage()[0], COSTS)
            return
        assert attempt.error_code == self._code()
        assert attempt.upstream_status == expected.provider_status
        if self.partial:
            assert attempt.cost == amount(self._usage()[0], COSTS)
        elif expected.cost_known is not None:
            assert attempt.cost == (0 if expected.cost_known else None)

    def _outcome(self, *, attempt: bool) -> str:
        if self.good or (self.failed_over and not attempt):
            return "served"
        if self.partial:
            return "interrupted"
        return "rejected" if self.expected.status in (400, 404, 422) else "failed"

    def _usage(self) -> tuple[Quantities, str]:
        """What is charged for, and who counted it."""
        expected = self.expected
        truth = self._truth()
        if self.failed_over or expected.usage is not None:
            edit = None if self.failed_over else expected.usage
            found = truth if edit is None else edit(truth)
            estimated = self.cell.operation == "moderation"
            if expected.prompt_counted and not self.failed_over:
                counted = counted_prompt(self.cell.operation, self.cell.id)
                found = {"input": counted, **found}
                estimated = True
            return found, "estimated" if estimated else "provider"
        counts = {"input": counted_prompt(self.cell.operation, self.cell.id)}
        text = self._text()
        if text:
            counts["output"] = count_tokens(text, self.cell.id)
        return counts, "estimated"

    def _truth(self) -> Quantities:
        """The good answer's usage, as it is charged."""
        usage = openai.answer(self.request).usage
        if usage is None:
            return {"input": counted_prompt(self.cell.operation, self.cell.id)}
        prompt = usage["prompt_tokens"]
        details = usage.get("prompt_tokens_details", {})
        cached = details.get("cached_tokens", 0)
        counts = {"input": prompt - cached, "cached_input": cached}
        counts["output"] = usage.get("completion_tokens", 0)
        return {unit: count for unit, count in counts.items() if count}

    def _text(self) -> str:
        """What was delivered, where it must be counted."""
        if self.cell.operation not in ("chat", "completion"):
            return ""
        if self.expected.cut:
            return "".join(map(_words_in, self.seen.frames[:-2]))
        count = scripts.WORDS if self.good else self.expected.words or 0
        return "".join(openai.words(count))

    def ledger(self, record: CallRecord, line: LedgerLine) -> None:
        """Judge the money."""
        if not (self.good or self.failed_over or self.partial):
            assert (line.kind, line.amount, record.price) == ("void", 0, 0)
            assert line.reason == self._outcome(attempt=False)
            assert (record.usage, record.usage_source) == ({}, "none")
            return
        usage, source = self._usage()
        assert (record.usage, record.usage_source) == (usage, source)
        price = amount(usage, PRICES)
        assert record.price == price
        assert (line.kind, line.amount) == ("settle", -price)
        assert record.price_version

    # --- what was learnt ----------------------------------------------------------

    def health(self, health: ChannelHealth, now: float) -> None:
        """Judge the faulty channel's breaker and credential."""
        expected = self.expected
        verdict = Verdict.SUCCESS if self.good else expected.verdict
        assert health.consecutive == int(verdict is Verdict.FAILURE)
        assert health.ejections == 0
        if expected.rest is None:
            assert health.resting == {}
            return
        (rest,) = health.resting.values()
        assert rest.reason is verdict
        left = rest.until - now
        assert expected.rest - 3 < left <= expected.rest, left

    def alert(self, logs: Iterable[Any]) -> None:
        """Judge what the operator is told."""
        warnings = [
            entry for entry in logs if entry["log_level"] in {"warning", "error"}
        ]
        assert bool(warnings) == self.expected.alert, warnings
        for entry in warnings:
            assert entry["channel"] == f"{self.cell.id}-first"
            if self.good:
                assert entry["found"]
            else:
                assert entry["status"] == self.expected.provider_status


def _bodies(sent: list[bytes], *, chunked: bool = False) -> bytes:
    """The body among the bytes of a whole answer."""
    data = b"".join(sent).partition(b"\r\n\r\n")[2]
    if not chunked:
        return data
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body


def _is_usage(frame: bytes) -> bool:
    """Whether a frame is nothing but usage."""
    if not frame.startswith(b"data: {"):
        return False
    # What has no usage may be such that only lenient parsers read it.
    if b'"usage":{' not in frame:
        return False
    value = json.decode(frame[6:])
    return not value["choices"] and value.get("usage") is not None


def _words_in(frame: bytes) -> str:
    """The text that a frame carries."""
    (choice,) = json.decode(frame[6:])["choices"]
    found: str = choice["delta"]["content"] if "delta" in choice else choice["text"]
    return found
