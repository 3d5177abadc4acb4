"""The provider behind the crash suite's gateway, in a process of its own.

    python -m tests.crash.provider --port PORT --journal FILE

It behaves as each call's kind says, journals what it serves before it serves
it, and ends when its standard input does.
"""

import argparse
from itertools import chain, islice
from pathlib import Path

import uvloop
from tests.crash.processes import until_orphaned
from tests.crash.traffic import FIRST, Kind, kind_of
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Reset, Send, Wait, chunk, json_reply
from tests.fakes.upstream import FakeUpstream

WORDS_BEFORE_A_CUT = 3
REMEMBERED = 1_000


class Provider:
    """Chooses behaviours; forgets what its journal's file holds."""

    def __init__(self, journal: Path) -> None:
        """Journal to a file."""
        self.fake = FakeUpstream(self.behave, journal=journal)

    def behave(self, request: Request) -> Behaviour:
        """Do as the call's kind says."""
        if len(self.fake.served) > REMEMBERED:
            self.fake.served.clear()
        kind = kind_of(request.json["model"])
        first = (request.header(b"authorization") or b"").endswith(FIRST.encode())
        if kind.fault == "all" or (kind.fault == "first" and first):
            return _refusal(500)
        if kind.fault == "reject":
            return _refusal(400)
        if kind.fault == "cut":
            return _cut(request, kind)
        return _answer(request, kind)


def _answer(request: Request, kind: Kind) -> Behaviour:
    if kind.path.endswith("chat/completions"):
        behaviour = openai.chat(request, interval=kind.pace)
    else:
        behaviour = openai.answer(request)
    if not kind.pause:
        return behaviour
    steps = tuple(behaviour.steps)
    return Behaviour(behaviour.name, (Wait(kind.pause), *steps), behaviour.usage)


def _refusal(status: int) -> Behaviour:
    error = {"message": f"the provider says {status}", "type": "x", "code": "x"}
    return Behaviour(f"refusal-{status}", (Send(json_reply(status, {"error": error})),))


def _cut(request: Request, kind: Kind) -> Behaviour:
    events = openai.chat_events(request, kind.words, None)
    begun = (chunk(event) for event in islice(events, WORDS_BEFORE_A_CUT + 1))
    data = b"".join(chain((openai.stream_head(),), begun))
    return Behaviour("cut", iter((Send(data), Wait(0.01), Reset())))


async def serve(port: int, journal: Path) -> None:
    """Serve until nobody is there to ask for it."""
    provider = Provider(journal)
    await provider.fake.start(port)
    print(provider.fake.port, flush=True)
    await until_orphaned()
    await provider.fake.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.journal))


if __name__ == "__main__":
    main()
