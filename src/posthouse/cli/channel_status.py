"""`posthouse channel status`: how channels stand in the running server.

What is known only while a server runs (breakers, rests, loads, latencies) its
processes leave in the data folder; what outlives it (which channels there are,
which credentials are refused) stands in the database.
"""

from collections.abc import Callable
from typing import Any, Final

from posthouse.app import RUN
from posthouse.app.board import KIND
from posthouse.cli.installation import Books, open_books
from posthouse.cli.options import AsJSON, Data, run
from posthouse.cli.output import Column, iso_time, print_json, print_note, print_table
from posthouse.routing.health import Verdict
from posthouse.routing.status import ChannelStatus, RestStatus, join
from posthouse.server.run_files import read_all
from posthouse.settings.environment import load_settings
from posthouse.settings.secret import PEPPER, load_secret
from posthouse.storage.channels import StoredChannel, list_channels
from posthouse.storage.refusals import Refusal, fingerprint, list_refusals
from posthouse.wire import json

COLUMNS: Final = (
    Column("name"),
    Column("state"),
    Column("breaker"),
    Column("in_flight", 1, right=True),
    Column("resting", 1),
    Column("latency", 3),
    Column("last_error", 2),
    Column("probe", 3),
)

Told = dict[str, ChannelStatus]
"""By channel; those of which there is nothing to say are left out."""


def status(*, data: Data = None, as_json: AsJSON = False) -> None:
    """Show how channels stand: breakers, credentials, loads, latencies, errors.

    It asks the processes of this machine.
    """
    settings = load_settings(data=data)
    processes = [
        json.decode(content, Told) for _, content in read_all(settings.data / RUN, KIND)
    ]

    async def work() -> list[dict[str, Any]]:
        async with open_books(settings) as books:
            return await _look(books, processes)

    found = run(work())
    if not processes:
        print_note("No server runs here; only what is kept is shown.")
    if as_json:
        print_json(found)
        return
    rows = [[_shown(entry, column.name) for column in COLUMNS] for entry in found]
    print_table(COLUMNS, rows, empty="There are no channels yet.")


async def _look(books: Books, processes: list[Told]) -> list[dict[str, Any]]:
    """Join what is kept with what processes tell."""
    box = books.open_box()
    pepper = load_secret(books.settings).derive(PEPPER)
    async with books.database.read() as connection:
        channels = await list_channels(connection, box)
        refusals = await list_refusals(connection)
    found = []
    for channel in channels:
        name = channel.spec.name
        told = [one[name] for one in processes if name in one]
        own = [refusal for refusal in refusals if refusal.channel == name]
        entry = _describe(channel, join(told), _present(channel, own, pepper))
        entry["processes"] = len(processes)
        found.append(entry)
    return found


def _present(
    channel: StoredChannel, refusals: list[Refusal], pepper: bytes
) -> dict[int, Refusal]:
    """The refusals of credentials that the channel still has, by index."""
    if not refusals:
        return {}
    known = {refusal.fingerprint: refusal for refusal in refusals}
    return {
        index: known[name]
        for index, credential in enumerate(channel.spec.api_key or ("",))
        if (name := fingerprint(credential, pepper)) in known
    }


def _describe(
    channel: StoredChannel, told: ChannelStatus, refused: dict[int, Refusal]
) -> dict[str, Any]:
    """Write a channel for scripts."""
    rests = {int(index): rest for index, rest in told.resting.items()}
    for index in refused:
        rests.setdefault(index, RestStatus(Verdict.REFUSED.value, 0.0))
    error, probe = told.last_error, told.probe
    return {
        "name": channel.spec.name,
        "state": "enabled" if channel.spec.enabled else "disabled",
        "breaker": told.breaker,
        "open_for": round(told.open_for, 1),
        "failures": told.failures,
        "in_flight": told.in_flight,
        "resting": [
            {
                "credential": index,
                "reason": rest.reason,
                "seconds": round(rest.seconds, 1),
                "status": refused[index].status if index in refused else None,
                "since": iso_time(refused[index].created_ms)
                if index in refused
                else None,
            }
            for index, rest in sorted(rests.items())
        ],
        "latency": {
            model: round(seconds, 4) for model, seconds in told.latency.items()
        },
        "last_error": None
        if error is None
        else {
            "code": error.code,
            "status": error.status or None,
            "ago": round(error.ago, 1),
        },
        "probe": None
        if probe is None
        else {
            "result": probe.code or "ok",
            "seconds": round(probe.seconds, 4),
            "ago": round(probe.ago, 1),
        },
    }


def _shown(entry: dict[str, Any], column: str) -> str | int | None:
    """Write a cell for people."""
    value = entry[column]
    if not value and value != 0:
        return None
    if column == "breaker" and entry["open_for"]:
        return f"{value} {entry['open_for']:.0f} s"
    write = _WRITERS.get(column)
    shown: str | int = value if write is None else write(value)
    return shown


def _shown_latency(value: dict[str, float]) -> str:
    return ", ".join(
        f"{model} {seconds * 1000:.0f} ms" for model, seconds in value.items()
    )


def _shown_error(value: dict[str, Any]) -> str:
    answer = f" ({value['status']})" if value["status"] else ""
    return f"{value['code']}{answer} {value['ago']:.0f} s ago"


def _shown_probe(value: dict[str, Any]) -> str:
    took = f"{value['seconds'] * 1000:.0f} ms"
    return f"{value['result']} {took}, {value['ago']:.0f} s ago"


def _shown_rests(value: list[dict[str, Any]]) -> str:
    return ", ".join(map(_shown_rest, value))


def _shown_rest(rest: dict[str, Any]) -> str:
    if rest["reason"] == Verdict.REFUSED.value:
        answer = f" ({rest['status']})" if rest["status"] else ""
        return f"key {rest['credential']} refused{answer}"
    return f"key {rest['credential']} {rest['reason']} {rest['seconds']:.0f} s"


_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "latency": _shown_latency,
    "last_error": _shown_error,
    "probe": _shown_probe,
    "resting": _shown_rests,
}
"""How the cells of a column are written, where that is not as they are."""
