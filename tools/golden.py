"""Replay recorded streams; rewrite what they are known to become.

A case is a folder `tests/golden/<dialect>/<case>/` of four files:

  case.json     {"request": members beside the smallest request's,
                 "public_model": the name that replies carry, or null}
  wire.sse      what the provider sent, byte for byte
  client.sse    what the client gets of it
  reading.json  what the tap made of it

`make golden` rewrites the last two of every case whose two already exist; the
difference is for review. It never writes those of a new case: somebody who
knows the protocol writes them down first, and the test compares.
"""

import random
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from posthouse.dialects.base import StreamTap
from posthouse.errors import UpstreamFault
from posthouse.relay.prepare import find_dialect
from posthouse.wire import json
from posthouse.wire.sse import SSEDecoder

FOLDER = Path(__file__).parents[1] / "tests" / "golden"
SEEDS = range(20)


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """What `case.json` says."""

    request: dict[str, Any]
    public_model: str | None = None


class Replayed(Struct, frozen=True):
    """What a stream became."""

    client: bytes
    reading: dict[str, Any]


def find_cases() -> list[Path]:
    """Every case's folder, sorted."""
    return sorted(path.parent for path in FOLDER.glob("*/*/case.json"))


def replay(folder: Path, pieces: list[bytes]) -> Replayed:
    """Feed a case's stream, cut into pieces, to its dialect."""
    case = json.decode((folder / "case.json").read_bytes(), Case)
    dialect = find_dialect(folder.parent.name)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = dialect.parse_request(json.encode(body | case.request))
    tap = dialect.tap_stream(request, case.public_model)
    if tap is None:
        raise ValueError(f"{dialect.name} has no streams")
    client, reading = _feed(tap, pieces)
    return Replayed(client, reading | _read(tap))


def _feed(tap: StreamTap, pieces: list[bytes]) -> tuple[bytes, dict[str, Any]]:
    """What passes, until the terminal frame or an error."""
    passed = []
    seen: dict[str, Any] = {"frames": 0, "content": 0, "dropped": 0, "end": "cut off"}
    decoder = SSEDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    for raw, data in frames + decoder.close():
        seen["frames"] += 1
        try:
            tapped = tap.feed(raw, data)
        except UpstreamFault as fault:
            seen["end"] = f"{type(fault).__name__}: {fault.message}"
            break
        seen["content"] += tapped.content
        seen["dropped"] += not tapped.raw
        passed.append(tapped.raw)
        if tapped.terminal:
            seen["end"] = "terminal"
            break
    return b"".join(passed), seen


_UNTOLD = ("counted", "estimated")
"""What a usage tells of calls that are none of these."""


def _read(tap: StreamTap) -> dict[str, Any]:
    usage = structs.asdict(tap.usage) if tap.usage is not None else None
    return {
        "finished": tap.finished,
        "output_text": tap.output_text(),
        "output_bytes": tap.output_bytes,
        "service_tier": tap.service_tier,
        "usage": usage
        and {k: v for k, v in usage.items() if v is not None and k not in _UNTOLD},
    }


def cuts(wire: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The ways to cut a stream: whole, per line, per byte, anywhere."""
    yield "whole", [wire]
    yield "per line", wire.splitlines(keepends=True)
    yield "per byte", [wire[i : i + 1] for i in range(len(wire))]
    for seed in SEEDS:
        chance = random.Random(seed)  # noqa: S311 - cuts are no secret
        places = sorted(chance.choices(range(len(wire) + 1), k=chance.randint(1, 40)))
        edges = [0, *places, len(wire)]
        yield f"seed {seed}", [wire[a:b] for a, b in pairwise(edges)]


def reading_file(reading: dict[str, Any]) -> bytes:
    """Write a reading as a file that people compare."""
    return json.pretty(reading).encode() + b"\n"


def main() -> int:
    """Rewrite the expected files that exist; name the cases without."""
    new = []
    for folder in find_cases():
        found = replay(folder, [(folder / "wire.sse").read_bytes()])
        for name, text in (
            ("client.sse", found.client),
            ("reading.json", reading_file(found.reading)),
        ):
            path = folder / name
            if not path.exists():
                new.append(path)
            elif path.read_bytes() != text:
                path.write_bytes(text)
                print(f"changed: {path.relative_to(FOLDER)}")
    for path in new:
        print(f"write this one by hand first: {path.relative_to(FOLDER)}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
