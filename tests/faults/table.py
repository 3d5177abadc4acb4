"""The table of faults, each with what it must lead to.

A `Variation` is one way in which a provider breaks; it says for which operations
and forms it makes sense. A `Cell` is a variation of one operation, streamed or
not, with the faulty channel alone or with a healthy one behind it. `CELLS` is
all of them: what is not in it is not tested, so `test_fault_matrix.py` counts
them, and `absent` says why there can be no others. Faults of bytes stand in
`table_bytes`, of what is said in them in `table_text`.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct
from tests.fakes import openai
from tests.fakes.faults import Target
from tests.fakes.steps import Request, Send, chunk
from tests.faults import scripts, table_bytes, table_text
from tests.faults.scripts import CLOSE, END, HANG, RESET, WORDS, Script
from tests.faults.variation import (
    ANSWERING,
    BAD,
    ROLE,
    Expected,
    Form,
    Operation,
    Quantities,
    Variation,
    broken,
    truth,
)

from posthouse.routing.health import Verdict


def _unreachable() -> Iterator[Variation]:
    """U1: nothing is sent."""
    expected = Expected(502, "upstream_unavailable", cost_known=True)
    targets: tuple[Target, ...] = ("refused", "silent", "dns", "tls")
    for target in targets:
        yield Variation("U1", target, expected, target=target)


def _resets() -> Iterator[Variation]:
    """U2: it may have been accepted."""
    expected = Expected(502, "upstream_unavailable")
    for name, step in (("reset", RESET), ("close", CLOSE)):
        yield Variation("U2", name, expected, scripts.do(step))
    either = Expected(502, "upstream_unavailable", cost_known=None)
    yield Variation("U2", "at-accept", either, scripts.do(RESET), at_accept=True)


def _rate_limits() -> Iterator[Variation]:
    """U3: 429, with the time to wait in every form."""

    def limited(name: str, script: Script, shown: int, rest: float) -> Variation:
        expected = Expected(
            429,
            "rate_limit_exceeded",
            provider_status=429,
            cost_known=True,
            verdict=Verdict.RATE_LIMITED,
            retry_after=shown,
            rest=rest,
        )
        return Variation("U3", name, expected, script)

    def asking(*headers: tuple[str, str]) -> Script:
        return scripts.status(429, "rate_limit_exceeded", headers=headers)

    yield limited("plain", asking(), 5, 5)
    yield limited("seconds", asking(("Retry-After", "7")), 7, 7)
    yield limited("milliseconds", asking(("retry-after-ms", "2500")), 3, 2.5)
    yield limited("date", scripts.dated(20), 20, 20)
    yield limited("long", asking(("Retry-After", "900")), 60, 900)
    yield limited("unreadable", asking(("Retry-After", "soon")), 5, 5)


def _overloads() -> Iterator[Variation]:
    """U4: 5xx."""
    for number in (500, 502, 503, 504, 529):
        expected = Expected(
            503,
            "upstream_overloaded",
            provider_status=number,
            cost_known=True,
            retry_after=5,
        )
        yield Variation("U4", str(number), expected, scripts.status(number))
    waiting = Expected(
        503,
        "upstream_overloaded",
        provider_status=503,
        cost_known=True,
        retry_after=9,
        rest=9,
    )
    script = scripts.status(503, headers=(("Retry-After", "9"),))
    yield Variation("U4", "retry-after", waiting, script)


def _refused_keys() -> Iterator[Variation]:
    """U5: our key, or our credit."""
    for number, kind in (
        (401, "authentication_error"),
        (402, "authentication_error"),
        (403, "permission_error"),
        (429, "insufficient_quota"),
    ):
        expected = Expected(
            503,
            "upstream_unavailable",
            provider_status=number,
            cost_known=True,
            verdict=Verdict.REFUSED,
            rest=600,
            alert=True,
        )
        yield Variation("U5", str(number), expected, scripts.status(number, kind))


def _content_errors() -> Iterator[Variation]:
    """U6: the request is at fault."""
    for number in (400, 404, 422):
        expected = Expected(
            number,
            f"code_{number}",
            provider_status=number,
            cost_known=True,
            verdict=Verdict.NEUTRAL,
            failover=False,
        )
        script = scripts.status(number, "invalid_request_error")
        yield Variation("U6", str(number), expected, script)


def _redirects() -> Iterator[Variation]:
    """U7: 30x; the address is filled in by whoever knows the other channel's."""
    for number in (301, 302, 303, 307, 308):
        expected = Expected(
            502,
            "upstream_bad_response",
            provider_status=number,
            cost_known=True,
            verdict=Verdict.NEUTRAL,
            failover=False,
            alert=True,
        )
        script = scripts.redirect(number, "{other}")
        yield Variation("U7", str(number), expected, script)


def _unreadable() -> Iterator[Variation]:
    """U8: 200, and not what was asked for."""
    page = b"<!doctype html><title>Bad gateway</title>\n\n<p>the provider says 200"
    yield Variation("U8", "html", BAD, scripts.body(page, "text/html"))
    for name, data in (
        ("invalid-json", b'{"id": "x", "choices": ['),
        ("wrong-type", b'["not", "an", "object"]'),
        ("wrong-members", b'{"object": "list"}'),
        ("wrong-member-type", b'{"choices": 1, "data": "x", "results": {}}'),
        ("empty", b""),
    ):
        yield Variation("U8", name, BAD, scripts.body(data), ("unary",))
    for name, data in (
        ("invalid-json", b'data: {"choices": [\n\n'),
        ("wrong-type", b"data: [1, 2]\n\n"),
        ("wrong-scalar", b"data: null\n\n"),
        ("only-done", openai.DONE),
        ("empty", b""),
    ):
        script = scripts.body(data, openai.EVENT_STREAM)
        yield Variation("U8", name, BAD, script, ("stream",), ANSWERING)
    unary = scripts.body(b'{"object": "chat.completion", "choices": []}')
    yield Variation("U8", "no-stream", BAD, unary, ("stream",), ANSWERING)


def _cut_short() -> Iterator[Variation]:
    """U9: less than was announced."""
    for name, share in (("half", 0.5), ("last-byte", 1.0), ("no-byte", 0.0)):
        script = scripts.part_of_body(share, CLOSE)
        yield Variation("U9", name, BAD, script, ("unary",))
    for name, take, words in (
        ("no-byte", scripts.nothing, None),
        ("three-words", scripts.words(3), 3),
        ("torn-frame", scripts.words(3, torn=True), 3),
    ):
        script = scripts.part_of_stream(take, CLOSE, framing="length")
        expected = broken(words)
        yield Variation("U9", name, expected, script, ("stream",), ANSWERING)


def _all_words(request: Request) -> list[bytes]:
    """Every frame up to the finish reason."""
    return scripts.frames(request)[:-2]


def _interrupted() -> Iterator[Variation]:
    """U14: a reset in the middle, at many places."""
    for name, share in (("head", 0.0), ("half", 0.5), ("last-byte", 1.0)):
        script = scripts.part_of_body(share, RESET)
        yield Variation("U14", name, BAD, script, ("unary",))
    finished = Expected(
        502, "upstream_interrupted", provider_status=200, failover=False,
        words=WORDS, frames=_all_words,
    )  # fmt: skip
    counted = Expected(
        502, "upstream_interrupted", provider_status=200, failover=False,
        words=WORDS, frames=_all_words, usage=truth,
    )  # fmt: skip
    places: tuple[tuple[str, Callable[[Request], bytes], Expected], ...] = (
        ("head", scripts.nothing, broken(None)),
        ("first-torn", scripts.words(0, torn=True), broken(None, begun=ROLE)),
        ("one-word", scripts.words(1), broken(1)),
        ("second-torn", scripts.words(1, torn=True), broken(1)),
        ("five-words", scripts.words(5), broken(5)),
        ("all-words", scripts.words(WORDS), broken(WORDS)),
        ("finish", scripts.all_but(2), finished),
        ("usage", scripts.all_but(1), counted),
    )
    for name, take, expected in places:
        script = scripts.part_of_stream(take, RESET)
        yield Variation("U14", name, expected, script, ("stream",), ANSWERING)
    role = scripts.part_of_stream(scripts.words(0), RESET)
    yield Variation(
        "U14", "role", broken(None, begun=ROLE), role, ("stream",), ("chat",)
    )
    # Everything has been said: what happens to the connection then is nothing.
    said = scripts.part_of_stream(scripts.all_but(0), RESET)
    whole = Expected(served=True, usage=truth)
    yield Variation("U14", "done", whole, said, ("stream",), ANSWERING)


def _unended() -> Iterator[Variation]:
    """U15: EOF without a terminator."""
    eof = scripts.part_of_body(0.5, CLOSE, framing="eof")
    yield Variation("U15", "eof", BAD, eof, ("unary",))
    finished = Expected(
        502, "upstream_interrupted", provider_status=200, failover=False,
        words=WORDS, frames=_all_words,
    )  # fmt: skip
    for name, take, framing, expected in (
        ("eof-first", scripts.nothing, "eof", broken(None)),
        ("eof", scripts.words(3), "eof", broken(3)),
        ("cut-frame", scripts.words(3, torn=True), "eof", broken(3)),
        ("whole-body-first", scripts.nothing, "chunked", broken(None)),
        ("whole-body", scripts.words(3), "chunked", broken(3)),
        ("after-finish", scripts.all_but(2), "chunked", finished),
    ):
        ending = CLOSE if framing == "eof" else END
        script = scripts.part_of_stream(take, ending, framing=framing)
        yield Variation("U15", name, expected, script, ("stream",), ANSWERING)


def _stalls() -> Iterator[Variation]:
    """U16: silence."""
    late = Expected(504, "upstream_timeout", provider_status=200)
    unasked = Expected(504, "upstream_timeout")
    yield Variation("U16", "no-reply", unasked, scripts.do(HANG))
    half = scripts.part_of_body(0.5, HANG)
    yield Variation("U16", "half", late, half, ("unary",))
    head = scripts.part_of_stream(scripts.nothing, HANG)
    yield Variation("U16", "head", late, head, ("stream",), ANSWERING)
    begun = Expected(504, "upstream_timeout", provider_status=200, begun=ROLE)
    role = scripts.part_of_stream(scripts.words(0), HANG)
    yield Variation("U16", "role", begun, role, ("stream",), ("chat",))
    for name, take in (
        ("three-words", scripts.words(3)),
        ("torn-frame", scripts.words(3, torn=True)),
    ):
        script = scripts.part_of_stream(take, HANG)
        expected = broken(3, code="upstream_timeout")
        yield Variation("U16", name, expected, script, ("stream",), ANSWERING)


ERROR = scripts.error_value("server_error", "the provider says broken", "broke")
LIMIT = scripts.error_value("rate_limit_exceeded", "the provider says slower", None)
FILTER = scripts.error_value("invalid_request_error", "Not this.", "content_filter")
FAILED = Expected(503, "upstream_overloaded", provider_status=200)


def _errors_inside() -> Iterator[Variation]:
    """U19: an error object where an answer should be."""
    filtered = Expected(
        400, "content_filter", provider_status=200,
        verdict=Verdict.NEUTRAL, failover=False,
    )  # fmt: skip
    limited = Expected(
        429, "rate_limit_exceeded", provider_status=200,
        verdict=Verdict.RATE_LIMITED, rest=5,
    )  # fmt: skip
    cases = (("error", ERROR, FAILED), ("limit", LIMIT, limited))
    for name, value, expected in (*cases, ("filter", FILTER, filtered)):
        data = scripts.event(value)[6:-2]
        yield Variation("U19", name, expected, scripts.body(data), ("unary",))
        first = scripts.then_event(scripts.nothing, scripts.event(value))
        yield Variation("U19", name, expected, first, ("stream",), ANSWERING)
    open_ended = scripts.part_of_stream(lambda _: scripts.event(ERROR), scripts.HANG)
    yield Variation("U19", "then-silence", FAILED, open_ended, ("stream",), ANSWERING)
    named = scripts.event(ERROR, b"error")
    script = scripts.then_event(scripts.nothing, named)
    yield Variation("U19", "named-error", FAILED, script, ("stream",), ANSWERING)
    begun = Expected(503, "upstream_overloaded", provider_status=200, begun=ROLE)
    apart = _apart(scripts.words(0), scripts.event(ERROR))
    yield Variation("U19", "after-role", begun, apart, ("stream",), ("chat",))
    for name, data in (("data", scripts.event(ERROR)), ("event", named)):
        script = scripts.then_event(scripts.words(3), data)
        expected = broken(3, code="upstream_overloaded")
        yield Variation(
            "U19", f"{name}-later", expected, script, ("stream",), ANSWERING
        )


def _apart(take: Callable[[Request], bytes], event: bytes) -> Script:
    """A part of a stream, and an event in a packet of its own."""
    return scripts.part_of_stream(take, Send(chunk(event)), END)


def _uncached(usage: Quantities) -> Quantities:
    """The truth with no word of what was cached."""
    prompt = usage.get("input", 0) + usage.get("cached_input", 0)
    return {**_without(usage, "cached_input"), "input": prompt}


def _without(usage: Quantities, name: str) -> Quantities:
    return {unit: count for unit, count in usage.items() if unit != name}


def _prompt_only(usage: Quantities) -> Quantities:
    return _without(usage, "output")


def _usages() -> Iterator[Variation]:
    """U20: every shape of usage."""
    tokens: tuple[Operation, ...] = ("chat", "completion", "embedding")
    counting = Expected(served=True)
    true = Expected(served=True, usage=truth)
    plain = Expected(served=True, usage=_uncached)
    prompt = Expected(served=True, usage=_prompt_only)
    silent = scripts.unary_usage(scripts.no_usage)
    yield Variation("U20", "none", counting, silent, ("unary",))
    for name, script, expected in (
        ("null", scripts.unary_usage(lambda _: {}), counting),
        ("only", scripts.without_answer, prompt),
        ("no-details", scripts.unary_usage(scripts.plain_usage), plain),
    ):
        yield Variation("U20", name, expected, script, ("unary",), tokens)
    both = ("prompt_tokens", "total_tokens", "prompt_tokens_details")
    for name, script, expected in (
        ("none", scripts.stream_usage(), counting),
        ("null", scripts.stream_usage(scripts.no_usage), counting),
        ("only", scripts.usage_only, prompt),
        ("twice", scripts.stream_usage(scripts.true_usage, scripts.true_usage), true),
        ("growing", scripts.stream_usage(scripts.halved, scripts.true_usage), true),
        ("cumulative", scripts.usage_everywhere, true),
        (
            "in-parts",
            scripts.stream_usage(
                scripts.only(*both), scripts.only("completion_tokens")
            ),
            true,
        ),
        ("no-details", scripts.stream_usage(scripts.plain_usage), plain),
    ):
        yield Variation("U20", name, expected, script, ("stream",), ANSWERING)


_FAMILIES: dict[str, Callable[[], Iterator[Variation]]] = {
    "U1": _unreachable,
    "U2": _resets,
    "U3": _rate_limits,
    "U4": _overloads,
    "U5": _refused_keys,
    "U6": _content_errors,
    "U7": _redirects,
    "U8": _unreadable,
    "U9": _cut_short,
    "U10": table_bytes.surplus,
    "U11": table_bytes.ill_formed,
    "U12": table_bytes.compressed,
    "U13": table_bytes.long_errors,
    "U14": _interrupted,
    "U15": _unended,
    "U16": _stalls,
    "U17": table_text.endless,
    "U18": table_bytes.trickling,
    "U19": _errors_inside,
    "U20": _usages,
    "U21": table_text.impossible_usages,
    "U22": table_text.oddities,
    "U23": table_bytes.races,
}
VARIATIONS: tuple[Variation, ...] = tuple(
    variation for family in _FAMILIES.values() for variation in family()
)


def absent(row: str, operation: Operation, form: Form) -> str:
    """Say why a row has no cell of an operation and form; empty: it must have."""
    if form == "stream" and operation not in ANSWERING:
        return "only chats and completions are streamed"
    if row == "U22" and form == "unary":
        return "a whole reply is no stream of events"
    if row == "U21" and operation == "moderation":
        return "moderations report no usage: it is counted here always"
    return ""


class Cell(Struct, frozen=True):
    """One combination that is run."""

    variation: Variation
    operation: Operation
    form: Form
    backed: bool
    """Whether a healthy channel of lower priority stands behind the faulty one."""

    @property
    def id(self) -> str:
        """A name for reports, channels and models."""
        place = "backed" if self.backed else "alone"
        parts = (self.variation.row, self.variation.name, self.operation, self.form)
        return "-".join((*parts, place)).lower()

    @property
    def streamed(self) -> bool:
        """Whether a stream is asked for."""
        return self.form == "stream"


def _cells() -> Iterator[Cell]:
    for variation in VARIATIONS:
        for form in variation.forms:
            for operation in variation.operations:
                if absent(variation.row, operation, form):
                    continue
                for backed in (False, True):
                    yield Cell(variation, operation, form, backed)


CELLS: tuple[Cell, ...] = tuple(_cells())
ROWS: tuple[str, ...] = tuple(_FAMILIES)
